"""Signals, conformal sets, their combination and doubts about labels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mezoroi.errors import MezoroiError
from mezoroi.metrics import set_coverage
from mezoroi.reliability import Answers, Combination, ConformalSets, SaliencyClusters
from mezoroi.reliability.adjustment import AdjustmentTrial, try_adjustment
from mezoroi.reliability.confidence import (
    fit_temperature,
    neighbour_agreement,
    probabilities,
    prototype_margin,
    softmax_confidence,
)
from mezoroi.reliability.suspects import doubts
from tests.reliability.test_clusters import blobs


def drawn(count, seed=0, classes=4, sharpness=1.0):
    """Probabilities of classes, labels drawn from them, and their logits."""
    rng = np.random.default_rng(seed)
    logits = sharpness * rng.normal(size=(count, classes))
    chances = probabilities(logits)
    labels = np.array([rng.choice(classes, p=row) for row in chances])
    return logits, labels


def test_the_temperature_that_was_applied_is_found_again():
    logits, labels = drawn(4000, sharpness=2.0)
    assert fit_temperature(3 * logits, labels) == pytest.approx(3, rel=0.1)


def test_no_other_temperature_has_less_loss():
    logits, labels = drawn(100)
    found = fit_temperature(2 * logits, labels)
    losses = {
        t: -log_softmax(2 * logits / t, axis=1)[np.arange(100), labels].mean()
        for t in (found, 0.9 * found, 1.1 * found, 1.0)
    }
    assert min(losses, key=losses.__getitem__) == found


def test_signals_of_hand_solved_answers():
    similarity = [[0.9, 0.5, np.nan], [0.1, 0.2, np.nan]]
    assert prototype_margin(similarity, [0, 0]) == pytest.approx([0.4, -0.1])
    neighbours = np.array([[0, 0, 1, -1], [-1, -1, -1, -1]])
    shares = neighbour_agreement(neighbours, [0, 0])
    assert shares[0] == pytest.approx(2 / 3) and math.isnan(shares[1])
    assert math.isnan(neighbour_agreement(np.zeros((1, 0), int), [0])[0])
    logits = np.log([[0.5, 0.3, 0.2]])
    assert softmax_confidence(logits, [1]) == pytest.approx([0.3])


@pytest.mark.parametrize("method", ["least", "adaptive"])
def test_sets_keep_their_promise_over_many_draws(method):
    found = []
    for seed in range(60):
        logits, labels = drawn(400, seed)
        chances = probabilities(logits)
        sets = ConformalSets.fit(chances[:100], labels[:100], 0.8, method)
        found.append(set_coverage(sets.sets(chances[100:]), labels[100:]))
    # The least sets are exact up to 1 / (n + 1), the adaptive ones hold more than promised.
    assert 0.79 < np.mean(found) < (0.82 if method == "least" else 1.0)


def test_the_limit_is_the_corrected_quantile_solved_by_hand():
    # Scores of the true grades 0.1 … 0.9; of n = 9 the rank is ceil(10 * 0.8) = 8.
    truth = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])
    chances = np.stack([truth, 1 - truth], axis=1)
    fitted = ConformalSets.fit(chances, np.zeros(9, int), 0.8)
    assert fitted.limit == pytest.approx(0.8)
    assert fitted.sets([[0.2, 0.8], [0.15, 0.85]]).tolist() == [[True, True], [False, True]]
    assert math.isinf(ConformalSets.fit(chances, np.zeros(9, int), 0.95).limit)
    with pytest.raises(MezoroiError, match="coverage is 1"):
        ConformalSets.fit(chances, np.zeros(9, int), 1)


@pytest.mark.parametrize(
    ("labels", "method", "share", "line"),
    [
        ([0] * 5, "least", 0.5, "give \\(N, G\\) and \\(N,\\)"),
        ([0] * 8 + [-1], "least", 0.5, "labels must be 0 to 1"),
        ([0] * 9, "most", 0.5, "unknown method `most`"),
        ([0] * 9, "least", np.nan, "NaN or infinite"),
    ],
)
def test_sets_are_not_fitted_to_what_does_not_match(labels, method, share, line):
    with pytest.raises(MezoroiError, match=line):
        ConformalSets.fit(np.full((9, 2), share), labels, 0.8, method)


@pytest.mark.parametrize("coverage", [0.3, 0.95])
@given(seed=st.integers(0, 100))
@settings(max_examples=10, deadline=None)
def test_adaptive_sets_hold_at_least_the_likeliest_grade(seed, coverage):
    logits, labels = drawn(60, seed)
    chances = probabilities(logits)
    sets = ConformalSets.fit(chances, labels, coverage, "adaptive").sets(chances)
    assert sets[np.arange(60), chances.argmax(axis=1)].all()
    for row, members in zip(chances, sets, strict=True):  # whatever is likelier is in it too
        assert members[row > row[members].min()].all()


def test_the_combination_is_scikit_learns_regression_on_scaled_signals():
    rng = np.random.default_rng(0)
    signals = {"a": rng.normal(size=200), "b": 5 + 3 * rng.normal(size=200)}
    right = signals["a"] + 0.2 * signals["b"] + rng.normal(size=200) > 0.5
    table = np.stack(list(signals.values()), axis=1)
    peer = make_pipeline(StandardScaler(), LogisticRegression()).fit(table, right)
    chance = Combination.fit(signals, right).chance(signals)
    assert chance == pytest.approx(peer.predict_proba(table)[:, 1])


def test_an_unknown_signal_counts_as_its_mean_and_no_errors_as_little_knowledge():
    rng = np.random.default_rng(0)
    known, right = rng.normal(size=50), rng.random(50) < 0.7
    empty = np.full(50, np.nan)
    fitted = Combination.fit({"known": known, "empty": empty}, right)
    assert fitted.names == ("known",)
    at_mean = fitted.chance({"known": [known.mean(), np.nan]})
    assert at_mean[0] == pytest.approx(at_mean[1])
    flawless = Combination.fit({"known": known}, np.ones(50, bool))
    assert flawless.chance({"known": known}) == pytest.approx([51 / 52] * 50)


def test_adjusting_is_judged_on_maps_that_the_clusters_have_not_seen():
    maps, place = blobs(80)
    truth = np.arange(80) // 4 % 2
    given = np.where(place == 1, 1 - truth, truth)
    trial = try_adjustment(SaliencyClusters(4), maps, truth, given, np.arange(80))
    assert trial == AdjustmentTrial(corrected=20, spoiled=0) and trial.helps
    noise = np.random.default_rng(0).integers(0, 2, 80)
    assert not try_adjustment(SaliencyClusters(4), maps, truth, noise, np.arange(80)).helps
    # One specimen cannot be on both sides, so there is nothing to try with.
    assert try_adjustment(SaliencyClusters(4), maps, truth, given, [1] * 80) == AdjustmentTrial(
        0, 0
    )


def test_five_corrections_without_a_fault_are_needed():
    assert not AdjustmentTrial(4, 0).helps and AdjustmentTrial(5, 0).helps
    assert not AdjustmentTrial(6, 3).helps and not AdjustmentTrial(0, 9).helps


def test_the_label_that_all_witnesses_contradict_comes_first():
    maps, place = blobs(40)
    truth = place % 2
    labels = truth.copy()
    labels[7] = 1 - labels[7]
    answers = Answers(
        given=truth,
        similarity=np.eye(2)[truth],
        logits=4 * np.eye(2)[truth],
        neighbours=np.repeat(truth[:, None], 5, axis=1),
        maps=maps,
        reading=np.full((40, 2), np.nan),
    )
    clusters = SaliencyClusters(4).fit(maps, truth, truth)
    found = doubts(answers, labels, 1.0, clusters)
    assert found.ranked()[0] == 7
    assert found.neighbours[7] == 1 and np.delete(found.neighbours, 7).tolist() == [0] * 39
    # 10 fruits of the cluster were given this grade, all rightly; one more is spread over both.
    assert found.cluster[7] == pytest.approx(1 - 0.5 / 11)
    assert doubts(answers, labels, 1.0).score[7] == pytest.approx(
        np.mean([found.model[7], found.neighbours[7]])
    )


def test_a_calibration_fruit_does_not_vouch_for_its_own_label():
    rng = np.random.default_rng(3)
    place = np.repeat([0, 1], 4)
    maps = rng.random((8, 8, 8)) * 0.01 + np.eye(64).reshape(64, 8, 8)[[9, 54]][place]
    given = place.copy()
    labels = given.copy()
    labels[2] = 1 - labels[2]
    answers = Answers(
        given=given,
        similarity=np.eye(2)[given],
        logits=4 * np.eye(2)[given],
        neighbours=np.repeat(given[:, None], 5, axis=1),
        maps=maps.astype(np.float32),
        reading=np.full((8, 2), np.nan),
    )
    clusters = SaliencyClusters(2, n_neighbors=1).fit(maps, labels, given)
    assert clusters.fitted_as(maps.astype(np.float32)).tolist() == list(range(8))
    new = maps + 0.01 * rng.random(maps.shape)
    assert (clusters.fitted_as(new) == -1).all()
    # The other three of its cluster were given this grade, all rightly; one more is spread.
    assert doubts(answers, labels, 1.0, clusters).cluster[2] == pytest.approx(1 - 0.5 / 4)
    # Of one that was right, two others are right and one, the mislabelled, is not.
    assert doubts(answers, labels, 1.0, clusters).cluster[0] == pytest.approx(1 - 2.5 / 4)


def test_photos_of_one_specimen_do_not_vouch_for_each_others_label():
    rng = np.random.default_rng(4)
    maps = (rng.random((12, 8, 8)) * 0.01).astype(np.float32)
    given = np.zeros(12, int)
    labels = np.repeat([0, 1], [8, 4])  # four photos of one fruit, all mislabelled
    answers = Answers(
        given=given,
        similarity=np.eye(2)[given],
        logits=4 * np.eye(2)[given],
        neighbours=np.zeros((12, 0), int),
        maps=maps,
        reading=np.full((12, 2), np.nan),
    )
    clusters = SaliencyClusters(1).fit(maps, labels, given)
    specimens = [*"abcdefgh", *"xxxx"]
    heard = doubts(answers, labels, 1.0, clusters, specimens).cluster
    # Eight of other specimens were given this grade, all rightly; one more is spread over both.
    assert heard[8:] == pytest.approx([1 - 0.5 / 9] * 4)
    assert heard[:8] == pytest.approx([1 - 7.5 / 12] * 8)
    alone = doubts(answers, labels, 1.0, clusters).cluster
    assert alone[8:] == pytest.approx([1 - 3.5 / 12] * 4)


def test_a_specimen_has_one_vote_on_adjusting():
    maps = np.random.default_rng(0).random((40, 8, 8))
    truth, given = np.ones(40, int), np.zeros(40, int)
    each = try_adjustment(SaliencyClusters(1), maps, truth, given, np.arange(40))
    assert (each.corrected, each.spoiled, each.helps) == (40, 0, True)
    few = try_adjustment(SaliencyClusters(1), maps, truth, given, np.repeat(np.arange(4), 10))
    assert (few.corrected, few.spoiled, few.helps) == (4, 0, False)


def test_a_signal_that_may_not_speak_against_is_left_out_instead():
    generator = np.random.default_rng(3)
    good = generator.random(200)
    right = generator.random(200) < good
    signals = {"good": good, "saliency cluster": ~right + 0.1 * generator.random(200)}
    free = Combination.fit(signals, right)
    assert dict(zip(free.names, free.weights, strict=True))["saliency cluster"] < 0
    held = Combination.fit(signals, right, never_against={"saliency cluster"})
    alone = Combination.fit({"good": good}, right)
    assert held.names == ("good",) and held.weights == alone.weights
    np.testing.assert_array_equal(held.chance(signals), alone.chance(signals))
    upward = {"good": good, "saliency cluster": right + 0.1 * generator.random(200)}
    assert len(Combination.fit(upward, right, never_against={"saliency cluster"}).names) == 2
