"""The images of a dataset as a network sees them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from mezoroi.capture.images import read_image
from mezoroi.capture.sources import PHOTO_SIDE
from mezoroi.datasets import Dataset
from mezoroi.models.fruit_masks import FruitMasks
from mezoroi.models.preprocess import fit_image, to_tensor


@dataclass(frozen=True)
class InputSize:
    """What the network sees: its size, and whether left and right meet."""

    height: int
    width: int
    wraps: bool


class FruitImages(TorchDataset):
    """Images of a dataset at network size, kept in memory while they fit into `megabytes`.

    With `masks` batches also hold these, as planes of pixels.
    """

    def __init__(
        self,
        dataset: Dataset,
        height: int,
        width: int,
        megabytes: int,
        masks: FruitMasks | None = None,
    ) -> None:
        self.dataset = dataset
        self.masks = masks
        self.size = (height, width)
        self.labels = torch.from_numpy(dataset.labels)
        self.outlines = torch.from_numpy(dataset.outline_matrix()) if dataset.has_outlines else None
        self._keeps = len(dataset) * height * width * 3 <= megabytes << 20
        self._kept: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.dataset)

    def pixels(self, index: int) -> np.ndarray:
        """(H, W, 3) uint8 at network size."""
        if index in self._kept:
            return self._kept[index]
        # As large as `read_fruit` reads it: a grading is to see what the training saw.
        image = read_image(self.dataset.observations[index].image, max_side=PHOTO_SIDE)
        fitted = fit_image(image, *self.size).pixels
        if self._keeps:
            self._kept[index] = fitted
        return fitted

    def images(self, indices: list[int]) -> Tensor:
        """(N, 3, H, W) float32 in [0, 1]."""
        return to_tensor([self.pixels(index) for index in indices])

    def __getitems__(self, items: list[tuple[int, int]]) -> dict[str, Tensor]:
        indices = [index for index, _ in items]
        batch = {"images": self.images(indices), **self.targets(indices)}
        batch["items"] = torch.tensor(items)
        if self.masks is not None:
            batch["masks"] = self.masks.planes(indices)
        return batch

    def targets(self, indices: list[int]) -> dict[str, Tensor]:
        """Labels (N,) and, where the dataset has them, outlines (N, F) and known masks (N, S)."""
        chosen = {"labels": self.labels[indices]}
        if self.masks is not None:
            chosen["known"] = self.masks.known[indices]
        if self.outlines is not None:
            chosen["outlines"] = self.outlines[indices]
        return chosen
