"""What a calibration session shows once every grader has finished."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from mezoroi.calibrating import FEW_IN_COMMON
from mezoroi.errors import MezoroiError
from mezoroi.files import nan_to_none
from mezoroi.metrics import agreement
from mezoroi.metrics.intervals import Interval, known_ends
from mezoroi.standard import GradingStandard

MODEL = "Mezoroi"


@dataclass(frozen=True)
class DisputedFruit:
    """One fruit of the session.

    Attributes
    ----------
    id : of the observation
    labels : grade by grader
    distribution : graders by grade given
    disagreement : in [0, 1]; NaN with fewer than two labels
    proposed : the grade that most gave, None where grades are tied; experts decide
    model : Mezoroi's grade, or None
    """

    id: str
    labels: Mapping[str, str]
    distribution: Mapping[str, int]
    disagreement: float
    proposed: str | None
    model: str | None


@dataclass(frozen=True)
class Reveal:
    """A session's outcome; NaN stands for "not enough data".

    Attributes
    ----------
    fruits : most disputed first
    graders : names of the columns and rows of the matrices; Mezoroi comes last where it graded
    same : (R, R) share of the same grades
    kappa, kappa_low, kappa_high : (R, R) quadratic-weighted kappa with its 95 % interval by fruit;
        NaN on the diagonal, and everywhere for unordered grades
    alpha, fleiss : of the people, without Mezoroi, with 95 % intervals by fruit
    against_model : quadratic-weighted kappa of each person with Mezoroi
    strictness : signed mean difference from the other people in grades, positive is stricter; its
        ends NaN with fewer than `FEW_IN_COMMON` fruits that others graded too
    """

    fruits: tuple[DisputedFruit, ...]
    graders: tuple[str, ...]
    same: np.ndarray
    kappa: np.ndarray
    kappa_low: np.ndarray
    kappa_high: np.ndarray
    alpha: Interval
    fleiss: Interval
    against_model: Mapping[str, Interval]
    strictness: Mapping[str, Interval]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; NaN becomes None."""
        return nan_to_none(
            {
                "fruits": [asdict(fruit) for fruit in self.fruits],
                "graders": list(self.graders),
                "same": self.same.tolist(),
                "kappa": self.kappa.tolist(),
                "kappa_low": self.kappa_low.tolist(),
                "kappa_high": self.kappa_high.tolist(),
                "alpha": asdict(self.alpha),
                "fleiss": asdict(self.fleiss),
                "against_model": {name: asdict(v) for name, v in self.against_model.items()},
                "strictness": {name: asdict(v) for name, v in self.strictness.items()},
            }
        )


def reveal(
    labels: Mapping[str, Mapping[str, str]],
    standard: GradingStandard,
    model: Mapping[str, str] | None = None,
    *,
    n_resamples: int = 1000,
    seed: int = 0,
) -> Reveal:
    """Put a session's grades together.

    Parameters
    ----------
    labels : by fruit, the grade by grader; graders may have left fruits out
    model : Mezoroi's grade by fruit
    n_resamples, seed : of the intervals

    Raises
    ------
    MezoroiError
        If nobody graded anything, a grade is unknown, or a person is called as the model is.
    """
    ids = list(labels)
    people = tuple(dict.fromkeys(name for given in labels.values() for name in given))
    if not people:
        raise MezoroiError("nobody has graded a fruit of this session: wait for the graders")
    if model is not None and MODEL in people:
        raise MezoroiError(f"a grader is called {MODEL}, as the model is: rename that grader")
    number, count = len(standard.grades), {"n_resamples": n_resamples, "seed": seed}
    table = agreement.ratings_table([labels[name] for name in ids], standard.grades, people).ratings
    graders, everyone = people, table
    if model is not None:
        rows = [{MODEL: model[name]} if name in model else {} for name in ids]
        own = agreement.ratings_table(rows, standard.grades, (MODEL,)).ratings
        graders, everyone = (*people, MODEL), np.hstack([table, own])
    kappas = np.full((3, len(graders), len(graders)), np.nan)
    by_model = {}
    compared = len(graders) if standard.ordered else 0
    for one, other in combinations(range(compared), 2):
        found = _kappa(everyone[:, one], everyone[:, other], number, **count)
        kappas[:, one, other] = kappas[:, other, one] = found.value, found.low, found.high
        if model is not None and graders[other] == MODEL:
            by_model[graders[one]] = found
    strict = agreement.strictness(table, number, **count) if standard.ordered else []
    strict = [_of_enough(one, table, column) for column, one in enumerate(strict)]
    return Reveal(
        fruits=_most_disputed_first(ids, labels, table, standard, model or {}),
        graders=graders,
        same=agreement.agreement_matrix(everyone, number),
        kappa=kappas[0],
        kappa_low=kappas[1],
        kappa_high=kappas[2],
        alpha=known_ends(
            agreement.alpha_interval(table, number, ordered=standard.ordered, **count), n_resamples
        ),
        fleiss=known_ends(agreement.fleiss_interval(table, number, **count), n_resamples),
        against_model=by_model,
        strictness=dict(zip(people, strict, strict=False)),
    )


def _kappa(
    one: np.ndarray, other: np.ndarray, num_grades: int, *, n_resamples: int, seed: int
) -> Interval:
    """Kappa of two; unknown for who gave a single grade, which kappa takes for chance."""
    both = (one != agreement.MISSING) & (other != agreement.MISSING)
    if min(len(set(one[both])), len(set(other[both]))) < 2:
        return Interval(math.nan, math.nan, math.nan)
    return agreement.kappa_interval(one, other, num_grades, n_resamples=n_resamples, seed=seed)


def _of_enough(found: Interval, table: np.ndarray, column: int) -> Interval:
    """Strictness, its ends unknown with few fruits: of two any grader differs somehow."""
    given = table != agreement.MISSING
    shared = given[:, column] & (given.sum(axis=1) > 1)
    return found if shared.sum() >= FEW_IN_COMMON else replace(found, low=math.nan, high=math.nan)


def _most_disputed_first(
    ids: Sequence[str],
    labels: Mapping[str, Mapping[str, str]],
    table: np.ndarray,
    standard: GradingStandard,
    model: Mapping[str, str],
) -> tuple[DisputedFruit, ...]:
    counts = agreement.grade_counts(table, len(standard.grades))
    scores = agreement.disagreement(table, len(standard.grades), ordered=standard.ordered)
    order = np.argsort(-np.nan_to_num(scores, nan=-1.0), kind="stable")
    fruits = []
    for row in order:
        most = np.flatnonzero(counts[row] == counts[row].max())
        proposed = standard.grades[most[0]] if counts[row].max() and len(most) == 1 else None
        fruits.append(
            DisputedFruit(
                ids[row],
                dict(labels[ids[row]]),
                dict(zip(standard.grades, counts[row].tolist(), strict=True)),
                float(scores[row]),
                proposed,
                model.get(ids[row]),
            )
        )
    return tuple(fruits)
