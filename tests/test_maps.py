"""Activation maps against loops and hand-solved planes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mezoroi.errors import MezoroiError
from mezoroi.maps import Grid, activation_map, grade_evidence, upsample_maps


def drawn(seed: int, *shape: int) -> np.ndarray:
    return np.maximum(np.random.default_rng(seed).normal(0, 2, shape), 0)


@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 4))
@settings(max_examples=30, deadline=None)
def test_it_equals_a_loop_and_sums_to_one(seed: int, grades: int, xi: int) -> None:
    channels = drawn(seed, 2, grades * xi, 3, 4)
    expected = np.empty((2, grades, 3, 4))
    for n, row, column in np.ndindex(2, 3, 4):
        best = [channels[n, g * xi : (g + 1) * xi, row, column].max() for g in range(grades)]
        expected[n, :, row, column] = np.exp(best) / np.exp(best).sum()
    found = activation_map(torch.from_numpy(channels), xi).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-12)


def test_large_channels_do_not_overflow() -> None:
    channels = torch.zeros(1, 4, 1, 1)
    channels[0, 2] = 1e4
    assert activation_map(channels, 2)[0, :, 0, 0].tolist() == [0.0, 1.0]


def test_evidence_is_the_largest_channel_of_a_block() -> None:
    channels = torch.tensor([1.0, 7.0, 0.0, 2.0, 3.0, 2.5]).view(1, 6, 1, 1)
    assert grade_evidence(channels, 3).flatten().tolist() == [7.0, 3.0]
    assert grade_evidence(channels, 2).flatten().tolist() == [7.0, 2.0, 3.0]
    assert torch.equal(grade_evidence(channels, 1), channels)


@pytest.mark.parametrize("xi", [0, -1, 4, 7])
def test_channels_that_do_not_divide_are_refused(xi: int) -> None:
    with pytest.raises(MezoroiError, match="do not divide into blocks"):
        activation_map(torch.rand(1, 6, 2, 2), xi)


@pytest.mark.parametrize("wraps", [False, True])
def test_upsampling_keeps_probabilities_and_puts_cells_on_their_centres(wraps: bool) -> None:
    maps = torch.from_numpy(drawn(1, 2, 3, 4, 8)).softmax(dim=1)
    large = upsample_maps(maps, 64, 128, wraps)
    assert large.shape == (2, 3, 64, 128)
    torch.testing.assert_close(large.sum(dim=1), torch.ones(2, 64, 128, dtype=torch.float64))
    # Cell i lies on pixel 16 i.
    torch.testing.assert_close(large[..., ::16, ::16], maps, rtol=0, atol=1e-6)
    half = large[..., ::16, 8::16][..., :-1]
    torch.testing.assert_close(half, (maps[..., :-1] + maps[..., 1:]) / 2, rtol=0, atol=1e-6)


def test_the_right_edge_of_a_panorama_leads_to_the_left_one() -> None:
    maps = torch.zeros(1, 1, 2, 4, dtype=torch.float64)
    maps[..., 0] = 1.0
    edge = upsample_maps(maps, 32, 64, wraps=True)[0, 0, 0, 56]
    assert edge.item() == pytest.approx(0.5)
    assert upsample_maps(maps, 32, 64)[0, 0, 0, 56].item() == 0.0


@pytest.mark.parametrize("offset", [-12.0, -0.5, 0.0, 7.5, 15.0])
def test_a_turned_panorama_has_turned_maps(offset: float) -> None:
    """Also where the first cell is centred before the left edge."""
    generator = torch.Generator().manual_seed(3)
    maps = torch.rand(1, 2, 2, 5, dtype=torch.float64, generator=generator)
    grid = Grid((16.0, 16.0), (0.0, offset))
    drawn = upsample_maps(maps, 32, 80, wraps=True, grid=grid)
    turned = upsample_maps(maps.roll(1, 3), 32, 80, wraps=True, grid=grid)
    torch.testing.assert_close(turned, drawn.roll(16, 3), atol=1e-5, rtol=0)
