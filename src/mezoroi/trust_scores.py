"""Reliability on a dataset: what adjusting changes, which signals tell errors, suspected labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mezoroi.datasets import Dataset
from mezoroi.errors import MezoroiError
from mezoroi.evaluation import true_grades
from mezoroi.grader import Grader
from mezoroi.metrics.calibration import (
    accuracy_at_coverage,
    aurc,
    error_aupr,
    error_auroc,
    expected_calibration_error,
    mean_set_size,
    set_coverage,
)
from mezoroi.progress import Progress, silent
from mezoroi.reliability.confidence import Answers
from mezoroi.reliability.model import ReliabilityModel
from mezoroi.reliability.suspects import doubts
from mezoroi.trusting import answers_of

STATED = ("softmax", "tempered softmax", "saliency cluster", "combination")
"""Signals that state a chance of being right, so that their calibration error can be told."""


@dataclass(frozen=True)
class Suspect:
    """A fruit whose expert grade is to be looked at again.

    Attributes
    ----------
    id : of the observation
    grade : the expert's
    given : the grader's
    score : mean of the three below, in [0, 1]
    model, neighbours, cluster : how strongly each contradicts the expert, NaN where it is silent
    """

    id: str
    grade: str
    given: str
    score: float
    model: float
    neighbours: float
    cluster: float


def reliability_scores(
    grader: Grader, dataset: Dataset, progress: Progress = silent
) -> dict[str, Any]:
    """What adjusting changes on a dataset, how well the reliability tells errors, and suspects.

    Returns
    -------
    dict, ready for JSON: ``before`` and ``after`` (overall and average class accuracy),
    ``changed``, ``signals`` (scores of each by name), ``sets`` and ``suspects``

    Raises
    ------
    MezoroiError
        If the grader has no fitted reliability.
    """
    model = fitted_reliability(grader)
    truth = true_grades(grader, dataset)
    answers = answers_of(grader, dataset, model.method, progress)
    adjusted = model.adjust(answers)
    sets = model.grade_sets(answers, adjusted)
    signals = model.signals(answers)
    right = answers.given == truth
    columns = {**signals, "combination": model.combination.chance(signals)}
    return {
        "method": model.method,
        "adjusts": model.adjusts,
        "before": class_accuracies(truth, answers.given),
        "after": class_accuracies(truth, adjusted),
        "changed": int((adjusted != answers.given).sum()),
        "signals": {
            name: signal_scores(values, right, name in STATED)
            for name, values in columns.items()
            if np.isfinite(values).all()
        },
        "sets": {
            "promised": model.conformal.coverage,
            "coverage": set_coverage(sets, truth),
            "size": mean_set_size(sets),
        },
        "suspects": [vars(one) for one in _suspects(grader, dataset, answers, model, truth)],
    }


def signal_scores(
    values: NDArray[np.float64], right: NDArray[np.bool_], stated: bool
) -> dict[str, float | None]:
    """Every score of a signal that speaks for answers being right; ECE if it states a chance."""
    return {
        "auroc": error_auroc(values, right),
        "aupr": error_aupr(values, right),
        "aurc": aurc(values, right),
        "accuracy_at_80": accuracy_at_coverage(values, right, 0.8),
        "ece": expected_calibration_error(values, right) if stated else None,
    }


def class_accuracies(truth: NDArray[np.intp], given: NDArray[np.intp]) -> dict[str, float]:
    """Overall accuracy, and the mean of the accuracies of the classes that occur."""
    right = truth == given
    shares = [float(right[truth == one].mean()) for one in np.unique(truth)]
    return {"overall": float(right.mean()), "average_class": float(np.mean(shares))}


def find_suspects(grader: Grader, dataset: Dataset, progress: Progress = silent) -> list[Suspect]:
    """The fruits whose expert grade grader, neighbours and clusters contradict, worst first.

    Only fruits that the grader grades otherwise than the expert. Of fruits that it learned from it
    repeats the expert's mistakes more than of others.
    """
    model = fitted_reliability(grader)
    truth = true_grades(grader, dataset)  # before the work: a grade may be unknown
    answers = answers_of(grader, dataset, model.method, progress)
    return _suspects(grader, dataset, answers, model, truth)


def _suspects(
    grader: Grader,
    dataset: Dataset,
    answers: Answers,
    model: ReliabilityModel,
    truth: NDArray[np.intp],
) -> list[Suspect]:
    grades = grader.standard.grades
    found = doubts(answers, truth, model.temperature, model.clusters, dataset.specimens)
    return [
        Suspect(
            id=dataset.observations[row].id,
            grade=dataset.observations[row].grade,
            given=grades[answers.given[row]],
            score=float(found.score[row]),
            model=float(found.model[row]),
            neighbours=float(found.neighbours[row]),
            cluster=float(found.cluster[row]),
        )
        for row in found.ranked()
        if grades[answers.given[row]] != dataset.observations[row].grade
    ]


def fitted_reliability(grader: Grader) -> ReliabilityModel:
    """The reliability of a grader; a MezoroiError where none was fitted."""
    if grader.reliability is None:
        raise MezoroiError(
            "this run has no reliability yet: fit it with `mezoroi reliability fit RUN DATA`"
        )
    return grader.reliability
