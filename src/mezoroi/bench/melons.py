"""Made-up melons by the paper's protocol: accuracy, maps, learning curve, held-out variant."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from mezoroi.bench.baselines import COLOUR_HISTOGRAM, TEXTURE, run_baseline
from mezoroi.bench.cells import (
    MUTUAL_CHANNEL,
    SOFTMAX,
    run_cell,
    share_of_training,
    surface_only,
)
from mezoroi.bench.ledger import Ledger
from mezoroi.config import Config
from mezoroi.datasets import Dataset, complete_splits, hold_out_per_grade, load_dataset
from mezoroi.datasets.melons import GENERATOR_VERSION, write_melons
from mezoroi.progress import Progress, silent

PER_GRADE, TEST_PER_GRADE = 122, 30
TRAIN_SEED, TEST_SEED = 11, 2011
LARGE_TEST_PER_GRADE = 250
REPEATS = (0, 1, 2)
SHARES = (0.25, 0.5, 1.0)
FOUR, SURFACE = "four grades", "surface grades"
PAPER_TEST, LARGE_TEST, HELD_OUT = "30 per grade", "1,000 melons", "held-out variant"


def melon_settings(task: str, arm: str, repeat: int, share: float = 1.0) -> dict[str, Any]:
    """What identifies a melon cell in the ledger."""
    return {
        "bench": "melons",
        "generator": GENERATOR_VERSION,
        "seeds": [TRAIN_SEED, TEST_SEED],
        "per_grade": PER_GRADE,
        "task": task,
        "arm": arm,
        "repeat": repeat,
        "share": share,
        "config": Config().model_dump(mode="json"),
    }


def run_melons(work: Path, ledger: Ledger, progress: Progress = silent) -> None:
    """Every cell of the melon tables that the ledger does not have yet."""
    melons = work / "melons"
    training = _made(melons / "train", PER_GRADE, TRAIN_SEED, "standard", progress)
    large = _made(melons / "test", LARGE_TEST_PER_GRADE, TEST_SEED, "standard", progress)
    other = _made(melons / "held-out", LARGE_TEST_PER_GRADE, TEST_SEED, "held-out", progress)
    plan: list[tuple[str, str, int, float]] = []
    for arm in (MUTUAL_CHANNEL.name, COLOUR_HISTOGRAM, TEXTURE):
        plan += [(FOUR, arm, repeat, 1.0) for repeat in REPEATS]
    for share in reversed(SHARES):
        plan += [
            (SURFACE, arm.name, repeat, share)
            for repeat in REPEATS
            for arm in (MUTUAL_CHANNEL, SOFTMAX)
        ]
    for number, (task, arm, repeat, share) in enumerate(plan):
        settings = melon_settings(task, arm, repeat, share)
        if ledger.find(settings) is None:
            learning = complete_splits(hold_out_per_grade(training, TEST_PER_GRADE, repeat), repeat)
            tests = {PAPER_TEST: learning.select("test"), LARGE_TEST: large}
            if task == FOUR:
                tests[HELD_OUT] = other
            else:
                learning = share_of_training(surface_only(learning), share, repeat)
                tests = {name: surface_only(dataset) for name, dataset in tests.items()}
            cell = partial(_cell, arm, repeat, learning, tests, work, settings)
            ledger.compute(settings, cell)
        progress("melon cells", number + 1, len(plan))


def _cell(
    name: str,
    seed: int,
    learning: Dataset,
    tests: dict[str, Dataset],
    work: Path,
    settings: dict[str, Any],
) -> dict[str, Any]:
    if name in (COLOUR_HISTOGRAM, TEXTURE):
        return run_baseline(name, learning, tests)
    arm = next(arm for arm in (MUTUAL_CHANNEL, SOFTMAX) if arm.name == name)
    return run_cell(arm, Config(), seed, learning, tests, work, settings)


def _made(path: Path, per_grade: int, seed: int, variant: str, progress: Progress) -> Dataset:
    write_melons(
        path,
        per_grade,
        seed,
        variant=variant,
        progress=lambda done: progress("making melons", done, 4 * per_grade),
    )
    dataset = load_dataset(path)
    return replace(dataset, observations=tuple(replace(item, split=None) for item in dataset))
