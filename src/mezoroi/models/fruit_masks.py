"""Experts' masks as what class channels should show."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mezoroi.datasets import Dataset
from mezoroi.maps import Grid
from mezoroi.models.preprocess import fit_mask


class FruitMasks:
    """The masks of a dataset, at network size.

    Parameters
    ----------
    height, width : of the network's input in pixels
    grades : those that class channels show

    Attributes
    ----------
    known : (N, S) bool, whether a fruit's mask says where it shows a grade, if only: nowhere

    Raises
    ------
    MezoroiError
        If a mask is damaged or of another size than its image.
    """

    def __init__(self, dataset: Dataset, height: int, width: int, grades: Sequence[str]) -> None:
        self.size = (height, width)
        self.known = torch.zeros(len(dataset), len(grades), dtype=torch.bool)
        self._packed: dict[tuple[int, int], np.ndarray] = {}
        for index, item in enumerate(dataset):
            for number, grade in enumerate(grades):
                mask = dataset.mask_of(item, grade)
                if mask is not None:
                    self.known[index, number] = True
                    self._packed[index, number] = np.packbits(fit_mask(mask, height, width))

    def __len__(self) -> int:
        """Number of fruits with a mask of at least one of the grades."""
        return int(self.known.any(dim=1).sum())

    def planes(self, indices: Sequence[int]) -> Tensor:
        """(N, S, H, W) float32, 1 where a fruit shows a grade; 0 where that is not known."""
        height, width = self.size
        planes = torch.zeros(len(indices), self.known.shape[1], height, width)
        for row, index in enumerate(indices):
            for number in self.known[index].nonzero()[:, 0].tolist():
                bits = np.unpackbits(self._packed[index, number], count=height * width)
                planes[row, number] = torch.from_numpy(bits.reshape(height, width))
        return planes


def in_cells(masks: Tensor, grid: Grid, wraps: bool) -> Tensor:
    """Share of each cell of the feature map that masks (N, S, H, W) cover: (N, S, h, w) in [0, 1].

    A cell is the square of a step around its centre; at the border what lies beside it repeats the
    border, or the other side of a panorama.

    Parameters
    ----------
    grid : of the feature map, in whole steps, the same along rows and columns
    """
    stride = int(grid.step[0])
    start = stride + round(grid.offset[0]) - stride // 2
    height, width = (-(-size // stride) * stride for size in masks.shape[2:])
    masks = F.pad(masks, (stride, stride, 0, 0), mode="circular" if wraps else "replicate")
    masks = F.pad(masks, (0, stride, stride, 2 * stride), mode="replicate")
    return F.avg_pool2d(masks[..., start : start + height, start : start + width], stride)
