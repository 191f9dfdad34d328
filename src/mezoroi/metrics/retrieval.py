"""How well embeddings find the other pictures of the same thing.

Everywhere: every picture is a query against all others, by cosine similarity; the query itself is
never counted as found, except by `ns_score`, which by its definition counts it. A query with
nothing to find has no right answer: it scores NaN and is left out of the mean; the ``*_per_query``
functions show which those are. They take similarities, so that queries may also be other pictures
than those searched.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mezoroi.errors import MezoroiError
from mezoroi.metrics.arrays import as_array

Floats = NDArray[np.float64]
NS_VIEWS = 4


def ns_score(embeddings: ArrayLike, labels: ArrayLike) -> float:
    """Mean number of pictures of the query's instance among the first four (Nister, Stewenius).

    Defined for sets with four pictures of each instance: the query is the first of the four.

    Parameters
    ----------
    embeddings : (N, D)
    labels : (N,) instance of each

    Returns
    -------
    float in [0, 4], higher is better; at least 1, since the query finds itself; NaN for fewer than
    four pictures

    Raises
    ------
    MezoroiError
        If shapes differ, or an embedding is NaN, infinite or zero.
    """
    return _defined_mean(ns_per_query(*_leave_one_out(embeddings, labels)))


def mean_average_precision(
    embeddings: ArrayLike, labels: ArrayLike, junk: ArrayLike | None = None
) -> float:
    """Mean over queries of the precision at every hit, of the whole ranking.

    Parameters
    ----------
    embeddings : (N, D)
    labels : (N,)
    junk : (N, N) bool, True where picture j is neither right nor wrong for query i: it is taken out
        of the ranking before scoring, as in the Oxford protocol

    Returns
    -------
    float in [0, 1], higher is better; NaN if no label occurs twice

    Raises
    ------
    MezoroiError
        If shapes differ, or an embedding is NaN, infinite or zero.
    """
    similarity, relevant, ignored = _leave_one_out(embeddings, labels)
    if junk is not None:
        extra = as_array(junk).astype(bool)
        if extra.shape != ignored.shape:
            raise MezoroiError(f"junk has shape {extra.shape}, not {ignored.shape}")
        ignored = ignored | extra
    return _defined_mean(ap_per_query(similarity, relevant, ignored))


def recall_at_k(embeddings: ArrayLike, labels: ArrayLike, k: int) -> float:
    """Share of queries with a picture of the same label among the `k` most similar others.

    Returns
    -------
    float in [0, 1], higher is better; NaN if no label occurs twice

    Raises
    ------
    MezoroiError
        If `k` is below 1, shapes differ, or an embedding is NaN, infinite or zero.
    """
    return _defined_mean(recall_per_query(*_leave_one_out(embeddings, labels), k))


def map_at_r(embeddings: ArrayLike, labels: ArrayLike) -> float:
    """Mean average precision of the first R places, R the number to be found (Musgrave 2020).

    Returns
    -------
    float in [0, 1], higher is better; NaN if no label occurs twice

    Raises
    ------
    MezoroiError
        If shapes differ, or an embedding is NaN, infinite or zero.
    """
    return _defined_mean(map_at_r_per_query(*_leave_one_out(embeddings, labels)))


def ap_per_query(similarity: ArrayLike, relevant: ArrayLike, ignored: ArrayLike) -> Floats:
    """Average precision of each query.

    Parameters
    ----------
    similarity : (Q, N) of queries with the pictures searched; of equal ones the first counts first
    relevant : (Q, N) bool, what is to be found
    ignored : (Q, N) bool, taken out of the ranking

    Returns
    -------
    (Q,) in [0, 1]; NaN where nothing is to be found
    """
    hits = _ranked(similarity, relevant, ignored)
    return _precision_at_hits(hits, hits.sum(axis=1))


def map_at_r_per_query(similarity: ArrayLike, relevant: ArrayLike, ignored: ArrayLike) -> Floats:
    """Terms of `map_at_r`; parameters as in `ap_per_query`."""
    hits = _ranked(similarity, relevant, ignored)
    wanted = hits.sum(axis=1)
    early = np.arange(hits.shape[1])[None] < wanted[:, None]
    return _precision_at_hits(hits & early, wanted)


def recall_per_query(
    similarity: ArrayLike, relevant: ArrayLike, ignored: ArrayLike, k: int
) -> Floats:
    """Terms of `recall_at_k`, 0 or 1; parameters as in `ap_per_query`."""
    if k < 1:
        raise MezoroiError(f"k is {k}: give at least 1")
    hits = _ranked(similarity, relevant, ignored)
    return np.where(hits.any(axis=1), hits[:, :k].any(axis=1).astype(float), np.nan)


def ns_per_query(similarity: ArrayLike, relevant: ArrayLike, ignored: ArrayLike) -> Floats:
    """Terms of `ns_score`: the query and the right ones among the three most similar others."""
    hits = _ranked(similarity, relevant, ignored)
    if hits.shape[1] < NS_VIEWS:
        return np.full(len(hits), np.nan)
    return 1.0 + hits[:, : NS_VIEWS - 1].sum(axis=1)


def cosine_similarity(queries: ArrayLike, others: ArrayLike) -> Floats:
    """(Q, N) cosines of the rows of (Q, D) and (N, D).

    Raises
    ------
    MezoroiError
        If the lengths differ, or a row is NaN, infinite or zero.
    """
    rows, columns = _unit_rows(queries), _unit_rows(others)
    if rows.shape[1] != columns.shape[1]:
        raise MezoroiError(f"embeddings of length {rows.shape[1]} and {columns.shape[1]} differ")
    return rows @ columns.T


def _leave_one_out(
    embeddings: ArrayLike, labels: ArrayLike
) -> tuple[Floats, NDArray[np.bool_], NDArray[np.bool_]]:
    rows, names = _unit_rows(embeddings), as_array(labels)
    if names.shape != (len(rows),):
        raise MezoroiError(f"labels have shape {names.shape} for {len(rows)} embeddings")
    return rows @ rows.T, names[:, None] == names[None], np.eye(len(rows), dtype=bool)


def _unit_rows(embeddings: ArrayLike) -> Floats:
    rows = as_array(embeddings).astype(np.float64)
    if rows.ndim != 2:
        raise MezoroiError(f"embeddings have shape {rows.shape}, not (N, D)")
    lengths = np.linalg.norm(rows, axis=1)
    bad = np.flatnonzero(~np.isfinite(lengths) | (lengths == 0))
    if len(bad):
        raise MezoroiError(f"embedding {bad[0]} is NaN, infinite or zero: leave it out")
    return rows / lengths[:, None]


def _ranked(similarity: ArrayLike, relevant: ArrayLike, ignored: ArrayLike) -> NDArray[np.bool_]:
    """(Q, N) whether each place holds a right one, ignored pictures moved behind all others."""
    values, right = as_array(similarity).astype(np.float64), as_array(relevant).astype(bool)
    left_out = as_array(ignored).astype(bool)
    if not values.shape == right.shape == left_out.shape or values.ndim != 2:
        raise MezoroiError(
            f"shapes {values.shape}, {right.shape} and {left_out.shape} differ: give (Q, N)"
        )
    order = np.argsort(np.where(left_out, np.inf, -values), axis=1, kind="stable")
    return np.take_along_axis(right & ~left_out, order, axis=1)


def _precision_at_hits(hits: NDArray[np.bool_], wanted: NDArray[np.int64]) -> Floats:
    """Sum over hits of the precision up to them, relative to how many were wanted."""
    precision = np.cumsum(hits, axis=1) / np.arange(1, hits.shape[1] + 1)
    total = (precision * hits).sum(axis=1)
    return np.where(wanted > 0, total / np.maximum(wanted, 1), np.nan)


def _defined_mean(values: Floats) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else math.nan
