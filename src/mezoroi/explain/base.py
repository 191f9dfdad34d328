"""What every explainer does around its method: check, keep the model as found, go in parts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from mezoroi.errors import MezoroiError
from mezoroi.explain.layers import (
    FEATURE_MAP,
    Seen,
    last_feature_layer,
    layer_name,
    look,
    look_at_feature_map,
)
from mezoroi.explain.subject import Subject
from mezoroi.explain.targets import Target, Targets, checked_targets, listed_targets
from mezoroi.maps import Grid, upsample_maps, weighted_map


class Explainer(ABC):
    """Maps of what speaks for a target in an image.

    Call it with images (N, 3, H, W), as the model takes them (RGB in [0, 1] for a Grader's
    network), and one target per image; the result is (N, h, w) float32, raw and signed, on the
    images' device. The model, the images and torch's generators are left as they were.
    """

    name: ClassVar[str]

    def __init__(self, model: nn.Module) -> None:
        self.subject = Subject(model)

    def __call__(self, images: Tensor, targets: Targets) -> Tensor:
        moved = self.subject.moved(images)
        chosen = [[target] for target in checked_targets(targets, len(moved))]
        return self._explain(moved, chosen)[:, 0].to(images.device)

    def all_targets(self, images: Tensor, targets: Sequence[int | Target]) -> Tensor:
        """(N, T, h, w): every image with every target, which costs less than T calls."""
        moved = self.subject.moved(images)
        own = listed_targets(targets)
        return self._explain(moved, [own] * len(moved)).to(images.device)

    def to_pixels(self, maps: Tensor, height: int, width: int) -> Tensor:
        """(N, h, w) maps of this explainer at the size (N, height, width) of the images.

        Raises
        ------
        MezoroiError
            If images of this size have maps of another one.
        """
        return upsample_maps(maps[:, None], height, width)[:, 0]

    @abstractmethod
    def _explain(self, images: Tensor, targets: list[list[Target]]) -> Tensor:
        """(N, T, h, w) for moved images and T targets each."""


class PassExplainer(Explainer):
    """An explainer that needs one pass of the model, which several can share.

    Parameters
    ----------
    layer : a module of the model or its dotted name, whose output (N, K, h, w) is weighted; default
        the feature map of a Grader's network, the last feature stage of another one
    """

    needs_gradient: ClassVar[bool] = False
    needs_answer: ClassVar[bool] = True

    def __init__(self, model: nn.Module, layer: nn.Module | str | None = None) -> None:
        super().__init__(model)
        self._layer = layer_name(self.subject, layer)
        self._channels = 3
        self._grids: dict[tuple[int, int], tuple[Grid, tuple[int, int]]] = {}

    def to_pixels(self, maps: Tensor, height: int, width: int) -> Tensor:
        own = self.subject.grading_model
        wraps = own is not None and own.wrap_margin > 0
        if (height, width) not in self._grids:
            self._grids[height, width] = self._grid_and_cells(height, width)
        grid, cells = self._grids[height, width]
        if maps.shape[1:] != cells:
            raise MezoroiError(
                f"maps {tuple(maps.shape)} are not of images of {height} x {width}, which have "
                f"{cells[0]} x {cells[1]} cells: give the images' size, height before width"
            )
        return upsample_maps(maps[:, None], height, width, wraps, grid)[:, 0]

    def _grid_and_cells(self, height: int, width: int) -> tuple[Grid, tuple[int, int]]:
        """Where cells lie on images of this size, and how many rows and columns there are."""
        image = self.subject.moved(torch.zeros(1, self._channels, height, width))
        with self.subject.untouched():
            name = self.layer(image)
            grid = self.subject.grid_of(self.subject.model.get_submodule(name), image)
            rows, columns = look(self.subject, image, {name}).features[name].shape[2:]
        return grid, (rows, columns)

    def layer(self, images: Tensor) -> str:
        """Dotted name of the layer; looked for with the first image if it was not given."""
        self._channels = images.shape[1]
        if self._layer is None:
            self._layer = last_feature_layer(self.subject, images)
        return self._layer

    @abstractmethod
    def from_pass(self, seen: Seen, targets: list[list[Target]]) -> Tensor:
        """(N, T, h, w) from what a pass showed; targets per image."""

    def _explain(self, images: Tensor, targets: list[list[Target]]) -> Tensor:
        return _passes({self.name: self}, images, {self.name: targets})[self.name]


def explain_together(
    explainers: Mapping[str, Explainer], images: Tensor, targets: Mapping[str, Targets]
) -> dict[str, Tensor]:
    """Several explainers on the same images, those that can share a pass of the model do so.

    Parameters
    ----------
    explainers : by a name of your choice
    images : (N, 3, H, W)
    targets : one per image, by the same names

    Returns
    -------
    dict of (N, h, w) by name, the same as each explainer gives on its own
    """
    sharing: dict[int, dict[str, PassExplainer]] = {}
    maps: dict[str, Tensor] = {}
    for name, explainer in explainers.items():
        if isinstance(explainer, PassExplainer):
            sharing.setdefault(id(explainer.subject.model), {})[name] = explainer
        else:
            maps[name] = explainer(images, targets[name])
    for group in sharing.values():
        moved = next(iter(group.values())).subject.moved(images)
        chosen = {
            name: [[target] for target in checked_targets(targets[name], len(moved))]
            for name in group
        }
        found = _passes(group, moved, chosen)
        maps |= {name: values[:, 0].to(images.device) for name, values in found.items()}
    return {name: maps[name] for name in explainers}


def _passes(
    explainers: Mapping[str, PassExplainer],
    images: Tensor,
    targets: Mapping[str, list[list[Target]]],
) -> dict[str, Tensor]:
    """(N, T, h, w) by name for explainers of one model; one pass, unless gradients need more."""
    subject = next(iter(explainers.values())).subject
    with subject.untouched():
        layers = {name: explainer.layer(images) for name, explainer in explainers.items()}
        # A gradient starts at one layer; the explainers that need none join the first pass.
        starts = [layers[name] for name, one in explainers.items() if one.needs_gradient]
        first = starts[0] if starts else None
        passes: dict[str | None, list[str]] = {}
        for name, explainer in explainers.items():
            start = layers[name] if explainer.needs_gradient else first
            passes.setdefault(start, []).append(name)
        parts: dict[str, list[Tensor]] = {name: [] for name in explainers}
        size = subject.part_size(images)
        for begin in range(0, len(images), size):
            rows = slice(begin, begin + size)
            for start, names in passes.items():
                wanted = {layers[name] for name in names}
                short = subject.grading_model is not None and wanted == {FEATURE_MAP}
                if short and not any(explainers[name].needs_answer for name in names):
                    seen = look_at_feature_map(subject, images[rows])
                else:
                    seen = look(subject, images[rows], wanted, start)
                for name in names:
                    found = explainers[name].from_pass(seen, targets[name][rows])
                    parts[name].append(found.detach())
    return {name: torch.cat(found) for name, found in parts.items()}


def summed_maps(features: Tensor, weights: Tensor) -> Tensor:
    """`weighted_map` in full precision, also where the caller's autocast multiplies in half."""
    with torch.autocast(features.device.type, enabled=False):
        return weighted_map(features, weights)


def checked_count(name: str, value: int, least: int = 1) -> int:
    """`value` if it is a whole number of at least `least`.

    Raises
    ------
    MezoroiError
        If it is not.
    """
    if not isinstance(value, (int, np.integer)) or value < least:
        raise MezoroiError(f"{name} is {value}: give a whole number of at least {least}")
    return int(value)
