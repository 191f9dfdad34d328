"""Frames squeezed into the unit disk and freed of lighting: what turn estimation compares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mezoroi.capture.geometry import Ellipse, Floats, Precision, sphere_to_disk, visibility

Array = NDArray[np.float32]
SIDE = 128  # pixels along the disk's square
_EDGE = 1.06  # the square reaches a little beyond the disk
_GLARE_LIGHTNESS = 245.0  # of 255, with hardly any colour
_LIGHT_SCALE = 0.12  # what varies over more than this share of the radius counts as lighting
_CLIP = 3.0
_SAME = 0.7  # correlation of fine texture from which two frames show the same side
_DARK = 10.0  # grey levels, so that noise in the dark does not count as texture


@dataclass(frozen=True)
class Disks:
    """The texture of a fruit in N frames.

    Attributes
    ----------
    texture : (N, SIDE, SIDE, 4) `values` and `weights`, together for speed
    nearness : see `disk_to_sphere`
    """

    texture: Array
    nearness: float

    def __len__(self) -> int:
        return len(self.texture)

    @property
    def values(self) -> Array:
        """Lightness and two colour contrasts (N, SIDE, SIDE, 3), without lighting."""
        return self.texture[..., :3]

    @property
    def weights(self) -> Array:
        """In [0, 1], 0 off the fruit and under glare, (N, SIDE, SIDE)."""
        return self.texture[..., 3]

    @property
    def shown(self) -> Array:
        """Share of the disk (N,) in [0, 1] that is in the frame and not under glare."""
        share = self.weights.sum(axis=(1, 2)) / _inside().sum()
        return np.asarray(share, dtype=np.float32)

    def take(self, frames: Sequence[int]) -> Disks:
        """Some of the frames only."""
        return Disks(self.texture[list(frames)], self.nearness)

    def blurred(self, sigma: float) -> Disks:
        """The same at a coarser scale; `sigma` in radii."""
        pixels = sigma * SIDE / (2 * _EDGE)
        result = []
        for values, weights in zip(self.values, self.weights, strict=True):
            share = cv2.GaussianBlur(weights, (0, 0), pixels)[..., None]
            smooth = cv2.GaussianBlur(values * weights[..., None], (0, 0), pixels)
            kept = np.minimum(share, weights[..., None])
            result.append(np.concatenate([smooth / np.maximum(share, 1e-3), kept], axis=2))
        return Disks(np.stack(result), self.nearness)

    def sample(self, frame: int, points: NDArray[Precision]) -> tuple[Array, Array]:
        """Values (C, M, 3) and weights (C, M) of a frame at points (C, M, 3) of the sphere.

        The weight falls with the obliqueness of the view and is 0 where the point is hidden.
        """
        x, y = grid_position(sphere_to_disk(points, self.nearness))
        found = cv2.remap(self.texture[frame], x, y, cv2.INTER_LINEAR)
        frontal = np.maximum(visibility(points, self.nearness) - 0.2, 0)
        weights = np.asarray(found[..., 3] * frontal, dtype=np.float32)
        return np.asarray(found[..., :3], dtype=np.float32), weights


def grid_position(disk: NDArray[Precision]) -> tuple[Array, Array]:
    """Column and row in the square of pixels of positions in the disk (..., 2)."""
    middle = (SIDE - 1) / 2
    column = disk[..., 0] * (SIDE / (2 * _EDGE)) + middle
    row = -disk[..., 1] * (SIDE / (2 * _EDGE)) + middle
    return column.astype(np.float32), row.astype(np.float32)


def grid_disk() -> Floats:
    """Position in the disk of every pixel of the square, (SIDE, SIDE, 2)."""
    along = (np.arange(SIDE) - (SIDE - 1) / 2) * (2 * _EDGE / SIDE)
    x, y = np.meshgrid(along, -along)
    return np.stack([x, y], axis=-1)


def _inside() -> Array:
    """1 where a pixel of the square is on the fruit, short of its rim, else 0, (SIDE, SIDE)."""
    return (np.linalg.norm(grid_disk(), axis=-1) < 0.97).astype(np.float32)


def make_disks(
    frames: Sequence[NDArray[np.uint8]],
    ellipses: Sequence[Ellipse],
) -> Disks:
    """Squeeze the fruit of each frame into the disk and remove what stays while it turns.

    Parameters
    ----------
    frames : (H, W, 3) RGB each
    ellipses : the fruit's silhouette in each frame
    """
    disk = grid_disk()
    inside = _inside()
    colours, weights = [], []
    for frame, ellipse in zip(frames, ellipses, strict=True):
        x, y = np.moveaxis(ellipse.to_pixels(disk).astype(np.float32), -1, 0)
        # Without a blur first, a large frame would alias.
        factor = 2 * _EDGE * ellipse.radius / SIDE
        smooth = cv2.GaussianBlur(frame, (0, 0), 0.4 * factor) if factor > 1.5 else frame
        rgb = cv2.remap(smooth, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        logs = np.log(rgb.astype(np.float32) + _DARK)
        red, green, blue = np.moveaxis(logs, -1, 0)
        # Ratios of colours do not feel the light; lightness loses its mean, the exposure.
        colour = np.stack([logs.mean(axis=2), red - green, blue - green], axis=2)
        colour -= np.average(colour.reshape(-1, 3), axis=0, weights=inside.ravel())
        weight = inside.copy()
        height, width = frame.shape[:2]
        weight[(x < 0) | (y < 0) | (x > width - 1) | (y > height - 1)] = 0
        glare = (rgb.mean(axis=2) > _GLARE_LIGHTNESS) & (np.ptp(rgb, axis=2) < 40)
        weight *= 1 - cv2.dilate(glare.astype(np.float32), np.ones((5, 5)))
        colours.append(colour)
        weights.append(weight)
    weight = np.stack(weights)
    values = _without_lighting(np.stack(colours), weight)
    return Disks(np.concatenate([values, weight[..., None]], axis=3), 0.0)


def _without_lighting(colours: Array, weights: Array) -> Array:
    """Subtract what is the same in every frame, and what varies slowly over the fruit."""
    values = np.where(weights[..., None] > 0, colours, np.nan)
    different = _different(colours, weights)
    if len(different) >= 6:
        values = values[different[:: max(1, len(different) // 24)]]
        values[:, ~np.isfinite(values[..., 0]).any(axis=0)] = 0
        colours = colours - np.nanmedian(values, axis=0)
        colours[~np.isfinite(colours)] = 0
    sigma = _LIGHT_SCALE * SIDE / (2 * _EDGE)
    result = []
    for colour, weight in zip(colours, weights, strict=True):
        share = cv2.GaussianBlur(weight, (0, 0), sigma)
        slow = cv2.GaussianBlur(colour * weight[..., None], (0, 0), sigma)
        fast = (colour - slow / np.maximum(share, 1e-3)[..., None]) * (weight > 0)[..., None]
        spread = np.sqrt((fast**2).sum() / max(1.0, float(weight.sum())) / 3) + 0.01
        result.append(np.clip(fast / spread, -_CLIP, _CLIP))
    return np.stack(result).astype(np.float32)


def _different(colours: Array, weights: Array) -> list[int]:
    """Frames that show another side than the one taken before: a still stretch counts once."""
    middle = np.linalg.norm(grid_disk(), axis=-1) < 0.8
    fine = []
    for colour, weight in zip(colours, weights, strict=True):
        lightness = np.ascontiguousarray(colour[..., 0])
        texture = cv2.GaussianBlur(lightness, (0, 0), 1.0) - cv2.GaussianBlur(
            lightness, (0, 0), 4.0
        )
        texture = np.where(middle & (weight > 0), texture, 0.0).ravel()
        fine.append(texture / (np.linalg.norm(texture) + 1e-6))
    taken = [0]
    for index in range(1, len(fine)):
        if fine[index] @ fine[taken[-1]] < _SAME:
            taken.append(index)
    return taken
