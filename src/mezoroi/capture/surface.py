"""Unrolling: many views of a turned fruit become one picture of its surface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mezoroi.capture.geometry import (
    Ellipse,
    Floats,
    disk_to_sphere,
    sphere_to_disk,
    visibility,
)

Image = NDArray[np.uint8]
Array = NDArray[np.float32]
_SEEN = 0.26  # cosine of the obliqueness up to which a view counts as covering
_SHARPNESS = 20.0  # how strongly the most frontal views are preferred
_ODD = 30.0  # grey levels from the usual colour at which a view loses its say
_GLARE = 225.0  # grey levels of the darkest channel from which a view shows the lamp
_COARSE = 4  # the usual colour is found on every fourth pixel


@dataclass(frozen=True)
class View:
    """One frame, ready to be unrolled.

    Attributes
    ----------
    image : (H, W, 3) uint8 RGB
    ellipse : the fruit's silhouette in it
    pose : (3, 3) the fruit's axes to the camera's
    squeeze : (3, 3) directions on the fruit to points of the unit sphere that the silhouette is
        squeezed into, up to their length, in the camera's axes
    """

    image: Image
    ellipse: Ellipse
    pose: Floats
    squeeze: Floats


def panorama_directions(height: int) -> Floats:
    """Unit vectors (H, 2H, 3) of a panorama's pixels.

    Row 0 lies at the upper end of the turn axis, column 0 at longitude -180 degrees; columns run
    east, as on a map of a globe seen from outside.
    """
    latitude = np.pi / 2 - (np.arange(height) + 0.5) * np.pi / height
    longitude = (np.arange(2 * height) + 0.5) * np.pi / height - np.pi
    lat, lon = np.meshgrid(latitude, longitude, indexing="ij")
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


def unroll_views(
    views: Sequence[View], height: int, nearness: float
) -> tuple[Image, NDArray[np.bool_]]:
    """Blend the views on longitude x latitude, each point from where it is seen most frontally.

    Views that disagree with the others at a point (glare, a hand) have little say there, and
    slow changes of exposure are evened out.

    Returns
    -------
    surface (H, 2H, 3) uint8 RGB, and coverage (H, 2H), True where some view shows the point. What
    is not covered continues its surroundings.
    """
    directions = panorama_directions(height)
    coarse = panorama_directions(max(16, height // _COARSE))
    samples = [_project(view, coarse, nearness) for view in views]
    gains = _exposure_gains(samples)
    usual = _usual_colour(samples, gains)
    usual = _enlarged(usual, height)
    total = np.zeros((height, 2 * height, 3), dtype=np.float32)
    weights = np.zeros((height, 2 * height), dtype=np.float32)
    covered = np.zeros((height, 2 * height), dtype=bool)
    for view, gain in zip(views, gains, strict=True):
        colour, cosine = _project(view, directions, nearness)
        colour = colour * gain
        weight = np.clip(cosine, 0, 1) ** _SHARPNESS
        # Only slow differences count as odd: fine ones are the fruit's own texture.
        away = np.abs(_blurred(colour - usual)).max(axis=2)
        weight *= np.exp(-0.5 * (away / _ODD) ** 2) + 1e-4
        weight *= np.where(colour.min(axis=2) > _GLARE * gain, 1e-3, 1.0)
        weight[cosine < _SEEN] = 0
        total += colour * weight[..., None]
        weights += weight
        covered |= cosine >= _SEEN
    mean = np.rint(total / np.maximum(weights, 1e-30)[..., None])
    return _fill(np.clip(mean, 0, 255).astype(np.uint8), covered), covered


def covered_share(covered: NDArray[np.bool_]) -> float:
    """Share of the fruit's surface that is covered, in [0, 1]."""
    height = covered.shape[0]
    area = np.sin((np.arange(height) + 0.5) * np.pi / height)
    return float((covered * area[:, None]).sum() / (area.sum() * covered.shape[1]))


def locate_on_fruit(view: View, x: float, y: float, nearness: float) -> tuple[float, float]:
    """Longitude and latitude in degrees of a pixel of a frame; NaN off the fruit."""
    disk = view.ellipse.to_disk(np.array([x, y], dtype=np.float64))
    with np.errstate(invalid="ignore"):
        point = np.linalg.solve(view.squeeze, disk_to_sphere(disk, nearness))
    point = point / np.linalg.norm(point)
    longitude = float(np.degrees(np.arctan2(point[1], point[0])))
    latitude = float(np.degrees(np.arcsin(np.clip(point[2], -1, 1))))
    return longitude, latitude


