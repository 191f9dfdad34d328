"""How far graders agree on the same fruits, beyond chance, and who grades stricter."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import cohen_kappa_score

from mezoroi.errors import MezoroiError
from mezoroi.metrics.grading import grading_report
from mezoroi.metrics.intervals import (
    Interval,
    bootstrap_interval,
    otherwise_at_most,
    perfect_agreement,
)

MISSING = -1

Ratings = NDArray[np.int64]


@dataclass(frozen=True)
class RatingsTable:
    """Grades as numbers.

    Attributes
    ----------
    ratings : (F, R) grade numbers, best 0, and -1 where a grader did not grade a fruit
    graders : R names
    """

    ratings: Ratings
    graders: tuple[str, ...]


def ratings_table(
    fruits: Sequence[Mapping[str, str]],
    grades: Sequence[str],
    graders: Sequence[str] | None = None,
) -> RatingsTable:
    """Grade numbers from each fruit's grades by grader.

    Parameters
    ----------
    fruits : per fruit, grade by grader
    grades : names of the grades, best first
    graders : the order of the columns; default: as they first appear

    Raises
    ------
    MezoroiError
        If a grade is unknown.
    """
    found = dict.fromkeys(name for given in fruits for name in given)
    names = tuple(found if graders is None else graders)
    number = {grade: at for at, grade in enumerate(grades)}
    ratings = np.full((len(fruits), len(names)), MISSING, dtype=np.int64)
    for row, given in enumerate(fruits):
        for column, name in enumerate(names):
            if name in given:
                if given[name] not in number:
                    raise MezoroiError(
                        f"unknown grade `{given[name]}`: the standard has {', '.join(grades)}"
                    )
                ratings[row, column] = number[given[name]]
    return RatingsTable(ratings, names)


def krippendorff_alpha(ratings: ArrayLike, num_grades: int, *, ordered: bool = True) -> float:
    """Krippendorff's alpha: agreement beyond chance of any number of graders, with gaps.

    Ordinal for ordered grades, else nominal (Krippendorff 2011, "Computing Krippendorff's
    Alpha-Reliability").

    Parameters
    ----------
    ratings : (F, R) grade numbers in [0, num_grades), -1 where missing
    num_grades : >= 2

    Returns
    -------
    float <= 1, 0 for chance; NaN where no fruit has two grades, or only one grade was given at all.
    """
    counts = grade_counts(ratings, num_grades)
    return _alpha(counts, ordered)


def _alpha(counts: NDArray[np.int64], ordered: bool) -> float:
    import krippendorff

    pairable = counts[counts.sum(axis=1) > 1]
    if (pairable.sum(axis=0) > 0).sum() < 2:
        return math.nan
    return float(
        krippendorff.alpha(
            value_counts=pairable, level_of_measurement="ordinal" if ordered else "nominal"
        )
    )


def fleiss_kappa(ratings: ArrayLike, num_grades: int) -> float:
    """Fleiss' kappa over the fruits that every grader graded (Fleiss 1971).

    It takes no order into account and no gaps: fruits with one are left out.

    Returns
    -------
    float <= 1, 0 for chance; NaN with fewer than two graders, without a fruit that all graded, or
    where only one grade was given.
    """
    table = _checked(ratings, num_grades)
    return _fleiss(grade_counts(table[(table != MISSING).all(axis=1)], num_grades))


def _fleiss(counts: NDArray[np.int64]) -> float:
    from statsmodels.stats.inter_rater import fleiss_kappa as kappa

    if len(counts) == 0 or counts[0].sum() < 2 or (counts.sum(axis=0) > 0).sum() < 2:
        return math.nan
    return float(kappa(counts))


def weighted_kappa(first: ArrayLike, second: ArrayLike, num_grades: int) -> float:
    """Quadratic-weighted kappa of two graders over the fruits that both graded (Cohen 1968).

    Returns
    -------
    float in [-1, 1], 0 for chance, also of a grader who gave one grade only beside one who gave
    several; NaN with fewer than two such fruits or where both gave one and the same grade only.
    """
    one, other = _common(first, second, num_grades)
    if len(one) < 2 or len(np.union1d(one, other)) < 2:
        return math.nan
    labels = list(range(num_grades))
    return float(cohen_kappa_score(one, other, labels=labels, weights="quadratic"))


def alpha_interval(
    ratings: ArrayLike,
    num_grades: int,
    *,
    ordered: bool = True,
    n_resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """`krippendorff_alpha` with its 95 % bootstrap interval by fruit.

    That of a perfect agreement, which every resample repeats, is of `perfect_agreement`.
    """
    counts = grade_counts(ratings, num_grades)
    if len(counts) == 0:
        return Interval(math.nan, math.nan, math.nan)
    found = bootstrap_interval(
        lambda drawn: _alpha(drawn, ordered),
        np.arange(len(counts)),
        counts,
        n_resamples=n_resamples,
        seed=seed,
    )
    return perfect_agreement(found, int((counts.sum(axis=1) > 1).sum()))


def fleiss_interval(
    ratings: ArrayLike, num_grades: int, *, n_resamples: int = 1000, seed: int = 0
) -> Interval:
    """`fleiss_kappa` with its interval by fruit, as `alpha_interval`."""
    table = _checked(ratings, num_grades)
    counts = grade_counts(table[(table != MISSING).all(axis=1)], num_grades)
    if len(counts) == 0:
        return Interval(math.nan, math.nan, math.nan)
    found = bootstrap_interval(
        _fleiss, np.arange(len(counts)), counts, n_resamples=n_resamples, seed=seed
    )
    return perfect_agreement(found, len(counts))


def kappa_interval(
    first: ArrayLike,
    second: ArrayLike,
    num_grades: int,
    *,
    n_resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """`weighted_kappa` with its interval by fruit, as `alpha_interval`."""
    one, other = _common(first, second, num_grades)
    value = weighted_kappa(one, other, num_grades)
    if math.isnan(value):
        return Interval(math.nan, math.nan, math.nan)
    names = [str(number) for number in range(num_grades)]
    fruits = np.arange(len(one))
    report = grading_report(one, other, names, fruits, n_resamples=n_resamples, seed=seed)
    entry = report["quadratic_weighted_kappa"]
    low, high = (math.nan if entry[end] is None else entry[end] for end in ("low", "high"))
    return Interval(value, low, high, entry["n_undefined"])


def agreement_matrix(ratings: ArrayLike, num_grades: int) -> NDArray[np.float64]:
    """(R, R) share of the fruits that both graders graded to which they gave the same grade.

    1 on the diagonal; NaN for two graders without a fruit in common.
    """
    table = _checked(ratings, num_grades)
    given = table != MISSING
    common = given.T.astype(float) @ given
    same = sum((table == grade).T.astype(float) @ (table == grade) for grade in range(num_grades))
    with np.errstate(invalid="ignore"):
        return np.asarray(same / common)


def kappa_matrix(ratings: ArrayLike, num_grades: int) -> NDArray[np.float64]:
    """(R, R) `weighted_kappa` of every two graders; NaN where it is undefined."""
    table = _checked(ratings, num_grades)
    size = table.shape[1]
    kappas = np.full((size, size), np.nan)
    for row in range(size):
        for column in range(row, size):
            kappas[row, column] = weighted_kappa(table[:, row], table[:, column], num_grades)
            kappas[column, row] = kappas[row, column]
    return kappas


def strictness(
    ratings: ArrayLike, num_grades: int, *, n_resamples: int = 1000, seed: int = 0
) -> list[Interval]:
    """Signed mean difference, in grades, of each grader from the others on the same fruits.

    Positive is stricter: a worse grade than the mean of the others who graded the fruit. Needs
    ordered grades.

    Returns
    -------
    R intervals by fruit; NaN for a grader who shares no fruit with another. Where the difference is
    the same on all of them, a share of `otherwise_at_most` might differ by a grade from that.
    """
    table = _checked(ratings, num_grades)
    given = table != MISSING
    number, total = given.sum(axis=1), np.where(given, table, 0).sum(axis=1)
    results = []
    for column in range(table.shape[1]):
        shared = given[:, column] & (number > 1)
        if not shared.any():
            results.append(Interval(math.nan, math.nan, math.nan))
            continue
        own = table[shared, column]
        gaps = own - (total[shared] - own) / (number[shared] - 1)
        found = bootstrap_interval(
            lambda gap: float(np.mean(gap)),
            np.flatnonzero(shared),
            gaps,
            n_resamples=n_resamples,
            seed=seed,
        )
        if np.ptp(gaps) == 0 and len(gaps) > 1:
            reach = otherwise_at_most(len(gaps))
            found = replace(found, low=found.value - reach, high=found.value + reach)
        results.append(found)
    return results


def grade_counts(ratings: ArrayLike, num_grades: int) -> NDArray[np.int64]:
    """(F, num_grades) how many graders gave each grade: the distribution per fruit."""
    table = _checked(ratings, num_grades)
    return np.asarray((table[..., None] == np.arange(num_grades)).sum(axis=1))


def disagreement(
    ratings: ArrayLike, num_grades: int, *, ordered: bool = True
) -> NDArray[np.float64]:
    """How far each fruit is disputed, for showing the most disputed first.

    Ordered grades: variance of the grade numbers, divided by the largest possible, that of graders
    split evenly between the best and the worst grade. Unordered: chance that two answers drawn with
    replacement differ (Gini 1912), divided by the largest possible.

    Returns
    -------
    (F,) in [0, 1], 0 when all agree; NaN for a fruit with fewer than two grades
    """
    counts = grade_counts(ratings, num_grades)
    number = counts.sum(axis=1)
    shares = counts / np.maximum(number, 1)[:, None]
    if ordered:
        grades = np.arange(num_grades)
        mean = shares @ grades
        spread = (shares @ grades**2 - mean**2) / ((num_grades - 1) ** 2 / 4)
    else:
        spread = (1 - (shares**2).sum(axis=1)) / (1 - 1 / num_grades)
    return np.where(number > 1, np.clip(spread, 0, 1), np.nan)


def _common(first: ArrayLike, second: ArrayLike, num_grades: int) -> tuple[Ratings, Ratings]:
    both = _checked(np.stack([np.asarray(first), np.asarray(second)], axis=1), num_grades)
    both = both[(both != MISSING).all(axis=1)]
    return both[:, 0], both[:, 1]


def _checked(ratings: ArrayLike, num_grades: int) -> Ratings:
    table = np.asarray(ratings)
    if num_grades < 2:
        raise MezoroiError(f"num_grades is {num_grades}: a standard has at least two grades")
    if table.ndim != 2 or table.shape[1] == 0:
        raise MezoroiError(
            f"ratings of shape {table.shape}: give one row per fruit and one column per grader"
        )
    if not np.issubdtype(table.dtype, np.integer):
        raise MezoroiError(f"ratings hold {table.dtype}: give whole grade numbers, -1 for none")
    if table.size and (table.min() < MISSING or table.max() >= num_grades):
        raise MezoroiError(
            f"ratings run from {table.min()} to {table.max()}: "
            f"grade numbers run from 0 to {num_grades - 1}, and -1 stands for none"
        )
    return table.astype(np.int64)
