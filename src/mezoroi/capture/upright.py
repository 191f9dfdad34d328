"""The fruit's outline over the turn: silhouettes of chosen frames, with the turn axis upright."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mezoroi.capture.geometry import Floats
from mezoroi.capture.outline import radii_of, steady_outlines
from mezoroi.capture.silhouette import Silhouette

_OUTLINE_VIEWS = 24


def upright_outlines(silhouettes: Sequence[Silhouette], poses: Floats) -> list[Floats]:
    """Silhouettes with the turn axis upright, evenly over the turn, in mean radii."""
    radius = float(np.mean([found.ellipse.radius for found in silhouettes]))
    kept = _whole(silhouettes)
    radii = []
    for index in kept:
        found = silhouettes[index]
        leaning = poses[index, :2, 2]
        leaning = leaning / max(1e-9, float(np.linalg.norm(leaning)))
        upright = np.array([[leaning[1], -leaning[0]], [leaning[0], leaning[1]]])
        offset = (found.contour - found.ellipse.centre) * (1.0, -1.0)
        radii.append(radii_of(offset @ upright.T / radius))
    turned = _turned(poses[kept])
    return steady_outlines(np.array(radii), turned, _evenly(turned))


def _whole(silhouettes: Sequence[Silhouette]) -> list[int]:
    """Frames that show all of the fruit, about as large as usual; all where there is none."""
    size = np.array([found.ellipse.radius for found in silhouettes])
    usual = np.abs(size / np.median(size) - 1) < 0.25
    kept = np.flatnonzero(usual & np.array([found.cut == 0 for found in silhouettes]))
    return kept.tolist() if len(kept) else list(range(len(silhouettes)))


def _turned(poses: Floats) -> Floats:
    """(V,) radians turned before each of V poses."""
    if len(poses) < 2:
        return np.zeros(len(poses))
    steps = Rotation.from_matrix(poses[1:] @ np.swapaxes(poses[:-1], 1, 2)).magnitude()
    return np.concatenate([[0.0], np.cumsum(steps)])


def _evenly(turned: Floats) -> NDArray[np.intp]:
    """Frames evenly over the turn, so that a slow stretch does not count more."""
    wanted = np.linspace(0, turned[-1], min(_OUTLINE_VIEWS, len(turned)))
    nearest = np.abs(turned[:, None] - wanted).argmin(axis=0)
    return np.unique(nearest)
