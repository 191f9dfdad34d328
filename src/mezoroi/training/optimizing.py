"""The optimiser and its learning rate schedule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from mezoroi.config import TrainConfig


def make_optimizer(
    others: Sequence[nn.Parameter],
    backbone: Sequence[nn.Parameter],
    channels: Sequence[nn.Parameter],
    settings: TrainConfig,
) -> torch.optim.Optimizer:
    """The optimiser of the parameters that are not frozen.

    Parameters
    ----------
    others, backbone, channels : parameters, each with a learning rate of its own: ``settings.lr``,
        and that times ``backbone_lr_factor`` and ``channel_lr_factor``
    """
    groups: list[dict[str, Any]] = [
        {"params": others, "lr": settings.lr},
        {"params": backbone, "lr": settings.lr * settings.backbone_lr_factor},
        {"params": channels, "lr": settings.lr * settings.channel_lr_factor},
    ]
    for group in groups:
        group["params"] = [p for p in group["params"] if p.requires_grad]
    groups = [group for group in groups if group["params"]]
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=0.9, weight_decay=settings.weight_decay)
    return torch.optim.AdamW(groups, weight_decay=settings.weight_decay)


def one_cycle(optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.OneCycleLR:
    """Each group's rate warms up to its own and falls again, over all `steps`."""
    peaks = [group["lr"] for group in optimizer.param_groups]
    return torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=peaks, total_steps=steps, pct_start=0.15, cycle_momentum=False
    )
