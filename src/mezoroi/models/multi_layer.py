"""Features of several layers of a backbone, as Feature Tuning starts from (Tani and Wada, 3.1)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from mezoroi.errors import MezoroiError
from mezoroi.models.encoder import normalise
from mezoroi.models.weights import PACKAGED_BACKBONE, packaged_weights

HEAD_INPUT = "GAP"
"""Name of what feeds the backbone's own classifier."""
_FIRST_STRIDE = 4
_NO_STAGES = "backbone `{}` has no stages: choose a convolutional one"


class MultiLayerFeatures(nn.Module):
    """Images to the pooled outputs of a backbone's stages and what feeds its head, side by side.

    The layers are named as on a ResNet: ``conv2`` is the last map at stride 4, ``conv3`` at 8,
    ``conv4`` at 16, ``conv5`` at 32; ``GAP`` is the head's input. Where that is the mean of the
    ``conv5`` map itself, as on a ResNet, ``conv5`` is pooled before the activation that makes this
    map, so that the two differ: 64 + 128 + 256 + 512 + 512 = 1472 on ResNet-18. Where no activation
    makes it, as where branches are joined, they are the same.

    Parameters
    ----------
    backbone : name of a convolutional timm model
    weights : ``package`` (ImageNet weights of the default backbone), ``none`` (random), or the path
        of a timm checkpoint

    Attributes
    ----------
    network : the timm model, without a classifier
    dims : number of features of each layer, in order

    Raises
    ------
    MezoroiError
        For an unknown backbone, one without maps at several strides, or unreadable weights.
    """

    def __init__(self, backbone: str = PACKAGED_BACKBONE, weights: str = "package") -> None:
        super().__init__()
        self.network = _network(backbone, weights)
        config = timm.get_pretrained_cfg(backbone)
        mean, std = (config.mean, config.std) if config else ((0.485, 0.456, 0.406), (0.229,) * 3)
        self.mean = tuple(float(value) for value in mean)
        self.std = tuple(float(value) for value in std)
        self._maps: dict[str, int] = {}
        self._last_activation: nn.Module | None = None
        was_training = self.network.training
        with torch.no_grad():
            probe = self.network.eval()
            generator = torch.Generator().manual_seed(0)
            images = torch.rand(1, 3, *_probe_size(probe), generator=generator)
            self._maps = _maps_by_layer(probe.forward_intermediates(images)[1], images.shape[-1])
            layers = self._layers(images)
            if len(layers) < 3:  # one map and what feeds the head
                raise MezoroiError(_NO_STAGES.format(backbone))
            if _is_same(list(layers.values())[-2], layers[HEAD_INPUT]):
                self._last_activation = _last_activation(probe, images)
        self.network.train(was_training)
        self.dims: dict[str, int] = {name: values.shape[1] for name, values in layers.items()}

    def prepare(self, images: Tensor) -> Tensor:
        """RGB in [0, 1] (N, 3, H, W) -> the backbone's own scale."""
        images = normalise(images, self.mean, self.std)
        return images.contiguous(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        """Prepared images (N, 3, H, W) -> (N, sum of `dims`), the *addition* of all layers."""
        return torch.cat(list(self._layers(images).values()), dim=1)

    def _layers(self, images: Tensor) -> dict[str, Tensor]:
        before_activation: list[Tensor] = []
        handle = None
        if self._last_activation is not None:
            # Pooled at once: the activation may work in place. The last call counts, as blocks
            # use one activation several times.
            handle = self._last_activation.register_forward_pre_hook(
                lambda _module, inputs: before_activation.append(inputs[0].mean(dim=(2, 3)))
            )
        try:
            final, maps = self.network.forward_intermediates(images)
        finally:
            if handle is not None:
                handle.remove()
        found = {name: maps[number].mean(dim=(2, 3)) for name, number in self._maps.items()}
        if before_activation:
            found[list(found)[-1]] = before_activation[-1]
        return {**found, HEAD_INPUT: self.network.forward_head(final, pre_logits=True)}


def _maps_by_layer(maps: Sequence[Tensor], width: int) -> dict[str, int]:
    """Which map is which layer; told where every stage halves the width, which others round."""
    found: dict[str, int] = {}
    for number, values in enumerate(maps):
        stride = width / values.shape[-1]
        if values.ndim == 4 and stride >= _FIRST_STRIDE:
            found[f"conv{round(math.log2(stride))}"] = number
    return found


def one_layer(features: Tensor, dims: Mapping[str, int], layer: str) -> Tensor:
    """(N, dims[layer]) of the features (N, sum of `dims`) of all layers."""
    return torch.split(features, list(dims.values()), dim=1)[list(dims).index(layer)]


def normalized_addition(features: Tensor, dims: Mapping[str, int]) -> Tensor:
    """The same features with each layer's part at length 1, so that no layer outweighs another."""
    parts = torch.split(features, list(dims.values()), dim=1)
    return torch.cat([nn.functional.normalize(part, dim=1) for part in parts], dim=1)


def _network(backbone: str, weights: str) -> Any:
    if not timm.is_model(backbone):
        raise MezoroiError(f"unknown backbone `{backbone}`: see timm.list_models()")
    network: Any
    if weights in ("none", "package"):
        network = timm.create_model(backbone, num_classes=0)
    elif Path(weights).is_file():
        try:
            network = timm.create_model(
                backbone, num_classes=0, pretrained=True, pretrained_cfg_overlay={"file": weights}
            )
        except Exception as error:  # timm raises many kinds for a foreign checkpoint
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise MezoroiError(
                f"weights {weights} do not fit `{backbone}` ({reason}): give a timm checkpoint of "
                "it"
            ) from error
    else:
        raise MezoroiError(f"weights {weights} do not exist: give the path of a timm checkpoint")
    if not hasattr(network, "forward_intermediates") or not hasattr(network, "forward_head"):
        raise MezoroiError(_NO_STAGES.format(backbone))
    if weights == "package":
        if backbone != PACKAGED_BACKBONE:
            raise MezoroiError(
                f"only `{PACKAGED_BACKBONE}` has packaged weights: give the path of a checkpoint "
                f"of `{backbone}`, or none"
            )
        available = packaged_weights()
        network.load_state_dict({name: available[name] for name in network.state_dict()})
    return network.to(memory_format=torch.channels_last)


def _last_activation(network: Any, images: Tensor) -> nn.Module | None:
    """The activation whose output is the last map; None where that ends otherwise.

    Neither the one defined last nor the one called last: a branch, or squeeze-and-excitation, may
    have it.
    """
    called: list[tuple[nn.Module, Tensor]] = []

    def note(module: nn.Module, _inputs: Any, output: Tensor) -> None:
        if output.ndim == 4:
            called.append((module, output.mean(dim=(2, 3))))

    ends = [part for part in network.modules() if isinstance(part, nn.ReLU | nn.SiLU | nn.GELU)]
    handles = [part.register_forward_hook(note) for part in ends]
    try:
        _, maps = network.forward_intermediates(images)
    finally:
        for handle in handles:
            handle.remove()
    pooled = maps[-1].mean(dim=(2, 3))
    return next((module for module, mean in reversed(called) if _is_same(mean, pooled)), None)


def _is_same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, rtol=1e-3, atol=1e-5)


def _probe_size(network: Any) -> tuple[int, int]:
    """A size that every stage can halve."""
    size = network.default_cfg.get("input_size", (3, 224, 224))
    return int(size[1]), int(size[2])
