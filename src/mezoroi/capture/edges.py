"""The edge of a fruit on rays around it, in many frames at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mezoroi.capture.geometry import Floats

Array = NDArray[np.float32]


def best_edges(odds: Array, slope: Array) -> NDArray[np.intp]:
    """Sample (N, rays) of the edge on every ray: the best closed path, by dynamic programming.

    A path gains where what lies inside is fruit-coloured, outside is not, and the picture changes.

    Parameters
    ----------
    odds, slope : (N, rays, samples)
    """
    inner = np.cumsum(odds, axis=2)
    gain = 2 * inner - inner[..., -1:]
    gain = gain / 20 + slope / (slope.max(axis=(1, 2), keepdims=True) + 1e-6)
    frames, rays, samples = gain.shape
    padded = np.full((frames, samples + 4), -np.inf, dtype=np.float32)
    padded[:, 2:-2] = gain[:, 0]
    came = np.zeros((2 * rays, frames, samples), dtype=np.int8)
    # Twice around, so that the end meets the beginning.
    for ray in range(1, 2 * rays):
        options = np.stack([padded[:, k : k + samples] - 0.15 * abs(k - 2) for k in range(5)])
        came[ray] = options.argmax(axis=0) - 2
        padded[:, 2:-2] = options.max(axis=0) + gain[:, ray % rays]
    every = np.arange(frames)
    path = np.zeros((frames, 2 * rays), dtype=np.intp)
    path[:, -1] = padded[:, 2:-2].argmax(axis=1)
    for ray in range(2 * rays - 1, 0, -1):
        path[:, ray - 1] = path[:, ray] + came[ray, every, path[:, ray]]
    half = rays // 2
    result: NDArray[np.intp] = np.roll(path[:, half : half + rays], half, axis=1)
    return result


def between_samples(slope: Array, best: NDArray[np.intp]) -> Floats:
    """The edge's position (rays,) in samples: the centre of the steepest change near `best`."""
    offsets = np.arange(-3, 4)
    near = np.clip(best[:, None] + offsets, 0, slope.shape[1] - 1)
    weight = np.take_along_axis(slope, near, axis=1).astype(np.float64) ** 2
    total = weight.sum(axis=1)
    shift = np.where(total > 1e-6, (weight * offsets).sum(axis=1) / np.maximum(total, 1e-6), 0.0)
    return np.asarray(best + shift, dtype=np.float64)
