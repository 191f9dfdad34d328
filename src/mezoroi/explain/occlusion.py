"""Occlusion: how much a score drops when a window of the image is covered."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from mezoroi.errors import MezoroiError
from mezoroi.explain.base import Explainer, checked_count
from mezoroi.explain.targets import Target
from mezoroi.maps import window_average, window_starts

OCCLUSION_PRESETS: Mapping[str, Mapping[str, int]] = {
    "exact": {"patch": 11, "stride": 2},
    "medium": {"patch": 24, "stride": 8},
    "coarse": {"patch": 32, "stride": 16},
}
"""Options by name: at 224 pixels 11,664, 676 and 169 passes."""


class Occlusion(Explainer):
    """Drop of the score when a window is covered (Zeiler and Fergus 2014).

    The maps have one value per window; `to_pixels` averages those that cover a pixel. Windows start
    at the top left; the last one of a row or column may be cut off by the edge.

    Parameters
    ----------
    patch, stride : side of a window and distance between windows, in pixels; stride <= patch
    baseline : value of covered pixels; for a Grader's network on the scale of its normalised
        images, where 0 is the mean colour
    megabytes : of covered images made at a time; default 2 on a CPU, 64 on a GPU
    """

    name: ClassVar[str] = "occlusion"

    def __init__(
        self,
        model: nn.Module,
        patch: int = 11,
        stride: int = 2,
        baseline: float = 0.0,
        megabytes: float | None = None,
    ) -> None:
        super().__init__(model)
        self.patch = checked_count("patch", patch)
        self.stride = checked_count("stride", stride)
        if stride > patch:
            raise MezoroiError(
                f"stride {stride} leaves gaps between windows of {patch}: use at most {patch}"
            )
        if not math.isfinite(baseline):
            raise MezoroiError(
                f"baseline is {baseline}: give the value of covered pixels, such as 0"
            )
        self.baseline = baseline
        self.budget = checked_budget(megabytes)

    def to_pixels(self, maps: Tensor, height: int, width: int) -> Tensor:
        windows = tuple(
            len(window_starts(side, self.patch, self.stride)) for side in (height, width)
        )
        if maps.shape[1:] != windows:
            raise MezoroiError(
                f"maps {tuple(maps.shape)} are not of images of {height} x {width}, which have "
                f"{windows[0]} x {windows[1]} windows: give the images' size"
            )
        with torch.autocast(maps.device.type, enabled=False):  # products of half precision
            return window_average(maps, height, width, self.patch, self.stride)

    def _explain(self, images: Tensor, targets: list[list[Target]]) -> Tensor:
        height, width = images.shape[2:]
        if min(height, width) < self.patch:
            raise MezoroiError(
                f"an image of {height} x {width} is smaller than the patch of {self.patch}: "
                "give a smaller patch"
            )
        rows, columns = (window_starts(side, self.patch, self.stride) for side in (height, width))
        corners = [(top, left) for top in rows for left in columns]
        with self.subject.untouched(), self.subject.without_graph():
            found = [
                self._drops(image, corners, own) for image, own in zip(images, targets, strict=True)
            ]
        maps = torch.stack(found)  # outside of inference mode, so that users may go on with it
        return maps.permute(0, 2, 1).reshape(len(maps), -1, len(rows), len(columns))

    def _drops(
        self, image: Tensor, corners: list[tuple[int, int]], targets: list[Target]
    ) -> Tensor:
        """(windows, T) of one image."""
        fill = self.subject.fill(self.baseline)
        if isinstance(fill, Tensor):
            fill = fill.to(image)
        whole = self.subject.answer_for(image[None], targets).values(targets).float()
        step = self.subject.batch_within(self.budget, image)
        found = []
        for start in range(0, len(corners), step):
            part = corners[start : start + step]
            covered = image.expand(len(part), -1, -1, -1).clone()
            for one, (top, left) in zip(covered, part, strict=True):
                one[:, top : top + self.patch, left : left + self.patch] = fill
            found.append(self.subject.answer_for(covered, targets).values(targets).float())
        return whole - torch.cat(found)


def checked_budget(megabytes: float | None) -> float | None:
    """A budget in megabytes, if there is one.

    Raises
    ------
    MezoroiError
        If it is not positive.
    """
    if megabytes is not None and not megabytes > 0:
        raise MezoroiError(f"megabytes is {megabytes}: give a positive budget")
    return megabytes
