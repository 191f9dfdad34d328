"""Scores that need no mask, boxes and the experts' ceiling, on maps with known answers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from mezoroi.errors import MezoroiError
from mezoroi.metrics import (
    best_share,
    best_threshold,
    deletion_auc,
    expert_ceiling,
    insertion_auc,
    iou_per_map,
    localization_error,
    map_boxes,
    map_correlation,
    mask_boxes,
    mean_iou,
)


def first_half(images: np.ndarray) -> np.ndarray:
    """A score that reads the left half alone."""
    return images[:, 0, :, :2].mean(axis=(1, 2))


IMAGE = np.ones((1, 2, 4), np.float32)
GOOD = np.array([[4.0, 3, 1, 0], [4, 3, 1, 0]])


def test_deletion_and_insertion_by_hand() -> None:
    # Four steps of two pixels: the score falls to 0 over the first two, or over the last two.
    assert deletion_auc(first_half, IMAGE, GOOD, 0.0, steps=4) == pytest.approx(0.25)
    assert deletion_auc(first_half, IMAGE, -GOOD, 0.0, steps=4) == pytest.approx(0.75)
    assert insertion_auc(first_half, IMAGE, GOOD, 0.0, steps=4) == pytest.approx(0.75)
    assert insertion_auc(first_half, IMAGE, -GOOD, 0.0, steps=4) == pytest.approx(0.25)


def test_a_score_that_does_not_fall_is_undefined() -> None:
    assert math.isnan(deletion_auc(first_half, IMAGE, GOOD, 1.0))
    assert math.isnan(deletion_auc(lambda images: -first_half(images), IMAGE, GOOD, 0.0))
    assert math.isnan(deletion_auc(lambda images: first_half(images) * np.nan, IMAGE, GOOD, 0.0))
    with pytest.raises(MezoroiError, match="at least one step"):
        deletion_auc(first_half, IMAGE, GOOD[:1], 0.0)


@pytest.mark.parametrize(
    ("score", "baseline", "match"),
    [
        (lambda images: images.mean(axis=(2, 3)), 0, r"of 21 images is of shape \(21, 1\)"),
        (lambda images: images.mean(), 0, r"one number per image"),
        (first_half, np.zeros((5, 5)), r"a baseline \(5, 5\) does not fit"),
    ],
)
def test_scores_and_baselines_that_do_not_fit(score, baseline, match) -> None:
    for area in (deletion_auc, insertion_auc):
        with pytest.raises(MezoroiError, match=match):
            area(score, IMAGE, GOOD, baseline)


def test_a_detour_that_is_larger_than_the_fall_is_undefined() -> None:
    """The score rises by `detour` half-way, and ends `fall` below the image's."""

    def score(images: np.ndarray, detour: float, fall: float) -> np.ndarray:
        left = images[:, 0].mean(axis=(1, 2))
        return fall * left + detour * ((left > 0) & (left < 1))

    def area(detour: float, fall: float) -> float:
        return deletion_auc(lambda images: score(images, detour, fall), IMAGE, GOOD, 0.0, steps=4)

    assert math.isnan(area(detour=1.0, fall=0.05))  # it was 15.5
    assert area(detour=0.0, fall=0.05) == pytest.approx(0.5)
    assert area(detour=0.2, fall=1.0) == pytest.approx(0.5 + 0.75 * 0.2)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000))
def test_areas_stay_in_their_range(seed: int) -> None:
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=200)

    def score(images: np.ndarray) -> np.ndarray:
        return numbers[(np.abs(images).sum(axis=(1, 2, 3)) * 7).astype(int) % 200]

    for measure in (deletion_auc, insertion_auc):
        area = measure(score, rng.random((1, 4, 4)), rng.random((4, 4)), 0.0, steps=6)
        assert math.isnan(area) or -1 <= area <= 2


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_a_saliency_without_an_order_is_undefined(value: float) -> None:
    constant, spoilt = np.full((2, 4), value), np.array([[4.0, 3, 1, value], [4, 3, 1, 0]])
    assert math.isnan(deletion_auc(first_half, IMAGE, constant, 0.0))
    assert math.isnan(insertion_auc(first_half, IMAGE, constant, 0.0))
    assert math.isnan(deletion_auc(first_half, IMAGE, spoilt, 0.0)) == (value != 0)
    if value != 0:
        maps = np.stack([spoilt, spoilt])
        assert np.isnan(map_correlation(maps, np.stack([GOOD, GOOD]))).all()


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000))
def test_map_correlation_is_spearmans(seed: int) -> None:
    maps = np.random.default_rng(seed).integers(0, 9, (2, 3, 5, 6)).astype(float)
    expected = [spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(*maps, strict=True)]
    np.testing.assert_allclose(map_correlation(*maps), expected)


