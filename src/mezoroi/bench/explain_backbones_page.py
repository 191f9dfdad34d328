"""The section of docs/results/explain.md on CAM and Dist-CAM of the same networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mezoroi.bench.cells import ARCFACE, SOFTMAX
from mezoroi.bench.explain_backbones import (
    BACKBONES,
    BEHIND_RELU,
    BUDGET,
    CLASSIFIER,
    MEAN,
    NEAREST,
    OTHER,
    PER_GRADE,
    SIMILAR,
    STEEL,
    STEEL_BUDGET,
    TRIVIAL,
    Settings,
    backbones_config,
    backbones_settings,
    steel_settings,
)
from mezoroi.bench.ledger import Ledger
from mezoroi.bench.melons import REPEATS, TEST_PER_GRADE
from mezoroi.bench.tables import MISSING, mean_text, table
from mezoroi.config import Config
from mezoroi.metrics.intervals import bootstrap_interval

_HEAD = [
    "backbone",
    "map",
    "network",
    "class by",
    "accuracy",
    "top-1 error",
    "box error of rightly graded",
    "box error",
    "mIoU at 0.5",
    "pointing",
]
_SCORES = {"top1": "top-1 error", "box": "box error", "iou": "mIoU", "pointing": "pointing"}


@dataclass(frozen=True)
class Arrangement:
    """A map, the network it explains, and who says the class."""

    method: str
    arm: str
    rule: str


CAM = Arrangement("cam", SOFTMAX.name, CLASSIFIER)
SAME = Arrangement("dist-cam", SOFTMAX.name, NEAREST)
METRIC = Arrangement("dist-cam", ARCFACE.name, SIMILAR)
COMPARED = (SAME, replace(SAME, method=BEHIND_RELU), METRIC, replace(METRIC, method=BEHIND_RELU))
ARRANGEMENTS = (CAM, *COMPARED, replace(SAME, method=OTHER), replace(SAME, method=MEAN))
Scores = Mapping[str, Any]


@dataclass(frozen=True)
class Tables:
    """What a ledger holds of one set of pictures.

    Attributes
    ----------
    rows, differences : of the two tables
    by_chance : networks that are not shown to grade better than chance
    """

    rows: list[list[str]]
    differences: list[list[str]]
    by_chance: list[str]

    def text(self) -> str:
        """Both tables, and what to make of them."""
        return "\n".join(
            [
                table(_HEAD, self.rows),
                "Dist-CAM minus CAM on the same pictures (errors: below 0 is better; mIoU and "
                "pointing: above 0 is better), bold where the interval does not hold zero:\n",
                table(["backbone", "map", "network", "seeds", *_SCORES.values()], self.differences),
                "Networks that are not shown to grade better than chance, whose maps explain "
                f"nothing: {'; '.join(self.by_chance) or 'none of those run'}.\n",
            ]
        )


def backbones_section(
    ledger: Ledger,
    config: Config | None = None,
    per_grade: int = PER_GRADE,
    steel_config: Config | None = None,
) -> str:
    """Tables of each backbone and the paired differences; missing cells are marked so."""
    config = config or backbones_config()
    steel_config = steel_config or backbones_config(STEEL_BUDGET)
    melons = _tables(ledger, partial(backbones_settings, base=config, per_grade=per_grade))
    steel = _tables(ledger, partial(steel_settings, base=steel_config))
    recipes = "; ".join(f"{name} {_recipe(own)}" for name, own in BACKBONES.items())
    held_out = min(TEST_PER_GRADE, max(1, per_grade // 4))
    return "\n".join(
        [
            "## CAM and Dist-CAM of the same network\n",
            "CAM and Dist-CAM read the same layer, the last one, which the embedding pools, of "
            "networks without class channels. *Class by*: the softmax head; the prototype nearest "
            "to the pooled layer, as in the paper, once the head is dropped; the prototype most "
            "similar to the ArcFace embedding. *Box error*: box of the map of the true grade with "
            "IoU below 0.5, at the share of the maximum chosen for it on validation; *top-1 "
            "error*: that, or the wrong class. Some rows tell what Dist-CAM's weights do: *behind "
            "a ReLU*, as the paper's layers are, and that of ResNet is anyway; the weights of "
            "*another grade* than the true one; equal weights, the *mean* of the layer behind a "
            "ReLU. The paper, on ImageNet: ResNet-18 CAM 59.5 %, Dist-CAM of a network trained by "
            "metric learning 56.7 %; ResNet-50 56.2 and 54.7 %.\n",
            "### Made-up melons, Dist-CAM\n",
            f"The three grades judged on the surface, {per_grade} of each, of which {held_out} "
            f"test; settings {', '.join(BUDGET)}. {recipes}.\n",
            melons.text(),
            "### Steel, Dist-CAM\n",
            f"`{STEEL}`, its published split, three defects with masks; settings "
            f"{', '.join(STEEL_BUDGET)}, and as above but for the number of epochs.\n",
            steel.text(),
        ]
    )


def _tables(ledger: Ledger, settings: Settings) -> Tables:
    """The rows of every backbone, from what the ledger has."""
    tables = Tables([], [], [])
    for backbone in BACKBONES:
        found = {
            row: {
                repeat: cell
                for repeat in REPEATS
                if (cell := ledger.find(settings(backbone, row, repeat)))
            }
            for row in (SOFTMAX.name, ARCFACE.name, TRIVIAL)
        }
        scores = {
            one: {repeat: _scores(cell, one) for repeat, cell in found[one.arm].items()}
            for one in ARRANGEMENTS
        }
        tables.rows.extend(_row(backbone, one, list(scores[one].values())) for one in ARRANGEMENTS)
        tables.rows.extend(_trivial_rows(backbone, list(found[TRIVIAL].values())))
        tables.differences.extend(
            _difference(backbone, one, scores[one], scores[CAM]) for one in COMPARED
        )
        tables.by_chance.extend(
            f"{backbone}, {one.arm}, by its {one.rule}"
            for one in (CAM, SAME, METRIC)
            if scores[one] and not _beats_chance(list(scores[one].values()))
        )
    return tables


def _recipe(own: Mapping[str, Mapping[str, Any]]) -> str:
    start = {"none": "is trained from scratch", "package": "starts from ImageNet weights"}
    settings = ", ".join(f"train.{key}={value}" for key, value in own.get("train", {}).items())
    text = start[own["model"]["weights"]]
    return f"{text}, with {settings}" if settings else text


def _scores(cell: Mapping[str, Any], arrangement: Arrangement) -> Scores:
    """The scores of one cell by observation; an error of the box is one of top-1, too."""
    row = cell["rows"][arrangement.method]
    right = np.array(cell["right"][arrangement.rule], bool)
    box = np.array(row["localization_error"], float)
    return {
        "right": right,
        "top1": np.where(right, box, 1.0),
        "box": box,
        "box of right": box[right],
        "iou": np.array(row["iou"], float),
        "pointing": np.array(row["pointing"], float),
        "specimens": row["specimens"],
        "grades": row["grades"],
    }


def _beats_chance(scores: Sequence[Scores]) -> bool:
    """Whether the whole interval of the accuracy lies above that of guessing."""
    right = np.concatenate([cell["right"] for cell in scores])
    groups = [name for cell in scores for name in cell["specimens"]]
    chance = 1 / len({grade for cell in scores for grade in cell["grades"]})
    return bootstrap_interval(np.mean, groups, right.astype(float)).low > chance


def _row(backbone: str, one: Arrangement, scores: Sequence[Scores]) -> list[str]:
    start = [backbone, one.method, one.arm, one.rule]
    if not scores:
        return [*start, MISSING, *[""] * (len(_HEAD) - len(start) - 1)]
    accuracy = np.mean(np.concatenate([cell["right"] for cell in scores]))
    keys = ("top1", "box of right", "box", "iou", "pointing")
    return [*start, f"{accuracy:.1%}", *(mean_text(scores, key) for key in keys)]


def _trivial_rows(backbone: str, cells: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    if not cells:
        return []
    keys = ("localization_error", "iou", "pointing")
    return [
        [
            backbone,
            f"*{name}*",
            *[""] * 5,
            *(mean_text([cell[name] for cell in cells], key) for key in keys),
        ]
        for name in cells[0]
    ]


def _difference(
    backbone: str, one: Arrangement, scores: Mapping[int, Scores], cam: Mapping[int, Scores]
) -> list[str]:
    seeds = [repeat for repeat in scores if repeat in cam]
    start = [backbone, one.method, one.arm, f"{len(seeds)} of {len(REPEATS)}"]
    if not seeds:
        return [*start, MISSING, *[""] * (len(_SCORES) - 1)]
    groups = [name for repeat in seeds for name in cam[repeat]["specimens"]]
    joined = {
        key: np.concatenate([scores[repeat][key] - cam[repeat][key] for repeat in seeds])
        for key in _SCORES
    }
    return [*start, *(_interval(groups, values) for values in joined.values())]


def _interval(groups: Sequence[str], values: NDArray[Any]) -> str:
    found = bootstrap_interval(np.nanmean, groups, values)
    text = f"{found.value:+.3f} ({found.low:+.3f} to {found.high:+.3f})"
    return f"**{text}**" if found.excludes_zero else text
