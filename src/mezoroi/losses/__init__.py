"""Losses of our own, and the embedding's; ArcFace and CosFace are pytorch-metric-learning's."""

from mezoroi.losses.heads import SoftmaxHead, make_head
from mezoroi.losses.masks import mask_loss
from mezoroi.losses.mutual_channel import MutualChannelLoss
from mezoroi.losses.pairwise import AdaptivePairwiseMarginLoss, dissimilarity
from mezoroi.losses.precedence import precedence_loss, runner_up_loss

__all__ = [
    "AdaptivePairwiseMarginLoss",
    "MutualChannelLoss",
    "SoftmaxHead",
    "dissimilarity",
    "make_head",
    "mask_loss",
    "precedence_loss",
    "runner_up_loss",
]
