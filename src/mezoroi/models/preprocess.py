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

    def fit_mask(self, mask: np.ndarray) -> np.ndarray:
        """A mask (h, w) of the image, of any size, as `fit_mask` fits one of the image's size."""
        box = (self.top, self.left, self.height, self.width)
        return _in_box(mask, self.pixels.shape[:2], box)


def fit_image(image: np.ndarray, height: int, width: int) -> FittedImage:
    """Shrink or enlarge (h, w, 3) uint8 to (height, width), keeping its proportions."""
    rows, columns = image.shape[:2]
    top, left, box_height, box_width = picture_box(rows, columns, height, width)
    resized = _resized(image, box_height, box_width)
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


def fit_mask(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """(height, width) bool of a mask (h, w), where `fit_image` puts its image.

    A pixel is in it when more than half of what it shows is; where no pixel is, as of a scratch
    finer than a pixel, those with more than half of the largest share. Nothing is in the border.
    """
    rows, columns = mask.shape
    return _in_box(mask, (height, width), picture_box(rows, columns, height, width))


def picture_box(rows: int, columns: int, height: int, width: int) -> tuple[int, int, int, int]:
    """Top, left, height and width of what an image of (rows, columns) fills."""
    scale = min(height / rows, width / columns)
    box_height = min(height, max(1, round(rows * scale)))
    box_width = min(width, max(1, round(columns * scale)))
    if abs(columns / rows * height / width - 1) <= _STRETCH:
        box_height, box_width = height, width
    return (height - box_height) // 2, (width - box_width) // 2, box_height, box_width


def _in_box(mask: np.ndarray, size: tuple[int, ...], box: tuple[int, int, int, int]) -> np.ndarray:
    top, left, height, width = box
    plane = np.zeros(size, dtype=bool)
    filled = _resized(mask.astype(np.float32), height, width)
    plane[top : top + height, left : left + width] = filled > min(0.5, 0.5 * float(filled.max()))
    return plane


def _resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    shrinks = height < image.shape[0] or width < image.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(image, (width, height), interpolation=method)


def to_tensor(images: Sequence[np.ndarray]) -> Tensor:
    """N images (H, W, 3) uint8 -> (N, 3, H, W) float32 in [0, 1], channels last in memory."""
    batch = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    return batch.to(torch.float32).div_(255.0)
