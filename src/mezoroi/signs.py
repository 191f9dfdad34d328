"""Signs: the grade that a fruit's activation maps point at, by the standard's precedence.

Of several features on a fruit the one that takes precedence decides, however small it is. So the
grade with most evidence on average says little: a fruit of grade D carries the net of an A nearly
everywhere. What counts is the strength of a grade's *sign*, its probability at its surest place.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mezoroi.standard import GradingStandard

SIGN_PERCENTILE = 5
"""In per cent, how rarely a fruit is allowed on the wrong side of a limit."""


def sign_limits(
    signs: NDArray[np.floating], labels: NDArray[np.integer], standard: GradingStandard
) -> NDArray[np.float32]:
    """From which strength on a grade's sign is missing or showing.

    Parameters
    ----------
    signs : (N, S) strength of each surface grade's sign on held-out fruits, in [0, 1]
    labels : (N,) index of the experts' grade

    Returns
    -------
    (G, 2): below the first a sign is missing, above the second it shows; the smaller and the larger
        of the 5th percentile over fruits of the grade and the 95th over fruits of grades that it
        takes precedence over, which cannot have it. NaN where either has no fruits, for the last
        grade in precedence and for grades judged on the outline.
    """
    rank = np.array([standard.precedence.index(grade) for grade in standard.grades])
    limits = np.full((len(standard.grades), 2), np.nan, dtype=np.float32)
    for column, grade in enumerate(standard.surface_grades):
        index = standard.grades.index(grade)
        own = signs[labels == index, column]
        without = signs[rank[labels] > rank[index], column]
        if len(own) and len(without):
            low = np.percentile(own, SIGN_PERCENTILE)
            high = np.percentile(without, 100 - SIGN_PERCENTILE)
            limits[index] = sorted([low, high])
    return limits


def pointed_grade(
    grade: str,
    signs: Sequence[float],
    limits: NDArray[np.floating],
    standard: GradingStandard,
    surface: Sequence[str],
) -> str | None:
    """The grade that the maps point at, on a fruit of which another signal decided `grade`.

    Parameters
    ----------
    signs : strength of the sign of each grade in `surface`
    limits : (G, 2) from `sign_limits`; one of NaN is never passed
    surface : the grades with activation maps

    Returns
    -------
    the first grade in precedence before `grade` whose sign shows; else `grade`, if it has a map and
    its sign is not missing; else the first grade after it whose sign is not missing. None where
    the maps do not say: without maps, or of a grade without a map.
    """
    order = [name for name in standard.precedence if name in surface]
    strength = dict(zip(surface, signs, strict=True))
    bounds = dict(zip(standard.grades, limits.tolist(), strict=True))
    rank = standard.precedence.index
    for name in order:
        if rank(name) < rank(grade) and strength[name] > bounds[name][1]:
            return name
    if grade not in order:
        return None
    for name in order[order.index(grade) :]:
        if not strength[name] < bounds[name][0]:
            return name
    return grade
