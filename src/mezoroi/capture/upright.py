"""The fruit's outline over the turn: silhouettes of chosen frames, with the turn axis upright."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mezoroi.capture.geometry import Floats
from mezoroi.capture.outline import radii_of, steady_outlines
from mezoroi.capture.silhouette import Silhouette

_OUTLINE_VIEWS = 24


def upright_outlines(
    silhouettes: Sequence[Silhouette], poses: Floats, turned: Floats
) -> list[Floats]:
    """Silhouettes with the turn axis upright, evenly over the turn, in mean radii.

    Parameters
    ----------
    poses : (N, 3, 3) of each frame, the turn axis being z
    turned : (N,) radians that the fruit has turned before each frame; less where it turned back,
        for it then shows the same side again
    """
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
    return steady_outlines(np.array(radii), turned[kept], _evenly(turned[kept]))


def _whole(silhouettes: Sequence[Silhouette]) -> list[int]:
    """Frames that show all of the fruit, about as large as usual; all where there is none."""
    size = np.array([found.ellipse.radius for found in silhouettes])
    usual = np.abs(size / np.median(size) - 1) < 0.25
    kept = np.flatnonzero(usual & np.array([found.cut == 0 for found in silhouettes]))
    return kept.tolist() if len(kept) else list(range(len(silhouettes)))


def _evenly(turned: Floats) -> NDArray[np.intp]:
    """Frames evenly over the turn, so that a slow stretch does not count more."""
    wanted = np.linspace(turned.min(), turned.max(), min(_OUTLINE_VIEWS, len(turned)))
    nearest = np.abs(turned[:, None] - wanted).argmin(axis=0)
    return np.unique(nearest)
