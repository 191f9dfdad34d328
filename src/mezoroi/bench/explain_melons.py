"""The melon paper's table 1 with seven methods, and Dist-CAM's table 1, on made-up melons."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mezoroi.bench.cells import MUTUAL_CHANNEL, SOFTMAX
from mezoroi.bench.explain_checks import check_method
from mezoroi.bench.explain_score import (
    found_right,
    maps_of,
    marked,
    score_method,
    score_trivial,
    trained,
)
from mezoroi.bench.ledger import Ledger
from mezoroi.bench.melons import PER_GRADE, REPEATS, TEST_PER_GRADE, TRAIN_SEED
from mezoroi.config import Config
from mezoroi.datasets import Dataset, complete_splits, hold_out_per_grade, load_dataset
from mezoroi.datasets.melons import GENERATOR_VERSION, write_melons
from mezoroi.explain import EXPLAINERS, OCCLUSION_PRESETS
from mezoroi.explainers import make_explainers
from mezoroi.progress import Progress, silent

OPTIONS: dict[str, dict[str, Any]] = {"occlusion": dict(OCCLUSION_PRESETS["coarse"])}
SLOW = {"lime": 4}
"""Methods that see every k-th melon only."""
LAYERS = {
    "activation-map": "class channels",
    "cam": "last stage",
    "grad-cam": "feature map",
    "adapting-grad-cam": "feature map",
    "dist-cam": "feature map",
}
"""What each method weighs; the feature map is finer than the last stage behind it."""
TRIVIAL = "trivial"


def melon_settings(row: str, repeat: int, config: Config, per_grade: int) -> dict[str, Any]:
    """What identifies a melon cell in the ledger; `row` is a method or `TRIVIAL`."""
    settings = {
        "bench": "explain melons",
        "generator": GENERATOR_VERSION,
        "seed": TRAIN_SEED,
        "per_grade": per_grade,
        "row": row,
        "repeat": repeat,
        "config": config.model_dump(mode="json"),
        "options": OPTIONS.get(row),
    }
    return {**settings, "every": SLOW[row]} if row in SLOW else settings


def run_melons(
    work: Path,
    ledger: Ledger,
    progress: Progress = silent,
    config: Config | None = None,
    per_grade: int = PER_GRADE,
) -> None:
    """Every cell of the melon tables that the ledger does not have yet.

    Parameters
    ----------
    config, per_grade : of graders and melons; smaller ones are for trying the bench
    """
    config = config or Config()
    melons = made_melons(work, per_grade, progress)
    plan = [(repeat, row) for repeat in REPEATS for row in (TRIVIAL, *EXPLAINERS)]
    for number, (repeat, row) in enumerate(plan):
        settings = melon_settings(row, repeat, config, per_grade)
        split = split_melons(melons, per_grade, repeat)
        ledger.compute(settings, partial(_cell, row, repeat, split, config, work, progress))
        progress("explained melon cells", number + 1, len(plan))


def made_melons(work: Path, per_grade: int, progress: Progress) -> Dataset:
    """The melons of the table, made once; without splits."""
    folder = work / "melons" / ("train" if per_grade == PER_GRADE else f"train-{per_grade}")
    write_melons(
        folder,
        per_grade,
        TRAIN_SEED,
        progress=lambda done: progress("making melons", done, 4 * per_grade),
    )
    dataset = load_dataset(folder)
    return replace(dataset, observations=tuple(replace(one, split=None) for one in dataset))


def split_melons(melons: Dataset, per_grade: int, repeat: int) -> Dataset:
    """`melons` of which `TEST_PER_GRADE`, or a quarter of fewer, are test."""
    held_out = min(TEST_PER_GRADE, max(1, per_grade // 4))
    return complete_splits(hold_out_per_grade(melons, held_out, repeat), repeat)


def _cell(
    row: str, repeat: int, melons: Dataset, base: Config, work: Path, progress: Progress
) -> dict[str, Any]:
    arm = SOFTMAX if row == "cam" else MUTUAL_CHANNEL
    config = arm.config(base)
    config = config.model_copy(update={"train": config.train.model_copy(update={"seed": repeat})})
    label = {"melons": melons.fingerprint, "config": config.model_dump(mode="json")}
    grader = trained(melons, config, work, label, progress)
    test, val = melons.select("test"), melons.select("val")
    step = SLOW.get(row, 1)
    items, val_items = marked(grader, test).every(step), marked(grader, val).every(step)
    if row == TRIVIAL:
        return score_trivial(items, val_items)
    explainer = make_explainers(grader, [row], melons, OPTIONS)[row]
    maps, milliseconds = maps_of(grader, row, explainer, items, progress)
    val_maps, _ = maps_of(grader, row, explainer, val_items, progress)
    right = (
        found_right(grader, test, items, arm.by_classifier),
        found_right(grader, val, val_items, arm.by_classifier),
    )
    return {
        **score_method(row, maps, items, val_maps, val_items, right),
        "accuracy": float(np.mean(right[0])),
        "milliseconds": milliseconds,
        **check_method(grader, row, melons, items, maps, OPTIONS),
    }