def test_map_correlation_of_a_constant_map_is_undefined() -> None:
    maps = np.stack([np.zeros((2, 2)), np.arange(4.0).reshape(2, 2)])
    np.testing.assert_array_equal(map_correlation(maps, maps[[1, 1]]), [np.nan, 1])
    with pytest.raises(MezoroiError, match="do not match"):
        map_correlation(maps, maps[:1])


def test_best_threshold_is_the_best_of_those_given() -> None:
    masks = np.zeros((1, 4, 4), bool)
    masks[0, :, :2] = True
    maps = np.where(masks, 0.4, 0.2)
    threshold, value = best_threshold(maps, masks, raw=False)
    assert 0.2 <= threshold < 0.4 and value == 1
    assert value == mean_iou(maps, masks, threshold)
    assert all(math.isnan(one) for one in best_threshold(maps, np.zeros_like(masks)))


def test_boxes_take_the_largest_region() -> None:
    maps = np.zeros((3, 8, 8))
    maps[0, 1:4, 2:6] = 5
    maps[0, 7, 7] = 9
    maps[1] = -1
    maps[2, 0, 0] = 1
    boxes = map_boxes(maps, 0.5)
    np.testing.assert_array_equal(boxes[0], [2, 1, 6, 4])
    assert np.isnan(boxes[1]).all()
    np.testing.assert_array_equal(boxes[2], [0, 0, 1, 1])
    np.testing.assert_array_equal(map_boxes(maps, 0.6)[0], [7, 7, 8, 8])
    np.testing.assert_array_equal(mask_boxes(maps > 4)[0], [2, 1, 6, 4])
    share = best_share(maps[:1], [[2, 1, 6, 4]], [True])
    np.testing.assert_array_equal(map_boxes(maps, share)[0], [2, 1, 6, 4])
    with pytest.raises(MezoroiError, match="0 < share < 1"):
        map_boxes(maps, 1.0)


def test_what_is_undefined_has_no_best_share_and_is_no_miss() -> None:
    maps = np.zeros((2, 8, 8))
    maps[:, 1:4, 2:6] = 5
    assert math.isnan(best_share(maps, np.full((2, 4), np.nan), [True, True]))
    maps[0, 0, 0] = np.nan
    boxes, true = map_boxes(maps, 0.5), np.array([[2, 1, 6, 4.0]] * 2)
    assert math.isnan(localization_error(boxes[:1], true[:1], [True]))
    assert localization_error(boxes, true, [True, True]) == 0
    assert localization_error(boxes, true, [True, False]) == 1
    assert math.isnan(best_share(maps[:1], true[:1], [True]))
    np.testing.assert_array_equal(iou_per_map(maps[1:], maps[1:] > 0, math.nan), [np.nan])


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(2, 6), st.booleans())
def test_the_ceiling_needs_only_the_votes(seed: int, experts: int, ties: bool) -> None:
    """Votes give what the experts' own masks give, added up over the experts."""
    masks = np.random.default_rng(seed).random((experts, 2, 6, 7)) < 0.3
    overlap, union = np.zeros(2), np.zeros(2)
    for number, mask in enumerate(masks):
        others = np.delete(masks, number, axis=0).sum(axis=0)
        majority = 2 * others >= experts - 1 if ties else 2 * others > experts - 1
        overlap += (mask & majority).sum(axis=(1, 2))
        union += (mask | majority).sum(axis=(1, 2))
    found = expert_ceiling(masks.sum(axis=0), experts, ties=ties)
    np.testing.assert_allclose(found, overlap / union)


def test_a_leaf_that_nobody_marked_is_undefined() -> None:
    votes = np.stack([np.zeros((2, 2), int), np.full((2, 2), 3)])
    np.testing.assert_array_equal(expert_ceiling(votes), [np.nan, 1])
    with pytest.raises(MezoroiError, match="there are 2 experts"):
        expert_ceiling(votes, 2)
    with pytest.raises(MezoroiError, match="float64 of 3 experts: give whole numbers"):
        expert_ceiling(votes.astype(float))
    assert expert_ceiling(np.zeros((0, 4, 4), int)).shape == (0,)


def test_tensors_score_as_their_numbers():
    image = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    maps = image.mean(dim=0, keepdim=True).requires_grad_()
    plain = [one.detach().double().numpy() for one in (image, maps)]

    def score(images):
        return torch.from_numpy(images).mean(dim=(1, 2, 3)).requires_grad_()

    for area in (deletion_auc, insertion_auc):
        found = area(score, image, maps[0], 0.0)
        assert found == area(lambda images: score(images).tolist(), plain[0], plain[1][0], 0.0)
    assert map_correlation(maps, maps) == pytest.approx([1.0])
    np.testing.assert_array_equal(map_boxes(maps, 0.5), map_boxes(plain[1], 0.5))
    np.testing.assert_array_equal(mask_boxes(maps), mask_boxes(plain[1]))
