"""What a few painted masks add: activation maps of graders that learned from none, ten, or all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mezoroi.bench.cells import MUTUAL_CHANNEL, Arm
from mezoroi.bench.explain_melons import made_melons, split_melons
from mezoroi.bench.explain_score import trained
from mezoroi.bench.ledger import Ledger
from mezoroi.bench.melons import PER_GRADE, REPEATS, TRAIN_SEED
from mezoroi.bench.tables import MISSING, table
from mezoroi.config import Config
from mezoroi.datasets import Dataset
from mezoroi.datasets.melons import GENERATOR_VERSION
from mezoroi.evaluation import evaluate
from mezoroi.progress import Progress, silent

MASKS: tuple[int | None, ...] = (0, 10, None)
"""Fruits of each grade whose mask teaches; None: all."""


def masks_config(count: int | None, repeat: int, base: Config) -> Config:
    """Settings of a grader that learns from so many masks of each grade."""
    weight = {} if count == 0 else {"loss": {"mask_weight": 1.0}}
    config = Arm(MUTUAL_CHANNEL.name, weight).config(base)
    return config.model_copy(update={"train": config.train.model_copy(update={"seed": repeat})})


def masks_settings(count: int | None, repeat: int, base: Config, per_grade: int) -> dict[str, Any]:
    """What identifies a cell in the ledger."""
    return {
        "bench": "explain masks",
        "generator": GENERATOR_VERSION,
        "seed": TRAIN_SEED,
        "per_grade": per_grade,
        "masks": count,
        "repeat": repeat,
        "config": masks_config(count, repeat, base).model_dump(mode="json"),
    }


def run_masks(
    work: Path,
    ledger: Ledger,
    progress: Progress = silent,
    config: Config | None = None,
    per_grade: int = PER_GRADE,
) -> None:
    """Every cell that the ledger does not have yet, the first repeat of all first.

    Parameters
    ----------
    config, per_grade : of graders and melons; smaller ones are for trying the bench
    """
    config = config or Config()
    melons = made_melons(work, per_grade, progress)
    plan = [(repeat, count) for repeat in REPEATS for count in MASKS]
    for number, (repeat, count) in enumerate(plan):
        settings = masks_settings(count, repeat, config, per_grade)
        split = split_melons(melons, per_grade, repeat)
        ledger.compute(settings, partial(_cell, count, repeat, split, config, work, progress))
        progress("graders taught by masks", number + 1, len(plan))


def with_few_masks(melons: Dataset, count: int, seed: int) -> Dataset:
    """`melons`; of train and val, masks of `count` drawn training fruits of each grade stay."""
    rng = np.random.default_rng(seed)
    drawn: dict[str, int] = {}
    rows = list(melons)
    for index in rng.permutation(len(rows)):
        item = rows[index]
        if item.split == "test" or item.mask is None:
            continue
        drawn[item.grade] = drawn.get(item.grade, 0) + (item.split == "train")
        if item.split != "train" or drawn[item.grade] > count:
            rows[index] = replace(item, mask=None)
    return replace(melons, observations=tuple(rows))


def _cell(
    count: int | None, repeat: int, melons: Dataset, base: Config, work: Path, progress: Progress
) -> dict[str, Any]:
    config = masks_config(count, repeat, base)
    if count:
        melons = with_few_masks(melons, count, repeat)
    # Without masks this is the grader of the melons' table, and its run folder.
    label = {"melons": melons.fingerprint, "config": config.model_dump(mode="json")}
    grader = trained(melons, config, work, label, progress)
    scores = evaluate(grader, melons.select("test"), progress)
    return {"maps": scores["maps"], "accuracy": scores["grading"]["accuracy"]["value"]}


def masks_section(ledger: Ledger) -> str:
    """The section of the page, with the trivial rows."""
    found = {
        count: [
            cell
            for repeat in REPEATS
            if (cell := ledger.find(masks_settings(count, repeat, Config(), PER_GRADE)))
        ]
        for count in MASKS
    }
    rows = [_masks_row(_masks_name(count), cells) for count, cells in found.items()]
    any_cell = next((cells[0] for cells in found.values() if cells), None)
    if any_cell:
        rows += [
            [f"*{name}*", "", f"{value:.3f}", _grades(any_cell["maps"]["per_grade"][name])]
            for name, value in any_cell["maps"]["overall"].items()
            if name != "activation map"
        ]
    return "\n".join(
        [
            "## Masks that teach\n",
            "The same melons and test, graders that also learned from the masks of so many drawn "
            "training fruits of each grade (`loss.mask_weight` 1; 0: no masks, as everywhere "
            "else). mIoU at 0.5 of the activation map; means over the seeds, each in brackets.\n",
            table(["masks of each grade", "accuracy", "mIoU", "A, B, D"], rows),
        ]
    )


def _masks_name(count: int | None) -> str:
    return "all" if count is None else str(count)


def _masks_row(name: str, cells: Sequence[Mapping[str, Any]]) -> list[str]:
    if not cells:
        return [name, MISSING, MISSING, MISSING]
    each = [cell["maps"]["mean_iou"]["value"] for cell in cells]
    grades = {
        grade: float(
            np.mean([cell["maps"]["per_grade"]["activation map"][grade] for cell in cells])
        )
        for grade in cells[0]["maps"]["per_grade"]["activation map"]
    }
    accuracy = np.mean([cell["accuracy"] for cell in cells])
    brackets = ", ".join(f"{value:.3f}" for value in each)
    return [name, f"{accuracy:.1%}", f"{np.mean(each):.3f} [{brackets}]", _grades(grades)]


def _grades(scores: Mapping[str, float]) -> str:
    return ", ".join(f"{value:.3f}" for value in scores.values())
