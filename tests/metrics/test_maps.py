from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import jaccard_score

from mezoroi.errors import MezoroiError
from mezoroi.metrics import (
    iou_per_map,
    localization_error,
    mass_per_map,
    mean_iou,
    pointing_game,
    pointing_per_map,
    relevance_mass,
    trivial_maps,
)


def square(size=8, top=2, left=2, side=4):
    mask = np.zeros((size, size), bool)
    mask[top : top + side, left : left + side] = True
    return mask


def test_iou_by_hand():
    mask = np.array([[[1, 1, 0, 0]]])
    probabilities = np.array([[[0.9, 0.4, 0.6, 0.5]]])  # above 0.5: positions 0 and 2
    assert mean_iou(probabilities, mask) == pytest.approx(1 / 3)
    assert mean_iou(probabilities, mask, threshold=0.3) == pytest.approx(2 / 4)


def test_threshold_is_strict():
    assert mean_iou(np.full((1, 2, 2), 0.5), np.ones((1, 2, 2))) == 0


def test_probabilities_are_not_scaled_but_raw_maps_are():
    mask = np.array([[[1, 0]]])
    faint = np.array([[[0.2, 0.1]]])
    assert mean_iou(faint, mask) == 0
    assert mean_iou(faint, mask, raw=True) == 1
    assert mean_iou(faint * 100, mask) == 1  # scaled to 1, 0
    assert mean_iou(-faint, mask) == 0  # scaled to 0, 1: marks only the outside


def test_one_raw_map_makes_the_whole_stack_raw():
    mask = np.array([[[1, 0]], [[1, 0]]])
    maps = np.array([[[0.2, 0.1]], [[7.0, -3.0]]])
    np.testing.assert_array_equal(iou_per_map(maps, mask), [1, 1])


def test_rounding_above_one_is_still_a_probability():
    maps = np.array([[[1 + 1e-7, 0.4, 0.0]]])
    assert mean_iou(maps, np.array([[[1, 0, 0]]])) == 1
    assert mean_iou(np.array([[[0.4 + 1e-7, 0.4, 0.4]]]), np.array([[[1, 0, 0]]])) == 0


def test_empty_mask_is_undefined_and_left_out():
    maps = np.ones((3, 2, 2))
    masks = np.stack([np.ones((2, 2)), np.zeros((2, 2)), np.eye(2)])
    np.testing.assert_array_equal(iou_per_map(maps, masks), [1, np.nan, 0.5])
    assert mean_iou(maps, masks) == 0.75
    assert math.isnan(mean_iou(maps, np.zeros_like(maps)))
    assert math.isnan(pointing_game(maps, np.zeros_like(maps)))
    assert math.isnan(relevance_mass(maps, np.zeros_like(maps)))


def test_constant_raw_map_marks_nothing():
    assert mean_iou(np.full((1, 3, 3), 7.0), np.ones((1, 3, 3))) == 0


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000))
def test_iou_is_scikit_learns_jaccard(seed):
    generator = np.random.default_rng(seed)
    maps, masks = generator.random((3, 5, 6)), generator.random((3, 5, 6)) < 0.4
    expected = [
        jaccard_score(mask.ravel(), one.ravel() > 0.5) if mask.any() else np.nan
        for mask, one in zip(masks, maps, strict=True)
    ]
    np.testing.assert_allclose(iou_per_map(maps, masks), expected)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.floats(2, 50), st.floats(-40, -2))
def test_raw_maps_do_not_depend_on_scale_and_shift(seed, scale, shift):
    generator = np.random.default_rng(seed)
    maps, masks = generator.normal(size=(2, 4, 4)) * 9, generator.random((2, 4, 4)) < 0.5
    np.testing.assert_array_equal(
        iou_per_map(maps, masks, raw=True), iou_per_map(maps * scale + shift, masks, raw=True)
    )


def test_torch_tensors_are_accepted_and_untouched():
    maps, masks = torch.linspace(-1, 1, 16).reshape(1, 4, 4), torch.ones(1, 4, 4, dtype=torch.bool)
    before = maps.clone()
    assert mean_iou(maps, masks) == pytest.approx(mean_iou(maps.numpy(), masks.numpy()))
    assert torch.equal(maps, before)


@pytest.mark.parametrize("score", [mean_iou, pointing_game, relevance_mass])
def test_bad_maps(score):
    good = np.zeros((1, 3, 3))
    with pytest.raises(MezoroiError, match="do not match"):
        score(good, np.zeros((1, 3, 4)))
    with pytest.raises(MezoroiError, match="do not match"):
        score(good[0], good[0])
    with pytest.raises(MezoroiError, match="NaN"):
        score(np.full((1, 3, 3), np.nan), good)
    with pytest.raises(MezoroiError, match="differs in size"):
        score([np.zeros((2, 3)), np.zeros((3, 2))], [np.ones((2, 3)), np.ones((3, 2))])


