"""Agreement between graders against published examples, peers and identities."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import aggregate_raters, cohens_kappa
from statsmodels.stats.inter_rater import fleiss_kappa as peer_fleiss

from mezoroi import metrics
from mezoroi.errors import MezoroiError
from mezoroi.metrics.agreement import MISSING

# Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability", sections C and D: four
# observers, twelve units, gaps; grades there run from 1, 0 stands for a gap here.
KRIPPENDORFF = (
    np.array(
        [
            [1, 2, 3, 3, 2, 1, 4, 1, 2, 0, 0, 0],
            [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, 0, 3],
            [0, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, 0],
            [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, 0],
        ]
    ).T
    - 1
)
# Fleiss (1971), as worked in many textbooks: counts of 14 raters, 10 subjects, 5 categories.
FLEISS = np.array(
    [
        [0, 0, 0, 0, 14],
        [0, 2, 6, 4, 2],
        [0, 0, 3, 5, 6],
        [0, 3, 9, 2, 0],
        [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0],
        [3, 2, 6, 3, 0],
        [2, 5, 3, 2, 2],
        [6, 5, 2, 1, 0],
        [0, 2, 2, 3, 7],
    ]
)
TABLES = arrays(
    np.int64, st.tuples(st.integers(2, 12), st.integers(2, 4)), elements=st.integers(-1, 3)
)


def spelled_out(counts: np.ndarray) -> np.ndarray:
    """(F, R) ratings with these counts."""
    return np.array([np.repeat(np.arange(len(row)), row) for row in counts])


def alpha_by_pairs(table: np.ndarray, num_grades: int, ordered: bool) -> float:
    """Alpha from its definition: one minus observed over expected disagreement of value pairs."""
    units = [[v for v in row if v != MISSING] for row in table]
    units = [unit for unit in units if len(unit) > 1]
    values = [v for unit in units for v in unit]
    total = [values.count(grade) for grade in range(num_grades)]

    def distance(a: int, b: int) -> float:
        if not ordered:
            return float(a != b)
        low, high = sorted((a, b))
        return (sum(total[low : high + 1]) - (total[low] + total[high]) / 2) ** 2

    observed = sum(
        distance(unit[i], unit[j]) / (len(unit) - 1)
        for unit in units
        for i in range(len(unit))
        for j in range(len(unit))
        if i != j
    ) / max(len(values), 1)
    expected = sum(
        distance(values[i], values[j])
        for i in range(len(values))
        for j in range(len(values))
        if i != j
    ) / max(len(values) * (len(values) - 1), 1)
    return 1 - observed / expected if expected else math.nan


def test_alpha_of_krippendorffs_example() -> None:
    assert metrics.krippendorff_alpha(KRIPPENDORFF, 5) == pytest.approx(0.815, abs=5e-4)
    nominal = metrics.krippendorff_alpha(KRIPPENDORFF, 5, ordered=False)
    assert nominal == pytest.approx(0.743, abs=5e-4)


@given(TABLES, st.booleans())
def test_alpha_is_its_definition(table: np.ndarray, ordered: bool) -> None:
    expected = alpha_by_pairs(table, 4, ordered)
    found = metrics.krippendorff_alpha(table, 4, ordered=ordered)
    assert found == pytest.approx(expected, nan_ok=True)


def test_fleiss_kappa_of_fleiss_example() -> None:
    assert metrics.fleiss_kappa(spelled_out(FLEISS), 5) == pytest.approx(0.210, abs=5e-4)


@given(TABLES)
def test_fleiss_kappa_leaves_gaps_out(table: np.ndarray) -> None:
    whole = table[(table >= 0).all(axis=1)]
    found = metrics.fleiss_kappa(table, 4)
    if len(whole) == 0 or len(np.unique(whole)) < 2:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(peer_fleiss(aggregate_raters(whole, 4)[0]))


@given(arrays(np.int64, st.tuples(st.integers(2, 30), st.just(2)), elements=st.integers(0, 3)))
def test_weighted_kappa_is_a_concordance(table: np.ndarray) -> None:
    """Schuster (2004): 2 s12 / (s1^2 + s2^2 + (m1 - m2)^2), with moments divided by n."""
    one, other = table.T.astype(float)
    below = one.var() + other.var() + (one.mean() - other.mean()) ** 2
    found = metrics.weighted_kappa(table[:, 0], table[:, 1], 4)
    if below == 0:
        assert math.isnan(found)
        return
    assert found == pytest.approx(2 * np.mean((one - one.mean()) * (other - other.mean())) / below)
    counts = np.zeros((4, 4))
    np.add.at(counts, (table[:, 0], table[:, 1]), 1)
    peer = cohens_kappa(counts, wt="quadratic", return_results=False)
    assert found == pytest.approx(peer)


def test_interval_of_kappa_is_the_bootstrap_of_scikit_learns() -> None:
    rng = np.random.default_rng(3)
    one = rng.integers(4, size=30)
    other = np.clip(one + rng.integers(-1, 2, size=30), 0, 3)

    def statistic(first: np.ndarray, second: np.ndarray) -> float:
        return float(cohen_kappa_score(first, second, weights="quadratic", labels=range(4)))

    expected = metrics.bootstrap_interval(statistic, np.arange(30), one, other, n_resamples=200)
    found = metrics.kappa_interval(one, other, 4, n_resamples=200)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_too_little_is_not_a_number() -> None:
    nobody = np.full((3, 2), MISSING)
    assert math.isnan(metrics.krippendorff_alpha(nobody, 4))
    assert math.isnan(metrics.krippendorff_alpha([[0, 0], [0, 0]], 4))
    assert math.isnan(metrics.alpha_interval([[0, 1]], 4).low)
    assert math.isnan(metrics.fleiss_interval(nobody, 4).value)
    assert math.isnan(metrics.alpha_interval(np.empty((0, 2), int), 4).value)
    assert math.isnan(metrics.kappa_interval([0, 1], [-1, -1], 4).value)
    assert math.isnan(metrics.strictness([[0, -1]], 4)[0].value)
    assert np.isnan(metrics.disagreement([[2, -1], [-1, -1]], 4)).all()
    assert np.isnan(metrics.agreement_matrix([[0, -1], [-1, 0]], 4)[0, 1])


def test_alpha_interval_holds_the_value() -> None:
    found = metrics.alpha_interval(KRIPPENDORFF, 5, n_resamples=300)
    assert found.low < found.value < found.high <= 1


def test_few_fruits_on_which_all_agree_have_a_wide_interval() -> None:
    """Every resample of them is perfect too; Wilson's low end for 6 of 6 and 3 of 3."""
    table = np.repeat([[0], [1], [2]] * 2, 3, axis=1)
    table[5] = [2, MISSING, MISSING]  # the last was graded by one alone
    low6, low5 = 6 / (6 + 1.959964**2), 5 / (5 + 1.959964**2)
    for found, low in (
        (metrics.alpha_interval(table, 4), low5),
        (metrics.fleiss_interval(table, 4), low5),
        (metrics.kappa_interval([0, 1, 2] * 2, [0, 1, 2] * 2, 4), low6),
    ):
        assert (found.value, found.low, found.high) == pytest.approx((1, low, 1))
    strict = metrics.strictness(np.array([[0, 1]] * 6), 4)
    gap = 1 - low6
    ends = [value for one in strict for value in (one.low, one.value, one.high)]
    assert ends == pytest.approx([-1 - gap, -1, -1 + gap, 1 - gap, 1, 1 + gap])


