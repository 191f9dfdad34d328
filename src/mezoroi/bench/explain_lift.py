"""What lifts the activation map on small real defects: one setting changed at a time.

Scored on training tiles of `magnetic_tile` that a grader did not learn from, in folds by tile; the
test tiles take no part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from mezoroi.bench.cells import Arm
from mezoroi.bench.explain_real import load_defects, real_config
from mezoroi.bench.explain_score import (
    Marked,
    Pictures,
    Planes,
    each_score,
    maps_of,
    marked,
    trained,
)
from mezoroi.bench.ledger import Ledger
from mezoroi.bench.tables import values_of
from mezoroi.config import Config
from mezoroi.datasets import Dataset, folds
from mezoroi.explainers import make_explainers
from mezoroi.grader import Grader
from mezoroi.metrics import iou_per_map, mass_per_map, pointing_per_map
from mezoroi.metrics.trivial import trivial_maps_each
from mezoroi.progress import Progress, silent

DATA = "magnetic_tile"
OURS, BASE_MAP, ABOVE = "activation-map", "grad-cam", "above chance"
# A single validation split has one tile of each defect, shot up to 15 times.
FOLDS = 3


@dataclass(frozen=True)
class Change:
    """One row: settings laid over those of the table of real defects.

    Attributes
    ----------
    arm : the settings that differ
    heights : sizes at which a tile is shown, and over which its maps are averaged; none: the
        training's
    """

    arm: Arm
    heights: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """As in the table."""
        return self.arm.name


BASE = Change(Arm("as the table of real defects", {}))
TRIVIAL = Change(Arm("trivial", {}))
# In the order of what they tell for their time.
CHANGES = (
    BASE,
    Change(Arm("maps at 224 and 320 averaged", {}), (224, 320)),
    Change(Arm("maps at 320", {}), (320,)),
    Change(Arm("maps at 224, 320 and 448 averaged", {}), (224, 320, 448)),
    Change(Arm("class channels at stride 32", {"model": {"stride": 32}})),
    Change(Arm("3 epochs", {"train": {"epochs": 3}})),
    Change(Arm("no swapped tiles", {"loss": {"swap_tile": 0}})),
    Change(Arm("pooling sharpness 1", {"loss": {"pooling_sharpness": 1.0}})),
    Change(Arm("softmax head", {"loss": {"head": "softmax"}}, by_classifier=True)),
    Change(Arm("input 160", {"input": {"height": 160}})),
    Change(Arm("25 epochs", {"train": {"epochs": 25}})),
    Change(Arm("pooling sharpness 6", {"loss": {"pooling_sharpness": 6.0}})),
    Change(Arm("diversity weight 0.1", {"loss": {"diversity_weight": 0.1}})),
    Change(Arm("input 320", {"input": {"height": 320}})),
    # At stride 8 the class channels would lie on stages that are frozen as a rule.
    Change(
        Arm(
            "class channels at stride 8, 2 stages frozen",
            {"model": {"stride": 8}, "train": {"frozen_stages": 2}},
        )
    ),
    Change(Arm("pooling sharpness 0, as published", {"loss": {"pooling_sharpness": 0.0}})),
)


def lift_config(change: Change, fold: int, base: Config) -> Config:
    """Settings of the grader of a row, whose seed is the number of the fold."""
    config = change.arm.config(base)
    return config.model_copy(update={"train": config.train.model_copy(update={"seed": fold})})


def lift_settings(change: Change, fold: int, base: Config) -> dict[str, Any]:
    """What identifies a cell in the ledger."""
    return {
        "bench": "explain lift",
        "data": DATA,
        "row": TRIVIAL.name if change is TRIVIAL else "change",
        "fold": f"{fold} of {FOLDS}",
        "config": lift_config(change, fold, base).model_dump(mode="json"),
        "by_classifier": change.arm.by_classifier,
        "heights": list(change.heights),
        "scored": base.input.height,
    }


def run_lift(
    shared: Path,
    work: Path,
    ledger: Ledger,
    progress: Progress = silent,
    config: Config | None = None,
) -> None:
    """Every cell that the ledger does not have yet.

    All rows on the first fold, then the present settings and the others on the rest, best first.
    """
    config = config or real_config()
    parts = fold_splits(load_defects(shared / DATA))
    total = FOLDS * (len(CHANGES) + 1)
    done = 0

    def compute(change: Change, fold: int) -> None:
        nonlocal done
        settings = lift_settings(change, fold, config)
        cell = partial(_cell, change, fold, parts[fold], config, work, progress)
        ledger.compute(settings, cell)
        done += 1
        progress("trained for a better map", done, total)

    for change in (BASE, TRIVIAL, *CHANGES[1:]):
        compute(change, 0)
    others = [change for change in by_merit(ledger, config) if change is not BASE]
    for change in (BASE, TRIVIAL, *others):
        for fold in range(1, FOLDS):
            compute(change, fold)


def fold_splits(tiles: Dataset) -> list[Dataset]:
    """The training tiles, split into train and val, once for each fold; no test tile."""
    learning = tiles.select("train")
    return [
        learning.with_splits(
            {item.id: "train" for item in train} | {item.id: "val" for item in held_out}
        )
        for train, held_out in folds(learning, FOLDS)
    ]


def by_merit(ledger: Ledger, config: Config) -> list[Change]:
    """The rows of the first fold, the one that points best first, of equal ones by mass."""

    def merit(change: Change) -> tuple[float, ...]:
        cell = ledger.find(lift_settings(change, 0, config))
        if cell is None:
            return (-1.0,)
        ours = [cell["maps"][OURS]]
        return tuple(float(np.nanmean(values_of(ours, key))) for key in ("pointing", "mass"))

    return sorted(CHANGES, key=merit, reverse=True)


def _cell(
    change: Change, fold: int, tiles: Dataset, base: Config, work: Path, progress: Progress
) -> dict[str, Any]:
    config = lift_config(change, fold, base)
    label = {"defects": tiles.fingerprint, "fold": fold, "config": config.model_dump(mode="json")}
    grader = trained(tiles, config, work, label, progress)
    val = tiles.select("val")
    # Pixels of one size for all rows: pointing counts what is 15 of them from a defect.
    items = marked(shown_at(grader, base.input.height), val)
    masks = items.pictures(items.masks)
    if change is TRIVIAL:
        rows = trivial_maps_each([box[2:] for box in items.boxes])
        return {"maps": {name: _scores(maps, masks, raw=False) for name, maps in rows.items()}}
    heights = change.heights or (config.input.height,)
    maps = {name: _maps_at(grader, name, heights, val, items) for name in (OURS, BASE_MAP)}
    maps[ABOVE] = maps[OURS] - 1 / len(grader.standard.surface_grades)
    predictions = grader.predict(val)
    given = predictions.logits.argmax(axis=1) if change.arm.by_classifier else predictions.grades
    return {
        "accuracy": float((given == val.labels).mean()),
        "grades": list(items.grades),
        "specimens": list(items.specimens),
        "maps": {
            name: _scores(items.pictures(planes), masks, raw=name != OURS)
            for name, planes in maps.items()
        },
    }


def _scores(maps: Pictures, masks: Pictures, raw: bool) -> dict[str, Any]:
    """Scores for which nothing has to be chosen, of each picture."""
    return {
        "iou": each_score(iou_per_map, maps, masks, raw=raw),
        "pointing": each_score(pointing_per_map, maps, masks),
        "mass": each_score(mass_per_map, maps, masks),
    }


def shown_at(grader: Grader, height: int) -> Grader:
    """The grader with photos shown to it at another size."""
    size = replace(grader.bundle.size, height=height, width=height)
    return Grader(replace(grader.bundle, size=size))


def _maps_at(
    grader: Grader, name: str, heights: Sequence[int], tiles: Dataset, items: Marked
) -> Planes:
    """Maps of the tiles shown at each height, averaged at the size of `items`."""
    planes = []
    for height in heights:
        other = shown_at(grader, height)
        explainer = make_explainers(other, [name])[name]
        maps, _ = maps_of(other, name, explainer, marked(other, tiles))
        planes.append(_resized(maps, items.masks.shape[1:]))
    return np.mean(planes, axis=0, dtype=np.float32)


def _resized(maps: Planes, shape: tuple[int, ...]) -> Planes:
    sized = F.interpolate(
        torch.from_numpy(maps)[:, None], shape, mode="bilinear", align_corners=False
    )
    return sized[:, 0].numpy()
