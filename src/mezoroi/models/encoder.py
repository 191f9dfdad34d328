"""Any timm backbone as a chain of stages, so that the first ones can be frozen and cached."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models import EfficientNetFeatures, FeatureListNet, MobileNetV3Features
from torch import Tensor, nn

from mezoroi.errors import MezoroiError
from mezoroi.maps import Grid
from mezoroi.models.cell_grid import measure_grid
from mezoroi.models.weights import PACKAGED_BACKBONE, packaged_weights


class Encoder(nn.Module):
    """Image to feature map, and on to the deep map behind it.

    The feature map, on a fine grid, says where; the deep map, from the backbone's last stage, says
    what. Where the feature map is the last, the two are one.

    Parameters
    ----------
    backbone : name of a timm model
    stride : 8, 16 or 32, pixels of the image per cell of the feature map
    weights : ``package`` (ImageNet weights of the default backbone), ``none`` (random), or the
        path of a timm checkpoint

    Attributes
    ----------
    is_chain : whether the backbone could be cut into stages
    stages : the backbone up to the feature map, cut after each of its feature stages; one stage
        where it is no chain
    deep_stages : the rest of the backbone; empty where it is no chain
    channels, deep_channels : number of channels of the feature map and of the deep map
    stage_channels : number of channels behind each of `stages`; the last is `channels`
    stride, deep_stride : pixels of the image per cell of either
    grid : where the cells of the feature map lie on the image
    mean, std : (3,) normalisation the backbone was trained with, for RGB in [0, 1]

    Raises
    ------
    MezoroiError
        For an unknown backbone, one without a feature map at `stride`, or unreadable weights.
    """

    def __init__(self, backbone: str, stride: int = 32, weights: str = "package") -> None:
        super().__init__()
        network, last = _feature_network(backbone, stride, weights)
        self.is_chain = isinstance(network, _CHAINS)
        stages = _cut_into_stages(network)
        self.stages = nn.Sequential(*stages[: last + 1])
        self.deep_stages = nn.Sequential(*stages[last + 1 :])
        info = network.feature_info
        self.channels: int = info.channels()[last]
        self.deep_channels: int = info.channels()[-1]
        self.stage_channels: tuple[int, ...] = tuple(info.channels()[: last + 1])[
            -len(self.stages) :
        ]
        self.stride = stride
        self.deep_stride: int = info.reduction()[-1]
        config = timm.get_pretrained_cfg(backbone)
        mean, std = (config.mean, config.std) if config else ((0.485, 0.456, 0.406), (0.229,) * 3)
        self.grid = self._measured_grid()
        self.mean = tuple(float(value) for value in mean)
        self.std = tuple(float(value) for value in std)

    def _measured_grid(self) -> Grid:
        side = 2 * self.deep_stride
        was_training = self.training
        self.eval()
        try:
            with torch.inference_mode():
                return measure_grid(
                    self, self.stages, (side, side), lambda: self(torch.zeros(1, 3, side, side))
                )
        except Exception:  # timm's networks raise many kinds for another size than their own
            return Grid((float(self.stride), float(self.stride)))
        finally:
            self.train(was_training)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) normalised images -> (N, channels, H / stride, W / stride)."""
        return self.stages(images)

    def deepen(self, feature_map: Tensor) -> Tensor:
        """(N, channels, H, W) feature map -> (N, deep_channels, h, w) deep map."""
        return self.deep_stages(feature_map)

    def run_stages(self, values: Tensor, start: int, stop: int | None = None) -> Tensor:
        """Run stages `start` … `stop` - 1, on images or on the output of stage `start` - 1.

        All of them lie before the feature map.
        """
        for stage in list(self.stages)[start:stop]:
            values = stage(values)
        return values


_CHAINS = (FeatureListNet, EfficientNetFeatures, MobileNetV3Features)


