"""A model with the same numbers in other places: what no true explanation survives."""

from __future__ import annotations

import copy

import torch
from torch import nn


def randomised(model: nn.Module, seed: int = 0) -> nn.Module:
    """A copy of a model whose every parameter is shuffled (after Adebayo et al. 2018).

    Shuffling keeps the scale of each layer, whatever kind it is; nothing that was learned remains.
    A map that looks the same for the copy says nothing about what the model learned.
    """
    generator = torch.Generator().manual_seed(seed)
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.parameters():
            order = torch.randperm(parameter.numel(), generator=generator)
            shuffled = parameter.detach().flatten()[order.to(parameter.device)]
            parameter.copy_(shuffled.view_as(parameter))
    return other
