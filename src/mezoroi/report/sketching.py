"""Outlines drawn from measurements alone: an ellipse, with a bump where one was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

BUMPS = "bumpiness"
DRAWN = (0.25, 4.0)
"""Least and greatest height over width of an outline that is drawn: others are no fruit's."""
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


def sketch_of(outline: Mapping[str, float] | None) -> tuple[str | None, bool]:
    """SVG path of an outline's measurements, and whether it has a bump.

    None where its proportions are unknown or no fruit's; a bump that is not seen is left out.
    """
    if not outline or not DRAWN[0] <= outline.get("height_width", 0.0) <= DRAWN[1]:
        return None, False
    height = bump_height(outline)
    is_bumped = height >= SEEN
    return sketch(outline["height_width"], height if is_bumped else 0.0), is_bumped


def bump_height(outline: Mapping[str, float]) -> float:
    """Height of the one bump that an outline of this bumpiness has; 0 where it is not known.

    An ellipse of these proportions is no circle, and has some bumpiness without a bump.
    """
    if BUMPS not in outline or "height_width" not in outline:
        return 0.0
    # Over the turn a bump is seen from the side in some views only.
    most = outline[BUMPS] + 2 * outline.get(f"{BUMPS}_variation", 0.0)
    corners = _ellipse(outline["height_width"]) * np.exp(1j * _ANGLES)
    corners = np.append(corners, corners[0])
    length = np.append(0.0, np.cumsum(np.abs(np.diff(corners))))
    # The measure walks along the outline at an even pace, not at even angles.
    smooth = np.interp(_ANGLES / (2 * np.pi) * length[-1], length, corners)
    rest = most**2 - _residual(smooth) ** 2
    return math.sqrt(max(rest, 0.0)) / _residual(_bump() * np.exp(1j * _ANGLES))


def outline_path(radii: Sequence[float]) -> str:
    """A closed SVG path through radii at even angles, counterclockwise from the right."""
    step = 2 * math.pi / len(radii)
    points = (
        f"{radius * math.cos(place * step):.3f} {-radius * math.sin(place * step):.3f}"
        for place, radius in enumerate(radii)
    )
    return f"M{'L'.join(points)}Z"


def _residual(outline: NDArray[np.complex128]) -> float:
    """Root mean square of what is in none of the low harmonics."""
    spectrum = np.fft.fft(outline) / len(outline)
    order = np.abs(np.fft.fftfreq(len(outline), 1 / len(outline)))
    return math.sqrt((np.abs(spectrum[order > _SMOOTH_HARMONICS]) ** 2).sum())


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