class _WholeBackbone(nn.Module):
    """A backbone that is not a plain chain, as one stage."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)[-1]


def _feature_network(backbone: str, stride: int, weights: str) -> tuple[Any, int]:
    """A timm feature network, and which of its maps is the last at `stride`.

    A chain is whole; any other network ends at that map.
    """
    if not timm.is_model(backbone):
        similar = timm.list_models(f"*{backbone.split('_')[0]}*")[:3]
        hint = f"did you mean {', '.join(similar)}?" if similar else "see timm.list_models()"
        raise MezoroiError(f"unknown backbone `{backbone}`: {hint}")
    probe: Any
    try:
        probe = timm.create_model(backbone, features_only=True)
    except Exception as error:  # timm raises many kinds for a network without feature maps
        raise MezoroiError(
            f"backbone `{backbone}` gives no feature maps ({first_line(error)}): "
            "choose a convolutional one"
        ) from error
    reductions = probe.feature_info.reduction()
    if stride not in reductions:
        raise MezoroiError(
            f"backbone `{backbone}` has no feature map at stride {stride}: "
            f"set model.stride to one of {sorted(set(reductions))}"
        )
    last = max(index for index, value in enumerate(reductions) if value == stride)
    end = len(reductions) if isinstance(probe, _CHAINS) else last + 1
    options: dict[str, Any] = {"features_only": True, "out_indices": tuple(range(end))}
    if weights == "none":
        return timm.create_model(backbone, **options), last
    if weights == "package":
        return _with_packaged_weights(backbone, options), last
    return _with_weights_of_file(backbone, options, weights), last


def first_line(error: Exception) -> str:
    """What an error of a library says, in a line."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _with_packaged_weights(backbone: str, options: dict[str, Any]) -> Any:
    if backbone != PACKAGED_BACKBONE:
        raise MezoroiError(
            f"only `{PACKAGED_BACKBONE}` has packaged weights: set model.weights to the path of a "
            f"checkpoint of `{backbone}`, or to none"
        )
    network = timm.create_model(backbone, **options)
    wanted = network.state_dict()
    available = packaged_weights()
    network.load_state_dict({name: available[name] for name in wanted})
    return network


def _with_weights_of_file(backbone: str, options: dict[str, Any], weights: str) -> Any:
    if not Path(weights).is_file():
        raise MezoroiError(f"weights {weights} do not exist: give the path of a timm checkpoint")
    start = torch.get_rng_state()
    try:
        with _quiet_timm():
            network = timm.create_model(
                backbone, pretrained=True, pretrained_cfg_overlay={"file": weights}, **options
            )
    except Exception as error:  # timm raises many kinds for a foreign checkpoint
        raise MezoroiError(
            f"weights {weights} do not fit `{backbone}` ({first_line(error)}): "
            "give a timm checkpoint of it"
        ) from error
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(start)
        blank = dict(timm.create_model(backbone, **options).named_parameters())
    drawn = {name: value for name, value in blank.items() if value.min() < value.max()}
    # timm leaves at random, and does not say, what a checkpoint has no tensor for.
    left = [
        name
        for name, value in network.named_parameters()
        if name in drawn and torch.equal(value, drawn[name])
    ]
    if left:
        raise MezoroiError(
            f"weights {weights} hold {len(drawn) - len(left)} of {len(drawn)} tensors of "
            f"`{backbone}`, and no {left[0]}: give a timm checkpoint of it"
        )
    return network


@contextmanager
def _quiet_timm() -> Iterator[None]:
    """Without timm's remark on the classifier, which a checkpoint holds and no encoder needs."""
    logger = logging.getLogger("timm")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _cut_into_stages(network: nn.Module) -> list[nn.Module]:
    """The children of a feature network in order, cut after each feature module."""
    steps: list[tuple[str, nn.Module]] = []
    if isinstance(network, FeatureListNet):
        ends = set(network.return_layers)
        steps = list(network.named_children())
    elif isinstance(network, _CHAINS):
        ends = set(network.feature_info.module_name())
        for name, module in network.named_children():
            if name == "blocks":
                steps += [(f"blocks.{index}", block) for index, block in module.named_children()]
            else:
                steps.append((name, module))
    else:
        return [_WholeBackbone(network)]
    cuts = [0] + [index + 1 for index, (name, _) in enumerate(steps) if name in ends]
    return [
        nn.Sequential(*(module for _, module in steps[start:stop]))
        for start, stop in pairwise(cuts)
    ]


def normalise(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """(N, 3, H, W) RGB in [0, 1] -> the backbone's own scale."""
    return (images - _per_channel(mean, images)) / _per_channel(std, images)


def denormalise(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """The backbone's own scale -> (N, 3, H, W) RGB in [0, 1]."""
    return images * _per_channel(std, images) + _per_channel(mean, images)


def _per_channel(values: tuple[float, ...], images: Tensor) -> Tensor:
    return torch.tensor(values, dtype=images.dtype, device=images.device).view(1, 3, 1, 1)