def test_matrices() -> None:
    table = np.array([[0, 0, 1], [1, 1, -1], [2, 3, 3], [3, 3, 3]])
    same = metrics.agreement_matrix(table, 4)
    assert same[0].tolist() == pytest.approx([1, 3 / 4, 1 / 3])
    kappas = metrics.kappa_matrix(table, 4)
    assert kappas[0, 1] == metrics.weighted_kappa(table[:, 0], table[:, 1], 4)
    assert (kappas == kappas.T).all() and kappas.diagonal() == pytest.approx(1)


def test_strictness_is_the_signed_difference_from_the_others() -> None:
    table = np.array([[0, 1, 1], [1, 1, 3], [2, -1, -1], [0, 0, -1]])
    milder, middle, stricter = metrics.strictness(table, 4, n_resamples=50)
    assert milder.value == pytest.approx(np.mean([0 - 1, 1 - 2, 0 - 0]))
    assert middle.value == pytest.approx(np.mean([1 - 0.5, 1 - 2, 0 - 0]))
    assert stricter.value == pytest.approx(np.mean([1 - 0.5, 3 - 1]))


def test_disagreement() -> None:
    table = np.array([[0, 0, 0, 0], [0, 0, 3, 3], [1, 1, 2, 2], [0, 3, -1, -1]])
    assert metrics.disagreement(table, 4) == pytest.approx([0, 1, 1 / 9, 1])
    unordered = metrics.disagreement([[0, 1, 2, 3], [0, 0, 1, 1]], 4, ordered=False)
    assert unordered == pytest.approx([1, 2 / 3])


def test_ratings_table() -> None:
    table = metrics.ratings_table([{"Sato": "B"}, {"Ito": "A", "Sato": "A"}], "AB")
    assert table.graders == ("Sato", "Ito")
    assert table.ratings.tolist() == [[1, MISSING], [0, 0]]
    with pytest.raises(MezoroiError, match="unknown grade `E`"):
        metrics.ratings_table([{"Sato": "E"}], "AB")


@pytest.mark.parametrize(
    ("ratings", "reason"),
    [
        ([[0, 4]], "run from 0 to 4"),
        ([[-2, 0]], "run from -2 to 0"),
        ([[0.5, 1.0]], "float64"),
        ([0, 1], "one row per fruit"),
    ],
)
def test_bad_ratings_are_refused(ratings: list, reason: str) -> None:
    with pytest.raises(MezoroiError, match=reason):
        metrics.krippendorff_alpha(ratings, 4)
