"""Where the surface is neutral or disordered, and how an expert would paint such regions."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mezoroi.datasets.melons.sphere import (
    Array,
    blur,
    direction,
    directions,
    noise,
    smoothstep,
    upsample,
)

Mask = NDArray[np.bool_]
_PAINT_HEIGHT = 64  # a person paints no finer than this


@dataclass(frozen=True)
class Regions:
    """Strength 0 to 1 of each condition over the panorama, (H, W) each.

    `neutral` carries no grade evidence; `disorder` is irregular net; `gross` is net gone to chaos.
    `axis` (3,) points from the blossom to the stem.
    """

    axis: Array

    neutral: Array
    disorder: Array
    gross: Array


def patches(
    rng: np.random.Generator, height: int, share: float, count: int, within: Array, ragged: float
) -> Array:
    """Blobs around `count` random directions that cover `share` of the panorama.

    Parameters
    ----------
    within : (H, W) in [0, 1]; blobs lie where it is high
    ragged : size of the irregularity of their edges

    Returns
    -------
    (H, W) in [0, 1], 1 inside.
    """
    if share <= 0:
        return np.zeros((height, 2 * height), dtype=np.float32)
    coarse = min(height, 64)
    grid = directions(coarse)
    closeness = np.full(grid.shape[:2], -np.inf, dtype=np.float32)
    for _ in range(count):
        towards = direction(rng.uniform(-38, 38), rng.uniform(-180, 180))
        angle = np.arccos(np.clip(grid @ towards, -1, 1))
        closeness = np.maximum(closeness, -angle / np.float32(rng.uniform(0.6, 1.4)))
    closeness = closeness + ragged * noise(rng, 6.0, coarse)
    allowed = cv2.resize(within, (2 * coarse, coarse), interpolation=cv2.INTER_AREA)
    closeness = np.where(allowed > 0.5, closeness, closeness - 9)
    limit = float(np.quantile(closeness, 1 - share))
    blobs = smoothstep(limit - 0.09, limit + 0.09, upsample(closeness, height))
    return np.clip(blobs, 0, 1)


def neutral_region(rng: np.random.Generator, height: int, share: float, axis: Array) -> Array:
    """Stem end, blossom end and faint patches that together cover `share` of the panorama."""
    coarse = min(height, 64)
    latitude = np.arcsin(np.clip(directions(coarse) @ axis, -1, 1))
    stem, blossom = np.deg2rad(rng.uniform(17, 27)), np.deg2rad(rng.uniform(15, 25))
    ends = np.maximum(
        latitude - (np.pi / 2 - stem), -latitude - (np.pi / 2 - blossom)
    ) + 0.06 * noise(rng, 5.0, coarse)
    left = max(0.02, share - float((ends > 0).mean()))
    between = (ends < -0.1).astype(np.float32)
    faint = patches(rng, coarse, left, int(rng.integers(2, 5)), between, 0.15)
    field = np.maximum(smoothstep(-0.05, 0.05, ends), faint)
    return np.clip(upsample(field.astype(np.float32), height), 0, 1)


def paint(field: Array, *, growth: float = 0.0) -> Mask:
    """The mask a person would paint over a region: smooth, coarse, a little too generous.

    Parameters
    ----------
    field : (H, W) in [0, 1]
    growth : degrees by which the region is first grown
    """
    height = field.shape[0]
    coarse = min(height, _PAINT_HEIGHT)
    small = cv2.resize(field, (2 * coarse, coarse), interpolation=cv2.INTER_AREA)
    if growth > 0:
        size = 2 * round(growth * coarse / 180) + 1
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
        padded = np.concatenate([small[:, -8:], small, small[:, :8]], axis=1)
        small = cv2.dilate(padded, kernel)[:, 8:-8]
    smooth = upsample(blur(np.ascontiguousarray(small), 1.2), height)
    return smooth > 0.5
