"""Fruits whose expert grade is contradicted: did the expert overlook something?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mezoroi.reliability.clusters import SaliencyClusters
from mezoroi.reliability.confidence import Answers, neighbour_agreement, softmax_confidence


@dataclass(frozen=True)
class Doubts:
    """How strongly each witness contradicts the experts' grades; (N,) each, in [0, 1].

    Attributes
    ----------
    model : 1 - probability of the expert's grade
    neighbours : share of the most similar reference fruits that have another grade; NaN where
        there are none
    cluster : share of the calibration fruits of other specimens with the same saliency cluster and
        the same grade given whose true grade is another than the expert's; NaN without clusters
    """

    model: NDArray[np.float64]
    neighbours: NDArray[np.float64]
    cluster: NDArray[np.float64]

    @property
    def score(self) -> NDArray[np.float64]:
        """(N,) mean of the witnesses there are."""
        return np.asarray(np.nanmean(np.stack([self.model, self.neighbours, self.cluster]), axis=0))

    def ranked(self) -> NDArray[np.intp]:
        """Positions of the fruits, most doubtful first."""
        return np.argsort(-self.score, kind="stable")


def doubts(
    answers: Answers,
    labels: ArrayLike,
    temperature: float,
    clusters: SaliencyClusters | None = None,
    groups: ArrayLike | None = None,
) -> Doubts:
    """What model, neighbours and clusters say against the experts' grades.

    Parameters
    ----------
    answers : of a grader, best one that did not learn from these fruits; no fruit among its own
        neighbours
    labels : (N,) index of the expert's grade
    temperature : of the head's softmax
    clusters : fitted on calibration fruits
    groups : (N,) specimen of each, whose photos do not vouch for each other's label; default: every
        one is of its own
    """
    truth = np.asarray(labels)
    by_cluster = np.full(len(truth), np.nan)
    if clusters is not None:
        specimens = np.arange(len(truth)) if groups is None else np.asarray(groups)
        by_cluster = _against_cluster(clusters, answers, truth, specimens)
    return Doubts(
        1 - softmax_confidence(answers.logits, truth, temperature),
        1 - neighbour_agreement(answers.neighbours, truth),
        by_cluster,
    )


def _against_cluster(
    clusters: SaliencyClusters,
    answers: Answers,
    truth: NDArray[np.intp],
    specimens: NDArray[Any],
) -> NDArray[np.float64]:
    """With one fruit more than counted, spread over all grades, so that few examples say little.

    A calibration fruit is not counted for itself, nor are others of its specimen.
    """
    classes = clusters.classes_
    fitted = clusters.fitted_as(answers.maps)
    own = fitted >= 0
    numbers = np.where(own, clusters.labels_[fitted], clusters.predict(answers.maps))
    size = int(max(classes.max(), truth.max(), answers.given.max())) + 1
    counts = np.zeros((clusters.n_clusters_, size, size))
    counts[:, classes[:, None], classes] = clusters.counts_
    given = counts[numbers, :, answers.given]
    for row in np.flatnonzero(own):
        alike = own & (specimens == specimens[row]) & (numbers == numbers[row])
        alike &= answers.given == answers.given[row]
        _, first = np.unique(fitted[alike], return_index=True)  # a copy was counted once
        given[row] -= np.bincount(truth[alike][first], minlength=size)
    given = np.maximum(given, 0)
    given += 1 / size
    return np.asarray(1 - given[np.arange(len(truth)), truth] / given.sum(axis=1))
