"""Saliency clusters against their steps by hand, peers, and sets with known clusters."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.cluster import KMeans, SpectralClustering
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.metrics import adjusted_rand_score
from sklearn.neighbors import KNeighborsClassifier

from mezoroi.errors import MezoroiError
from mezoroi.reliability import SaliencyClusters
from mezoroi.reliability.clusters import MAP_SIDE, as_vectors


def blobs(count, places=4, side=16, noise=0.1, seed=0):
    """Maps with a bright square in one of a few places, and the place of each."""
    rng = np.random.default_rng(seed)
    place = np.arange(count) % places
    maps = rng.normal(0, noise, (count, side, side))
    for number, one in enumerate(place):
        row, column = divmod(one, 2)
        maps[number, 8 * row + 2 : 8 * row + 6, 8 * column + 2 : 8 * column + 6] += 1
    return maps, place


def in_separate_clusters(labels, place):
    return adjusted_rand_score(labels, place) == 1


def test_the_chain_is_its_steps_run_by_hand():
    maps, _ = blobs(40, noise=0.5)
    truth = np.zeros(40, int)
    fitted = SaliencyClusters(4, n_components=6, kernel_scale=0.6).fit(maps, truth, truth)
    big = [cv2.resize(one.astype(np.float32), (MAP_SIDE, MAP_SIDE)).ravel() for one in maps]
    points = PCA(6, svd_solver="full").fit_transform(np.array(big, dtype=np.float64))
    distance = np.array([[np.linalg.norm(a - b) for b in points] for a in points])
    affinity = np.exp(-((distance / distance.max() / 0.6) ** 2)) * (1 - np.eye(40))
    root = np.diag(1 / np.sqrt(affinity.sum(axis=1)))
    values, vectors = np.linalg.eigh(root @ affinity @ root)
    top = vectors[:, np.argsort(-values)[:4]]
    rows = top / np.linalg.norm(top, axis=1, keepdims=True)
    by_hand = KMeans(4, n_init=10, random_state=0).fit_predict(rows)
    assert in_separate_clusters(fitted.labels_, by_hand)
    assert np.abs(fitted.coordinates_) == pytest.approx(np.abs(points), abs=1e-6)
    assert fitted.eigenvalues_ == pytest.approx(np.sort(values)[::-1][:4])


def test_the_spectral_step_agrees_with_scikit_learn_on_separate_clusters():
    maps, place = blobs(60)
    fitted = SaliencyClusters(4).fit(maps, place, place)
    distance = np.linalg.norm(fitted.coordinates_[:, None] - fitted.coordinates_[None], axis=2)
    affinity = np.exp(-((distance / distance.max() / 0.2) ** 2))
    peer = SpectralClustering(4, affinity="precomputed", random_state=0).fit_predict(affinity)
    assert in_separate_clusters(fitted.labels_, peer) and in_separate_clusters(peer, place)


def test_new_maps_join_as_by_scikit_learns_neighbours():
    maps, place = blobs(41, noise=0.8)
    fitted = SaliencyClusters(4).fit(maps, place, place)
    new, _ = blobs(30, noise=0.8, seed=1)
    points = (as_vectors(new) - fitted.mean_) @ fitted.components_.T
    peer = KNeighborsClassifier(5).fit(fitted.coordinates_, fitted.labels_).predict(points)
    assert fitted.predict(new).tolist() == peer.tolist()


def test_maps_of_64_pixels_give_the_clusters_that_256_would():
    maps, _ = blobs(48, noise=0.4)
    large = np.stack([cv2.resize(one, (256, 256)) for one in maps])
    truth = np.zeros(48, int)
    small = SaliencyClusters(4).fit(large, truth, truth)
    exact = PCA(47).fit_transform(large.reshape(48, -1))
    ours = np.linalg.norm(small.coordinates_[:, None] - small.coordinates_[None], axis=2)
    full = np.linalg.norm(exact[:, None] - exact[None], axis=2)
    assert ours / ours.max() == pytest.approx(full / full.max(), abs=0.02)


def test_error_rates_and_intervals_count_the_errors_of_a_cluster():
    maps, place = blobs(40)
    truth, given = np.zeros(40, int), np.zeros(40, int)
    given[(place == 2) & (np.arange(40) < 24)] = 1  # 6 of the 10 maps in the third place
    fitted = SaliencyClusters(4).fit(maps, truth, given)
    wrong = fitted.labels_[place == 2][0]
    assert fitted.error_rate_[wrong] == pytest.approx(0.6)
    assert fitted.counts_[wrong].tolist() == [[4, 6], [0, 0]]
    assert np.delete(fitted.error_rate_, wrong).tolist() == [0, 0, 0]
    assert fitted.reliability_low_[wrong] < 0.4 < fitted.reliability_high_[wrong]
    assert fitted.reliability(maps) == pytest.approx(np.where(place == 2, 0.4, 1.0))
    assert fitted.prototypes_[wrong] == pytest.approx(
        as_vectors(maps[place == 2]).mean(axis=0).reshape(MAP_SIDE, MAP_SIDE)
    )


def test_a_wrong_cluster_of_two_classes_is_swapped_above_the_threshold():
    maps, place = blobs(40)
    truth = np.arange(40) // 20
    given = np.where(place == 1, 1 - truth, truth)
    fitted = SaliencyClusters(4).fit(maps, truth, given)
    assert fitted.adjust(maps, given).tolist() == truth.tolist()
    assert fitted.adjust(maps, given, threshold=1.0).tolist() == given.tolist()
    names = np.array(["ready", "not ready"])
    named = clone(fitted).fit(maps, names[truth], names[given])
    assert named.adjust(maps, names[given]).tolist() == names[truth].tolist()


def test_a_cluster_that_is_more_often_right_is_never_swapped():
    maps, place = blobs(40)
    truth = np.zeros(40, int)
    given = ((place == 3) & (np.arange(40) < 20)).astype(int)  # half of the fourth place is wrong
    fitted = SaliencyClusters(4).fit(maps, truth, given)
    assert fitted.adjust(maps, given, threshold=0.1).tolist() == given.tolist()


def test_several_classes_are_replaced_by_what_they_mostly_were():
    maps, place = blobs(80)
    truth = np.arange(80) // 4 % 3
    given = np.where(place == 0, (truth + 1) % 3, truth)
    fitted = SaliencyClusters(4).fit(maps, truth, given)
    assert fitted.adjust(maps, given).tolist() == truth.tolist()
    assert fitted.adjust(maps, np.full(80, 7)).tolist() == [7] * 80


def test_two_wrong_of_two_are_too_few_to_replace_one_of_several_classes():
    maps, place = blobs(40)
    truth = np.arange(40) // 4 % 3
    given = truth.copy()
    given[np.flatnonzero((place == 0) & (truth == 0))[:2]] = 1
    rows = (place != 0) | (truth == 0)
    fitted = SaliencyClusters(4).fit(maps[rows], truth[rows], given[rows])
    assert fitted.adjust(maps[rows], given[rows]).tolist() == given[rows].tolist()


@given(st.integers(2, 4), st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_adjusting_never_lowers_the_accuracy_on_the_fitted_maps(classes, seed):
    rng = np.random.default_rng(seed)
    maps, _ = blobs(30, noise=0.6, seed=seed)
    truth, given = rng.integers(0, classes, (2, 30))
    fitted = SaliencyClusters(5).fit(maps, truth, given)
    numbers = fitted.labels_
    for threshold in (0.3, 0.75):
        adjusted = fitted.adjust_in(numbers, given, threshold)
        assert (adjusted == truth).sum() >= (given == truth).sum()


def test_a_map_unlike_all_others_is_beyond_the_validation_range():
    maps, place = blobs(40)
    fitted = SaliencyClusters(4).fit(maps, place, place)
    strange = np.zeros((1, 16, 16))
    strange[0, 7:9] = 2
    assert fitted.novelty(strange)[0] > 2
    assert fitted.novelty(maps).max() <= 1
    shares, novelty = fitted.held_out(np.ones(40, bool))
    assert novelty.max() == pytest.approx(1) and shares.tolist() == [1.0] * 40


@pytest.mark.parametrize("shape", [(64, 512), (512, 64), (20, 512), (512, 512)])
def test_a_side_that_shrinks_loses_no_stripe(shape):
    maps = np.zeros((1, *shape), np.float32)
    maps[0, :, 5:8] = 1
    maps[0, 5:8] = 1
    small = as_vectors(maps).reshape(MAP_SIDE, MAP_SIDE)
    assert small.mean() == pytest.approx(maps.mean(), rel=0.1)
    assert small[MAP_SIDE // 2].max() > 0.05 and small[:, MAP_SIDE // 2].max() > 0.05


def test_what_no_fitted_map_has_counts_as_novel_too():
    """A pattern in which the fitted maps do not differ lies outside their components."""
    maps, place = blobs(40)
    fitted = SaliencyClusters(4, n_components=3).fit(maps, place, place)
    stripes = maps[:1] + np.where(np.arange(16) % 2, 0.8, -0.8)
    vectors, strange = as_vectors(maps), as_vectors(stripes)
    within = (strange - fitted.mean_) @ fitted.components_.T - fitted.coordinates_
    assert np.linalg.norm(within, axis=1).min() < 0.1 * np.linalg.norm(strange - vectors[:1])
    assert fitted.predict(stripes) == fitted.labels_[:1]
    assert fitted.novelty(stripes)[0] > 2
    apart = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    whole = SaliencyClusters(4, n_components=39).fit(maps, place, place)
    expected = np.sort(apart, axis=1)[:, :5].mean(axis=1)
    assert whole.novelty_limit_ == pytest.approx(expected.max())
    novelty = whole.held_out(np.ones(40, bool))[1]
    assert novelty == pytest.approx(expected / expected.max())


def test_held_out_shares_leave_the_map_itself_out():
    maps, place = blobs(8)
    right = np.array([True] * 4 + [False] * 4)
    fitted = SaliencyClusters(4).fit(maps, right, np.ones(8, bool))
    shares, _ = fitted.held_out(right)  # two maps in each place, one right and one wrong
    assert shares.tolist() == [0.0] * 4 + [1.0] * 4
    assert place.tolist() == [0, 1, 2, 3] * 2


def test_the_number_of_clusters_and_the_scale_can_follow_from_the_maps():
    maps, place = blobs(60, places=3)
    fitted = SaliencyClusters("eigengap", kernel_scale="median").fit(maps, place, place)
    assert fitted.n_clusters_ == 3 and in_separate_clusters(fitted.labels_, place)
    distance = np.linalg.norm(fitted.coordinates_[:, None] - fitted.coordinates_[None], axis=2)
    pairs = distance[np.triu_indices(60, 1)] / distance.max()
    assert fitted.kernel_scale_ == pytest.approx(np.median(pairs))


def test_identical_maps_are_one_cluster():
    truth = np.arange(20) % 2
    fitted = SaliencyClusters().fit(np.ones((20, 5, 5)), truth, np.zeros(20, int))
    assert fitted.n_clusters_ == 1 and fitted.error_rate_.tolist() == [0.5]
    assert fitted.reliability(np.ones((2, 5, 5))).tolist() == [0.5, 0.5]


def test_maps_may_have_any_scale():
    """Raw gradients may be small throughout: nothing was novel then, every map was a fitted one."""
    maps, place = blobs(40)
    strange = np.random.default_rng(1).random((3, 16, 16)) * 4
    usual, small = (SaliencyClusters(4).fit(maps * size, place, place) for size in (1, 1e-12))
    np.testing.assert_array_equal(small.labels_, usual.labels_)
    assert small.novelty(strange * 1e-12) == pytest.approx(usual.novelty(strange), rel=1e-3)
    assert small.fitted_as(strange * 1e-12).tolist() == [-1, -1, -1]


@pytest.mark.parametrize("kinds", [1, 2, 3])
def test_equal_maps_are_clustered_however_many_there_are(kinds):
    """LAPACK gave up on some numbers of equal eigenvalues, such as of 25 or 26 equal maps."""
    pictures = np.random.default_rng(0).random((kinds, 8, 8))
    for count in range(18, 33):
        place = np.arange(count) % kinds
        for asked, scale in ((2, 0.2), (8, 0.2), (8, 50.0), ("eigengap", 50.0)):
            fitted = SaliencyClusters(asked, kernel_scale=scale).fit(pictures[place], place, place)
            assert 1 <= fitted.n_clusters_ <= kinds
            np.testing.assert_array_equal(fitted.predict(pictures[place]), fitted.labels_)


def test_without_errors_nothing_is_adjusted():
    maps, place = blobs(24)
    fitted = SaliencyClusters(4).fit(maps, place, place)
    assert fitted.reliability(maps).tolist() == [1.0] * 24
    assert (fitted.reliability_low_ < 1).all()
    assert fitted.adjust(maps, place).tolist() == place.tolist()


@pytest.mark.parametrize(
    ("maps", "truth", "line"),
    [
        (np.ones((5, 4, 4)), np.zeros(5), "5 maps do not make 8 clusters"),
        (np.ones((9, 4)), np.zeros(9), "give \\(N, H, W\\)"),
        (np.full((9, 4, 4), np.nan), np.zeros(9), "NaN or infinite"),
        (np.ones((9, 4, 4)), np.zeros(8), "give one of each"),
    ],
)
def test_bad_maps_are_refused_in_one_line(maps, truth, line):
    with pytest.raises(MezoroiError, match=line):
        SaliencyClusters().fit(maps, truth, truth)


@pytest.mark.parametrize(
    ("truth", "predictions", "groups", "line"),
    [
        (["A"] * 9, [0] * 9, None, "not both numbers, or both names"),
        ([np.nan] * 9, [0] * 9, None, "or one is missing"),
        ([None] * 9, ["A"] * 9, None, "or one is missing"),
        ([0] * 9, [0] * 9, ["one", "two"], "groups of shape \\(2,\\): give one per map"),
    ],
)
def test_classes_of_two_kinds_are_not_counted_as_errors(truth, predictions, groups, line):
    with pytest.raises(MezoroiError, match=line):
        SaliencyClusters().fit(np.ones((9, 4, 4)), truth, predictions, groups)


def test_programming_errors_name_the_parameter():
    for name, value in (("n_clusters", 0), ("kernel_scale", -1.0), ("n_neighbors", 0)):
        with pytest.raises(ValueError, match=name):
            SaliencyClusters(**{name: value}).fit(np.ones((9, 4, 4)), [0] * 9, [0] * 9)
    with pytest.raises(NotFittedError):
        SaliencyClusters().predict(np.ones((1, 4, 4)))
    maps, place = blobs(12)
    with pytest.raises(ValueError, match="threshold"):
        SaliencyClusters(4).fit(maps, place, place).adjust(maps, place, threshold=2)


def test_it_is_a_scikit_learn_estimator(rng_state):
    asked = SaliencyClusters(4, n_components=7, random_state=3)
    assert clone(asked).get_params() == asked.get_params() == {
        "n_clusters": 4, "n_components": 7, "kernel_scale": 0.2, "n_neighbors": 5,
        "random_state": 3,
    }  # fmt: skip
    maps, place = blobs(20)
    kept, before = maps.copy(), rng_state()
    first, second = (clone(asked).fit(maps, place, place) for _ in range(2))
    assert first.labels_.tolist() == second.labels_.tolist()
    assert (maps == kept).all() and rng_state() == before


def test_maps_of_one_specimen_do_not_vouch_for_each_other():
    generator = np.random.default_rng(0)
    specimens = generator.random((24, 8, 8))
    maps = np.repeat(specimens, 6, axis=0) + 0.01 * generator.random((144, 8, 8))
    groups = np.repeat(np.arange(24), 6)
    truth = generator.integers(2, size=144)
    fitted = SaliencyClusters(4).fit(maps, truth, np.zeros(144, int), groups)
    new = generator.random((40, 8, 8))
    blind = SaliencyClusters(4).fit(maps, truth, np.zeros(144, int))
    assert (blind.novelty(new) > 1).all()
    assert (fitted.novelty(new) > 1).mean() < 0.3
    right = truth == 0
    shares, novelty = fitted.held_out(right, groups)
    assert novelty.max() == pytest.approx(1)
    for row in (0, 7, 143):
        others = (fitted.labels_ == fitted.labels_[row]) & (groups != groups[row])
        assert shares[row] == pytest.approx(right[others].mean())


def test_a_specimen_alone_is_judged_by_its_own_maps():
    maps = np.random.default_rng(1).random((12, 8, 8))
    alone = SaliencyClusters(2).fit(maps, np.zeros(12, int), np.zeros(12, int), np.zeros(12))
    plain = SaliencyClusters(2).fit(maps, np.zeros(12, int), np.zeros(12, int))
    assert alone.novelty_limit_ == plain.novelty_limit_


def test_one_map_alone_is_a_cluster():
    maps = np.random.default_rng(1).random((1, 8, 8))
    fitted = SaliencyClusters(1).fit(maps, [0], [0])
    assert fitted.predict(maps).tolist() == [0] and fitted.novelty_limit_ == 0


def test_equal_maps_are_never_parted():
    kinds = np.random.default_rng(2).random((3, 8, 8))
    fitted = SaliencyClusters(8).fit(
        np.repeat(kinds, 20, axis=0), np.zeros(60, int), np.zeros(60, int)
    )
    assert fitted.n_clusters_ == 3
    assert np.bincount(fitted.labels_).tolist() == [20, 20, 20]


def test_a_longer_name_fits_into_adjusted_predictions():
    maps, _ = blobs(40, places=1)
    truth = np.array(["not ready"] * 40)
    given = np.array(["ready"] * 40)
    fitted = SaliencyClusters(1).fit(maps, truth, given)
    assert fitted.adjust(maps[:2], np.array(["ready", "ready"])).tolist() == ["not ready"] * 2


def test_tensors_cluster_as_their_numbers():
    maps, place = blobs(40, places=2)
    tensor = torch.from_numpy(maps).to(torch.bfloat16).requires_grad_()
    labels = torch.from_numpy(place)
    expected = SaliencyClusters(2).fit(tensor.detach().double().numpy(), place, place)
    found = SaliencyClusters(2).fit(tensor, labels, labels)
    np.testing.assert_array_equal(found.labels_, expected.labels_)
    np.testing.assert_array_equal(found.predict(tensor), expected.labels_)
    np.testing.assert_array_equal(found.adjust(tensor, labels), place)
