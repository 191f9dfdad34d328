"""Sets of grades that hold the expert's grade in a stated share of cases."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mezoroi.errors import MezoroiError

Method = Literal["least", "adaptive"]


@dataclass(frozen=True)
class ConformalSets:
    """Split conformal prediction (Vovk et al. 2005; Angelopoulos and Bates 2023).

    A grade is in the set when its score is at most `limit`. Over draws of calibration and new
    fruits from one source, the set holds the expert's grade in at least the share `coverage`.

    Attributes
    ----------
    coverage : the promise, in (0, 1)
    method : ``least``: score 1 - p, the smallest sets on average (Sadinle et al. 2019), which are
        empty where no grade is as likely as usual; ``adaptive``: the summed probability of the
        grades up to and with this one (APS without its draw, Romano et al. 2020), and always the
        likeliest grade, so that sets are never empty; larger
    limit : the score that ceil((n + 1) coverage) of n calibration fruits do not exceed; infinite
        where n is too small for the promise, so that every grade is in the set
    """

    coverage: float
    method: Method
    limit: float

    @classmethod
    def fit(
        cls,
        probabilities: ArrayLike,
        labels: ArrayLike,
        coverage: float = 0.9,
        method: Method = "least",
    ) -> ConformalSets:
        """Calibrate on fruits that neither the model nor its temperature depends on.

        Parameters
        ----------
        probabilities : (N, G)
        labels : (N,) in 0 … G - 1

        Raises
        ------
        MezoroiError
            If `coverage` is no share, the method is unknown, a probability is NaN, or labels do not
            match.
        """
        if not 0 < coverage < 1:
            raise MezoroiError(f"coverage is {coverage}: use a share between 0 and 1, such as 0.9")
        if method not in get_args(Method):
            raise MezoroiError(f"unknown method `{method}`: use {' or '.join(get_args(Method))}")
        values, truth = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
        if values.ndim != 2 or truth.shape != values.shape[:1]:
            raise MezoroiError(
                f"probabilities of shape {values.shape}, labels of shape {truth.shape}: "
                "give (N, G) and (N,)"
            )
        if not np.isfinite(values).all():
            raise MezoroiError("a probability is NaN or infinite: leave that fruit out")
        if not np.isin(truth, np.arange(values.shape[1])).all():
            raise MezoroiError(f"labels must be 0 to {values.shape[1] - 1}, as probabilities have")
        scores = np.sort(_scores(values, method)[np.arange(len(truth)), truth])
        rank = math.ceil((len(scores) + 1) * coverage - 1e-9)
        limit = float(scores[rank - 1]) if rank <= len(scores) else math.inf
        return cls(coverage, method, limit)

    def sets(self, probabilities: ArrayLike) -> NDArray[np.bool_]:
        """(N, G) whether each grade is in the set, for probabilities (N, G)."""
        values = np.asarray(probabilities, dtype=np.float64)
        inside = np.asarray(_scores(values, self.method) <= self.limit + 1e-12)
        if self.method == "adaptive":
            inside[np.arange(len(values)), values.argmax(axis=1)] = True
        return inside


def _scores(probabilities: NDArray[np.float64], method: Method) -> NDArray[np.float64]:
    if method == "least":
        return 1 - probabilities
    order = np.argsort(-probabilities, axis=1, kind="stable")
    summed = np.cumsum(np.take_along_axis(probabilities, order, axis=1), axis=1)
    scores = np.empty_like(probabilities)
    np.put_along_axis(scores, order, summed, axis=1)
    return scores
