"""How sure a grader is of its grades: signals that need no saliency map."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from mezoroi.errors import MezoroiError

Floats = NDArray[np.float64]
_WIDEST = 5.0  # log of the largest temperature that is tried


@dataclass(frozen=True)
class Answers:
    """What a grader said about N fruits, and what it looked at.

    Attributes
    ----------
    given : (N,) index of the grade decided, in the grader's standard
    similarity : (N, G); NaN for a grade that was not judged
    logits : (N, G) as `Runner.logits`
    neighbours : (N, k) index of the grade of the most similar reference fruits, -1 where unknown;
        k = 0 without references
    maps : (N, H, W) saliency maps of the grades decided
    reading : (N, G) estimated chances by the second reader; NaN where it is silent
    """

    given: NDArray[np.intp]
    similarity: NDArray[np.floating]
    logits: NDArray[np.floating]
    neighbours: NDArray[np.intp]
    maps: NDArray[np.floating]
    reading: NDArray[np.floating]

    def __len__(self) -> int:
        return len(self.given)

    def subset(self, rows: ArrayLike) -> Answers:
        """The answers at `rows`, positions or a mask."""
        chosen = np.asarray(rows)
        return replace(self, **{name: values[chosen] for name, values in vars(self).items()})


def probabilities(logits: ArrayLike, temperature: float = 1.0) -> Floats:
    """Softmax of logits (N, G) over `temperature`."""
    return np.asarray(softmax(np.asarray(logits, dtype=np.float64) / temperature, axis=1))


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    """The temperature with the least negative log-likelihood (Guo et al. 2017).

    Parameters
    ----------
    logits : (N, G)
    labels : (N,) in 0 … G - 1

    Returns
    -------
    float in [exp(-5), exp(5)]; an end of it where the answers were all right, or no better than
    chance
    """
    scores, truth = np.asarray(logits, dtype=np.float64), np.asarray(labels)
    if len(scores) == 0 or truth.shape != scores.shape[:1]:
        raise MezoroiError(
            f"{len(scores)} rows of scores, labels of shape {truth.shape}: give both"
        )
    rows = np.arange(len(truth))

    def loss(log_temperature: float) -> float:
        return -float(log_softmax(scores / np.exp(log_temperature), axis=1)[rows, truth].mean())

    found = minimize_scalar(loss, bounds=(-_WIDEST, _WIDEST), method="bounded")
    return float(np.exp(found.x))


def softmax_confidence(logits: ArrayLike, given: ArrayLike, temperature: float = 1.0) -> Floats:
    """(N,) probability of the grade given, in [0, 1]."""
    chosen = np.asarray(given)
    return probabilities(logits, temperature)[np.arange(len(chosen)), chosen]


def prototype_margin(similarity: ArrayLike, given: ArrayLike) -> Floats:
    """(N,) similarity with the grade given less the next one's, in [-2, 2]; NaN counts as none."""
    values = np.asarray(similarity, dtype=np.float64)
    chosen = np.asarray(given)
    rows = np.arange(len(chosen))
    others = np.where(np.isnan(values), -1.0, values)
    others[rows, chosen] = -1.0
    return values[rows, chosen] - others.max(axis=1)


def reader_support(reading: ArrayLike, given: ArrayLike) -> Floats:
    """(N,) what the second reader's estimates (N, G) say of the grade given; NaN without any."""
    chosen = np.asarray(given)
    return np.asarray(reading, dtype=np.float64)[np.arange(len(chosen)), chosen]


def neighbour_agreement(neighbours: ArrayLike, given: ArrayLike) -> Floats:
    """(N,) share of the known neighbours (N, k) that have the grade given; NaN without any."""
    grades = np.asarray(neighbours)
    known = (grades >= 0).sum(axis=1)
    same = (grades == np.asarray(given)[:, None]).sum(axis=1)
    return np.divide(same, known, out=np.full(len(grades), np.nan), where=known > 0)
