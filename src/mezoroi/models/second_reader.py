"""SecondReader: a guess at the grade that does not pass through the trained embedding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import solve
from scipy.spatial.distance import cdist, pdist

RIDGE = 0.2
"""Added to the kernel's diagonal, which is 1, for what is noise in a fruit's grade."""
MOST = 3000
"""Rows of features that are kept: solving takes a second, and a grading 0.5 ms."""


@dataclass(frozen=True)
class SecondReader:
    """Kernel ridge regression of the grades, one column each, on early features.

    A network that learned from a fruit is too sure of it in the embedding, less so in the stages
    before, which see colour and texture and change little in training. What they say of a new fruit
    is therefore a witness of its own.

    Features are standardised, and divided by the root of how many are in their block, so that
    surface and outline weigh the same. Kernel exp(-d / l) of Euclidean distances d, with l the
    median distance of two training fruits; it depends less on l than a Gaussian one does.

    Attributes
    ----------
    mean, scale : (M,) what is taken from features, and what they are then multiplied by
    fruits : (E, M) features of training fruits, scaled
    weights : (E, G) of their kernels, for each grade
    shares : (G,) share of each grade in training, the answer far away from all fruits
    length : l
    """

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    fruits: NDArray[np.float32]
    weights: NDArray[np.float32]
    shares: NDArray[np.float32]
    length: float

    @classmethod
    def fit(
        cls,
        features: ArrayLike,
        grades: ArrayLike,
        num_grades: int,
        blocks: Sequence[int],
        seed: int = 0,
    ) -> SecondReader:
        """Learn from training fruits; from `MOST` rows, drawn by `seed`, where there are more.

        Parameters
        ----------
        features : (N, M)
        grades : (N,) in 0 … num_grades - 1
        blocks : number of features of each block, in order; they add up to M

        Raises
        ------
        ValueError
            If the shapes do not fit.
        """
        values, labels = np.asarray(features, dtype=np.float64), np.asarray(grades)
        if values.ndim != 2 or labels.shape != values.shape[:1] or sum(blocks) != values.shape[1]:
            raise ValueError(
                f"features of shape {values.shape}, grades of shape {labels.shape}, blocks "
                f"{tuple(blocks)}: give (N, M), (N,) and blocks that add up to M"
            )
        if len(values) > MOST:
            chosen = np.random.default_rng(seed).choice(len(values), MOST, replace=False)
            values, labels = values[chosen], labels[chosen]
        mean, deviation = values.mean(axis=0), values.std(axis=0)
        # What never differs says nothing, and what a new fruit shows there is not blown up.
        known = deviation > 1e-6 * (1 + np.abs(mean))
        sizes = np.repeat(blocks, blocks)
        scale = np.where(known, 1 / np.where(known, deviation, 1), 0) / np.sqrt(sizes)
        fruits = (values - mean) * scale
        length = float(np.median(pdist(fruits))) if len(fruits) > 1 else 0.0
        length = length if length > 0 else 1.0
        one_hot = np.eye(num_grades)[labels]
        shares = one_hot.mean(axis=0)
        kernel = _kernel(fruits, fruits, length)
        weights = solve(kernel + RIDGE * np.eye(len(fruits)), one_hot - shares, assume_a="pos")
        return cls(
            _float32(mean),
            _float32(scale),
            _float32(fruits),
            _float32(weights),
            _float32(shares),
            length,
        )

    def read(self, features: ArrayLike) -> NDArray[np.float64]:
        """(N, G) estimated chance of each grade for features (N, M).

        Rows sum to 1; as regression knows no limits, values may lie a little outside [0, 1].
        """
        fruits = (np.asarray(features, dtype=np.float64) - self.mean) * self.scale
        return np.asarray(self.shares + _kernel(fruits, self.fruits, self.length) @ self.weights)

    def check(self, features: int, grades: int) -> None:
        """Raise a RuntimeError if this does not read `features` numbers as chances of `grades`."""
        fruits = len(self.fruits)
        expected = {
            "mean": (features,),
            "scale": (features,),
            "fruits": (fruits, features),
            "weights": (fruits, grades),
            "shares": (grades,),
        }
        for name, shape in expected.items():
            found = getattr(self, name).shape
            if found != shape:
                raise RuntimeError(f"{name} of the second reader have shape {found}, not {shape}")
        if not self.length > 0:
            raise RuntimeError(f"the second reader's length is {self.length}, not above 0")


def _float32(values: ArrayLike) -> NDArray[np.float32]:
    return np.asarray(values, dtype=np.float32)


def _kernel(
    fruits: NDArray[np.floating], others: NDArray[np.floating], length: float
) -> NDArray[np.float64]:
    return np.asarray(np.exp(-cdist(fruits, others) / length))
