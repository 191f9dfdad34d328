"""Boxes on images and maps, relative to the image, as batches of tensors.

A box is x0, y0, x1, y1 with x0 in [0, 1), y0 < y1 in [0, 1] and x0 < x1 <= x0 + 1. On a panorama x1
may exceed 1: the box goes on at the left edge. An image's boxes are (1 + P, 4): the object's, then
one for each part.
"""

from __future__ import annotations

import torch
from torch import Tensor

WHOLE = (0.0, 0.0, 1.0, 1.0)
"""The box of the whole image."""
PIXELS, CELLS = 0.5, 0.0
"""How far into its place a value lies: a pixel in its middle, a cell of a map at its start."""


def positions(count: int, offset: float, device: torch.device | None = None) -> Tensor:
    """(count,) places in [0, 1) of the values along a side.

    Symmetric padding centres the i-th cell of a strided convolution on the first of its pixels, and
    so the `offset` of maps is `CELLS`; that of images is `PIXELS`.
    """
    return (torch.arange(count, device=device) + offset) / count


def inside(boxes: Tensor, height: int, width: int, offset: float) -> Tensor:
    """(…, height, width) bool: which values of an image or map lie in each box (…, 4).

    A box holds at least the value nearest to its middle.
    """
    x0, y0, x1, y1 = boxes.unbind(dim=-1)
    rows = _within(positions(height, offset, boxes.device), y0, y1)
    columns = _within(positions(width, offset, boxes.device), x0, x1)
    return rows[..., :, None] & columns[..., None, :]


def _within(places: Tensor, start: Tensor, end: Tensor) -> Tensor:
    start, length = start[..., None], (end - start)[..., None]
    # A value on the edge belongs to the box that begins there, whatever rounding says.
    found = (places - start + 1e-6) % 1 < length
    from_middle = ((start + length / 2 - places + 0.5) % 1 - 0.5).abs()
    nearest = from_middle == from_middle.amin(dim=-1, keepdim=True)
    return torch.where(found.any(dim=-1, keepdim=True), found, nearest)


def box_iou(one: Tensor, other: Tensor) -> Tensor:
    """(…,) intersection over union of boxes (…, 4), round the seam of panoramas too."""
    rows = _overlap(one[..., 1], one[..., 3], other[..., 1], other[..., 3])
    columns = sum(
        _overlap(one[..., 0], one[..., 2], other[..., 0] + turn, other[..., 2] + turn)
        for turn in (-1, 0, 1)
    )
    shared = rows * columns
    return shared / (box_area(one) + box_area(other) - shared)


def box_area(boxes: Tensor) -> Tensor:
    """(…,) share of the image that each box (…, 4) covers."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def _overlap(start: Tensor, end: Tensor, other_start: Tensor, other_end: Tensor) -> Tensor:
    return (torch.minimum(end, other_end) - torch.maximum(start, other_start)).clamp_min(0)
