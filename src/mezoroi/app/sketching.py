"""Outlines drawn from measurements alone: an ellipse, with a bump where one was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

BUMPS = "bumpiness"
SEEN = 0.05
"""Height of a bump, as a share of the radius, from which it is seen on a small drawing."""
_STEPS = 72
_ANGLES = np.arange(_STEPS) * 2 * np.pi / _STEPS
_BUMP_AT, _BUMP_WIDTH = np.deg2rad(40), np.deg2rad(14)
_SMOOTH_HARMONICS = 3  # that are no bumps: see `mezoroi.capture.outline`


def sketch(height_width: float, bump: float = 0.0) -> str:
    """SVG path of an ellipse of these proportions, as large as a circle of radius 1.

    Parameters
    ----------
    bump : height of its one bump, whose place is made up, as a share of the radius
    """
    return outline_path((_ellipse(height_width) * (1 + bump * _bump())).tolist())


def bump_height(outline: Mapping[str, float]) -> float:
    """Height of the one bump that an outline of this bumpiness has; 0 where it is not known.

    An ellipse of these proportions is no circle, and has some bumpiness without a bump.
    """
    from mezoroi.capture.outline import outline_features

    if BUMPS not in outline or "height_width" not in outline:
        return 0.0
    # Over the turn a bump is seen from the side in some views only.
    most = outline[BUMPS] + 2 * outline.get(f"{BUMPS}_variation", 0.0)
    radii = _ellipse(outline["height_width"])
    smooth = np.stack([radii * np.cos(_ANGLES), radii * np.sin(_ANGLES)], axis=1)
    rest = most**2 - outline_features([smooth])[BUMPS] ** 2
    spectrum = np.fft.fft(_bump() * np.exp(1j * _ANGLES)) / _STEPS
    order = np.abs(np.fft.fftfreq(_STEPS, 1 / _STEPS))
    of_one = math.sqrt((np.abs(spectrum[order > _SMOOTH_HARMONICS]) ** 2).sum())
    return math.sqrt(max(rest, 0.0)) / of_one


def outline_path(radii: Sequence[float]) -> str:
    """A closed SVG path through radii at even angles, counterclockwise from the right."""
    step = 2 * math.pi / len(radii)
    points = (
        f"{radius * math.cos(place * step):.3f} {-radius * math.sin(place * step):.3f}"
        for place, radius in enumerate(radii)
    )
    return f"M{'L'.join(points)}Z"


def _ellipse(height_width: float) -> NDArray[np.float64]:
    """Radii at even angles."""
    high, wide = math.sqrt(height_width), 1 / math.sqrt(height_width)
    radii: NDArray[np.float64] = (
        high * wide / np.hypot(high * np.cos(_ANGLES), wide * np.sin(_ANGLES))
    )
    return radii


def _bump() -> NDArray[np.float64]:
    """A bump of height 1 at the same angles."""
    bump: NDArray[np.float64] = np.exp(-(((_ANGLES - _BUMP_AT) / _BUMP_WIDTH) ** 2) / 2)
    return bump
