"""Directions over a panorama, and smooth random fields that know no seam and no pole."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


@lru_cache(maxsize=8)
def directions(height: int) -> Array:
    """Unit vectors of the pixel centres of a panorama, (H, 2H, 3), read-only.

    Row 0 lies next to the stem end (latitude +90 degrees), column 0 next to longitude -180 degrees;
    z points to the stem, x to longitude 0.
    """
    latitude = np.pi / 2 - (np.arange(height) + 0.5) * np.pi / height
    longitude = (np.arange(2 * height) + 0.5) * np.pi / height - np.pi
    lat, lon = np.meshgrid(latitude, longitude, indexing="ij")
    found = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)
    result = found.astype(np.float32)
    result.setflags(write=False)
    return result


def direction(latitude: float, longitude: float) -> Array:
    """The unit vector (3,) of a latitude and a longitude in degrees."""
    lat, lon = np.deg2rad(latitude), np.deg2rad(longitude)
    return np.array(
        [np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], dtype=np.float32
    )


def pixels(points: Array, height: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the panorama pixels that hold unit vectors (N, 3)."""
    latitude = np.arcsin(np.clip(points[:, 2], -1, 1))
    longitude = np.arctan2(points[:, 1], points[:, 0])
    rows = ((np.pi / 2 - latitude) * height / np.pi).astype(np.intp)
    columns = ((longitude + np.pi) * height / np.pi).astype(np.intp)
    return np.clip(rows, 0, height - 1), columns % (2 * height)


@dataclass(frozen=True)
class Waves:
    """A sum of random plane waves in space: smooth noise, zero mean and unit variance.

    Attributes
    ----------
    vectors : (n, 3) wave vectors in radians per unit length
    phases : (n,)
    amplitudes : (n, channels)
    """

    vectors: Array
    phases: Array
    amplitudes: Array

    @classmethod
    def draw(
        cls, rng: np.random.Generator, frequency: float, channels: int = 1, count: int = 20
    ) -> Waves:
        """Waves of about `frequency` radians per unit length (wavelength 2 pi / frequency)."""
        vectors = rng.normal(size=(count, 3))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors *= frequency * rng.uniform(0.6, 1.4, size=(count, 1))
        amplitudes = rng.normal(size=(count, channels))
        amplitudes *= np.sqrt(2) / np.linalg.norm(amplitudes, axis=0)
        return cls(
            vectors.astype(np.float32),
            rng.uniform(0, 2 * np.pi, count).astype(np.float32),
            amplitudes.astype(np.float32),
        )

    def __call__(self, points: Array) -> Array:
        """Values (..., channels) at points (..., 3)."""
        values: Array = np.cos(points @ self.vectors.T + self.phases) @ self.amplitudes
        return values


def noise(
    rng: np.random.Generator, frequency: float, height: int, channels: int = 1, count: int = 20
) -> Array:
    """Smooth noise over a panorama: (H, 2H), or (H, 2H, channels) for several channels.

    It is computed on the coarsest grid with four samples a wavelength or more, then upsampled.
    """
    coarse = height
    while coarse % 2 == 0 and coarse // 2 >= max(16.0, 2.4 * frequency):
        coarse //= 2
    values = Waves.draw(rng, frequency, channels, count)(directions(coarse))
    return upsample(values[..., 0] if channels == 1 else values, height)


def upsample(field: Array, height: int) -> Array:
    """A panorama (h, 2h, ...) brought to `height`, a multiple of h, without seams."""
    factor = height // field.shape[0]
    if factor == 1:
        return field
    margin = 2
    padded = wrap(field, margin)
    size = (padded.shape[1] * factor, padded.shape[0] * factor)
    grown = cv2.resize(padded, size, interpolation=cv2.INTER_CUBIC)
    edge = margin * factor
    return np.asarray(grown[edge:-edge, edge:-edge], dtype=np.float32)


def wrap(field: Array, margin: int) -> Array:
    """A panorama with `margin` pixels more on every side, continued over the seam and the poles."""
    half = field.shape[1] // 2
    top = np.roll(field[:margin][::-1], half, axis=1)
    bottom = np.roll(field[-margin:][::-1], half, axis=1)
    tall = np.concatenate([top, field, bottom], axis=0)
    return np.concatenate([tall[:, -margin:], tall, tall[:, :margin]], axis=1)


def blur(field: Array, sigma: float) -> Array:
    """Gaussian blur of a panorama (H, W) or (H, W, C) by `sigma` pixels, over the seam."""
    if sigma <= 0:
        return field
    margin = min(int(3 * sigma) + 1, field.shape[0])
    padded = wrap(field, margin)
    smooth = cv2.GaussianBlur(padded, (0, 0), sigma)
    return np.asarray(smooth[margin:-margin, margin:-margin], dtype=np.float32)


def smoothstep(low: float, high: float, values: Array) -> Array:
    """Rises smoothly from 0 at `low` to 1 at `high` (falls where `low` > `high`)."""
    t = np.clip((values - np.float32(low)) / np.float32(high - low), 0, 1)
    result: Array = t * t * (3 - 2 * t)
    return result
