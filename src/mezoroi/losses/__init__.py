"""Losses of our own; ArcFace and CosFace come from pytorch-metric-learning."""

from mezoroi.losses.masks import mask_loss
from mezoroi.losses.mutual_channel import MutualChannelLoss
from mezoroi.losses.pairwise import AdaptivePairwiseMarginLoss, dissimilarity
from mezoroi.losses.precedence import precedence_loss

__all__ = [
    "AdaptivePairwiseMarginLoss",
    "MutualChannelLoss",
    "dissimilarity",
    "mask_loss",
    "precedence_loss",
]
