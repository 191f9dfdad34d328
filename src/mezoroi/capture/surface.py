"""Unrolling: many views of a turned fruit become one picture of its surface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mezoroi.capture.exposure import exposure_gains
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
_FRONTAL = 0.45  # cosine from which views are compared
_BLURRED = 4.0  # how strongly sharp views are preferred
_GLARE = 225.0  # grey levels of the darkest channel from which a view shows the lamp
_WHITE = 0.5  # share of a view under glare from which that is the fruit's colour
_COARSE = 4  # the usual colour is found on every fourth pixel
_WIDE = 16.0  # pixels; a wider blur is made on a smaller copy, which looks the same


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

    Views that disagree with the others at a point (glare, a hand) have little say there, blurred
    ones have little say anywhere, and slow changes of exposure are evened out.

    Parameters
    ----------
    views : at least one
    height : rows of the surface
    nearness : radius of the fruit over the camera's distance, 0 for far away

    Returns
    -------
    surface (H, 2H, 3) uint8 RGB, and coverage (H, 2H), True where some view shows the point, not
    only under glare. What is not covered continues its surroundings.
    """
    low = max(16, height // _COARSE)
    coarse = panorama_directions(low).astype(np.float32)
    samples = [_sample(view, coarse, nearness) for view in views]
    gains = exposure_gains(samples, [_seen_at(view, coarse) for view in views])
    says = _says(samples, gains) * _sharpness(views, coarse, nearness, gains)[:, None, None]
    directions = panorama_directions(height).astype(np.float32)
    total = np.zeros((height, 2 * height, 3), dtype=np.float32)
    weights = np.zeros((height, 2 * height), dtype=np.float32)
    covered = np.zeros((height, 2 * height), dtype=bool)
    for view, gain, say in zip(views, gains, says, strict=True):
        colour, cosine = _sample(view, directions, nearness)
        weight = np.maximum(cosine, 0) ** _SHARPNESS * _enlarged(say, height)
        glared = cv2.inRange(colour, (_GLARE,) * 3, (255.0,) * 3) > 0
        weight[glared] *= 1e-3
        seen = cosine >= _SEEN
        weight *= seen
        total += colour * (gain * weight)[..., None]
        weights += weight
        # A lamp is a spot; a view that is bright all over shows a white fruit.
        covered |= seen if glared[seen].sum() > _WHITE * seen.sum() else seen & ~glared
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


def _seen_at(view: View, directions: Array) -> Array:
    """Where points of the fruit lie on the unit sphere that a view looks at, x and y (H, W, 2)."""
    points = _on_sphere(view, directions)
    return points[..., :2]


def _on_sphere(view: View, directions: Array) -> Array:
    points: Array = directions @ view.squeeze.T.astype(np.float32)
    points /= np.sqrt(np.einsum("hwk,hwk->hw", points, points))[..., None]
    return points


def _place(view: View, directions: Array, nearness: float) -> tuple[Array, Array]:
    """Pixels (H, W, 2) and frontality (H, W) of points of the fruit in a view."""
    points = _on_sphere(view, directions)
    cosine = visibility(points, nearness)
    pixels = view.ellipse.to_pixels(sphere_to_disk(points, nearness)).astype(np.float32)
    height, width = view.image.shape[:2]
    x, y = pixels[..., 0], pixels[..., 1]
    outside = (x < 0) | (y < 0) | (x > width - 1) | (y > height - 1)
    return pixels, np.where(outside, 0, cosine).astype(np.float32)


def _sample(view: View, directions: Array, nearness: float) -> tuple[Array, Array]:
    """Colour (H, W, 3) and frontality (H, W) of a view at points of the fruit."""
    pixels, cosine = _place(view, directions, nearness)
    image, corner = _around_fruit(view)
    # Pixels of the frame per pixel of the panorama, at the fruit's middle.
    step = view.ellipse.radius * np.pi / directions.shape[0]
    if step > 1.4:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), 0.25 * step), dtype=np.uint8)
    return _remapped(image, pixels - corner), cosine


