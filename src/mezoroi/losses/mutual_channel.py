"""Mutual-channel loss (Chang et al. 2020, "The Devil is in the Channels")."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MutualChannelLoss(nn.Module):
    """Makes each class's own block of channels discriminative and mutually distinct.

    ``loss = dis_weight * L_dis + div_weight * L_div`` (design.md section 4).

    Parameters
    ----------
    num_classes : C >= 2
    channels_per_class : xi >= 1; channels g * xi … (g + 1) * xi - 1 belong to class g
    kept_channels : channels per class that take part in L_dis in a training step, drawn anew each
        step (channel-wise attention); default ceil(xi / 2)
    dis_weight, div_weight : >= 0
    generator : the CPU random generator of the draws; a fresh one with seed 0 if not given
    sharpness : r >= 0 of the pooling over positions in L_dis: 0 for their mean, as published; else
        log-sum-exp (Pinheiro and Collobert 2015), which the strongest positions decide the more,
        the larger r is. For signs that cover little of a fruit

    In evaluation mode no channel is dropped.
    """

    def __init__(
        self,
        num_classes: int,
        channels_per_class: int,
        kept_channels: int | None = None,
        dis_weight: float = 1.0,
        div_weight: float = 1.0,
        generator: torch.Generator | None = None,
        sharpness: float = 0.0,
    ) -> None:
        super().__init__()
        if not sharpness >= 0:
            raise ValueError(f"sharpness must not be negative, not {sharpness}")
        if num_classes < 2:
            raise ValueError(f"num_classes must be at least 2, not {num_classes}")
        if channels_per_class < 1:
            raise ValueError(f"channels_per_class must be at least 1, not {channels_per_class}")
        kept = math.ceil(channels_per_class / 2) if kept_channels is None else kept_channels
        if not 1 <= kept <= channels_per_class:
            raise ValueError(
                f"kept_channels must be between 1 and channels_per_class = {channels_per_class}, "
                f"not {kept}"
            )
        self.num_classes = num_classes
        self.channels_per_class = channels_per_class
        self.kept_channels = kept
        self.dis_weight = dis_weight
        self.div_weight = div_weight
        self.sharpness = sharpness
        self.generator = generator if generator is not None else torch.Generator().manual_seed(0)

    def forward(self, feature_map: Tensor, labels: Tensor) -> Tensor:
        """The weighted sum of both terms.

        Parameters
        ----------
        feature_map : (N, C * xi, H, W), non-negative class channels after batch norm and ReLU
        labels : (N,) int in 0 … C - 1

        Returns
        -------
        scalar
        """
        total = self.dis_weight * self.discriminality(feature_map, labels)
        return total + self.div_weight * self.diversity(feature_map)

    def discriminality(self, feature_map: Tensor, labels: Tensor) -> Tensor:
        """L_dis: cross-entropy of g_c = the maximum over kept channels, pooled over positions."""
        blocks = self._blocks(feature_map)
        if labels.shape != feature_map.shape[:1]:
            raise ValueError(
                f"labels must have shape ({feature_map.shape[0]},), not {tuple(labels.shape)}"
            )
        if self.training and self.kept_channels < self.channels_per_class:
            # Channels are >= 0, so a dropped one (0) never wins over a kept one that fires.
            blocks = blocks * self._draw_kept(blocks)
        return F.cross_entropy(self._pool(blocks.amax(dim=2)), labels)

    def diversity(self, feature_map: Tensor) -> Tensor:
        """L_div = 1 - D / xi in [0, 1 - 1 / xi]: 0 where a class's channels are disjoint."""
        spread = self._blocks(feature_map).softmax(dim=3)
        overlap = spread.amax(dim=2).sum(dim=2).mean()
        return 1.0 - overlap / self.channels_per_class

    def _pool(self, evidence: Tensor) -> Tensor:
        """(N, C, positions) -> (N, C): their mean, or (1 / r) log mean exp(r x)."""
        if self.sharpness == 0:
            return evidence.mean(dim=2)
        mean = evidence.mean(dim=2, keepdim=True)  # taken off first: a small r would cancel it
        total = (self.sharpness * (evidence - mean)).logsumexp(dim=2)
        return mean[..., 0] + (total - math.log(evidence.shape[2])) / self.sharpness

    def _draw_kept(self, blocks: Tensor) -> Tensor:
        scores = torch.rand(self.num_classes, self.channels_per_class, generator=self.generator)
        kept = scores.argsort(dim=1) < self.kept_channels
        return kept.to(blocks)[None, :, :, None]

    def _blocks(self, feature_map: Tensor) -> Tensor:
        """(N, C * xi, H, W) -> (N, C, xi, H * W)."""
        channels = self.num_classes * self.channels_per_class
        if feature_map.ndim != 4 or feature_map.shape[1] != channels:
            raise ValueError(
                f"feature_map must have shape (N, {channels}, H, W) for {self.num_classes} classes "
                f"of {self.channels_per_class} channels, not {tuple(feature_map.shape)}"
            )
        return feature_map.reshape(
            feature_map.shape[0], self.num_classes, self.channels_per_class, -1
        )
