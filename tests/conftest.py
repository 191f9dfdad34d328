"""A small set of melons and a grader trained on it for seconds, shared by all tests."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from hypothesis import settings

import mezoroi as mz
from mezoroi import cli
from mezoroi.capture.images import read_image
from mezoroi.config import Config
from mezoroi.datasets.melons import write_melons
from mezoroi.presets import make_config
from tests.commands import Run
from tests.made_once import made_once

torch.set_num_threads(1)  # the processes of the suite share the cores
# The same examples in every run, and none that fails on a busy machine.
settings.register_profile("suite", deadline=None, derandomize=True)
settings.load_profile("suite")

SMALL_BACKBONE = "test_efficientnet"
RngState = tuple[object, ...]


@pytest.fixture(scope="session")
def melons(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset folder: 7 melons of each of 4 grades, 64 x 128 pixels. Not to be changed."""
    return made_once(
        tmp_path_factory, "melons", lambda folder: write_melons(folder, 7, seed=5, height=64)
    )


@pytest.fixture(scope="session")
def dataset(melons: Path) -> mz.Dataset:
    return mz.load_dataset(melons)


@pytest.fixture(scope="session")
def small_backbone(
    dataset: mz.Dataset, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, str]:
    """Overrides for a backbone of 80,000 weights: random filters with the melons' statistics."""
    melons = torch.stack([torch.from_numpy(read_image(item.image)) for item in dataset])

    def make(folder: Path) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(1)
            network = timm.create_model(SMALL_BACKBONE)
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = None  # the statistics of all that is seen
        with torch.inference_mode():
            network.train()(melons.permute(0, 3, 1, 2) / 127.5 - 1)
        folder.mkdir()
        torch.save(network.state_dict(), folder / "weights.pth")

    weights = made_once(tmp_path_factory, "backbone", make) / "weights.pth"
    return f"model.backbone={SMALL_BACKBONE}", f"model.weights={weights}"


@pytest.fixture(scope="session")
def pretrained() -> Callable[..., Config]:
    """As `tiny`, with the default backbone and its packaged weights, for what has to be learned."""
    return lambda *overrides: make_config("tiny", overrides=list(overrides))


@pytest.fixture(scope="session")
def tiny(small_backbone: tuple[str, str]) -> Callable[..., Config]:
    """Settings for a second of training; overrides as on the command line."""

    def make(*overrides: str) -> Config:
        return make_config("tiny", overrides=[*small_backbone, *overrides])

    return make


@pytest.fixture(scope="session")
def run_dir(
    dataset: mz.Dataset, tiny: Callable[..., Config], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A finished run folder. Not to be changed."""
    return made_once(tmp_path_factory, "melon", lambda run: mz.train(dataset, tiny(), run))


@pytest.fixture(scope="session")
def grader(run_dir: Path) -> mz.Grader:
    return mz.Grader.load(run_dir, device="cpu")


@pytest.fixture
def rng_state() -> Callable[[], RngState]:
    """The state of every global random generator, for comparing before and after."""

    def state() -> RngState:
        keys = np.random.get_state()  # noqa: NPY002
        return (
            random.getstate(),
            keys[1].tolist(),  # type: ignore[index]
            keys[2],  # type: ignore[index]
            torch.get_rng_state().tolist(),
        )

    return state


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            cli.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert isinstance(stop.value.code, int) and "Traceback" not in captured.err
        return stop.value.code, captured.out, captured.err

    return call