def _project(view: View, directions: Floats, nearness: float) -> tuple[Array, Array]:
    """Colour (H, W, 3) and frontality (H, W) of a view at points of the fruit."""
    points = directions @ view.squeeze.T
    points /= np.linalg.norm(points, axis=-1, keepdims=True)
    cosine = visibility(points, nearness)
    pixels = view.ellipse.to_pixels(sphere_to_disk(points, nearness))
    x, y = pixels[..., 0].astype(np.float32), pixels[..., 1].astype(np.float32)
    # Pixels of the frame per pixel of the panorama, at the fruit's middle.
    step = view.ellipse.radius * np.pi / directions.shape[0]
    image = cv2.GaussianBlur(view.image, (0, 0), 0.25 * step) if step > 1.4 else view.image
    colour = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    height, width = view.image.shape[:2]
    outside = (x < 0) | (y < 0) | (x > width - 1) | (y > height - 1)
    cosine = np.where(outside, 0.0, cosine)
    return colour.astype(np.float32), cosine.astype(np.float32)


def _exposure_gains(samples: Sequence[tuple[Array, Array]]) -> Array:
    """One factor per view that evens out exposure: all views show the usual mean brightness."""
    means = []
    for colour, cosine in samples:
        frontal = cosine > 0.5
        means.append(float(np.median(colour[frontal].mean(axis=1))) if frontal.any() else np.nan)
    found = np.array(means, dtype=np.float64)
    found = np.where(np.isfinite(found) & (found > 1), found, np.nanmedian(found))
    return (np.median(found) / found).astype(np.float32)


def _usual_colour(samples: Sequence[tuple[Array, Array]], gains: Array) -> Array:
    """The median over the views that show a point well (H, W, 3)."""
    stacked = np.stack(
        [
            np.where((cosine > 0.45)[..., None], colour * gain, np.nan)
            for (colour, cosine), gain in zip(samples, gains, strict=True)
        ]
    )
    shown = np.isfinite(stacked[..., 0]).any(axis=0)
    stacked[:, ~shown] = 0
    weakly = sum(colour * (np.clip(cosine, 0, 1) ** 2)[..., None] for colour, cosine in samples)
    weight = sum(np.clip(cosine, 0, 1) ** 2 for _, cosine in samples)
    weak = weakly / np.maximum(weight, 1e-6)[..., None]
    usual: Array = np.where(shown[..., None], np.nanmedian(stacked, axis=0), weak)
    return usual.astype(np.float32)


def _enlarged(coarse: Array, height: int) -> Array:
    """A coarse panorama at `height`, without a seam."""
    wide = np.concatenate([coarse[:, -2:], coarse, coarse[:, :2]], axis=1)
    width = round(wide.shape[1] * height / coarse.shape[0])
    margin = (width - 2 * height) // 2
    large = cv2.resize(wide, (width, height))
    return np.asarray(large[:, margin : margin + 2 * height], dtype=np.float32)


def _blurred(field: Array) -> Array:
    margin = _COARSE
    wide = np.concatenate([field[:, -margin:], field, field[:, :margin]], axis=1)
    return np.asarray(cv2.blur(wide, (_COARSE + 1, _COARSE + 1))[:, margin:-margin])


def _fill(surface: Image, covered: NDArray[np.bool_]) -> Image:
    """Colour what no view shows like the nearest covered surface, softly."""
    if covered.all() or not covered.any():
        return surface
    known = covered.astype(np.float32)
    values = surface.astype(np.float32) * known[..., None]
    result = surface.copy()
    missing = ~covered
    sigma = 2.0
    while missing.any() and sigma < 4 * surface.shape[1]:
        share = cv2.GaussianBlur(np.tile(known, (1, 3)), (0, 0), sigma)
        spread = cv2.GaussianBlur(np.tile(values, (1, 3, 1)), (0, 0), sigma)
        width = surface.shape[1]
        share, spread = share[:, width : 2 * width], spread[:, width : 2 * width]
        ready = missing & (share > 0.02)
        result[ready] = np.clip(spread[ready] / share[ready][:, None], 0, 255)
        missing &= ~ready
        sigma *= 2
    return result
