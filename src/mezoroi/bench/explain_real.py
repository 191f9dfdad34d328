"""The same table on real defects: `magnetic_tile` and `sd_saliency_900`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mezoroi.bench.cells import MUTUAL_CHANNEL, SOFTMAX
from mezoroi.bench.explain_score import (
    false_alarms,
    found_right,
    maps_of,
    marked,
    score_method,
    score_trivial,
    trained,
)
from mezoroi.bench.ledger import Ledger
from mezoroi.config import Config
from mezoroi.datasets import Dataset, Observation, complete_splits
from mezoroi.errors import MezoroiError
from mezoroi.explain import EXPLAINERS, OCCLUSION_PRESETS
from mezoroi.explainers import make_explainers
from mezoroi.grader import Grader
from mezoroi.presets import make_config
from mezoroi.progress import Progress, silent
from mezoroi.standard import GradingStandard

SETS = ("magnetic_tile", "sd_saliency_900")
SOUND = "free"
# Chosen on the validation tiles: defects are small, and longer training marks their surroundings.
BUDGET = ("input.height=224", "train.epochs=12", "loss.pooling_sharpness=3")
OPTIONS: dict[str, dict[str, Any]] = {"occlusion": dict(OCCLUSION_PRESETS["coarse"])}
SLOW = {"lime": 4, "occlusion": 2}
"""Methods that see every k-th picture only."""
TRIVIAL = "trivial"
_FLAT = (("images", ".jpg"), ("masks", ".png"))


def real_config() -> Config:
    """Settings of the graders of this table."""
    return make_config(overrides=list(BUDGET))


def real_settings(name: str, row: str, config: Config) -> dict[str, Any]:
    """What identifies a cell in the ledger; `row` is a method or `TRIVIAL`."""
    return {
        "bench": "explain real",
        "data": name,
        "row": row,
        "config": config.model_dump(mode="json"),
        "options": OPTIONS.get(row),
        "every": SLOW.get(row, 1),
    }


def run_real(
    shared: Path,
    work: Path,
    ledger: Ledger,
    progress: Progress = silent,
    config: Config | None = None,
) -> None:
    """Every cell of the real tables that the ledger does not have yet."""
    config = config or real_config()
    plan = [(name, row) for name in SETS for row in (TRIVIAL, *EXPLAINERS)]
    for number, (name, row) in enumerate(plan):
        dataset = complete_splits(load_defects(shared / name))
        settings = real_settings(name, row, config)
        ledger.compute(settings, partial(_cell, row, dataset, config, work, progress))
        progress("explained defect cells", number + 1, len(plan))


def load_defects(folder: Path) -> Dataset:
    """A set of defect photos with masks, split by tile where tiles repeat.

    Raises
    ------
    MezoroiError
        If the folder does not hold the set.
    """
    table = folder / "labels.csv"
    if not table.is_file():
        raise MezoroiError(f"{folder} has no labels.csv: give the folder of the data with --shared")
    rows = []
    for entry in pd.read_csv(table).to_dict("records"):
        name, grade = str(entry["id"]), str(entry["class"])
        image = folder / "images" / grade / f"{name}.jpg"
        mask = folder / "masks" / grade / f"{name}.png"
        if not image.is_file():
            image, mask = (folder / kind / f"{name}{end}" for kind, end in _FLAT)
        specimen = str(entry.get("group", name))
        rows.append(
            Observation(
                id=image.relative_to(folder).as_posix(),
                image=image,
                grade=grade,
                specimen=specimen,
                split=str(entry["suggested_split"]),
                mask=mask,
            )
        )
    grades = sorted({row.grade for row in rows})
    return Dataset(tuple(rows), GradingStandard.from_grades(grades, ordered=False), folder)


def _cell(
    row: str, dataset: Dataset, base: Config, work: Path, progress: Progress
) -> dict[str, Any]:
    arm = SOFTMAX if row == "cam" else MUTUAL_CHANNEL
    config = arm.config(base)
    label = {"defects": dataset.fingerprint, "config": config.model_dump(mode="json")}
    grader = trained(dataset, config, work, label, progress)
    test, val, step = dataset.select("test"), dataset.select("val"), SLOW.get(row, 1)
    items, val_items = marked(grader, test).every(step), marked(grader, val).every(step)
    if row == TRIVIAL:
        return score_trivial(items, val_items)
    explainer = make_explainers(grader, [row], dataset, OPTIONS)[row]
    maps, milliseconds = maps_of(grader, row, explainer, items, progress)
    val_maps, _ = maps_of(grader, row, explainer, val_items, progress)
    right = (
        found_right(grader, test, items, arm.by_classifier),
        found_right(grader, val, val_items, arm.by_classifier),
    )
    result = {
        **score_method(row, maps, items, val_maps, val_items, right),
        "accuracy": float(np.mean(right[0])),
        "milliseconds": milliseconds,
    }
    sound = test.subset(np.array([item.grade == SOUND for item in test]))
    if len(sound):
        likeliest = _likeliest_defects(grader, sound)
        planes: list[NDArray[Any]] = []
        for grade in sorted(set(likeliest)):
            own = sound.subset(np.array([one == grade for one in likeliest]))
            chosen = marked(grader, own, grade).every(step)
            planes += chosen.pictures(maps_of(grader, row, explainer, chosen, progress)[0])
        result["false_alarms"] = false_alarms(
            planes, val_items.pictures(val_maps), val_items.pictures(val_items.masks)
        )
    return result


def _likeliest_defects(grader: Grader, sound: Dataset) -> list[str]:
    """The most similar defect of each sound tile."""
    grades = grader.standard.grades
    similarity = grader.predict(sound).similarity.copy()
    similarity[:, grades.index(SOUND)] = -np.inf
    return [grades[number] for number in similarity.argmax(axis=1)]
