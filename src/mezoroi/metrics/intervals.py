"""Bootstrap intervals that resample whole specimens."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mezoroi.errors import MezoroiError
from mezoroi.metrics.calibration import wilson_interval

Statistic = Callable[..., float]
MOST_UNDEFINED = 0.05
"""Share of the resamples on which a statistic may be undefined without its interval being so."""


@dataclass(frozen=True)
class Interval:
    """A value with its bootstrap interval.

    Attributes
    ----------
    value : the statistic on all items; NaN where it is undefined
    low, high : its ends; NaN where there are fewer than two groups or no defined resample
    n_undefined : resamples that were dropped because the statistic was NaN on them
    """

    value: float
    low: float
    high: float
    n_undefined: int = 0

    @property
    def excludes_zero(self) -> bool:
        """True when the whole interval lies on one side of zero; False where it is undefined."""
        return self.low > 0 or self.high < 0


def bootstrap_interval(
    statistic: Statistic,
    groups: ArrayLike,
    *arrays: Any,
    n_resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap interval, drawing whole groups with replacement (Efron 1979).

    Observations of one specimen are alike, so drawing single observations would give an interval
    that is too narrow; a drawn group brings all of its items.

    Parameters
    ----------
    statistic : function of arrays of one length, returning a float; NaN where it is undefined
    groups : (N,) name or number of each item's group, usually its specimen
    *arrays : arrays with N rows each, passed to `statistic` in this order
    n_resamples : >= 1
    level : in (0, 1)
    seed : the same seed draws the same groups

    Returns
    -------
    Interval; its ends are NaN where there is only one group, which has no spread to draw from.

    Raises
    ------
    MezoroiError
        If there are no items, lengths differ, or an option is out of range.
    """
    group_of_item, n_groups = number_groups(groups)
    columns = [np.asarray(array) for array in arrays]
    if not columns:
        raise MezoroiError("no array to compute a statistic of: give at least one")
    for column in columns:
        if column.ndim == 0 or len(column) != len(group_of_item):
            raise MezoroiError(
                f"an array of shape {column.shape} does not match {len(group_of_item)} groups: "
                "give one row per item"
            )
    items = np.argsort(group_of_item, kind="stable")
    sizes = np.bincount(group_of_item, minlength=n_groups)
    starts = np.cumsum(sizes) - sizes
    resamples = np.full(n_resamples, np.nan)
    for row, drawn in enumerate(group_draws(n_groups, n_resamples, seed)):
        drawn_sizes = sizes[drawn]
        ends = np.cumsum(drawn_sizes)
        shift = np.repeat(starts[drawn] - (ends - drawn_sizes), drawn_sizes)
        chosen = items[np.arange(ends[-1]) + shift]
        resamples[row] = statistic(*(column[chosen] for column in columns))
    return interval_of(float(statistic(*columns)), resamples, n_groups, level)


def paired_difference(
    statistic: Statistic,
    groups: ArrayLike,
    y_true: ArrayLike,
    y_pred_a: ArrayLike,
    y_pred_b: ArrayLike,
    *,
    n_resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Interval of ``statistic(y_true, y_pred_a) - statistic(y_true, y_pred_b)`` on the same items.

    Both answers are scored on the same drawn groups, so what is hard for both cancels out. A
    difference is worth reporting only where ``.excludes_zero`` is true.

    Parameters and errors are those of `bootstrap_interval`.
    """

    def difference(truth: NDArray[Any], first: NDArray[Any], second: NDArray[Any]) -> float:
        return statistic(truth, first) - statistic(truth, second)

    return bootstrap_interval(
        difference,
        groups,
        y_true,
        y_pred_a,
        y_pred_b,
        n_resamples=n_resamples,
        level=level,
        seed=seed,
    )


def number_groups(groups: ArrayLike) -> tuple[NDArray[np.intp], int]:
    """Number the groups 0, 1, ...: (N,) group of each item, and how many groups there are."""
    names = np.asarray(groups)
    if names.ndim != 1 or len(names) == 0:
        raise MezoroiError(
            f"groups of shape {names.shape} cannot be resampled: give one group per item"
        )
    distinct, group_of_item = np.unique(names, return_inverse=True)
    return group_of_item, len(distinct)


def group_draws(n_groups: int, n_resamples: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Yield `n_resamples` times `n_groups` group numbers, drawn with replacement."""
    if n_resamples < 1:
        raise MezoroiError(f"n_resamples is {n_resamples}: draw at least one")
    generator = np.random.default_rng(seed)
    for _ in range(n_resamples):
        yield generator.integers(n_groups, size=n_groups)


def known_ends(interval: Interval, n_resamples: int) -> Interval:
    """The interval, its ends NaN where more than `MOST_UNDEFINED` of the resamples were undefined.

    What is left of them is a choice, so its quantiles say too much: two fruits on which all agree
    are in perfect agreement on every resample that has both, and on no other is anything defined.
    """
    if interval.n_undefined <= MOST_UNDEFINED * n_resamples:
        return interval
    return replace(interval, low=math.nan, high=math.nan)


def otherwise_at_most(fruits: int) -> float:
    """Largest share that may be otherwise where so many fruits are all alike.

    No resample of fruits that are all alike differs, so that a bootstrap interval would be a point
    however few they are. It is the upper end of the 95 % Wilson interval of 0 (Wilson 1927).
    """
    return float(wilson_interval(0, fruits)[1])


def perfect_agreement(interval: Interval, fruits: int) -> Interval:
    """The interval of an agreement beyond chance, also where it is perfect on so many fruits.

    As many as `otherwise_at_most` says might be graded as by chance, which leaves 1 less that share
    of the agreement beyond it.
    """
    if interval.value < 1 - 1e-12 or math.isnan(interval.low):
        return interval
    return replace(interval, low=1 - otherwise_at_most(fruits), high=1.0)


def interval_of(
    value: float, resamples: NDArray[np.float64], n_groups: int, level: float = 0.95
) -> Interval:
    """Percentile interval of a statistic's values on the resamples; NaN values are dropped."""
    if not 0 < level < 1:
        raise MezoroiError(f"level is {level}: use a share between 0 and 1, such as 0.95")
    defined = resamples[~np.isnan(resamples)]
    n_undefined = len(resamples) - len(defined)
    if math.isnan(value) or n_groups < 2 or len(defined) == 0:
        return Interval(value, math.nan, math.nan, n_undefined)
    tail = (1 - level) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return Interval(value, float(low), float(high), n_undefined)
