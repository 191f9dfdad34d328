"""A model with the same numbers in other places: what no true explanation survives."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn


def randomised(model: nn.Module, seed: int = 0) -> nn.Module:
    """A copy of a model whose every parameter is shuffled (after Adebayo et al. 2018).

    Shuffled are also the running means and variances of batch norms. Shuffling keeps the scale of
    each layer, whatever kind it is; nothing that was learned remains.
    A map that looks the same for the copy says nothing about what the model learned.
    """
    generator = torch.Generator().manual_seed(seed)
    other = copy.deepcopy(model)
    with torch.no_grad():
        for learned in (*other.parameters(), *_running_statistics(other)):
            order = torch.randperm(learned.numel(), generator=generator)
            shuffled = learned.detach().flatten()[order.to(learned.device)]
            learned.copy_(shuffled.view_as(learned))
    return other


def _running_statistics(model: nn.Module) -> Iterator[Tensor]:
    """What norms learned of their inputs; other buffers are constants, such as positions."""
    for name, buffer in model.named_buffers():
        if name.rpartition(".")[2] in ("running_mean", "running_var"):
            yield buffer
