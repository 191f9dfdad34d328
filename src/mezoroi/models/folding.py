"""Batch norms folded into the convolutions before them: the same numbers in less time."""

from __future__ import annotations

import copy
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from mezoroi.models.grading_model import GradingModel

_TOLERANCE = 1e-3
_PROBE_SIDE = 64


def folded_model(network: GradingModel) -> GradingModel:
    """A copy of a grading model whose backbone is folded, see `folded`; shares nothing with it."""
    encoder = network.encoder
    device = next(network.parameters()).device
    generator = torch.Generator().manual_seed(0)
    probe = torch.randn(1, 3, _PROBE_SIDE, _PROBE_SIDE, generator=generator).to(device)
    with torch.inference_mode():
        between = encoder(probe)
    pairs = ((encoder.stages, probe), (encoder.deep_stages, between))
    lean = {id(stages): folded(stages, given) for stages, given in pairs}
    # What is folded counts as copied already; the rest, with what could not be folded, is copied.
    return copy.deepcopy(network, {own: one for own, one in lean.items() if id(one) != own})


def folded(network: nn.Sequential, probe: Tensor) -> nn.Sequential:
    """A copy of a network in evaluation mode with its batch norms folded away.

    A batch norm is folded where it is listed right behind a convolution in the same module, which
    is how convolutional networks are written; where a network is wired differently the numbers on
    `probe` show it, and the network itself comes back.

    Parameters
    ----------
    network : in evaluation mode; left as it is
    probe : an input, such as a few random images

    Returns
    -------
    the copy, or `network` where folding would change what it says or there is nothing to fold
    """
    lean = copy.deepcopy(network)
    if not sum(_fold_children(module) for module in list(lean.modules())):
        return network
    with torch.inference_mode():
        expected, found = network(probe), lean(probe)
    largest = expected.abs().amax().clamp(min=1e-6)
    return lean if (expected - found).abs().amax() <= _TOLERANCE * largest else network


def _fold_children(module: nn.Module) -> int:
    """Fold the batch norms directly inside `module`; how many."""
    count = 0
    for (first, conv), (second, norm) in pairwise(list(module.named_children())):
        if not isinstance(conv, nn.Conv2d) or not isinstance(norm, nn.BatchNorm2d):
            continue
        if norm.running_mean is None or norm.num_features != conv.out_channels:
            continue
        setattr(module, first, fuse_conv_bn_eval(conv, norm))
        # timm's batch norms bring their activation with them.
        setattr(module, second, getattr(norm, "act", nn.Identity()))
        count += 1
    return count
