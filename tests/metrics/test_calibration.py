"""Scores of confidences against peers and hand-solved cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from mezoroi.errors import MezoroiError
from mezoroi.metrics import (
    accuracy_at_coverage,
    aurc,
    error_aupr,
    error_auroc,
    expected_calibration_error,
    mean_set_size,
    risk_coverage_curve,
    set_coverage,
    wilson_interval,
)

answers = st.lists(
    st.tuples(st.sampled_from([0.1, 0.3, 0.5, 0.9]), st.booleans()), min_size=2, max_size=30
)


@given(answers)
def test_auroc_is_that_of_errors_having_less_confidence(pairs):
    values, right = (np.array(column) for column in zip(*pairs, strict=True))
    if right.all() or not right.any():
        assert math.isnan(error_auroc(values, right))
    else:
        assert error_auroc(values, right) == pytest.approx(roc_auc_score(right, values))


def test_aupr_of_hand_solved_answers():
    # Least confident first: wrong, right, wrong: precision 1 at the first error, 2/3 at the second.
    assert error_aupr([0.1, 0.2, 0.3], [False, True, False]) == pytest.approx((1 + 2 / 3) / 2)
    assert math.isnan(error_aupr([0.1, 0.2], [True, True]))


def test_risk_coverage_of_hand_solved_answers():
    confidence, right = [0.9, 0.8, 0.7, 0.6], [True, False, True, False]
    assert risk_coverage_curve(confidence, right).tolist() == pytest.approx(
        [0, 1 / 2, 1 / 3, 1 / 2]
    )
    assert aurc(confidence, right) == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 2) / 4)
    assert accuracy_at_coverage(confidence, right, 0.75) == pytest.approx(2 / 3)
    assert accuracy_at_coverage(confidence, right, 0.8) == pytest.approx(1 / 2)  # of 5: rounded up


@given(answers, st.integers(0, 5))
@settings(max_examples=50)
def test_the_order_of_equal_confidences_does_not_matter(pairs, seed):
    values, right = (np.array(column) for column in zip(*pairs, strict=True))
    order = np.random.default_rng(seed).permutation(len(values))
    assert aurc(values[order], right[order]) == pytest.approx(aurc(values, right))
    assert risk_coverage_curve(np.ones(len(right)), right) == pytest.approx(1 - right.mean())


def test_calibration_error_of_hand_solved_answers():
    # Bin (0.5, 0.6]: stated 0.6, found 1/2. Bin (0.9, 1]: stated 1, found 1.
    stated, right = [0.6, 0.6, 1.0, 1.0], [True, False, True, True]
    assert expected_calibration_error(stated, right) == pytest.approx(0.1 * 2 / 4)
    assert expected_calibration_error([0.0, 0.1], [False, True], bins=10) == pytest.approx(0.45)
    with pytest.raises(MezoroiError, match="outside 0 to 1"):
        expected_calibration_error([1.2], [True])


@given(st.integers(1, 200), st.data())
def test_wilson_interval_is_scipys(trials, data):
    successes = data.draw(st.integers(0, trials))
    expected = binomtest(successes, trials).proportion_ci(method="wilson")
    low, high = wilson_interval(successes, trials)
    assert (low, high) == (pytest.approx(expected.low), pytest.approx(expected.high))


def test_wilson_interval_without_trials_says_nothing():
    low, high = wilson_interval([0, 3], [0, 3])
    assert (low[0], high[0]) == (0, 1) and low[1] == pytest.approx(3 / (3 + 1.959964**2))
    with pytest.raises(MezoroiError, match="give counts"):
        wilson_interval(4, 3)


def test_sets():
    sets = [[True, True, False], [False, False, True]]
    assert set_coverage(sets, [1, 0]) == 0.5
    assert mean_set_size(sets) == 1.5


def test_what_does_not_match_is_refused():
    with pytest.raises(MezoroiError, match="do not match"):
        error_auroc([0.1, 0.2], [True])
    with pytest.raises(MezoroiError, match="NaN or infinite"):
        aurc([0.1, np.nan], [True, False])
    with pytest.raises(MezoroiError, match="coverage is 0"):
        accuracy_at_coverage([0.1], [True], 0)


def test_tensors_score_as_their_numbers():
    chances = torch.tensor([0.25, 0.5, 0.75, 0.875], dtype=torch.bfloat16, requires_grad=True)
    right, numbers = torch.tensor([False, True, False, True]), [0.25, 0.5, 0.75, 0.875]
    for score in (error_auroc, aurc, expected_calibration_error):
        assert score(chances, right) == score(numbers, right.tolist())
