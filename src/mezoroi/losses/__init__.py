"""Losses of our own; ArcFace and CosFace come from pytorch-metric-learning."""

from mezoroi.losses.mutual_channel import MutualChannelLoss
from mezoroi.losses.precedence import precedence_loss

__all__ = ["MutualChannelLoss", "precedence_loss"]
