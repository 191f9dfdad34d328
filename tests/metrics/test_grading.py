from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.proportion import proportion_confint

from mezoroi.errors import MezoroiError
from mezoroi.metrics import bootstrap_interval, grading_metrics, grading_report
from mezoroi.metrics.grading import _scalars_of
from mezoroi.report.evaluation import evaluation_text

TRUTH = np.array([0, 0, 0, 1, 1, 2])
GIVEN = np.array([0, 0, 1, 1, 0, 0])


def test_hand_solved():
    scores = grading_metrics(TRUTH, GIVEN, 4)
    assert scores["accuracy"] == pytest.approx(3 / 6)
    np.testing.assert_allclose(scores["recall"], [2 / 3, 1 / 2, 0, np.nan])
    np.testing.assert_allclose(scores["precision"], [2 / 4, 1 / 2, np.nan, np.nan])
    np.testing.assert_array_equal(
        scores["confusion_matrix"], [[2, 1, 0, 0], [1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    )
    assert scores["mean_absolute_grade_error"] == pytest.approx((1 + 1 + 2) / 6)
    # Squared steps: observed 1 + 1 + 4 = 6; by chance sum r_i (i-j)^2 c_j / 6 with
    # r = 3, 2, 1 and c = 4, 2: (3*2*1 + 2*4*1 + 1*4*4 + 1*2*1) / 6 = 32 / 6.
    assert scores["quadratic_weighted_kappa"] == pytest.approx(1 - 6 / (32 / 6))


def test_perfect_and_reversed():
    truth = np.repeat(np.arange(4), 5)
    perfect = grading_metrics(truth, truth, 4)
    assert perfect["accuracy"] == perfect["quadratic_weighted_kappa"] == 1
    assert perfect["mean_absolute_grade_error"] == 0
    assert grading_metrics(truth, 3 - truth, 4)["quadratic_weighted_kappa"] == pytest.approx(-1)


def test_kappa_is_undefined_for_a_single_grade():
    scores = grading_metrics([2, 2], [2, 2], 4)
    assert math.isnan(scores["quadratic_weighted_kappa"])
    assert scores["accuracy"] == 1


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=30))
def test_bootstrap_algebra_agrees_with_scikit_learn(pairs):
    truth, answer = np.array(pairs).T
    scores = grading_metrics(truth, answer, 5)
    from_matrix = _scalars_of(scores["confusion_matrix"][None].astype(float))
    for name, values in from_matrix.items():
        np.testing.assert_allclose(values[0], scores[name], atol=1e-12, err_msg=name)


def test_report_interval_is_the_bootstrap_of_the_score():
    generator = np.random.default_rng(0)
    truth = generator.integers(3, size=90)
    answer = np.where(generator.random(90) < 0.7, truth, generator.integers(3, size=90))
    specimens = np.repeat(np.arange(30), 3)
    report = grading_report(truth, answer, ["A", "B", "C"], specimens, n_resamples=100, seed=5)

    def kappa(first, second):
        return cohen_kappa_score(first, second, weights="quadratic", labels=[0, 1, 2])

    expected = bootstrap_interval(kappa, specimens, truth, answer, n_resamples=100, seed=5)
    found = report["quadratic_weighted_kappa"]
    assert (found["value"], found["low"], found["high"]) == pytest.approx(
        (expected.value, expected.low, expected.high)
    )
    assert found["low"] < found["value"] < found["high"]
    assert report["n_specimens"] == 30


def test_few_fruits_that_are_all_right_have_a_wide_interval():
    # 10 fruits of A, two photos of each, all right; 4 of B, all graded A.
    truth = np.repeat([0, 1], [20, 4])
    specimens = np.r_[np.repeat(np.arange(10), 2), np.arange(10, 14)]
    report = grading_report(truth, np.zeros(24, int), ["A", "B"], specimens, n_resamples=100)
    low, high = proportion_confint([10, 0], [10, 4], method="wilson")
    for number, grade in enumerate("AB"):
        found = report["recall"][grade]
        assert (found["low"], found["high"]) == pytest.approx((low[number], high[number]))
    assert report["precision"]["B"]["low"] is None
    assert 0 < report["accuracy"]["low"] < report["accuracy"]["value"] < 1
    alone = grading_report([1, 0], [1, 0], ["A", "B"], ["x", "y"], n_resamples=9)
    assert alone["accuracy"]["low"] == pytest.approx(proportion_confint(2, 2, method="wilson")[0])
    every = grading_report([0, 1, 2] * 4, [0, 1, 2] * 4, list("ABC"), range(12), n_resamples=99)
    low, _ = proportion_confint(12, 12, method="wilson")
    kappa, error = every["quadratic_weighted_kappa"], every["mean_absolute_grade_error"]
    assert (kappa["low"], kappa["high"]) == pytest.approx((low, 1))
    assert (error["low"], error["high"]) == pytest.approx((0, 1 - low))


def test_report_is_json_and_says_what_is_undefined():
    report = grading_report(TRUTH, GIVEN, ["A", "B", "C", "D"], list("abcdef"), n_resamples=200)
    again = json.loads(json.dumps(report, allow_nan=False))
    assert again == report
    assert report["recall"]["D"]["value"] is None
    assert report["recall"]["D"]["reason"] == "no item is of this grade"
    assert report["recall"]["D"]["n_undefined"] == 200
    assert report["precision"]["C"]["reason"] == "no item was given this grade"
    assert report["recall"]["A"]["reason"] is None
    # C occurs in one of six specimens: absent from a draw with probability (5/6)^6 = 0.335
    assert report["recall"]["C"]["n_undefined"] / 200 == pytest.approx(0.335, abs=0.1)


def test_a_grade_of_one_or_two_specimens_has_no_interval():
    """Of its only two specimens, drawn together or not at all, no draw tells how sure 0.5 is."""
    truth = np.array([0] * 20 + [1] * 4 + [2] * 2)
    given = truth.copy()
    given[[0, 20, 24]] = [1, 0, 0]
    report = grading_report(truth, given, list("ABC"), range(26), n_resamples=500)
    for grade, is_known in (("A", True), ("B", True), ("C", False)):
        entry = report["recall"][grade]
        assert 0 < entry["value"] < 1
        assert (entry["low"] is not None, entry["high"] is not None) == (is_known, is_known)
    line = evaluation_text({"observations": 26, "specimens": 26, "grading": report})
    assert "grade C: recall 0.500 (too few specimens for an interval)" in line


def test_unordered_grades_have_no_distance():
    report = grading_report(
        TRUTH, GIVEN, ["crack", "rot", "mould"], list("abcdef"), ordered=False, n_resamples=20
    )
    for name in ("quadratic_weighted_kappa", "mean_absolute_grade_error"):
        assert report[name]["value"] is None
        assert "no order" in report[name]["reason"]
    assert report["accuracy"]["value"] == 0.5


@pytest.mark.parametrize(
    ("truth", "answer", "num_grades"),
    [
        ([], [], 3),
        ([0, 1], [0], 3),
        ([0, 3], [0, 1], 3),
        ([0, -1], [0, 1], 3),
        ([0.0, 1.0], [0, 1], 3),
        ([0, 0], [0, 0], 1),
    ],
)
def test_bad_input(truth, answer, num_grades):
    with pytest.raises(MezoroiError, match=": "):
        grading_metrics(np.array(truth), np.array(answer), num_grades)


def test_report_wants_one_specimen_per_item():
    with pytest.raises(MezoroiError, match="specimens"):
        grading_report(TRUTH, GIVEN, ["A", "B", "C"], ["a"])
