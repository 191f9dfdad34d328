"""Real tomatoes (fgrade4): three ways to train, three seeds, five resplits by tomato."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from mezoroi.bench.baselines import COLOUR_HISTOGRAM, run_baseline
from mezoroi.bench.cells import ARCFACE, MUTUAL_CHANNEL, SOFTMAX, Arm, run_cell
from mezoroi.bench.ledger import Ledger
from mezoroi.config import Config
from mezoroi.datasets import (
    Dataset,
    assign_splits,
    complete_splits,
    load_dataset,
    without_same_pictures,
)
from mezoroi.errors import MezoroiError
from mezoroi.presets import make_config
from mezoroi.progress import Progress, silent

SEEDS = (0, 1, 2)
RESPLITS = (1, 2, 3, 4, 5)
EXEMPLARS = Arm("MC-Loss + ArcFace, 5 exemplars per grade", {"model": {"exemplars": 5}})
ARMS = (SOFTMAX, ARCFACE, MUTUAL_CHANNEL, EXEMPLARS)
_READ = {"model": {"similarity": "reading"}}
READING = Arm("MC-Loss + ArcFace, as the second reader reads", _READ)
FROZEN_READING = Arm(
    "MC-Loss + ArcFace, as the second reader reads, frozen",
    {**_READ, "train": {"frozen_stages": 4}},
)
"""The stages that are read stay as they came: in training they would learn single fruits."""
READ_ARMS = (SOFTMAX, FROZEN_READING)
TRIVIAL = Arm(COLOUR_HISTOGRAM, {})
"""Ripeness is colour: what colours alone tell, without a network and a seed."""
PUBLISHED = 0
"""The split that the dataset brings; resplits are numbered from 1."""
# Ripeness is colour, so little of it is jittered.
REMEDY_BUDGET = (
    "input.height=160",
    "train.epochs=5",
    "train.cached_views=2",
    "jitter.light=0.1",
    "jitter.colour=0.03",
)
"""The budget under which remedies were compared, on the validation split."""
# The same for every arm. Without swapped tiles: the remedy that helped MC-Loss most.
BUDGET = (*REMEDY_BUDGET, "loss.swap_tile=0")
_FROZEN = {"input": {"height": 224}, "train": {"frozen_stages": 4, "epochs": 15}}
REMEDIES = (
    Arm("softmax on a frozen backbone, 224 px", {**SOFTMAX.overrides, **_FROZEN}, True),
    Arm("MC-Loss + ArcFace on a frozen backbone, 224 px", _FROZEN),
    Arm("MC-Loss + ArcFace, 224 px", {"input": {"height": 224}}),
    Arm("MC-Loss + ArcFace, no tiles swapped", {"loss": {"swap_tile": 0}}),
    Arm("MC-Loss + softmax head", {"loss": {"head": "softmax"}}),
)


def tomato_config(test: str) -> Config:
    """The budget shared by all arms that are scored on the split `test`."""
    return make_config(overrides=list(BUDGET if test == "test" else REMEDY_BUDGET))


def tomato_settings(arm: str, seed: int, resplit: int, test: str = "test") -> dict[str, Any]:
    """What identifies a tomato cell in the ledger."""
    return {
        "bench": "tomatoes",
        "arm": arm,
        "seed": seed,
        "resplit": resplit,
        "scored on": test,
        "config": tomato_config(test).model_dump(mode="json"),
    }


def run_tomatoes(manifest: Path, work: Path, ledger: Ledger, progress: Progress = silent) -> None:
    """Every cell of the tomato tables that the ledger does not have yet."""
    plan = [(arm, seed, PUBLISHED) for seed in SEEDS for arm in ARMS]
    plan += [(arm, 0, resplit) for resplit in RESPLITS for arm in ARMS]
    _run(plan, "test", manifest, work, ledger, progress)


def run_reading(manifest: Path, work: Path, ledger: Ledger, progress: Progress = silent) -> None:
    """Every cell of the second reader's table: validation, the published split, resplits."""
    on_val = [(arm, 0, PUBLISHED) for arm in (*READ_ARMS, READING)]
    _run(on_val, "val", manifest, work, ledger, progress)
    plan = [(arm, seed, PUBLISHED) for seed in SEEDS for arm in READ_ARMS]
    plan += [(arm, 0, resplit) for resplit in RESPLITS for arm in READ_ARMS]
    _run(plan, "test", manifest, work, ledger, progress)
    dataset = without_same_pictures(load_dataset(manifest))
    for resplit in (PUBLISHED, *RESPLITS):
        learning = _resplit(dataset, resplit)
        tests = {"test": learning.select("test")}
        settings = tomato_settings(TRIVIAL.name, 0, resplit)
        ledger.compute(settings, partial(run_baseline, TRIVIAL.name, learning, tests))


def run_remedies(manifest: Path, work: Path, ledger: Ledger, progress: Progress = silent) -> None:
    """Remedies for a missed aim, compared on the validation split of the first seed."""
    plan = [(arm, 0, PUBLISHED) for arm in (*ARMS, *REMEDIES)]
    _run(plan, "val", manifest, work, ledger, progress)


def _run(
    plan: list[tuple[Arm, int, int]],
    test: str,
    manifest: Path,
    work: Path,
    ledger: Ledger,
    progress: Progress,
) -> None:
    if not manifest.is_file():
        raise MezoroiError(f"{manifest} does not exist: give the tomato manifest with --tomatoes")
    dataset = without_same_pictures(load_dataset(manifest))
    for number, (arm, seed, resplit) in enumerate(plan):
        settings = tomato_settings(arm.name, seed, resplit, test)
        if ledger.find(settings) is None:
            learning = _resplit(dataset, resplit)
            tests = {test: learning.select(test)}
            config = tomato_config(test)
            result = run_cell(arm, config, seed, learning, tests, work, settings, progress)
            ledger.compute(settings, lambda found=result: found)  # type: ignore[misc]
        progress("tomato cells", number + 1, len(plan))


def _resplit(dataset: Dataset, number: int) -> Dataset:
    if number == PUBLISHED:
        return complete_splits(dataset)
    rows = tuple(replace(item, split=None) for item in dataset)
    shares = {"train": 0.61, "val": 0.17, "test": 0.22}
    return assign_splits(replace(dataset, observations=rows), shares, seed=number)
