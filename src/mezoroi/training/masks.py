"""Experts' masks as what class channels should show."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mezoroi.datasets import Dataset
from mezoroi.models.preprocess import fit_image


class FruitMasks:
    """The masks of a dataset, at network size.

    Parameters
    ----------
    grades : at most 8, those that class channels show

    Attributes
    ----------
    known : (N, S) bool, whether a fruit's mask says where it shows a grade, if only: nowhere

    Raises
    ------
    MezoroiError
        If a mask is damaged or of another size than its image.
    """

    def __init__(self, dataset: Dataset, height: int, width: int, grades: Sequence[str]) -> None:
        if len(grades) > 8:
            raise ValueError(f"{len(grades)} grades do not fit into the bits of a byte")
        self.grades = tuple(grades)
        self.size = (height, width)
        self.known = torch.zeros(len(dataset), len(grades), dtype=torch.bool)
        self._bits: dict[int, np.ndarray] = {}
        for index, item in enumerate(dataset):
            if item.mask is None:
                continue
            bits = np.zeros(self.size, dtype=np.uint8)
            for bit, grade in enumerate(grades):
                mask = dataset.mask_of(item, grade)
                if mask is not None:
                    plane = fit_image(np.where(mask, 255, 0).astype(np.uint8), height, width).pixels
                    bits |= (plane > 128).astype(np.uint8) << bit
                    self.known[index, bit] = True
            self._bits[index] = bits

    def __len__(self) -> int:
        """Number of fruits with a mask of at least one of the grades."""
        return int(self.known.any(dim=1).sum())

    def planes(self, indices: Sequence[int]) -> Tensor:
        """(N, S, H, W) float32, 1 where a fruit shows a grade; 0 where that is not known."""
        planes = torch.zeros(len(indices), len(self.grades), *self.size)
        for row, index in enumerate(indices):
            if index in self._bits:
                bits = self._bits[index]
                for bit in range(len(self.grades)):
                    planes[row, bit] = torch.from_numpy((bits >> bit) & 1)
        return planes


def in_cells(masks: Tensor, stride: int, wraps: bool) -> Tensor:
    """Share of each cell of the feature map that masks (N, S, H, W) cover: (N, S, h, w) in [0, 1].

    A cell is the square of `stride` pixels around pixel i * `stride`, where `upsample_maps` puts
    it; at the border what lies beside it repeats the border, or the other side of a panorama.
    """
    before = stride // 2
    below, right = (max(0, -size % stride - before) for size in masks.shape[2:])
    masks = F.pad(masks, (before, right, 0, 0), mode="circular" if wraps else "replicate")
    masks = F.pad(masks, (0, 0, before, below), mode="replicate")
    return F.avg_pool2d(masks, stride)
