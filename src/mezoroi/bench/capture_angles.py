"""Directions on a fruit, the angles between them, and the rotation between two fruits' axes."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from mezoroi.capture.unrolling import Capture
from mezoroi.errors import MezoroiError

Floats = NDArray[np.float64]
_ROUNDS = 30
_TOLERANCE = 4.0  # degrees from which a pair of directions counts as an outlier


def directions_of(longitude: ArrayLike, latitude: ArrayLike) -> Floats:
    """Unit vectors (..., 3) of longitudes and latitudes in degrees."""
    lon, lat = np.radians(longitude), np.radians(latitude)
    found: Floats = np.stack(
        [np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], -1
    )
    return found


def angles_between(first: Floats, second: Floats) -> Floats:
    """Degrees (...) between vectors (..., 3) of any length; NaN where one is NaN."""
    across = np.linalg.norm(np.cross(first, second), axis=-1)
    degrees: Floats = np.degrees(np.arctan2(across, (first * second).sum(axis=-1)))
    return degrees


def locate_all(capture: Capture, frames: ArrayLike, pixels: Floats) -> Floats:
    """Directions (M, 3) on the fruit of pixels (M, 2) of frames (M,); NaN where there is none."""
    found = []
    for frame, (x, y) in zip(np.asarray(frames, dtype=int), pixels, strict=True):
        try:
            found.append(capture.locate(int(frame), float(x), float(y)))
        except MezoroiError:
            found.append((np.nan, np.nan))
    spots = np.array(found, dtype=np.float64).reshape(-1, 2)
    return directions_of(spots[:, 0], spots[:, 1])


def align(ours: Floats, theirs: Floats) -> Floats:
    """The rotation (3, 3) that turns directions `ours` (M, 3) to `theirs`, outliers aside.

    Least squares, weighted anew (Geman and McClure) until it settles; rows with NaN are left out.
    """
    known = np.isfinite(ours).all(axis=1) & np.isfinite(theirs).all(axis=1)
    ours, theirs = ours[known], theirs[known]
    weights = np.ones(len(ours))
    for number in range(_ROUNDS):
        rotation = Rotation.align_vectors(theirs, ours, weights=weights)[0]
        # A wide tolerance first, so that outliers cannot hold the rotation where they pulled it.
        tolerance = max(_TOLERANCE, 40.0 * 0.7**number)
        away = angles_between(rotation.apply(ours), theirs)
        weights = (tolerance**2 / (tolerance**2 + away**2)) ** 2
    matrix: Floats = rotation.as_matrix()
    return matrix
