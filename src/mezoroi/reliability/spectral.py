"""Spectral clustering of Ng, Jordan and Weiss (2002), step by step."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, eigh
from scipy.spatial.distance import pdist, squareform

Floats = NDArray[np.float64]
MOST_BY_EIGENGAP = 15


def scaled_distances(points: Floats) -> Floats:
    """(N, N) Euclidean distances of points (N, D), divided by the largest; zeros if all are 0."""
    distances = np.asarray(squareform(pdist(points)))
    largest = distances.max(initial=0.0)
    return distances / largest if largest > 0 else distances


def median_scale(distances: Floats) -> float:
    """Median of the distances (N, N) between different points; 1 where all points are equal."""
    between = distances[np.triu_indices(len(distances), 1)]
    apart = between[between > 0]
    return float(np.median(apart)) if len(apart) else 1.0


def gaussian_affinity(distances: Floats, scale: float) -> Floats:
    """exp(-(d / scale)^2) of distances (N, N), with zeros on the diagonal (step 1)."""
    affinity = np.exp(-((distances / scale) ** 2))
    np.fill_diagonal(affinity, 0.0)
    return np.asarray(affinity)


def normalised_affinity(affinity: Floats) -> Floats:
    """D^(-1/2) A D^(-1/2) with D the row sums (step 2); the Laplacian is 1 minus this."""
    degrees = affinity.sum(axis=1)
    # A point that nothing is near to stands alone: its row stays zero.
    roots = np.sqrt(np.where(degrees > 0, degrees, 1.0))
    return affinity / np.outer(roots, roots)


def leading_eigenvectors(matrix: Floats, count: int) -> tuple[Floats, Floats]:
    """The `count` largest eigenvalues of a symmetric matrix, largest first, with vectors (N, k)."""
    n = len(matrix)
    first = max(0, n - count)
    try:
        values, vectors = eigh(matrix, subset_by_index=[first, n - 1])
    except LinAlgError:
        values = np.empty(0)
    # The search for a few gives up, or finds fewer, where many are equal, as of equal maps.
    if len(values) < n - first:
        values, vectors = eigh(matrix, driver="ev")
        values, vectors = values[first:], vectors[:, first:]
    return values[::-1], vectors[:, ::-1]


def spectral_embedding(vectors: Floats) -> Floats:
    """Rows scaled to length 1 (step 4); a row of zeros stays as it is."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1.0))


def eigengap(values: Floats) -> int:
    """Number of clusters, at least 2, before the largest drop of descending eigenvalues."""
    drops = values[1:-1] - values[2:]
    return int(drops.argmax()) + 2 if len(drops) else min(2, len(values))
