"""Shape statistics of a fruit from its silhouettes over a turn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.polynomial import Polynomial
from numpy.typing import NDArray
from scipy.spatial import ConvexHull, QhullError

from mezoroi.errors import MezoroiError

Polygon = NDArray[np.float64]
FEATURES = (
    "height_width",
    "roundness",
    "flatness",
    "elongation",
    "asymmetry_left_right",
    "asymmetry_top_bottom",
    "bumpiness",
    "solidity",
)
_HARMONICS = 3  # an ellipse needs 1; pear and slight corners 3
_SAMPLES = 256
_ANGLES = 180
_AROUND = np.arange(_SAMPLES) * 2 * np.pi / _SAMPLES
_ALIKE = float(np.cos(np.deg2rad(20)))  # of the turn between two views that see about the same edge
_POLE, _FLANK = 20, 50  # degrees from the turn axis: what may hang there, and what bridges it
_HANGING = 0.02  # of the mean radius, off the bridge, from which it is no part of the fruit
_DETAIL = 12  # harmonics of a silhouette traced in a frame that are shape; finer ones are noise


def outline_features(silhouettes: Sequence[np.ndarray]) -> dict[str, float]:
    """Shape statistics over a turn, all without unit and independent of the fruit's size.

    Parameters
    ----------
    silhouettes : one closed polygon (K, 2) per view, K >= 3, x right, y up, any common unit

    Returns
    -------
    For each name the mean over the views, and its standard deviation as ``<name>_variation``.
    The names, with w and h the extents along x and y:

    - ``height_width``: h / w, > 0; 1 for a circle
    - ``roundness``: 4 pi area / perimeter^2, in (0, 1]; 1 for a circle
    - ``flatness``: max(0, 1 - h / w), in [0, 1)
    - ``elongation``: max(0, h / w - 1), >= 0
    - ``asymmetry_left_right``, ``asymmetry_top_bottom``: mean absolute difference between the
      radius and its mirror image about the centroid, relative to the mean radius, >= 0
    - ``bumpiness``: root mean square residual to the outline's first 3 elliptic Fourier harmonics
      (Kuhl and Giardina 1982), relative to the mean radius, >= 0
    - ``solidity``: area / area of the convex hull, in (0, 1]

    Roundness, bumpiness and solidity do not change when the views are rotated.

    Raises
    ------
    MezoroiError
        Without a silhouette, or with one that is no polygon: wrong shape, fewer than 3 distinct
        corners, values that are not finite, or no area.
    """
    if len(silhouettes) == 0:
        raise MezoroiError("no silhouette to measure: give at least one view of the fruit")
    rows = [_measure(_checked(polygon, view)) for view, polygon in enumerate(silhouettes)]
    table = np.array(rows)
    found = dict(zip(FEATURES, table.mean(axis=0).tolist(), strict=True))
    variation = zip(FEATURES, table.std(axis=0).tolist(), strict=True)
    return found | {f"{name}_variation": value for name, value in variation}


def radii_of(contour: Polygon) -> NDArray[np.float64]:
    """(256,) distance from the origin to a contour (K, 2), counter-clockwise from the right.

    Every ray from the origin crosses the contour once.
    """
    found = np.arctan2(contour[:, 1], contour[:, 0])
    order = np.argsort(found)
    distance = np.hypot(contour[:, 0], contour[:, 1])
    radii: NDArray[np.float64] = np.interp(_AROUND, found[order], distance[order], period=2 * np.pi)
    return radii


def steady_outlines(
    radii: NDArray[np.float64], turned: NDArray[np.float64], chosen: NDArray[np.intp]
) -> list[Polygon]:
    """Silhouettes without what one frame gets wrong: a hand, glare, a background of its colour.

    A silhouette hardly changes over a few degrees, and that from behind is its mirror image: each
    radius is the median over the views within 20 degrees of either. Where a stem or a plate touches
    the fruit, and where its own shade lies, no view helps: there, within 20 degrees of the turn
    axis, what is 2 % off the curve through the outline beside it is that curve instead. Of the
    radius over the angle the first 12 harmonics are kept, as perimeter and hull add up jags; a bump
    as wide as a thumb stays.

    Parameters
    ----------
    radii : (V, 256) of every view, the turn axis upright, as `radii_of` gives them
    turned : (V,) radians that the fruit has turned before each view
    chosen : the views that are returned

    Returns
    -------
    (256, 2) each
    """
    mirrored = radii[:, (_SAMPLES // 2 - np.arange(_SAMPLES)) % _SAMPLES]
    outlines = []
    for view in chosen:
        apart = np.cos(turned - turned[view])
        alike = np.concatenate([radii[apart >= _ALIKE], mirrored[apart <= -_ALIKE]])
        radius = _smooth(_bridged(np.median(alike, axis=0)))
        outlines.append(np.stack([radius * np.cos(_AROUND), radius * np.sin(_AROUND)], axis=1))
    return outlines


def _smooth(radii: NDArray[np.float64]) -> NDArray[np.float64]:
    """Radii (256,) without jags."""
    spectrum = np.fft.rfft(radii)
    # Falls off gently: a sharp end would ring.
    spectrum *= np.exp(-((np.arange(len(spectrum)) / _DETAIL) ** 4))
    return np.fft.irfft(spectrum, _SAMPLES)


def _bridged(radii: NDArray[np.float64]) -> NDArray[np.float64]:
    """Radii (256,) in mean radii, without what hangs on the outline above and below."""
    seen, bridged = _smooth(radii), radii.copy()
    for pole in (90, 270):
        away = (np.rad2deg(_AROUND) - pole + 180) % 360 - 180
        near, beside = np.abs(away) <= _POLE, (np.abs(away) > _POLE) & (np.abs(away) < _FLANK)
        curve = Polynomial.fit(away[beside], seen[beside], 4)(away[near])
        hanging = np.abs(seen[near] - curve) > _HANGING
        bridged[near] = np.where(hanging, curve, radii[near])
    return bridged


def _checked(silhouette: np.ndarray, view: int) -> Polygon:
    """The polygon counter-clockwise about its centroid, at a mean radius of order 1."""
    polygon = np.asarray(silhouette, dtype=np.float64)
    remedy = "check the segmentation of that view"
    if polygon.ndim != 2 or polygon.shape[1] != 2:
        raise MezoroiError(f"silhouette {view} has shape {polygon.shape}, not (K, 2): {remedy}")
    if not np.isfinite(polygon).all():
        raise MezoroiError(f"silhouette {view} holds NaN or infinite values: {remedy}")
    polygon = polygon[np.any(polygon != np.roll(polygon, 1, axis=0), axis=1)]
    if len(polygon) < 3:
        raise MezoroiError(f"silhouette {view} has fewer than 3 distinct corners: {remedy}")
    polygon = polygon - polygon.mean(axis=0)
    size = np.abs(polygon).max()
    polygon = polygon / size
    area, centroid = _area_and_centroid(polygon)
    if abs(area) < 1e-9:
        raise MezoroiError(f"silhouette {view} has no area: {remedy}")
    centred: Polygon = (polygon if area > 0 else polygon[::-1]) - centroid
    return centred


def _area_and_centroid(polygon: Polygon) -> tuple[float, Polygon]:
    """Signed area and centroid (2,) by Green's theorem."""
    following = np.roll(polygon, -1, axis=0)
    cross = polygon[:, 0] * following[:, 1] - polygon[:, 1] * following[:, 0]
    area = float(cross.sum() / 2)
    if area == 0:
        return 0.0, np.zeros(2)
    centroid: Polygon = ((polygon + following) * cross[:, None]).sum(axis=0) / (6 * area)
    return area, centroid


