"""Retrieval metrics solved by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from mezoroi import MezoroiError
from mezoroi.metrics import (
    ap_per_query,
    cosine_similarity,
    map_at_r,
    mean_average_precision,
    ns_score,
    recall_at_k,
)


def at_degrees(*angles: float) -> np.ndarray:
    radians = np.deg2rad(angles)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1)


# On a circle: a at 0 and 30, b at 10 and 100, c alone at 180.
LINE = at_degrees(0, 30, 10, 100, 180)
NAMES = np.array(["a", "a", "b", "b", "c"])


def test_average_precision_by_hand() -> None:
    # 0: b(10), a(30)                 -> 1/2
    # 30: b(10), a(0)                 -> 1/2
    # 10: a(0), a(30), b(100)         -> 1/3
    # 100: a(30) at 70, c(180) at 80, b(10) at 90 -> 1/3
    # 180: nothing to find
    assert mean_average_precision(LINE, NAMES) == pytest.approx((1 / 2 + 1 / 2 + 1 / 3 + 1 / 3) / 4)


def test_average_precision_of_several_hits_by_hand() -> None:
    similarity = [[0.9, 0.8, 0.7, 0.6, 0.5]]
    relevant = [[1, 0, 1, 0, 1]]
    nothing = [[0, 0, 0, 0, 0]]
    expected = (1 / 1 + 2 / 3 + 3 / 5) / 3
    assert ap_per_query(similarity, relevant, nothing)[0] == pytest.approx(expected)
    assert ap_per_query(similarity, relevant, [[0, 1, 0, 0, 0]])[0] == pytest.approx(
        (1 / 1 + 2 / 2 + 3 / 4) / 3
    )
    assert np.isnan(ap_per_query(similarity, nothing, nothing)[0])


def test_junk_is_neither_right_nor_wrong() -> None:
    junk = np.zeros((5, 5), dtype=bool)
    junk[:2, 2] = True  # for both a the b between them
    assert mean_average_precision(LINE, NAMES, junk) == pytest.approx((1 + 1 + 1 / 3 + 1 / 3) / 4)
    with pytest.raises(MezoroiError, match="junk has shape"):
        mean_average_precision(LINE, NAMES, junk[:2])


def test_recall_by_hand() -> None:
    assert recall_at_k(LINE, NAMES, 1) == 0
    assert recall_at_k(LINE, NAMES, 2) == 2 / 4
    assert recall_at_k(LINE, NAMES, 3) == 1
    assert recall_at_k(LINE, NAMES, 99) == 1


def test_map_at_r_by_hand() -> None:
    # Three of each; from 0: a(10), b(15), a(90) -> R = 2: hit, miss -> 1/2 of 1/1
    angles = at_degrees(0, 10, 90, 15, 100, 110)
    names = np.array(["a", "a", "a", "b", "b", "b"])
    # 0: a10 b15 -> 1/2;  10: b15 a0 -> (0 + 1/2) / 2 = 1/4;  90: b100 b110 -> 0
    # 15: a10 a0 -> 0;  100: a90, b110 (both at 10, the first counts first) -> 1/4;
    # 110: b100 a90 -> 1/2
    assert map_at_r(angles, names) == pytest.approx((1 / 2 + 1 / 4 + 0 + 0 + 1 / 4 + 1 / 2) / 6)


def test_ns_score_by_hand() -> None:
    four = np.repeat([0, 1], 4)
    perfect = at_degrees(0, 1, 2, 3, 90, 91, 92, 93)
    assert ns_score(perfect, four) == 4
    # One of each four changes places with one of the other.
    mixed = at_degrees(0, 1, 2, 90.5, 90, 91, 92, 2.5)
    assert ns_score(mixed, four) == pytest.approx((3 * 3 + 1 + 3 * 3 + 1) / 8)
    # The query counts as found even where a twin of another label is as similar.
    assert ns_score(np.ones((8, 3)), np.arange(8)) == 1


def test_undefined_is_nan() -> None:
    alone = np.arange(5)
    assert math.isnan(mean_average_precision(LINE, alone))
    assert math.isnan(recall_at_k(LINE, alone, 1))
    assert math.isnan(map_at_r(LINE, alone))
    assert math.isnan(ns_score(LINE[:3], [0, 0, 0]))


@pytest.mark.parametrize("metric", [ns_score, mean_average_precision, map_at_r])
@pytest.mark.parametrize(
    ("embeddings", "labels", "reason"),
    [
        (np.full((4, 2), np.nan), np.zeros(4), "NaN"),
        (np.zeros((4, 2)), np.zeros(4), "zero"),
        (np.ones((4, 2)), np.zeros(3), "labels"),
        (np.ones(4), np.zeros(4), "shape"),
    ],
)
def test_bad_input_is_one_line(
    metric: Callable[..., float], embeddings: Any, labels: Any, reason: str
) -> None:
    with pytest.raises(MezoroiError, match=reason):
        metric(embeddings, labels)


def test_k_below_one() -> None:
    with pytest.raises(MezoroiError, match="k is 0"):
        recall_at_k(LINE, NAMES, 0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_tensors_of_every_precision_and_of_a_graph(dtype: torch.dtype) -> None:
    embeddings = torch.tensor([[1.0, 0], [1, 0], [0, 1], [0, 1]], dtype=dtype, requires_grad=True)
    labels = torch.tensor([0, 0, 1, 1])
    plain = embeddings.detach().double().numpy()
    for score in (ns_score, mean_average_precision, map_at_r):
        assert score(embeddings, labels) == score(plain, labels.numpy())
    assert recall_at_k(embeddings, labels, 1) == 1.0
    assert cosine_similarity(embeddings, embeddings).tolist() == (plain @ plain.T).tolist()
