"""The same scores for a run and data of one's own: every method against the experts' masks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mezoroi.bench.explain_melons import OPTIONS
from mezoroi.bench.explain_score import (
    found_right,
    maps_of,
    marked,
    score_method,
    score_trivial,
)
from mezoroi.datasets import Dataset, load_dataset
from mezoroi.errors import MezoroiError
from mezoroi.explainers import choose_explainers
from mezoroi.grader import Grader
from mezoroi.metrics.intervals import bootstrap_interval
from mezoroi.progress import Progress, silent
from mezoroi.workflow import with_splits_of

Row = dict[str, Any]
_SCORES = ("iou", "iou_best", "pointing", "mass", "localization_error")


def score_own_maps(
    run: str | Path,
    data: str | Path,
    methods: str = "all",
    split: str = "test",
    progress: Progress = silent,
) -> tuple[dict[str, Row], list[str]]:
    """Scores of a run's maps of the true grade against the masks of its data.

    Parameters
    ----------
    run : run folder
    data : dataset with masks; those of its split ``val`` choose the best threshold
    methods : names with commas between them, or ``all``
    split : ``test``, or another that has masks

    Returns
    -------
    by method, and by trivial answer that saw no image: the mean of ``iou``, ``iou_best``,
    ``pointing``, ``mass`` and ``localization_error`` over ``count`` fruits, each with ``_interval``
    (95 %, by specimen), for how many of them each was ``undefined``, the means ``per_grade``,
    ``threshold`` that was best, and ``milliseconds`` per map; and a line on each method that does
    not suit the run

    Raises
    ------
    MezoroiError
        Where the split or ``val`` holds no masks.
    """
    grader = Grader.load(run)
    dataset = with_splits_of(grader, load_dataset(data, trainable=False))
    explainers, skipped = choose_explainers(grader, methods, dataset, OPTIONS, progress)
    chosen, choosing = _with_masks(dataset, split, grader), _with_masks(dataset, "val", grader)
    items, val_items = marked(grader, chosen), marked(grader, choosing)
    right = (
        found_right(grader, chosen, items, by_classifier=False),
        found_right(grader, choosing, val_items, by_classifier=False),
    )
    rows: dict[str, Row] = {}
    for name, explainer in explainers.items():
        maps, milliseconds = maps_of(grader, name, explainer, items, progress)
        val_maps, _ = maps_of(grader, name, explainer, val_items, progress)
        scores = score_method(name, maps, items, val_maps, val_items, right)
        rows[name] = {**_summary(scores), "milliseconds": milliseconds}
    for name, scores in score_trivial(items, val_items).items():
        rows[name] = {**_summary(scores), "milliseconds": None}
    return rows, skipped


def own_table(rows: Mapping[str, Row]) -> str:
    """The scores as lines for a terminal."""
    head = f"{'map':24s} {'mIoU (95 %)':>22s} {'best':>6s} {'at':>6s} {'points':>7s} {'mass':>6s}"
    lines = [f"{head} {'ms':>8s}"]
    for name, row in rows.items():
        low, high = row["iou_interval"]
        spent = "" if row["milliseconds"] is None else f"{row['milliseconds']:.1f}"
        iou = f"{row['iou']:.3f} ({low:.3f} to {high:.3f})"
        lines.append(
            f"{name:24s} {iou:>22s} {row['iou_best']:6.3f} {row['threshold']:6.2f} "
            f"{row['pointing']:7.3f} {row['mass']:6.3f} {spent:>8s}"
        )
    lines += _grade_lines(rows)
    lines += [
        f"undefined of {row['count']}, {name}: {listed}"
        for name, row in rows.items()
        if (
            listed := ", ".join(
                f"{key} {count}" for key, count in row["undefined"].items() if count
            )
        )
    ]
    return "\n".join(lines)


def _grade_lines(rows: Mapping[str, Row]) -> list[str]:
    """mIoU at 0.5 of each grade: one that is seldom or small is lost in the mean of all."""
    grades = {grade: own for row in rows.values() for grade, own in row["per_grade"].items()}
    titles = [f"{grade} ({own['count']})" for grade, own in grades.items()]
    lines = ["", f"{'mIoU of each grade':24s} " + " ".join(f"{title:>14s}" for title in titles)]
    for name, row in rows.items():
        values = [row["per_grade"].get(grade, {}).get("iou", math.nan) for grade in grades]
        lines.append(f"{name:24s} " + " ".join(f"{value:14.3f}" for value in values))
    return lines


def _with_masks(dataset: Dataset, split: str, grader: Grader) -> Dataset:
    found = dataset.select(split)
    surface = grader.standard.surface_grades
    masks = (found.mask_of(item) for item in found if item.grade in surface)
    if not any(mask is not None and mask.any() for mask in masks):
        raise MezoroiError(
            f"the split {split} holds no mask of a grade with a place on the surface: give data "
            "with experts' masks (`mask` in the manifest), or another --split"
        )
    return found


def _summary(scores: Mapping[str, Any]) -> Row:
    summary: Row = {"count": len(scores["ids"]), "threshold": scores["threshold"]}
    summary["undefined"] = {name: _undefined(scores[name]) for name in _SCORES}
    grades = np.array(scores["grades"])
    summary["per_grade"] = {
        grade: {
            "count": int((grades == grade).sum()),
            **{name: _mean(np.array(scores[name])[grades == grade]) for name in _SCORES},
        }
        for grade in sorted(set(scores["grades"]))
    }
    for name in _SCORES:
        interval = bootstrap_interval(_mean, scores["specimens"], scores[name])
        summary[name] = interval.value
        summary[f"{name}_interval"] = [interval.low, interval.high]
    return summary


def _undefined(values: ArrayLike) -> int:
    return int(np.isnan(np.asarray(values, float)).sum())


def _mean(values: ArrayLike) -> float:
    """Mean of what is defined, NaN where nothing is."""
    found = np.asarray(values, float)
    found = found[~np.isnan(found)]
    return float(found.mean()) if len(found) else math.nan