def _measure(polygon: Polygon) -> tuple[float, ...]:
    """The values of `FEATURES` for one polygon centred on its centroid."""
    width, height = np.ptp(polygon, axis=0)
    area = _area_and_centroid(polygon)[0]
    perimeter = np.linalg.norm(polygon - np.roll(polygon, -1, axis=0), axis=1).sum()
    proportion = height / width
    left_right, top_bottom = _asymmetries(polygon)
    return (
        proportion,
        min(1.0, 4 * np.pi * area / perimeter**2),
        max(0.0, 1 - proportion),
        max(0.0, proportion - 1),
        left_right,
        top_bottom,
        _bumpiness(polygon),
        min(1.0, area / _hull_area(polygon)),
    )


def _radii(polygon: Polygon) -> Polygon:
    """Radius of the outermost crossing of each ray from the centroid, (_ANGLES,)."""
    angle = (np.arange(_ANGLES) + 0.5) * 2 * np.pi / _ANGLES
    ray = np.stack([np.cos(angle), np.sin(angle)])
    along = polygon @ ray  # (K, T): distance of corners along each ray
    beside = polygon @ np.stack([-ray[1], ray[0]])
    following, beyond = np.roll(along, -1, axis=0), np.roll(beside, -1, axis=0)
    crosses = (beside <= 0) != (beyond <= 0)
    share = beside / np.where(crosses, beside - beyond, 1.0)
    radius: Polygon = np.where(crosses, along + share * (following - along), 0.0).max(axis=0)
    return np.maximum(radius, 0.0)


def _asymmetries(polygon: Polygon) -> tuple[float, float]:
    radius = _radii(polygon)
    top_bottom = np.abs(radius - radius[::-1]).mean()
    # Reversed, index i stands for angle -a; half a turn on, for pi - a.
    left_right = np.abs(radius - np.roll(radius[::-1], _ANGLES // 2)).mean()
    mean = radius.mean()
    return float(left_right / mean), float(top_bottom / mean)


def _bumpiness(polygon: Polygon) -> float:
    """Residual to the low elliptic Fourier harmonics of the outline, resampled by arc length."""
    closed = np.concatenate([polygon, polygon[:1]])
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
    at = np.arange(_SAMPLES) * length[-1] / _SAMPLES
    outline = np.interp(at, length, closed[:, 0]) + 1j * np.interp(at, length, closed[:, 1])
    spectrum = np.fft.fft(outline) / _SAMPLES
    order = np.abs(np.fft.fftfreq(_SAMPLES, 1 / _SAMPLES))
    residual = np.sqrt((np.abs(spectrum[order > _HARMONICS]) ** 2).sum())
    return float(residual / np.abs(outline - spectrum[0]).mean())


def _hull_area(polygon: Polygon) -> float:
    try:
        return float(ConvexHull(polygon).volume)
    except QhullError as error:
        raise MezoroiError("a silhouette is a line: check the segmentation of that view") from error
