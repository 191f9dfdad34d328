"""One chance of being right from several signals: a logistic regression."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Combination:
    """p(right) = logistic(intercept + sum of weight * (signal - mean) / deviation).

    Attributes
    ----------
    names : of the signals
    mean, deviation, weights : one per signal; an unknown signal (NaN) counts as its mean
    intercept : log-odds of an average fruit
    """

    names: tuple[str, ...]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    weights: tuple[float, ...]
    intercept: float

    @classmethod
    def fit(
        cls,
        signals: Mapping[str, ArrayLike],
        correct: ArrayLike,
        never_against: Collection[str] = (),
    ) -> Combination:
        """Fit to signals (N,) by name and whether each answer was right.

        A signal of `never_against` that would get a negative weight is left out instead.

        Where all answers were right, or all wrong, the signals get no weight and the chance is
        (right + 1) / (N + 2).
        """
        from sklearn.linear_model import LogisticRegression

        right = np.asarray(correct, dtype=bool)
        known = {
            name: values
            for name, values in ((name, np.asarray(one, float)) for name, one in signals.items())
            if np.isfinite(values).any()
        }
        names = tuple(known)
        table = np.stack([known[name] for name in names], axis=1)
        mean, deviation = np.nanmean(table, axis=0), np.nanstd(table, axis=0)
        deviation[deviation < 1e-9] = 1.0
        if right.all() or not right.any():
            weights = np.zeros(len(names))
            intercept = float(logit((right.sum() + 1) / (len(right) + 2)))
        else:
            scaled = np.nan_to_num((table - mean) / deviation)
            model = LogisticRegression().fit(scaled, right)
            weights, intercept = model.coef_[0], float(model.intercept_[0])
            wrong_way = {
                name
                for name, weight in zip(names, weights, strict=True)
                if weight < 0 and name in never_against
            }
            if wrong_way and len(wrong_way) < len(names):
                rest = {name: one for name, one in known.items() if name not in wrong_way}
                return cls.fit(rest, right, never_against)
        return cls(names, _tuple(mean), _tuple(deviation), _tuple(weights), intercept)

    def chance(self, signals: Mapping[str, ArrayLike]) -> Floats:
        """(N,) chance of being right, in [0, 1]."""
        table = np.stack([np.asarray(signals[name], float) for name in self.names], axis=1)
        scaled = np.nan_to_num((table - self.mean) / np.asarray(self.deviation))
        return np.asarray(expit(self.intercept + scaled @ np.asarray(self.weights)))


def _tuple(values: Floats) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
