"""Augmentation: what it may change, and that it changes nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mezoroi.config import JitterConfig
from mezoroi.training.jitter import blur, jitter, turn

NOTHING = JitterConfig(light=0, colour=0, blur=0, noise=0, shift=0, flip=False)
STRONG = JitterConfig(light=1, colour=1, blur=3, noise=0.5, shift=0.5, flip=True)


def images(seed: int = 0, *shape: int) -> torch.Tensor:
    return torch.rand(*(shape or (4, 3, 16, 32)), generator=torch.Generator().manual_seed(seed))


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(st.lists(st.integers(0, 31), min_size=4, max_size=4))
@settings(max_examples=25, deadline=None)
def test_turning_is_a_roll_around_the_fruit(columns: list[int]) -> None:
    source = images()
    turned = turn(source, torch.tensor(columns))
    for image, result, shift in zip(source.numpy(), turned.numpy(), columns, strict=True):
        np.testing.assert_array_equal(result, np.roll(image, shift, axis=2))


def test_strength_zero_changes_nothing() -> None:
    source = images()
    assert torch.equal(jitter(source, NOTHING, seeded(1), wraps=False), source)


def test_a_panorama_at_strength_zero_is_only_turned() -> None:
    source = images()
    found = jitter(source, NOTHING, seeded(1), wraps=True).numpy()
    turns = set()
    for image, result in zip(source.numpy(), found, strict=True):
        fits = [s for s in range(32) if np.array_equal(np.roll(image, s, axis=2), result)]
        assert len(fits) == 1
        turns.add(fits[0])
    assert len(turns) > 1


@pytest.mark.parametrize("wraps", [False, True])
@pytest.mark.parametrize("part", ["light", "colour", "blur", "noise", "shift", "flip"])
def test_each_part_changes_images(part: str, wraps: bool) -> None:
    config = NOTHING.model_copy(update={part: True if part == "flip" else 0.5})
    plain = jitter(images(), NOTHING, seeded(1), wraps)
    changed = jitter(images(), config, seeded(1), wraps)
    assert not torch.allclose(changed, plain)


@pytest.mark.parametrize("wraps", [False, True])
def test_draws_depend_on_the_generator_alone(wraps: bool) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = jitter(images(), STRONG, seeded(5), wraps)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(2)
    assert torch.equal(first, jitter(images(), STRONG, seeded(5), wraps))
    assert not torch.equal(first, jitter(images(), STRONG, seeded(6), wraps))


@given(st.integers(0, 10**6), st.booleans())
@settings(max_examples=25, deadline=None)
def test_the_result_stays_an_image_and_the_input_untouched(seed: int, wraps: bool) -> None:
    source = images(seed)
    copy = source.clone()
    found = jitter(source, STRONG, seeded(seed), wraps)
    assert torch.equal(source, copy)
    assert found.shape == source.shape and found.dtype == source.dtype
    assert found.min() >= 0 and found.max() <= 1


def test_a_panorama_is_never_stretched_sideways() -> None:
    # Vertical stripes stay the same stripes under zoom and shift, up to a turn.
    stripes = images(3, 1, 1, 1, 32).expand(4, 3, 16, 32).contiguous()
    config = NOTHING.model_copy(update={"shift": 0.5})
    for result in jitter(stripes, config, seeded(2), wraps=True).numpy():
        gaps = [np.abs(np.roll(stripes[0].numpy(), s, axis=2) - result).max() for s in range(32)]
        assert min(gaps) < 1e-5


def test_blur_keeps_a_flat_image_and_spreads_a_point_as_a_gaussian() -> None:
    flat = torch.full((1, 3, 16, 16), 0.3)
    torch.testing.assert_close(blur(flat, torch.tensor([1.5])), flat)
    point = torch.zeros(2, 1, 15, 15)
    point[:, :, 7, 7] = 1
    sigma = 1.2
    spread = blur(point, torch.tensor([sigma, 1e-9]))
    offsets = np.arange(15) - 7
    weights = np.exp(-0.5 * (offsets / sigma) ** 2) * (abs(offsets) <= 3)
    weights /= weights.sum()
    np.testing.assert_allclose(spread[0, 0], np.outer(weights, weights), atol=1e-6)
    torch.testing.assert_close(spread[1], point[1])  # each image has its own sigma
