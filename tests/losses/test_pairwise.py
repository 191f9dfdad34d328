"""The pairwise losses against float64 loops, by gradcheck, and on cases solved by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mezoroi.losses import AdaptivePairwiseMarginLoss, dissimilarity
from mezoroi.losses.pairwise import (
    HAND_SPREAD,
    chosen_margins,
    conventional_negative,
    measured_margins,
    negative_distances,
)

M1 = torch.tensor([1.0, 2.0, 1.5, 3.0])
M2 = torch.tensor([1.5, 2.5, 1.75])


def distance(one: np.ndarray, other: np.ndarray) -> float:
    return math.sqrt(sum((float(a) - float(b)) ** 2 for a, b in zip(one, other, strict=True)))


def dissim(d: float, m1: float, m2: float) -> float:
    return max(0.0, m1 - d) + max(0.0, d - m2)


def positive_by_loop(ref: np.ndarray, one: np.ndarray, two: np.ndarray) -> float:
    rows = zip(ref, one, two, strict=True)
    return float(np.mean([distance(r, a) + distance(r, b) + distance(a, b) for r, a, b in rows]))


def negative_by_loop(
    ref: np.ndarray,
    one: np.ndarray,
    two: np.ndarray,
    whole: np.ndarray,
    m1: np.ndarray,
    m2: np.ndarray,
) -> float:
    totals = []
    for r, a, b, c in zip(ref, one, two, whole, strict=True):
        total = dissim(distance(r, a), m1[0], m2[0])
        total += dissim(distance(r, b), m1[1], m2[1])
        total += dissim(distance(a, b), m1[2], m2[2])
        totals.append(total + max(0.0, m1[3] - distance(r, c)))
    return float(np.mean(totals))


def embeddings(
    seed: int, count: int, rows: int, dim: int, scale: float = 1.0
) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [
        scale * torch.randn(rows, dim, generator=generator, dtype=torch.float64)
        for _ in range(count)
    ]


@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 9), st.floats(0.05, 3.0))
@settings(max_examples=60, deadline=None)
def test_both_sets_follow_the_equations(seed: int, rows: int, dim: int, scale: float) -> None:
    ref, one, two, whole = embeddings(seed, 4, rows, dim, scale)
    loss = AdaptivePairwiseMarginLoss()
    arrays = [values.numpy() for values in (ref, one, two, whole)]
    found = loss.positive(ref, one, two)
    assert found.item() == pytest.approx(positive_by_loop(*arrays[:3]), rel=1e-9)
    found = loss.negative(ref, one, two, whole, M1.double(), M2.double())
    expected = negative_by_loop(*arrays, M1.double().numpy(), M2.double().numpy())
    assert found.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)
    # Single precision, and margins of another precision than the embeddings.
    single = [values.float() for values in (ref, one, two, whole)]
    assert loss.negative(*single, M1, M2).item() == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize(
    ("d", "expected"),
    [(0.0, 1.0), (0.75, 0.25), (1.0, 0.0), (1.25, 0.0), (1.5, 0.0), (2.0, 0.5), (9.0, 7.5)],
)
def test_dissimilarity_inside_between_and_beyond_the_margins(d: float, expected: float) -> None:
    assert dissimilarity(torch.tensor(d), 1.0, 1.5).item() == pytest.approx(expected)


def test_a_negative_set_solved_by_hand() -> None:
    # On a line: ref 0, one part 0.5, two parts 3, whole 10.
    at = [torch.tensor([[x]]) for x in (0.0, 0.5, 3.0, 10.0)]
    # d = 0.5 (m1 1, below), 3 (m2 2.5, beyond), 2.5 (m2 1.75, beyond), 10 (beyond m1: free).
    found = AdaptivePairwiseMarginLoss().negative(*at, M1, M2)
    assert found.item() == pytest.approx(0.5 + 0.5 + 0.75 + 0.0)
    # Equation 7 pushes and never pulls.
    assert conventional_negative(*at, M1).item() == pytest.approx(0.5)
    near = [torch.tensor([[x]]) for x in (0.0, 0.5, 1.0, 1.0)]
    assert conventional_negative(*near, M1).item() == pytest.approx(0.5 + 1.0 + 1.0 + 2.0)


def test_a_positive_set_at_one_point_costs_nothing_and_moves_nothing() -> None:
    points = [torch.ones(2, 3, requires_grad=True) for _ in range(3)]
    found = AdaptivePairwiseMarginLoss().positive(*points)
    found.backward()
    assert found.item() == 0
    assert all(bool((point.grad == 0).all()) for point in points)


@given(st.integers(0, 10**6))
@settings(max_examples=10, deadline=None)
def test_gradients(seed: int) -> None:
    values = [v.requires_grad_() for v in embeddings(seed, 4, 3, 4)]
    loss = AdaptivePairwiseMarginLoss()
    found = negative_distances(*values).detach()
    kinks = torch.stack([(found - M1).abs(), (found[:, [0, 1, 2, 2]] - M2[[0, 1, 2, 2]]).abs()])
    if kinks.min() < 1e-3:  # at a kink there is no gradient to compare
        return
    m1, m2 = M1.double(), M2.double()
    assert torch.autograd.gradcheck(loss.positive, tuple(values[:3]))
    assert torch.autograd.gradcheck(lambda *v: loss.negative(*v, m1, m2), tuple(values))
    assert torch.autograd.gradcheck(lambda *v: conventional_negative(*v, m1), tuple(values))


def test_margins_are_mean_and_deviation_of_each_kind_of_pair() -> None:
    found = torch.tensor([[1.0, 2.0, 4.0, 8.0], [3.0, 2.0, 5.0, 9.0], [2.0, 2.0, 9.0, 1.0]])
    margins = measured_margins(found, alpha=2.0)
    np.testing.assert_allclose(margins.m1, [2, 2, 6, 6])
    deviations = [1.0, 0.0, math.sqrt((4 + 1 + 9) / 2)]
    np.testing.assert_allclose(margins.m2, np.array([2, 2, 6]) + 2 * np.array(deviations))
    same = AdaptivePairwiseMarginLoss(alpha=2.0).margins(found)
    assert torch.equal(same.m1, margins.m1) and torch.equal(same.m2, margins.m2)
    by_hand = chosen_margins(0.8, alpha=2.0)
    assert by_hand.m1.tolist() == pytest.approx([0.8] * 4)
    assert by_hand.m2.tolist() == pytest.approx([0.8 * (1 + 2 * HAND_SPREAD)] * 3)


def test_wrong_shapes_are_named() -> None:
    loss, (ref, one, two, whole) = AdaptivePairwiseMarginLoss(), embeddings(0, 4, 3, 5)
    with pytest.raises(
        ValueError, match=r"scdi2 must have the shape of ref, \(3, 5\), not \(2, 5\)"
    ):
        loss.positive(ref, one, two[:2])
    with pytest.raises(ValueError, match=r"ref must have shape \(B >= 1, D\), not \(0, 5\)"):
        loss.positive(ref[:0], one[:0], two[:0])
    with pytest.raises(ValueError, match=r"m1 and m2 must have shapes \(4,\) and \(3,\)"):
        loss.negative(ref, one, two, whole, M1[:3], M2)
    with pytest.raises(ValueError, match="alpha must be at least 0, not -1"):
        AdaptivePairwiseMarginLoss(-1)
    with pytest.raises(ValueError, match="alpha must be at least 0, not nan"):
        AdaptivePairwiseMarginLoss(math.nan)
    with pytest.raises(ValueError, match=r"found must have shape \(N >= 2, 4\), not \(1, 4\)"):
        measured_margins(torch.ones(1, 4))
