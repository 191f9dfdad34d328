"""Class channels averaged over nearby cells that look alike."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import mezoroi as mz
from mezoroi.bundle import WEIGHTS, build_network, read_bundle
from mezoroi.config import Config
from mezoroi.models import InputSize
from mezoroi.models.alike import AlikeCells
from mezoroi.workflow import _alike_cells


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_against_a_loop_in_float64() -> None:
    features = torch.rand(2, 5, 3, 4, generator=seeded(0))
    channels = torch.rand(2, 6, 3, 4, generator=seeded(1))
    found = AlikeCells(temperature=0.4, reach=1.2)(channels, features)
    for n in range(2):
        looks = features[n].double().numpy().reshape(5, 12)
        looks = (looks - looks.mean(axis=1, keepdims=True)) / looks.std(axis=1, keepdims=True)
        looks /= np.linalg.norm(looks, axis=0)
        for cell in range(12):
            weights = []
            for other in range(12):
                down = cell // 4 - other // 4
                across = abs(cell % 4 - other % 4)
                across = min(across, 4 - across)
                nearness = (down**2 + across**2) / (2 * 1.2**2)
                weights.append(math.exp(float(looks[:, cell] @ looks[:, other]) / 0.4 - nearness))
            share = np.array(weights) / sum(weights)
            wanted = channels[n].double().numpy().reshape(6, 12) @ share
            np.testing.assert_allclose(found[n].reshape(6, 12)[:, cell], wanted, atol=1e-5)


def test_a_turned_fruit_turns_its_channels() -> None:
    features = torch.rand(1, 8, 4, 10, generator=seeded(2))
    channels = torch.rand(1, 3, 4, 10, generator=seeded(3))
    cells = AlikeCells()
    turned = cells(channels.roll(3, 3), features.roll(3, 3))
    torch.testing.assert_close(turned, cells(channels, features).roll(3, 3))


def test_noise_fades_and_a_scar_stays_apart() -> None:
    """A net all over, whose evidence is noisy, but for one place that looks otherwise."""
    net, scar = torch.randn(2, 16, 1, 1, generator=seeded(4))
    is_scar = torch.zeros(1, 1, 8, 16, dtype=torch.bool)
    is_scar[..., 3:5, 5:8] = True
    features = torch.where(is_scar, scar, net)
    features = features + 0.1 * torch.randn(1, 16, 8, 16, generator=seeded(5))
    noise = 0.5 * torch.randn(1, 1, 8, 16, generator=seeded(6))
    truth = torch.where(is_scar, 3.0, 1.0)
    before = noise.square()[0, 0]
    error = (AlikeCells()(truth + noise, features) - truth).square()[0, 0]
    blind = (AlikeCells()(truth + noise, torch.ones_like(features)) - truth).square()[0, 0]
    own = is_scar[0, 0]
    assert float(error[~own].mean()) < 0.5 * float(before[~own].mean())
    assert float(error[own].mean()) < 0.1 * float(blind[own].mean())


def test_a_fruit_that_looks_the_same_everywhere_has_no_nan() -> None:
    channels = torch.rand(1, 3, 4, 8, generator=seeded(7))
    found = AlikeCells()(channels, torch.ones(1, 6, 4, 8))
    assert found.isfinite().all()
    assert float(found.std()) < float(channels.std())


def test_a_run_of_an_earlier_version_says_what_it_said(
    run_dir: Path, dataset: mz.Dataset, tmp_path: Path
) -> None:
    """Such runs bring no word of it, and their clusters were fitted on maps without it."""
    bundle = read_bundle(run_dir)
    averaged = mz.Grader(bundle).predict(dataset)
    assert bundle.network.alike is not None
    bundle.network.alike = None
    without = mz.Grader(bundle).predict(dataset)
    np.testing.assert_array_equal(averaged.similarity, without.similarity)
    assert np.abs(averaged.maps - without.maps).max() > 1e-3

    earlier = shutil.copytree(run_dir, tmp_path / "run")
    tensors = load_file(earlier / WEIGHTS)
    kept = {name: value for name, value in tensors.items() if "alike." not in name}
    assert len(tensors) == len(kept) + 2
    save_file(kept, earlier / WEIGHTS)
    again = mz.Grader(read_bundle(earlier)).predict(dataset)
    np.testing.assert_array_equal(again.maps, without.maps)


@pytest.mark.parametrize(
    ("size", "setting", "averages"),
    [
        (InputSize(64, 128, True), "model.average_alike=true", True),
        (InputSize(64, 128, True), "model.average_alike=false", False),
        (InputSize(64, 128, True), "model.channels_per_grade=0", False),
        (InputSize(64, 128, False), "model.average_alike=true", False),
        (InputSize(1024, 2048, True), "model.average_alike=true", True),
        (InputSize(1056, 2112, True), "model.average_alike=true", False),
    ],
)
def test_panoramas_are_averaged(
    tiny: Callable[..., Config], size: InputSize, setting: str, averages: bool
) -> None:
    config = tiny(setting)
    network, _ = build_network(mz.GradingStandard.melon(), config, 0, size.wraps, "none")
    assert (_alike_cells(network, size, config) is not None) == averages
