"""SaliencyClusters: how often was a model right where it looked like this?"""

from __future__ import annotations

import warnings
from numbers import Real
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning, NotFittedError

from mezoroi.errors import MezoroiError
from mezoroi.metrics.arrays import as_array
from mezoroi.metrics.calibration import wilson_interval
from mezoroi.reliability.spectral import (
    MOST_BY_EIGENGAP,
    eigengap,
    gaussian_affinity,
    leading_eigenvectors,
    median_scale,
    normalised_affinity,
    scaled_distances,
    spectral_embedding,
)

Floats = NDArray[np.float64]
MAP_SIDE = 64
"""Maps are brought to this many pixels squared: the paper's 256 give the same clusters (tested)."""
_SAME = 1e-3
"""Share of the fitted maps' usual distance within which a map is one of them."""
_ROUNDING = 1e-6


class SaliencyClusters(BaseEstimator):
    """Clusters of saliency maps and how often predictions were wrong in each (Kierdorf and Roscher
    2023, sections 2.5 and 2.6).

    Maps are brought to 64 x 64 pixels and vectorised; PCA; affinity exp(-(d / scale)^2) of the
    Euclidean distances d, divided by the largest of them; spectral clustering of Ng, Jordan and
    Weiss; new maps join the cluster of most of their nearest neighbours.

    Parameters
    ----------
    n_clusters : number of clusters, or ``eigengap``: 2 to 15, before the largest drop of the
        eigenvalues
    n_components : of the PCA, at most; fewer where the maps do not have as many
    kernel_scale : of distances in [0, 1], or ``median``: their median
    n_neighbors : of a new map
    random_state : seed of k-means; None is 0, so that equal maps always give equal clusters

    Attributes
    ----------
    n_clusters_ : Q, which is less than asked for where there are fewer different maps
    labels_ : (N,) cluster of every fitted map, 0 … Q - 1, most maps first
    classes_ : (C,) classes among labels and predictions, sorted
    counts_ : (Q, C, C) maps by cluster, true class and predicted class
    error_rate_ : (Q,) e_q, the share of wrong predictions; the paper's "reliability score"
    reliability_, reliability_low_, reliability_high_ : (Q,) 1 - e_q with its 95 % Wilson interval
    prototypes_ : (Q, 64, 64) mean map of every cluster
    explained_variance_ratio_ : share of the variance that each component keeps
    kernel_scale_, eigenvalues_ : the scale used, and the leading eigenvalues of the affinity
    vectors_ : (N, D) float32, the fitted maps
    mean_, components_, coordinates_ : of the PCA (D,), (K, D), (N, K)
    novelty_limit_ : the largest mean distance of a fitted map to its nearest neighbours, as whole
        maps
    """

    def __init__(
        self,
        n_clusters: int | Literal["eigengap"] = 8,
        n_components: int = 50,
        kernel_scale: float | Literal["median"] = 0.2,
        n_neighbors: int = 5,
        random_state: int | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.n_components = n_components
        self.kernel_scale = kernel_scale
        self.n_neighbors = n_neighbors
        self.random_state = random_state

    def fit(
        self,
        maps: ArrayLike,
        labels: ArrayLike,
        predictions: ArrayLike,
        groups: ArrayLike | None = None,
    ) -> SaliencyClusters:
        """Cluster the maps of a validation set and count the errors in every cluster.

        Parameters
        ----------
        maps : (N, H, W) saliency maps of the predicted classes
        labels, predictions : (N,) true and predicted classes
        groups : (N,) specimen of each; maps of one specimen are alike, so that they say nothing
            about how far new ones may lie. Default: every map is of its own

        Raises
        ------
        MezoroiError
            If there are fewer maps than clusters, a map is not finite, lengths differ, or labels
            and predictions are not of one kind.
        ValueError
            If a parameter of the constructor is out of its range.
        """
        self._check_parameters()
        vectors = as_vectors(maps)
        truth, given = as_array(labels), as_array(predictions)
        if truth.shape != (len(vectors),) or given.shape != truth.shape:
            raise MezoroiError(
                f"{len(vectors)} maps, labels of shape {truth.shape} and predictions of shape "
                f"{given.shape}: give one of each per map"
            )
        if not _are_alike(truth, given):
            raise MezoroiError(
                "labels and predictions are not both numbers, or both names, or one is missing: "
                "give the same classes as both"
            )
        if groups is not None and np.shape(groups) != truth.shape:
            raise MezoroiError(
                f"{len(vectors)} maps and groups of shape {np.shape(groups)}: give one per map"
            )
        least = 2 if self.n_clusters == "eigengap" else int(self.n_clusters)
        if len(vectors) < least:
            raise MezoroiError(
                f"{len(vectors)} maps do not make {least} clusters: "
                "give more validation maps or ask for fewer clusters"
            )
        self._project(vectors)
        self._cluster(len(np.unique(vectors, axis=0)))
        self.prototypes_ = np.stack(
            [vectors[self.labels_ == q].mean(axis=0) for q in range(self.n_clusters_)]
        ).reshape(-1, MAP_SIDE, MAP_SIDE)
        self._count(truth, given)
        self.vectors_ = vectors.astype(np.float32)
        self.novelty_limit_ = float(self._remoteness_of_fitted(groups).max())
        return self

    def predict(self, maps: ArrayLike) -> NDArray[np.intp]:
        """(N,) cluster of every map: that of most of its `n_neighbors` nearest fitted maps."""
        return self._vote(self._nearest(self._coordinates(as_vectors(maps))))

    def reliability(self, maps: ArrayLike) -> Floats:
        """(N,) 1 - e_q of every map's cluster, in [0, 1]."""
        return self.reliability_[self.predict(maps)]

    def novelty(self, maps: ArrayLike) -> Floats:
        """(N,) mean distance to the nearest fitted maps, over the largest among these.

        Above 1 a map lies beyond the validation range. Distances are of whole maps, as what no
        fitted map has lies outside the components of the PCA.
        """
        return self.look_up(maps)[1]

    def look_up(self, maps: ArrayLike) -> tuple[NDArray[np.intp], Floats]:
        """`predict` and `novelty` at the cost of one."""
        vectors = as_vectors(maps)
        nearest = self._nearest(self._coordinates(vectors))
        return self._vote(nearest), self._novelty(self._distances(vectors, nearest).mean(axis=1))

    def fitted_as(self, maps: ArrayLike) -> NDArray[np.intp]:
        """(N,) number of the fitted map that each map is, but for rounding; -1 for new ones."""
        vectors = as_vectors(maps)
        nearest = self._nearest(self._coordinates(vectors))[:, :1]
        limit = max(_SAME * self.novelty_limit_, self._rounding())
        same = self._distances(vectors, nearest)[:, 0] <= limit
        return np.where(same, nearest[:, 0], -1)

    def held_out(
        self, correct: ArrayLike, groups: ArrayLike | None = None
    ) -> tuple[Floats, Floats]:
        """Share of right predictions and novelty of every fitted map, as if it was a new one.

        Parameters
        ----------
        correct : (N,) bool, whether the fitted predictions were right
        groups : as in `fit`

        Returns
        -------
        (N,) share among the cluster's maps of other specimens, over all maps where there are none;
        and (N,) novelty by the maps of other specimens
        """
        self._check_fitted()
        right = np.asarray(correct, dtype=float)
        own = _codes(groups, len(right))
        # Of the whole cluster, less what is of the same specimen in it.
        part = np.unique(self.labels_ * (own.max() + 1) + own, return_inverse=True)[1]
        total = np.bincount(self.labels_)[self.labels_] - np.bincount(part)[part]
        hits = np.bincount(self.labels_, right)[self.labels_] - np.bincount(part, right)[part]
        shares = np.where(total > 0, hits / np.maximum(total, 1), right.mean())
        return shares, self._novelty(self._remoteness_of_fitted(groups))

    def adjust(
        self, maps: ArrayLike, predictions: ArrayLike, threshold: float = 0.75
    ) -> NDArray[Any]:
        """Predictions, corrected where the fitted ones were mostly wrong (paper, section 2.6).

        With two classes the prediction is swapped in clusters whose error rate is above
        `threshold`. With more, a prediction is replaced where the error rate of its class in the
        cluster is above `threshold`, by the class that most of these maps truly had; as
        such groups can be small, the lower end of the error rate's Wilson interval must also be
        above one half. Nothing is changed that would not have raised the accuracy on the fitted
        maps. Classes that were not seen in fitting stay as they are.

        Parameters
        ----------
        maps : (N, H, W)
        predictions : (N,)
        threshold : in [0, 1]

        Returns
        -------
        (N,) of the predictions' type, wide enough for every class
        """
        return self.adjust_in(self.predict(maps), predictions, threshold)

    def adjust_in(
        self, clusters: ArrayLike, predictions: ArrayLike, threshold: float = 0.75
    ) -> NDArray[Any]:
        """`adjust` for maps whose clusters (N,) are known."""
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold must lie in 0 to 1, not {threshold}")
        table = self.replacements(threshold)
        numbers, given = np.asarray(clusters), as_array(predictions)
        if given.shape != numbers.shape:
            raise MezoroiError(
                f"{len(numbers)} maps and predictions of shape {given.shape}: give one per map"
            )
        place = np.searchsorted(self.classes_, given).clip(max=len(self.classes_) - 1)
        known = self.classes_[place] == given
        adjusted = given.astype(np.result_type(given, self.classes_))  # longer names need room
        adjusted[known] = self.classes_[table[numbers[known], place[known]]]
        return adjusted

    def replacements(self, threshold: float = 0.75) -> NDArray[np.intp]:
        """(Q, C) index in `classes_` of what `adjust` makes of a prediction in a cluster."""
        self._check_fitted()
        count = len(self.classes_)
        table = np.tile(np.arange(count), (self.n_clusters_, 1))
        right = self.counts_.diagonal(axis1=1, axis2=2)
        if count == 2:
            total, hits = self.counts_.sum(axis=(1, 2)), right.sum(axis=1)
            swapped = (self.error_rate_ > threshold) & (total - hits > hits)
            table[swapped] = table[swapped, ::-1]
            return table
        total = self.counts_.sum(axis=1)
        share = (total - right) / np.maximum(total, 1)
        surely, _ = wilson_interval(total - right, total)
        best = self.counts_.argmax(axis=1)
        gains = self.counts_.max(axis=1) > right
        return np.where((share > threshold) & (surely > 0.5) & gains, best, table)

    def _check_parameters(self) -> None:
        if self.n_clusters != "eigengap" and not _is_count(self.n_clusters):
            raise ValueError(f"n_clusters must be 1 or more, or 'eigengap', not {self.n_clusters}")
        if self.kernel_scale != "median" and not float(self.kernel_scale) > 0:
            raise ValueError(f"kernel_scale must be above 0, or 'median', not {self.kernel_scale}")
        for name in ("n_components", "n_neighbors"):
            if not _is_count(getattr(self, name)):
                raise ValueError(f"{name} must be 1 or more, not {getattr(self, name)}")

    def _check_fitted(self) -> None:
        if not hasattr(self, "counts_"):
            raise NotFittedError("these SaliencyClusters are not fitted: call fit first")

    def _project(self, vectors: Floats) -> None:
        pca = PCA(min(self.n_components, max(1, len(vectors) - 1)), svd_solver="full")
        with np.errstate(invalid="ignore", divide="ignore"):  # identical maps have no variance
            scores = pca.fit_transform(vectors)
        least = 1e-9 * (float(abs(vectors).max()) or 1.0)
        rank = max(1, int((pca.singular_values_ > least).sum()))
        self.mean_ = pca.mean_
        self.components_ = pca.components_[:rank]
        self.coordinates_ = scores[:, :rank]
        self.explained_variance_ratio_ = np.nan_to_num(pca.explained_variance_ratio_[:rank])

    def _cluster(self, different: int) -> None:
        distances = scaled_distances(self.coordinates_)
        scale = median_scale(distances) if self.kernel_scale == "median" else self.kernel_scale
        self.kernel_scale_ = float(scale)
        matrix = normalised_affinity(gaussian_affinity(distances, self.kernel_scale_))
        asked = MOST_BY_EIGENGAP + 1 if self.n_clusters == "eigengap" else int(self.n_clusters)
        values, vectors = leading_eigenvectors(matrix, min(asked, len(matrix)))
        count = eigengap(values) if self.n_clusters == "eigengap" else asked
        count = min(count, different)
        self.eigenvalues_ = values
        rows = spectral_embedding(vectors[:, :count])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # equal maps: fewer clusters
            seed = 0 if self.random_state is None else self.random_state
            found = KMeans(count, n_init=10, random_state=seed).fit_predict(rows)
        _, found, sizes = np.unique(found, return_inverse=True, return_counts=True)
        order = np.argsort(-sizes, kind="stable")
        self.labels_ = np.argsort(order)[found]
        self.n_clusters_ = len(sizes)

    def _count(self, truth: NDArray[Any], given: NDArray[Any]) -> None:
        self.classes_ = np.unique(np.concatenate([truth, given]))
        count = len(self.classes_)
        counts = np.zeros((self.n_clusters_, count, count), dtype=np.int64)
        rows, columns = (np.searchsorted(self.classes_, values) for values in (truth, given))
        np.add.at(counts, (self.labels_, rows, columns), 1)
        self.set_counts(counts)

    def set_counts(self, counts: NDArray[np.int64]) -> None:
        """Take counts (Q, C, C) as of a fit, and the error rates that follow from them."""
        self.counts_ = counts
        self.n_clusters_ = len(counts)
        total = self.counts_.sum(axis=(1, 2))
        right = np.trace(self.counts_, axis1=1, axis2=2)
        self.error_rate_ = 1 - right / total
        self.reliability_ = right / total
        self.reliability_low_, self.reliability_high_ = wilson_interval(right, total)

    def _coordinates(self, vectors: Floats) -> Floats:
        self._check_fitted()
        return np.asarray((vectors - self.mean_) @ self.components_.T)

    def _nearest(self, points: Floats, barred: NDArray[np.bool_] | None = None) -> NDArray[np.intp]:
        """(N, k) fitted maps nearest to points among the components, in order; barred ones last."""
        squares = (self.coordinates_**2).sum(axis=1) - 2 * points @ self.coordinates_.T
        if barred is not None:
            squares[barred] = np.inf
        return np.argsort(squares, axis=1, kind="stable")[:, : self.n_neighbors]

    def _distances(self, vectors: Floats, nearest: NDArray[np.intp]) -> Floats:
        """(N, k) of maps to those fitted ones."""
        columns = [np.linalg.norm(vectors - self.vectors_[column], axis=1) for column in nearest.T]
        return np.stack(columns, axis=1)

    def _remoteness_of_fitted(self, groups: ArrayLike | None) -> Floats:
        """(N,) mean distance of every fitted map to the nearest ones of other specimens."""
        own = _codes(groups, len(self.vectors_))
        if len(own) == 1:
            return np.zeros(1)
        same = own[:, None] == own
        nearest = self._nearest(self.coordinates_, same)
        distances = self._distances(self.vectors_.astype(np.float64), nearest)
        distances[np.take_along_axis(same, nearest, axis=1)] = np.nan
        return np.asarray(np.nanmean(distances, axis=1))

    def _vote(self, nearest: NDArray[np.intp]) -> NDArray[np.intp]:
        votes = np.zeros((len(nearest), self.n_clusters_), dtype=np.intp)
        np.add.at(votes, (np.arange(len(nearest))[:, None], self.labels_[nearest]), 1)
        return votes.argmax(axis=1)

    def _novelty(self, remoteness: Floats) -> Floats:
        return np.asarray(remoteness / max(self.novelty_limit_, self._rounding()))

    def _rounding(self) -> float:
        """Distance that float32's rounding may make of equal maps, which are their own mean.

        A share of what they hold: raw maps, as of gradients, may be small throughout.
        """
        return _ROUNDING * (float(np.abs(self.mean_).max()) or 1.0)


def as_vectors(maps: ArrayLike) -> Floats:
    """(N, 64 * 64) float64 from maps (N, H, W): by areas where a side shrinks, else bilinear.

    Raises
    ------
    MezoroiError
        If they are no maps, or a value is NaN or infinite.
    """
    planes = as_array(maps).astype(np.float32, copy=False)
    if planes.ndim != 3 or 0 in planes.shape[1:]:
        raise MezoroiError(f"maps of shape {planes.shape}: give (N, H, W), one map per fruit")
    if not np.isfinite(planes).all():
        raise MezoroiError("a map holds NaN or infinite values: leave that fruit out")
    vectors = np.empty((len(planes), MAP_SIDE * MAP_SIDE))
    rows, columns = (min(side, MAP_SIDE) for side in planes.shape[1:])
    for number, plane in enumerate(planes):
        small = cv2.resize(plane, (columns, rows), interpolation=cv2.INTER_AREA)
        grown = cv2.resize(small, (MAP_SIDE, MAP_SIDE), interpolation=cv2.INTER_LINEAR)
        vectors[number] = grown.ravel()
    return vectors


def _are_alike(truth: NDArray[Any], given: NDArray[Any]) -> bool:
    """True for two arrays of names, or two of numbers without NaN."""
    values = [*truth.tolist(), *given.tolist()]
    if all(isinstance(value, str) for value in values):
        return True
    return all(isinstance(value, Real) and value == value for value in values)


def _codes(groups: ArrayLike | None, count: int) -> NDArray[np.intp]:
    """(N,) number of each map's specimen; every map's own where there is but one specimen."""
    if groups is not None:
        names, codes = np.unique(np.asarray(groups), return_inverse=True)
        if len(names) > 1:
            return codes
    return np.arange(count)


def _is_count(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and int(value) >= 1
