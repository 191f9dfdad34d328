"""From an image of any size to the size the network sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

# Below this difference of the aspect ratios an image is stretched, above it is padded.
_STRETCH = 0.03


@dataclass(frozen=True)
class FittedImage:
    """An image at network size.

    Attributes
    ----------
    pixels : (H, W, 3) uint8
    top, left, height, width : the box the image fills; the rest repeats its border
    """

    pixels: np.ndarray
    top: int
    left: int
    height: int
    width: int

    def crop(self, plane: np.ndarray) -> np.ndarray:
        """The part of a plane (…, H, W) at network size that shows the image."""
        return plane[..., self.top : self.top + self.height, self.left : self.left + self.width]


def fit_image(image: np.ndarray, height: int, width: int) -> FittedImage:
    """Shrink or enlarge (h, w, 3) uint8 to (height, width), keeping its proportions."""
    rows, columns = image.shape[:2]
    scale = min(height / rows, width / columns)
    box_height = min(height, max(1, round(rows * scale)))
    box_width = min(width, max(1, round(columns * scale)))
    if abs(columns / rows * height / width - 1) <= _STRETCH:
        box_height, box_width = height, width
    shrinks = box_height < rows or box_width < columns
    resized = cv2.resize(
        image,
        (box_width, box_height),
        interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR,
    )
    top, left = (height - box_height) // 2, (width - box_width) // 2
    if (box_height, box_width) != (height, width):
        resized = cv2.copyMakeBorder(
            resized,
            top,
            height - box_height - top,
            left,
            width - box_width - left,
            cv2.BORDER_REPLICATE,
        )
    return FittedImage(resized, top, left, box_height, box_width)


def to_tensor(images: Sequence[np.ndarray]) -> Tensor:
    """N images (H, W, 3) uint8 -> (N, 3, H, W) float32 in [0, 1], channels last in memory."""
    batch = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    return batch.to(torch.float32).div_(255.0)