def test_maps_may_be_a_list_of_tensors():
    one = torch.linspace(0, 1, 16).reshape(4, 4).requires_grad_()
    mask = one > 0.5
    assert mean_iou([one, one], [mask, mask]) == mean_iou(one[None], mask[None]) == 1


def test_a_tolerance_that_is_no_number_is_no_miss():
    with pytest.raises(MezoroiError, match="tolerance is nan"):
        pointing_game(np.ones((1, 3, 3)), np.ones((1, 3, 3)), float("nan"))


def test_pointing_game_by_hand():
    mask = np.zeros((1, 10, 10), bool)
    mask[0, 0, 0] = True
    one_map = np.zeros((1, 10, 10))
    one_map[0, 3, 4] = 1  # 5 pixels from the mask
    assert pointing_game(one_map, mask, tolerance=5) == 1
    assert pointing_game(one_map, mask, tolerance=4.9) == 0
    assert pointing_game(one_map, mask) == 1


def test_pointing_game_of_a_constant_map_is_chance():
    mask = square()[None]
    np.testing.assert_allclose(pointing_per_map(np.ones((1, 8, 8)), mask, tolerance=0), [16 / 64])


def test_relevance_mass_by_hand():
    maps = np.array([[[3.0, 1.0, -9.0]], [[-1.0, -1.0, -1.0]]])
    masks = np.array([[[1, 0, 1]], [[1, 0, 0]]])
    np.testing.assert_allclose(mass_per_map(maps, masks), [3 / 4, np.nan])
    assert relevance_mass(maps, masks) == 0.75


def test_localization_error_by_hand():
    true = np.array([[0, 0, 2, 2]] * 5, float)
    boxes = np.array(
        [
            [0, 0, 2, 2],  # exact
            [0, 0, 2, 1],  # IoU 1/2: still localized
            [0, 0, 1, 1],  # IoU 1/4
            [0, 0, 2, 2],  # wrong class
            [np.nan] * 4,  # nothing found
        ]
    )
    right = np.array([True, True, True, False, True])
    assert localization_error(boxes, true, right) == pytest.approx(3 / 5)
    true[0] = np.nan  # not annotated: left out
    assert localization_error(boxes, true, right) == pytest.approx(3 / 4)
    assert math.isnan(localization_error(boxes, np.full((5, 4), np.nan), right))
    apart = np.array([[5, 5, 6, 6.0]])
    assert localization_error(apart, np.array([[0, 0, 2, 2.0]]), [True]) == 1


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_tensors_score_as_their_numbers(dtype):
    maps = torch.tensor([[[0.75, 0.25, 0.5]], [[0.125, 0.875, 1.0]]], dtype=dtype)
    masks = torch.tensor([[[1, 0, 0]], [[1, 1, 0]]])
    numbers = maps.tolist(), masks.tolist()
    maps.requires_grad_()
    for score in (iou_per_map, pointing_per_map, mass_per_map):
        expected = score(*map(np.array, numbers))
        np.testing.assert_array_equal(score(maps, masks), expected)
        np.testing.assert_array_equal(score(maps, masks.to(dtype)), expected)
    box = torch.tensor([[0.0, 0, 2, 2]], dtype=dtype, requires_grad=True)
    assert localization_error(box, box, torch.tensor([True])) == 0


def test_bad_boxes():
    with pytest.raises(MezoroiError, match="x1 < x0"):
        localization_error([[2, 0, 1, 1]], [[0, 0, 1, 1]], [True])
    with pytest.raises(MezoroiError, match="do not match"):
        localization_error([[0, 0, 1, 1]], [[0, 0, 1, 1]], [True, False])


def test_trivial_maps_score_as_computed_by_hand():
    masks = np.stack([square(16, 4, 4, 8), square(16, 0, 0, 4)])
    fruit = np.stack([square(16, 2, 2, 12)] * 2)
    rows = trivial_maps(masks.shape, fruit_masks=fruit, seed=3)
    assert list(rows) == ["whole image", "whole fruit", "centre blob", "random map"]
    np.testing.assert_allclose(iou_per_map(rows["whole image"], masks), [64 / 256, 16 / 256])
    np.testing.assert_allclose(iou_per_map(rows["whole fruit"], masks), [64 / 144, 4 / 156])
    disc = rows["centre blob"][0] > 0.5
    assert disc.mean() == pytest.approx(math.pi / 16, abs=0.02)  # ellipse of half the sides
    np.testing.assert_array_equal(disc, disc[::-1, ::-1])
    assert not np.array_equal(rows["random map"][0], rows["random map"][1])
    for row in rows.values():
        assert row.dtype == np.float32
        assert 0 <= row.min() <= row.max() <= 1
    again = trivial_maps(masks.shape, seed=3)
    assert list(again) == ["whole image", "centre blob", "random map"]
    np.testing.assert_array_equal(again["random map"], rows["random map"])
    with pytest.raises(MezoroiError, match="resize"):
        trivial_maps((2, 4, 4), fruit_masks=fruit)
