"""Drift: does a grader, or the model, still grade as before?

The same picture is graded again weeks later without being announced. Two series are watched:
whether the grade changed (consistency), and by how many grades, signed (stricter or milder). Each
goes on an exponentially weighted moving-average chart (Roberts 1959; Lucas and Saccucci 1990). A
p-chart needs some fifty repeats per point, weeks of work for one grader; the moving average uses
every single repeat and finds the small lasting shifts that matter here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mezoroi.errors import MezoroiError
from mezoroi.metrics.calibration import wilson_interval
from mezoroi.metrics.intervals import Interval
from mezoroi.standard import GradingStandard

BASELINE = 20
SMOOTHING = 0.2
WIDTH = 2.962  # with smoothing 0.2: one false alarm in 500 normal values (Lucas and Saccucci 1990)


@dataclass(frozen=True)
class PastGrade:
    """What one grader once gave a fruit.

    Attributes
    ----------
    observation : the picture; another of the same fruit may rightly have another grade
    specimen : the physical fruit
    grade : what was given
    at : when
    told : the grade that the grader was told afterwards, by a consensus or the others; None where
        nothing was told
    """

    observation: str
    specimen: str
    grade: str
    at: datetime
    told: str | None = None


@dataclass(frozen=True)
class Repeat:
    """A picture of a fruit graded twice by one grader.

    Attributes
    ----------
    specimen : the physical fruit
    first, second : grade at first and now; for the model `first` may be the experts' grade
    at : when it was graded again
    """

    specimen: str
    first: str
    second: str
    at: datetime


@dataclass(frozen=True)
class Chart:
    """A control chart; arrays have one entry per value, in the order of time.

    Attributes
    ----------
    centre : mean of the baseline
    smoothed : moving average, (n,)
    low, high : limits
    alerts : (n,) whether the moving average is outside, never within the baseline
    """

    centre: float
    smoothed: NDArray[np.float64]
    low: float
    high: float
    alerts: NDArray[np.bool_]

    @property
    def drifts(self) -> bool:
        """The alert rule: the latest moving average is outside the limits."""
        return bool(len(self.alerts) and self.alerts[-1])


@dataclass(frozen=True)
class Drift:
    """What the repeats of one grader say.

    Attributes
    ----------
    consistency : share of repeats with the same grade, with a 95 % Wilson interval
    changed : chart of 1 where the grade changed, else 0
    shift : chart of the signed change in grades, positive is stricter; None for unordered grades
    """

    consistency: Interval
    changed: Chart | None
    shift: Chart | None

    @property
    def alert(self) -> str | None:
        """``stricter``, ``milder``, ``inconsistent`` or None; the direction says more."""
        if self.shift is not None and self.shift.drifts:
            return "stricter" if self.shift.smoothed[-1] > self.shift.centre else "milder"
        if self.changed is not None and self.changed.drifts:
            above = self.changed.smoothed[-1] > self.changed.centre
            return "inconsistent" if above else None
        return None


def hidden_repeats(
    history: Sequence[PastGrade],
    now: datetime,
    count: int,
    rng: np.random.Generator,
    forgotten_after: timedelta = timedelta(weeks=2),
) -> list[str]:
    """Observations to slip in again, of fruits graded so long ago that they are hardly remembered.

    Those that the grader graded least often come first, others at random; at most `count`.
    """
    times = Counter(past.observation for past in history)
    specimen = {past.observation: past.specimen for past in history}
    latest: dict[str, datetime] = {}
    for past in history:
        latest[past.specimen] = max(past.at, latest.get(past.specimen, past.at))
    old = sorted(one for one in times if now - latest[specimen[one]] >= forgotten_after)
    mixed = [old[place] for place in rng.permutation(len(old))]
    return sorted(mixed, key=lambda one: times[one])[:count]


def repeats_in(history: Sequence[PastGrade]) -> list[Repeat]:
    """Every later grade of an observation beside the first that the same grader gave it.

    A grader who was told another grade than that first one is to have learned from it: the next
    grade is compared with nothing, and stands as the first from then on.
    """
    return _compare(history)[0]


def comparable(history: Sequence[PastGrade]) -> set[str]:
    """Observations whose next grade would be beside an earlier one in `repeats_in`."""
    return set(_compare(history)[1])


def _compare(history: Sequence[PastGrade]) -> tuple[list[Repeat], dict[str, str]]:
    first: dict[str, str] = {}
    repeats = []
    for past in sorted(history, key=lambda past: past.at):
        one = past.observation
        if one in first:
            repeats.append(Repeat(past.specimen, first[one], past.grade, past.at))
        else:
            first[one] = past.grade
        if past.told not in (None, first[one]):
            del first[one]
    return repeats, first


def drift_of(
    repeats: Sequence[Repeat], standard: GradingStandard, baseline: int = BASELINE
) -> Drift:
    """Consistency and control charts of one grader, or of the model.

    Parameters
    ----------
    repeats : in any order
    baseline : the first so many repeats say what is usual; no chart until there is one more

    Raises
    ------
    MezoroiError
        If a grade is unknown.
    """
    ordered = sorted(repeats, key=lambda repeat: repeat.at)
    rank = {grade: at for at, grade in enumerate(standard.grades)}
    try:
        shifts = np.array([rank[r.second] - rank[r.first] for r in ordered], dtype=np.float64)
    except KeyError as error:
        raise MezoroiError(
            f"unknown grade {error}: the standard has {', '.join(standard.grades)}"
        ) from error
    nan = float("nan")
    consistency = Interval(nan, nan, nan)
    if len(shifts):
        same = int((shifts == 0).sum())
        low, high = wilson_interval(same, len(shifts))
        consistency = Interval(same / len(shifts), float(low), float(high))
    if len(shifts) <= baseline:
        return Drift(consistency, None, None)
    return Drift(
        consistency,
        control_chart((shifts != 0).astype(float), baseline),
        control_chart(shifts, baseline) if standard.ordered else None,
    )


def control_chart(
    values: ArrayLike,
    baseline: int = BASELINE,
    smoothing: float = SMOOTHING,
    width: float = WIDTH,
) -> Chart:
    """Exponentially weighted moving average with its limits.

    z_t = smoothing x_t + (1 - smoothing) z_{t-1}, started at the baseline's mean m after the
    baseline; limits m ± width s sqrt(smoothing / (2 - smoothing) + 1 / n), those of a long run:
    limits that begin narrower would take a single slip for drift, since grades are coarse. 1 / n is
    for m, itself a mean of n values only: without it false alarms are several times as frequent as
    `WIDTH` promises. The variance s^2 is (SS + 1) / n, with SS the sum of squares around m of the
    n values of the baseline: one change by one grade more than was seen, since a baseline without
    any does not mean that none ever happens.

    Parameters
    ----------
    values : (n,) in the order of time
    baseline : >= 2
    smoothing : in (0, 1]
    width : > 0, in standard deviations

    Returns
    -------
    Chart; within the baseline the moving average stands at its mean
    """
    series = np.asarray(values, dtype=np.float64)
    if series.ndim != 1 or baseline < 2 or len(series) < baseline:
        raise ValueError(f"{series.shape} values: give (n,), with at least {baseline} for a base")
    if not 0 < smoothing <= 1 or width <= 0:
        raise ValueError("smoothing lies in (0, 1], width above 0")
    base = series[:baseline]
    centre = float(base.mean())
    spread = float(np.sqrt((((base - centre) ** 2).sum() + 1) / baseline))
    smoothed = np.full(len(series), centre)
    for at in range(baseline, len(series)):
        smoothed[at] = smoothing * series[at] + (1 - smoothing) * smoothed[at - 1]
    reach = width * spread * float(np.sqrt(smoothing / (2 - smoothing) + 1 / baseline))
    alerts = np.abs(smoothed - centre) > reach
    return Chart(centre, smoothed, centre - reach, centre + reach, alerts)
