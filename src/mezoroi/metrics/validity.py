"""Whether experts find gradings valid: the melon paper's table 2, acceptance, and what errors cost.

Answers are those of section 4.4: 1 the grade agrees, 2 it differs but the chart of similarities is
reasonable, 3 clearly wrong.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mezoroi.errors import MezoroiError
from mezoroi.metrics.calibration import wilson_interval

ANSWERS = (1, 2, 3)
WRONG = 3


@dataclass(frozen=True)
class Share:
    """A share with its 95 % Wilson interval.

    Attributes
    ----------
    count, total : of how many how many
    value : in [0, 1]; NaN where `total` is 0
    low, high : ends of the interval; 0 and 1 where `total` is 0
    """

    count: int
    total: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class ChartValidity:
    """What experts answered, and whether the charts were reasonable.

    Attributes
    ----------
    answers : how often 1, 2 and 3 was answered
    per_answer : share of the answers 1 and 2, the paper's number; higher is better
    per_fruit : share of the fruits to which no expert answered 3; higher is better. Answers to one
        fruit are alike, so that this interval is the honest one where several experts judge
    """

    answers: tuple[int, int, int]
    per_answer: Share
    per_fruit: Share


@dataclass(frozen=True)
class Misgrading:
    """Errors in either direction.

    Attributes
    ----------
    compared : number of grades that were compared
    over, under : how many were given a better, and a worse, grade than the expert's
    over_steps, under_steps : by how many grades in all
    cost : `over_steps` and `under_steps`, each times its cost
    cost_each : per compared grade; NaN where none was compared
    """

    compared: int
    over: int
    under: int
    over_steps: int
    under_steps: int
    cost: float
    cost_each: float


def share(count: int, total: int) -> Share:
    """`count` of `total`, with its 95 % Wilson interval (Wilson 1927)."""
    low, high = wilson_interval(count, total)
    value = count / total if total else math.nan
    return Share(int(count), int(total), value, float(low), float(high))


def chart_validity(answers: ArrayLike, fruits: ArrayLike) -> ChartValidity:
    """Counts of the answers and shares of reasonable charts (melon paper, table 2).

    Parameters
    ----------
    answers : (N,) 1, 2 or 3; N may be 0
    fruits : (N,) number of the fruit that was judged

    Raises
    ------
    MezoroiError
        If lengths differ or an answer is another.
    """
    given, judged = _pair(answers, fruits, "answers", "fruits")
    if not np.isin(given, ANSWERS).all():
        raise MezoroiError(f"answers hold {set(given.tolist()) - set(ANSWERS)}: give 1, 2 or 3")
    counts = tuple(int((given == answer).sum()) for answer in ANSWERS)
    wrong_fruits = len(np.unique(judged[given == WRONG]))
    num_fruits = len(np.unique(judged))
    return ChartValidity(
        answers=(counts[0], counts[1], counts[2]),
        per_answer=share(counts[0] + counts[1], len(given)),
        per_fruit=share(num_fruits - wrong_fruits, num_fruits),
    )


def acceptance(given: ArrayLike, expert: ArrayLike) -> Share:
    """Share of grades that are the expert's; higher is better.

    Parameters
    ----------
    given, expert : (N,) grade numbers; N may be 0
    """
    ours, theirs = _pair(given, expert, "given", "expert")
    return share(int((ours == theirs).sum()), len(ours))


def misgrading(
    given: ArrayLike, expert: ArrayLike, over_cost: float = 1.0, under_cost: float = 1.0
) -> Misgrading:
    """Over- and under-grading counted apart, with what they cost; lower is better.

    Parameters
    ----------
    given, expert : (N,) grade numbers, best grade first; N may be 0. Only for ordered grades
    over_cost, under_cost : of one grade too good, and one too bad, >= 0, in any unit

    Raises
    ------
    MezoroiError
        If lengths differ or a cost is negative.
    """
    if not (over_cost >= 0 and under_cost >= 0):
        raise MezoroiError(f"costs are {over_cost} and {under_cost}: give 0 or more")
    ours, theirs = _pair(given, expert, "given", "expert")
    steps = theirs - ours
    over_steps, under_steps = int(steps[steps > 0].sum()), int(-steps[steps < 0].sum())
    cost = over_steps * over_cost + under_steps * under_cost
    return Misgrading(
        compared=len(ours),
        over=int((steps > 0).sum()),
        under=int((steps < 0).sum()),
        over_steps=over_steps,
        under_steps=under_steps,
        cost=cost,
        cost_each=cost / len(ours) if len(ours) else math.nan,
    )


def _pair(
    first: ArrayLike, second: ArrayLike, first_name: str, second_name: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    one, other = (np.asarray(values, dtype=np.int64).reshape(-1) for values in (first, second))
    if len(one) != len(other):
        raise MezoroiError(
            f"{len(one)} {first_name} and {len(other)} {second_name} do not match: "
            "give both for each item"
        )
    return one, other
