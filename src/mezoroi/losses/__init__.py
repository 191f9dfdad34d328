"""Losses of our own; ArcFace and CosFace come from pytorch-metric-learning."""

from mezoroi.losses.mutual_channel import MutualChannelLoss

__all__ = ["MutualChannelLoss"]
