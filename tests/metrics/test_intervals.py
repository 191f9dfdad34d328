from __future__ import annotations

import itertools
import math
import time
from dataclasses import replace

import numpy as np
import pytest

from mezoroi.errors import MezoroiError
from mezoroi.metrics import bootstrap_interval, paired_difference
from mezoroi.metrics.intervals import Interval, known_ends


def accuracy(truth, given):
    return float(np.mean(truth == given))


def test_matches_the_exact_distribution_of_two_groups():
    # Groups {0, 2} and {4}: the draws (aa, ab, ba, bb) give means 1, 2, 2, 4.
    interval = bootstrap_interval(
        np.mean, ["a", "a", "b"], [0.0, 2.0, 4.0], n_resamples=4000, level=0.4
    )
    assert interval.value == 2.0
    assert (interval.low, interval.high) == (2.0, 2.0)  # quantiles 0.3 and 0.7 of 1, 2, 2, 4
    wide = bootstrap_interval(np.mean, ["a", "a", "b"], [0.0, 2.0, 4.0], level=0.9)
    assert (wide.low, wide.high) == (1.0, 4.0)


def test_draws_whole_groups_with_all_their_items():
    groups = np.array([7, 3, 7, 9, 3, 7])
    items = np.arange(6)
    seen = []
    bootstrap_interval(
        lambda a: seen.append(sorted(a.tolist())) or 0.0, groups, items, n_resamples=200
    )
    of_group = {name: items[groups == name].tolist() for name in (3, 7, 9)}
    possible = {
        tuple(sorted(itertools.chain.from_iterable(of_group[name] for name in drawn)))
        for drawn in itertools.product((3, 7, 9), repeat=3)
    }
    assert {tuple(draw) for draw in seen} == possible  # 10 multisets, all of them met


def test_specimens_that_repeat_widen_the_interval():
    generator = np.random.default_rng(1)
    right = np.repeat(generator.random(50) < 0.7, 10)
    by_specimen = bootstrap_interval(np.mean, np.repeat(np.arange(50), 10), right)
    by_item = bootstrap_interval(np.mean, np.arange(500), right)
    assert by_specimen.high - by_specimen.low > 2 * (by_item.high - by_item.low)


def test_width_agrees_with_the_normal_approximation():
    right = np.arange(1000) < 800
    start = time.perf_counter()
    interval = bootstrap_interval(accuracy, np.arange(1000), np.ones(1000, bool), right)
    assert time.perf_counter() - start < 1
    half = 1.96 * math.sqrt(0.8 * 0.2 / 1000)
    assert interval.low == pytest.approx(0.8 - half, abs=0.004)
    assert interval.high == pytest.approx(0.8 + half, abs=0.004)


def test_undefined_resamples_are_dropped_and_counted():
    def mean_of_positive(values):
        return float(values[values > 0].mean()) if (values > 0).any() else math.nan

    interval = bootstrap_interval(mean_of_positive, [0, 1], [-1.0, 5.0], n_resamples=4000)
    assert (interval.value, interval.low, interval.high) == (5.0, 5.0, 5.0)
    assert interval.n_undefined / 4000 == pytest.approx(0.25, abs=0.03)


def test_one_group_has_no_interval():
    interval = bootstrap_interval(np.mean, ["a"] * 5, np.arange(5))
    assert interval.value == 2
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)
    assert not interval.excludes_zero


def test_same_seed_same_interval():
    values = np.random.default_rng(0).normal(size=40)
    first, again, other = (
        bootstrap_interval(np.mean, np.arange(40), values, seed=s) for s in (3, 3, 4)
    )
    assert first == again
    assert first != other


def test_paired_difference():
    truth = np.zeros(300, int)
    hard = np.arange(300) % 2  # both miss the same half
    same = paired_difference(accuracy, np.arange(300), truth, hard, hard)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    assert not same.excludes_zero
    better = hard.copy()
    better[:40] = 0  # 20 more right
    gain = paired_difference(accuracy, np.arange(300), truth, better, hard)
    assert gain.value == pytest.approx(20 / 300)
    assert gain.excludes_zero
    loss = paired_difference(accuracy, np.arange(300), truth, hard, better)
    assert (loss.low, loss.high) == pytest.approx((-gain.high, -gain.low))
    assert loss.excludes_zero


@pytest.mark.parametrize(
    ("groups", "values", "options"),
    [
        ([], [], {}),
        ([0, 1], [1.0], {}),
        ([[0, 1]], [[1.0, 2.0]], {}),
        ([0, 1], [1.0, 2.0], {"level": 1.0}),
        ([0, 1], [1.0, 2.0], {"n_resamples": 0}),
    ],
)
def test_bad_input(groups, values, options):
    with pytest.raises(MezoroiError, match=": "):
        bootstrap_interval(np.mean, groups, values, **options)


def test_ends_are_unknown_where_many_resamples_are_undefined() -> None:
    sure = Interval(1.0, 0.5, 1.0, 50)
    assert known_ends(sure, 1000) == sure
    unsure = known_ends(replace(sure, n_undefined=51), 1000)
    assert unsure.value == 1 and unsure.n_undefined == 51
    assert math.isnan(unsure.low) and math.isnan(unsure.high)