def _around_fruit(view: View) -> tuple[Image, Array]:
    """The part of a view that the fruit fills, and the (2,) pixel of its upper left corner."""
    reach = np.linalg.norm(view.ellipse.shape, axis=1) + 2
    height, width = view.image.shape[:2]
    left, top = np.clip(view.ellipse.centre - reach, 0, (width - 2, height - 2)).astype(int)
    right, bottom = np.ceil(view.ellipse.centre + reach).astype(int) + 1
    part = view.image[top : max(bottom, top + 2), left : max(right, left + 2)]
    return part, np.array([left, top], dtype=np.float32)


def _remapped(image: Image | Array, pixels: Array) -> Array:
    found = cv2.remap(
        image, pixels[..., 0], pixels[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return found.astype(np.float32)


def _says(samples: Sequence[tuple[Array, Array]], gains: Array) -> Array:
    """How much each view is to be believed at each point (N, H, W): little where it is odd."""
    usual = _usual_colour(samples, gains)
    # On coarse samples only slow differences show: fine ones are the fruit's own texture.
    away = [
        cv2.dilate(np.abs(colour * gain - usual).max(axis=2), np.ones((3, 3)))
        for (colour, _), gain in zip(samples, gains, strict=True)
    ]
    return np.asarray(np.exp(-0.5 * (np.stack(away) / _ODD) ** 2) + 1e-4, dtype=np.float32)


def _sharpness(views: Sequence[View], coarse: Array, nearness: float, gains: Array) -> Array:
    """Say (N,) of each view by how sharp it is: 1 as sharp as usual, near 0 blurred.

    Views are compared where they show the same points, for a fruit is netted more on one side.
    """
    detail = np.full((len(views), *coarse.shape[:2]), np.nan, dtype=np.float32)
    for number, (view, gain) in enumerate(zip(views, gains, strict=True)):
        pixels, cosine = _place(view, coarse, nearness)
        image, corner = _around_fruit(view)
        grey = gain * cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
        step = view.ellipse.radius * np.pi / coarse.shape[0]
        fine = np.abs(grey - cv2.GaussianBlur(grey, (0, 0), 0.25 * step))
        found = _remapped(cv2.GaussianBlur(fine, (0, 0), 0.5 * step), pixels - corner)
        shown = cosine > _FRONTAL
        detail[number, shown] = found[shown] + 0.1
    several = np.isfinite(detail).sum(axis=0) >= 3
    if not several.any():
        return np.ones(len(views), dtype=np.float32)
    compared = detail[:, several] / np.nanmedian(detail[:, several], axis=0)
    known = np.isfinite(compared).any(axis=1)
    share = np.ones(len(views))
    share[known] = np.nanmedian(compared[known], axis=1)
    return np.asarray(np.clip(share, 0, 1) ** _BLURRED, dtype=np.float32)


def _usual_colour(samples: Sequence[tuple[Array, Array]], gains: Array) -> Array:
    """The median over the views that show a point well (H, W, 3)."""
    stacked = np.stack(
        [
            np.where((cosine > _FRONTAL)[..., None], colour * gain, np.nan)
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
    """A coarse panorama (h, 2h) at `height`, without a seam."""
    wide = np.concatenate([coarse[:, -2:], coarse, coarse[:, :2]], axis=1)
    width = round(wide.shape[1] * height / coarse.shape[0])
    margin = (width - 2 * height) // 2
    large = cv2.resize(wide, (width, height))
    return np.asarray(large[:, margin : margin + 2 * height], dtype=np.float32)


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
        share, spread = _spread(known, sigma), _spread(values, sigma)
        ready = missing & (share > 0.02)
        result[ready] = np.clip(spread[ready] / share[ready][:, None], 0, 255)
        missing &= ~ready
        sigma *= 2
    return result


def _spread(field: Array, sigma: float) -> Array:
    """A panorama blurred without a seam."""
    height = field.shape[0]
    low = max(16, round(height * _WIDE / sigma))
    if low < height:
        small: Array = cv2.resize(field, (2 * low, low), interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        return _enlarged(_blurred(small, sigma * low / height), height)
    return _blurred(field, sigma)


def _blurred(field: Array, sigma: float) -> Array:
    margin = min(field.shape[1], round(4 * sigma))
    wide = np.concatenate([field[:, -margin:], field, field[:, :margin]], axis=1)
    return np.asarray(cv2.GaussianBlur(wide, (0, 0), sigma)[:, margin:-margin], dtype=np.float32)
