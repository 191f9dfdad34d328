"""Fruits that the grader never saw, and a run whose reliability was fitted on them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import mezoroi as mz
from mezoroi.datasets.melons import write_melons
from mezoroi.reliability_runs import fit_reliability_of_run
from tests.made_once import made_once


@pytest.fixture(scope="session")
def everything(dataset: mz.Dataset) -> mz.Dataset:
    """All 28 melons as fruits that the grader never saw: not true, but enough to fit on."""
    rows = tuple(replace(item, split="calibration") for item in dataset)
    return replace(dataset, observations=rows)


@pytest.fixture(scope="session")
def fresh_melons(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """28 melons that the grader never saw. Not to be changed."""
    return made_once(
        tmp_path_factory, "fresh", lambda folder: write_melons(folder, 7, seed=6, height=64)
    )


@pytest.fixture(scope="session")
def fresh(fresh_melons: Path) -> mz.Dataset:
    dataset = mz.load_dataset(fresh_melons)
    return dataset.with_splits({item.id: "calibration" for item in dataset})


@pytest.fixture(scope="session")
def fitted_run(run_dir: Path, fresh: mz.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the trained run, with reliability. Not to be changed."""

    def make(folder: Path) -> None:
        shutil.copytree(run_dir, folder)
        fit_reliability_of_run(folder, fresh, n_clusters=3)

    return made_once(tmp_path_factory, "fitted", make)
