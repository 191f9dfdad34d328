"""Stand-in fruits for simulated learners: points in a space of what a grader can look at.

Four grades by the melon standard's precedence (D > C > B > A): a fruit with a blemish is D, else a
distorted one C, else one with a disordered net B, else A. Frozen with `LEARNER_VERSION`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GRADES = ("A", "B", "C", "D")
DIAGNOSTIC = 3  # the first dimensions: net, shape, blemish; all others say nothing about the grade
BORDER = 0.5

# How large a step from clearly sound to clearly faulty looks, by dimension; a scar is plain to
# see, the order of a net is not. Tone, size, density of the net, ground spot and light follow.
SALIENCE = {
    "standard": (0.6, 0.8, 1.0, 1.0, 0.8, 0.8, 0.6, 0.6),
    "held-out": (0.5, 0.6, 0.7, 0.9, 0.9, 0.7, 0.7, 0.5),
}


@dataclass(frozen=True)
class StandIns:
    """Fruits as points.

    Attributes
    ----------
    features : (N, K) as they look, a dimension's range is its salience
    grades : (N,) numbers in [0, 4)
    rivals : (N,) the grade whose border is nearest
    margins : (N,) distance to that border as it looks, > 0
    """

    features: NDArray[np.float64]
    grades: NDArray[np.int64]
    rivals: NDArray[np.int64]
    margins: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.grades)


def draw_stand_ins(variant: str, per_grade: int, rng: np.random.Generator) -> StandIns:
    """Draw `per_grade` fruits of each grade; a feature that is absent lies below 0.5."""
    salience = np.array(SALIENCE[variant])
    grades = np.repeat(np.arange(len(GRADES)), per_grade)
    points = rng.random((len(grades), len(salience)))
    for number in range(DIAGNOSTIC):  # dimension k makes grade k + 1
        present = rng.uniform(BORDER + 0.03, 0.95, len(grades))
        absent = rng.uniform(0.05, BORDER - 0.03, len(grades))
        either = points[:, number]
        points[:, number] = np.select(
            [grades == number + 1, grades <= number], [present, absent], either
        )
    depths = (points[:, :DIAGNOSTIC] - BORDER) * salience[:DIAGNOSTIC]
    rivals, margins = _nearest_border(depths, grades)
    return StandIns(points * salience, grades, rivals, margins)


def diagnostic_dimension(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    """The dimension that tells two grades apart: that of the one that takes precedence."""
    return np.maximum(np.maximum(first, second) - 1, 0)


def _nearest_border(
    depths: NDArray[np.float64], grades: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The other grade that the smallest change of one feature makes of each fruit."""
    margins = np.full(len(grades), np.inf)
    rivals = np.zeros(len(grades), dtype=np.int64)
    present = depths > 0
    for number in range(DIAGNOSTIC):
        toggled = present.copy()
        toggled[:, number] = ~toggled[:, number]
        made = _by_precedence(toggled)
        distance = np.abs(depths[:, number])
        nearer = (made != grades) & (distance < margins)
        rivals[nearer], margins[nearer] = made[nearer], distance[nearer]
    return rivals, margins


def _by_precedence(present: NDArray[np.bool_]) -> NDArray[np.int64]:
    last_first = present[:, ::-1]
    return np.where(last_first.any(axis=1), DIAGNOSTIC - last_first.argmax(axis=1), 0)
