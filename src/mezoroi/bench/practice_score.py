"""Rounds saved and accuracy gained by an order of practice, against random order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from mezoroi.metrics.intervals import Interval, bootstrap_interval
from mezoroi.practice.course import Course
from mezoroi.practice.simulation import ALL_KNOWING, ARMS, GROUP, as_an_erring_grader_says
from mezoroi.practice.stand_in import draw_stand_ins

LEARNERS = 200
SEED = 20270  # schedules were tuned on seeds 1001 to 1006
TARGETS = (120, 180, 240)
BOUNDED = ("prototype",)  # looking ahead takes several times longer with single fruits in mind
Cells = Mapping[tuple[str, str, str], Mapping[str, Any]]


def arms_of(kind: str) -> tuple[str, ...]:
    """The orders that learners of a kind practise in."""
    return tuple(arm for arm in ARMS if arm != ALL_KNOWING or kind in BOUNDED)


def title_of(arm: str) -> str:
    """How a table and the picture name an order."""
    return f"{arm} (a bound)" if arm == ALL_KNOWING else arm


def curve_of(cell: Mapping[str, Any]) -> NDArray[np.float64]:
    """(L, checks + 1) expected accuracy a day later."""
    return np.array(cell["curve"], dtype=np.float64)


def groups_of(count: int) -> NDArray[np.int64]:
    """(L,) learners of one group share fruits and test, so they are resampled together."""
    return np.arange(count) // GROUP


def rounds_to_reach(curve: NDArray[np.float64], target: float, checked: int) -> float:
    """Rounds until a mean curve (checks + 1,) reaches `target`, between readings by straight line.

    An arm that never does counts as reaching it at the end of the course, which flatters it.
    """
    above = np.flatnonzero(curve >= target)
    if not len(above):
        return float(checked * (len(curve) - 1))
    after = int(above[0])
    if after == 0:
        return 0.0
    low, high = curve[after - 1], curve[after]
    return float(checked * (after - 1 + (target - low) / (high - low)))


def rounds_saved(
    arm: Mapping[str, Any], random: Mapping[str, Any], rounds: int, course: Course
) -> Interval:
    """Share of rounds that an arm saves: 1 - (rounds to the accuracy of random order) / `rounds`.

    The accuracy is the one that random order reaches after `rounds`; both curves are averages of
    the same drawn learners, in a 95 % bootstrap interval by group.
    """
    first, second = curve_of(arm), curve_of(random)

    def saved(own: NDArray[np.float64], other: NDArray[np.float64]) -> float:
        target = float(other.mean(axis=0)[rounds // course.checked])
        return 1 - rounds_to_reach(own.mean(axis=0), target, course.checked) / rounds

    return bootstrap_interval(saved, groups_of(len(first)), first, second)


def reaches(arm: Mapping[str, Any], random: Mapping[str, Any], rounds: int, course: Course) -> bool:
    """Whether an arm ever gets to the accuracy that random order reaches after `rounds`."""
    target = curve_of(random).mean(axis=0)[rounds // course.checked]
    return bool(curve_of(arm).mean(axis=0).max() >= target)


def gained(arm: Mapping[str, Any], random: Mapping[str, Any], delay: str) -> Interval:
    """Accuracy after the last round and `delay`, minus that of random order, same learners."""
    difference = np.array(arm["retention"][delay]) - np.array(random["retention"][delay])
    return bootstrap_interval(
        lambda values: float(values.mean()), groups_of(len(difference)), difference
    )


def grader_agreement(variant: str) -> float:
    """Rank correlation (Spearman) of an erring grader's distances to the border with the true ones.

    Of 1,000 stand-ins of each grade, drawn with `SEED`.
    """
    rng = np.random.default_rng(SEED)
    fruits = draw_stand_ins(variant, 1000, rng)
    said = as_an_erring_grader_says(fruits, rng)
    return float(spearmanr(fruits.margins, said.margins).statistic)
