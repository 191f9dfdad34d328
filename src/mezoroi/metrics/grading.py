"""How well grades are given: accuracy, recall, precision, weighted kappa, grade error."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import (
    accuracy_score,
    cohen_kappa_score,
    confusion_matrix,
    mean_absolute_error,
    precision_score,
    recall_score,
)

from mezoroi.errors import MezoroiError
from mezoroi.files import nan_to_none
from mezoroi.metrics.calibration import wilson_interval
from mezoroi.metrics.intervals import (
    group_draws,
    interval_of,
    known_ends,
    number_groups,
    otherwise_at_most,
)

UNORDERED = "the grades have no order, so no grade is further away than another"
ONE_GRADE = "only one grade occurs, so agreement by chance is complete"
NEVER_TRUE = "no item is of this grade"
NEVER_GIVEN = "no item was given this grade"


def grading_metrics(y_true: ArrayLike, y_pred: ArrayLike, num_grades: int) -> dict[str, Any]:
    """Scores of given grades against true grades.

    Parameters
    ----------
    y_true, y_pred : (N,) grade numbers in [0, num_grades), best grade first; N >= 1
    num_grades : >= 2

    Returns
    -------
    dict with

    - ``accuracy`` : share of right grades, in [0, 1]
    - ``recall`` : (num_grades,) in [0, 1], NaN for a grade that no item is of
    - ``precision`` : (num_grades,) in [0, 1], NaN for a grade that was never given
    - ``confusion_matrix`` : (num_grades, num_grades) counts, rows true, columns given
    - ``quadratic_weighted_kappa`` : in [-1, 1], NaN where only one grade occurs (Cohen 1968)
    - ``mean_absolute_grade_error`` : mean distance in grades, in [0, num_grades - 1]

    The last two mean something only for ordered grades.

    Raises
    ------
    MezoroiError
        If lengths differ, there are no items, or a grade number is out of range.
    """
    truth, given = _checked(y_true, y_pred, num_grades)
    numbers = list(range(num_grades))
    one_grade = len(np.union1d(truth, given)) == 1
    kappa = (
        math.nan
        if one_grade
        else cohen_kappa_score(truth, given, labels=numbers, weights="quadratic")
    )
    per_grade: dict[str, Any] = {"labels": numbers, "average": None, "zero_division": np.nan}
    return {
        "accuracy": float(accuracy_score(truth, given)),
        "recall": np.asarray(recall_score(truth, given, **per_grade)),
        "precision": np.asarray(precision_score(truth, given, **per_grade)),
        "confusion_matrix": confusion_matrix(truth, given, labels=numbers),
        "quadratic_weighted_kappa": float(kappa),
        "mean_absolute_grade_error": float(mean_absolute_error(truth, given)),
    }


def grading_report(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    grades: Sequence[str],
    specimens: ArrayLike,
    ordered: bool = True,
    n_resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """`grading_metrics` as plain JSON data, each scalar with its 95 % interval by specimen.

    Intervals are bootstrap intervals. On items that are all right, or all wrong, every resample is
    the same and none says how few they are: accuracy, recall and precision of 0 or 1 have the
    Wilson interval of so many specimens instead. Where all are right, as many as that leaves room
    for might be graded as by chance (kappa, see `perfect_agreement`) or a grade off (grade error).

    Parameters
    ----------
    y_true, y_pred : (N,) grade numbers in [0, len(grades))
    grades : names of the grades, best first
    specimens : (N,) the physical fruit of each item; resampled as a whole
    ordered : False leaves out what needs an order, with the reason
    n_resamples, seed : of the bootstrap, see `bootstrap_interval`

    Returns
    -------
    dict; each scalar is ``{"value", "low", "high", "n_undefined", "reason"}``, where `reason` says
    why `value` is None and `n_undefined` counts the resamples that had no value. Of a value between
    0 and 1 that is undefined on many of them, as of a grade with one or two specimens, the ends are
    None (`known_ends`).
    """
    scores = grading_metrics(y_true, y_pred, len(grades))
    truth, given = _checked(y_true, y_pred, len(grades))
    specimen_of_item, n_specimens = number_groups(specimens)
    if len(specimen_of_item) != len(truth):
        raise MezoroiError(
            f"{len(specimen_of_item)} specimens do not match {len(truth)} items: give one per item"
        )
    resampled = _scalars_of(
        _resampled_confusions(
            truth * len(grades) + given,
            specimen_of_item,
            n_specimens,
            len(grades),
            n_resamples,
            seed,
        )
    )

    def entry(value: float, resamples: NDArray[np.float64], reason: str) -> dict[str, Any]:
        interval = known_ends(interval_of(value, resamples, n_specimens), n_resamples)
        return {
            "value": interval.value,
            "low": interval.low,
            "high": interval.high,
            "n_undefined": interval.n_undefined,
            "reason": reason if math.isnan(value) else None,
        }

    def share(
        value: float, resamples: NDArray[np.float64], reason: str, counted: NDArray[np.bool_]
    ) -> dict[str, Any]:
        found = entry(value, resamples, reason)
        if value in (0, 1):
            fruits = len(np.unique(specimen_of_item[counted]))
            low, high = wilson_interval(value * fruits, fruits)
            found |= {"low": float(low), "high": float(high)}
        return found

    def per_grade(name: str, reason: str, numbers: NDArray[np.int64]) -> dict[str, Any]:
        return {
            grade: share(
                float(scores[name][number]), resampled[name][:, number], reason, numbers == number
            )
            for number, grade in enumerate(grades)
        }

    def needs_order(name: str, best: float) -> dict[str, Any]:
        if ordered:
            found = entry(scores[name], resampled[name], ONE_GRADE)
            if found["value"] == best and not math.isnan(found["low"]):
                worse = abs(best - otherwise_at_most(n_specimens))
                found |= {"low": min(best, worse), "high": max(best, worse)}
            return found
        return dict.fromkeys(("value", "low", "high"), None) | {
            "n_undefined": 0,
            "reason": UNORDERED,
        }

    report = {
        "n_items": len(truth),
        "n_specimens": n_specimens,
        "n_resamples": n_resamples,
        "level": 0.95,
        "seed": seed,
        "grades": list(grades),
        "accuracy": share(
            scores["accuracy"], resampled["accuracy"], "", np.ones(len(truth), dtype=bool)
        ),
        "recall": per_grade("recall", NEVER_TRUE, truth),
        "precision": per_grade("precision", NEVER_GIVEN, given),
        "quadratic_weighted_kappa": needs_order("quadratic_weighted_kappa", 1.0),
        "mean_absolute_grade_error": needs_order("mean_absolute_grade_error", 0.0),
        "confusion_matrix": scores["confusion_matrix"].tolist(),
    }
    plain: dict[str, Any] = nan_to_none(report)
    return plain


def _checked(
    y_true: ArrayLike, y_pred: ArrayLike, num_grades: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if num_grades < 2:
        raise MezoroiError(f"num_grades is {num_grades}: a standard has at least two grades")
    checked = []
    for name, numbers in (("y_true", np.asarray(y_true)), ("y_pred", np.asarray(y_pred))):
        if numbers.ndim != 1 or len(numbers) == 0:
            raise MezoroiError(f"{name} has shape {numbers.shape}: give one grade number per item")
        if not np.issubdtype(numbers.dtype, np.integer):
            raise MezoroiError(f"{name} holds {numbers.dtype}: give whole grade numbers")
        if numbers.min() < 0 or numbers.max() >= num_grades:
            raise MezoroiError(
                f"{name} holds {numbers.min()} to {numbers.max()}: "
                f"grade numbers run from 0 to {num_grades - 1}"
            )
        checked.append(numbers.astype(np.int64))
    truth, given = checked
    if len(truth) != len(given):
        raise MezoroiError(
            f"{len(truth)} true and {len(given)} given grades do not match: give both for each item"
        )
    return truth, given


def _resampled_confusions(
    cell_of_item: NDArray[np.int64],
    specimen_of_item: NDArray[np.intp],
    n_specimens: int,
    num_grades: int,
    n_resamples: int,
    seed: int,
) -> NDArray[np.float64]:
    """(R, G, G) confusion matrices of the resamples: each item counts as often as its specimen."""
    n_cells = num_grades**2
    confusions = np.empty((n_resamples, n_cells))
    for row, drawn in enumerate(group_draws(n_specimens, n_resamples, seed)):
        times_drawn = np.bincount(drawn, minlength=n_specimens)
        confusions[row] = np.bincount(
            cell_of_item, weights=times_drawn[specimen_of_item], minlength=n_cells
        )
    return confusions.reshape(n_resamples, num_grades, num_grades)


def _scalars_of(confusions: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """The scores of `grading_metrics` from (R, G, G) confusion matrices, all at once."""
    true_counts, given_counts = confusions.sum(axis=2), confusions.sum(axis=1)
    right = np.diagonal(confusions, axis1=1, axis2=2)
    total = true_counts.sum(axis=1)
    number = np.arange(confusions.shape[1])
    steps = np.abs(number[:, None] - number[None, :])
    observed = (confusions * steps**2).sum(axis=(1, 2))
    by_chance = np.einsum("ri,ij,rj->r", true_counts, steps**2, given_counts) / total
    with np.errstate(invalid="ignore", divide="ignore"):  # 0 / 0 is the undefined case, NaN
        return {
            "accuracy": right.sum(axis=1) / total,
            "recall": right / true_counts,
            "precision": right / given_counts,
            "quadratic_weighted_kappa": 1 - observed / by_chance,
            "mean_absolute_grade_error": (confusions * steps).sum(axis=(1, 2)) / total,
        }
