from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from torch import nn

from mezoroi.explain import OCCLUSION_PRESETS, create
from mezoroi.explain.lime import lime_coefficients, sample_masks, superpixels
from mezoroi.maps import window_average, window_starts
from tests.explain.nets import Pooled, images


class Counting(Pooled):
    """Notes how many images it is given at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        self.batches.append(len(pixels))
        return super().forward(pixels)


def test_the_exact_preset_takes_11664_passes_at_224_pixels() -> None:
    preset = OCCLUSION_PRESETS["exact"]
    assert len(window_starts(224, **preset)) ** 2 == 11_664
    assert len(window_starts(224, **OCCLUSION_PRESETS["coarse"])) ** 2 == 169


def test_drops_by_hand() -> None:
    """Class 0 reads the mean red: covering a window takes its red away."""
    pixels = images(2)
    drops = create("occlusion", Pooled(), patch=4, stride=4)(pixels, [0, 0])
    red = pixels[:, 0].unfold(1, 4, 4).unfold(2, 4, 4).sum(dim=(3, 4))
    torch.testing.assert_close(drops, 2 * red / 144)


def test_baseline_and_all_targets_in_one_sweep() -> None:
    model, pixels = Counting(), images(1)
    explainer = create("occlusion", model, patch=4, stride=4, baseline=1.0)
    drops = explainer.all_targets(pixels, [0, 1, 2])
    assert sum(model.batches) == 1 + 9
    red = pixels[:, 0].unfold(1, 4, 4).unfold(2, 4, 4).sum(dim=(3, 4))
    torch.testing.assert_close(drops[:, 0], 2 * (red - 16) / 144)


@pytest.mark.parametrize(("name", "options"), [("occlusion", {}), ("lime", {"num_samples": 100})])
def test_the_byte_budget_bounds_the_batch(name: str, options: dict[str, int]) -> None:
    model, pixels = Counting(), images(1, size=32)
    size = 3 * 32 * 32 * 4
    create(name, model, megabytes=5.5 * size / 2**20, **options)(pixels, [0])
    assert max(model.batches) == 5
    model.batches.clear()
    create(name, model, megabytes=1e-6, **options)(pixels, [0])
    assert max(model.batches) == 1


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(9, 20), st.integers(9, 20))
def test_window_average_is_the_loop(patch: int, stride: int, height: int, width: int) -> None:
    stride = min(stride, patch)
    rows, columns = window_starts(height, patch, stride), window_starts(width, patch, stride)
    drops = torch.rand(1, len(rows), len(columns), dtype=torch.float64)
    sums, counts = np.zeros((height, width)), np.zeros((height, width))
    for i, top in enumerate(rows):
        for j, left in enumerate(columns):
            sums[top : top + patch, left : left + patch] += drops[0, i, j].item()
            counts[top : top + patch, left : left + patch] += 1
    assert counts.min() >= 1
    found = window_average(drops, height, width, patch, stride)[0].numpy()
    np.testing.assert_allclose(found, sums / counts, rtol=1e-12)


def test_lime_finds_the_superpixels_that_matter() -> None:
    pixels = torch.full((1, 3, 24, 24), 0.2)
    pixels[0, 0, :12, :12] = torch.linspace(0.5, 1, 144).view(12, 12)

    def quarters(image: np.ndarray) -> np.ndarray:
        rows, columns = np.indices(image.shape[:2])
        return 7 * (rows // 12) + (columns // 12)

    class Corner(nn.Module):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            return batch[:, :1, 0, 0]  # 0.5 in the image, 0.75 in the superpixel's mean

    explainer = create("lime", Corner(), num_samples=400, segmenter=quarters)
    found = explainer(pixels, [0])[0]
    assert found[0, 0].item() == pytest.approx(-0.25, abs=0.03)
    assert found[12:].abs().max() < 0.01 and found[:, 12:].abs().max() < 0.01
    assert len(torch.unique(found)) == 4
    again = explainer(torch.cat([pixels, pixels]), [0, 0])
    assert torch.equal(again[0], found) and torch.equal(again[1], found)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000), st.integers(1, 12))
def test_lime_coefficients_are_scikit_learns_ridge(seed: int, segments: int) -> None:
    masks = sample_masks(50, segments, seed)
    scores = np.random.default_rng(seed).normal(size=(50, 2))
    distance = 1 - np.sqrt(masks.mean(axis=1))
    weight = np.sqrt(np.exp(-(distance**2) / 0.25**2))
    expected = Ridge(alpha=1).fit(masks, scores, sample_weight=weight).coef_.T
    np.testing.assert_allclose(lime_coefficients(masks, scores), expected, rtol=1e-6, atol=1e-9)


def test_samples_come_from_the_seed_alone() -> None:
    masks = sample_masks(30, 7, seed=4)
    assert masks[0].all() and set(np.unique(masks)) == {0, 1}
    np.testing.assert_array_equal(masks, sample_masks(30, 7, seed=4))
    assert not np.array_equal(masks, sample_masks(30, 7, seed=5))


def test_superpixels_follow_edges() -> None:
    image = np.zeros((40, 40, 3))
    image[:, 20:] = (0.9, 0.2, 0.1)
    segments = superpixels(image)
    assert not set(segments[:, :20].ravel()) & set(segments[:, 20:].ravel())
