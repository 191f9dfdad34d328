"""Maps of a trained grader against experts' masks, as the rows of an explanation table."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from mezoroi.bench.ledger import cell_key
from mezoroi.bundle import GRADER_JSON
from mezoroi.capture.images import read_image
from mezoroi.config import Config
from mezoroi.datasets import Dataset
from mezoroi.explain import Explainer, explain_together
from mezoroi.explainers import grade_target, untaught
from mezoroi.files import content_hash
from mezoroi.grader import Grader
from mezoroi.metrics import (
    iou_per_map,
    localization_error,
    map_boxes,
    mask_boxes,
    mass_per_map,
    pointing_per_map,
)
from mezoroi.metrics.boxes import SHARES
from mezoroi.metrics.explanation import THRESHOLDS
from mezoroi.metrics.trivial import trivial_maps_each
from mezoroi.models.preprocess import fit_image, to_tensor
from mezoroi.progress import Progress, silent
from mezoroi.workflow import train

Planes = NDArray[np.float32]
Pictures = Sequence[NDArray[Any]]
"""One (h, w) for each observation: what its picture fills of the network's input."""
PROBABILITY = "activation-map"
_TIMED = 5


@dataclass(frozen=True)
class Marked:
    """Observations with an expert's mask of the grade they are explained for.

    Attributes
    ----------
    images : (N, 3, H, W) at network size
    masks : (N, H, W) bool
    grades : the explained grade of each
    ids, specimens : of each
    boxes : (top, left, height, width) that each picture fills; the rest repeats its border
    contents : hash of each one's file; none may teach a method about itself
    """

    images: Tensor
    masks: NDArray[np.bool_]
    grades: Sequence[str]
    ids: Sequence[str]
    specimens: Sequence[str]
    boxes: Sequence[tuple[int, int, int, int]]
    contents: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def pictures(self, planes: NDArray[Any]) -> list[NDArray[Any]]:
        """Of each plane (N, H, W) the box of its picture; beside it lies nothing to be scored."""
        return [
            plane[top : top + height, left : left + width]
            for plane, (top, left, height, width) in zip(planes, self.boxes, strict=True)
        ]

    def every(self, step: int) -> Marked:
        """Every `step`-th of them."""
        rows = slice(None, None, step)
        fields = {name: values[rows] for name, values in vars(self).items()}
        return Marked(**fields)


def marked(grader: Grader, dataset: Dataset, grade: str | None = None) -> Marked:
    """The observations of a dataset whose grade has a place on the surface and a mask.

    Parameters
    ----------
    grade : explain this grade for observations without a mask of their own, such as sound fruit
    """
    size = grader.bundle.size
    fitted, masks, items = [], [], []
    for item in dataset:
        if grade is None and item.grade not in grader.standard.surface_grades:
            continue
        mask = dataset.mask_of(item)
        if grade is None and (mask is None or not mask.any()):
            continue
        image = fit_image(read_image(item.image), size.height, size.width)
        plane = np.zeros((size.height, size.width), bool)
        if mask is not None and mask.any():
            plane = image.fit_mask(mask)
        fitted.append(image)
        masks.append(plane)
        items.append(item)
    return Marked(
        to_tensor([image.pixels for image in fitted]),
        np.stack(masks),
        [grade or item.grade for item in items],
        [item.id for item in items],
        [item.specimen for item in items],
        [(image.top, image.left, image.height, image.width) for image in fitted],
        [content_hash(item.image) for item in items],
    )


def trained(
    learning: Dataset, config: Config, work: Path, label: Mapping[str, Any], progress: Progress
) -> Grader:
    """The grader of a cell, trained once and kept while the bench runs."""
    run = work / "explain-runs" / cell_key(label)
    if (run / GRADER_JSON).exists():
        return Grader.load(run)
    return train(learning, config, run, resume=run.exists(), progress=progress)


def maps_of(
    grader: Grader, name: str, explainer: Explainer, items: Marked, progress: Progress = silent
) -> tuple[Planes, float]:
    """(N, H, W) maps of every observation's grade at network size, and milliseconds for one."""
    height, width = items.images.shape[2:]
    planes, seconds = [], []
    for number in range(len(items)):
        image = items.images[number : number + 1].to(grader.device)
        targets = {name: [grade_target(grader, items.grades[number])]}
        chosen: dict[str, Explainer] = {name: explainer}
        if items.contents:
            chosen = untaught(chosen, items.contents[number])
        start = _now(grader.device)
        raw = explain_together(chosen, image, targets)[name]
        spent = _now(grader.device) - start
        if number <= _TIMED:
            seconds.append(spent)
        planes.append(explainer.to_pixels(raw, height, width)[0].float().cpu().numpy())
        progress(name, number + 1, len(items))
    return np.stack(planes), 1000 * median(seconds[1:] or seconds)


def score_method(
    name: str,
    maps: Planes,
    items: Marked,
    val_maps: Planes,
    val_items: Marked,
    right: tuple[ArrayLike, ArrayLike],
) -> dict[str, Any]:
    """Scores of a method's maps; what has to be chosen is chosen on the validation maps.

    Maps and masks are cut to their pictures first.

    Parameters
    ----------
    maps, val_maps : (N, H, W) at network size
    right : whether the class was found, of the test and of the validation observations

    Returns
    -------
    dict of lists with one value per observation, and the chosen threshold and share
    """
    shown, val_shown = items.pictures(maps), val_items.pictures(val_maps)
    return _scores(shown, items, val_shown, val_items, right, raw=name != PROBABILITY)


def score_trivial(
    items: Marked, val_items: Marked, right: bool = False
) -> dict[str, dict[str, Any]]:
    """`score_method` for answers that never looked at the image, by name.

    Their class is wrong, or, for the errors of their boxes, `right`.
    """
    rows = trivial_maps_each([box[2:] for box in items.boxes])
    val_rows = trivial_maps_each([box[2:] for box in val_items.boxes], seed=1)
    each = ([right] * len(items), [right] * len(val_items))
    return {
        name: _scores(rows[name], items, val_rows[name], val_items, each, raw=False)
        for name in rows
    }


def found_right(
    grader: Grader, dataset: Dataset, items: Marked, by_classifier: bool
) -> NDArray[np.bool_]:
    """(N,) whether the grader gives each marked observation its own grade."""
    rows = {item.id: item for item in dataset}
    chosen = replace(dataset, observations=tuple(rows[name] for name in items.ids))
    predictions = grader.predict(chosen)
    given = predictions.logits.argmax(axis=1) if by_classifier else predictions.grades
    truth = np.array([grader.standard.grades.index(item.grade) for item in chosen])
    return np.asarray(given == truth)


def false_alarms(maps: Pictures, val_maps: Pictures, val_masks: Pictures) -> list[float]:
    """Share of each sound picture that is marked, at one threshold on the raw values.

    The threshold is the best one on the validation defects after one fixed scaling, since a map
    scaled by itself always marks something.

    Parameters
    ----------
    maps, val_maps, val_masks : one (h, w) for each picture, without what lies beside it
    """
    low = min(float(one.min()) for one in val_maps)
    high = max(float(one.max()) for one in val_maps)

    def scaled(planes: Pictures) -> Pictures:
        return [np.clip((one - low) / max(high - low, 1e-12), 0, 1) for one in planes]

    threshold = _best_threshold(scaled(val_maps), val_masks, raw=False)
    return [float((one > threshold).mean()) for one in scaled(maps)]


def _scores(
    maps: Pictures,
    items: Marked,
    val_maps: Pictures,
    val_items: Marked,
    right: tuple[ArrayLike, ArrayLike],
    raw: bool,
) -> dict[str, Any]:
    masks, val_masks = items.pictures(items.masks), val_items.pictures(val_items.masks)
    threshold = _best_threshold(val_maps, val_masks, raw)
    share = _best_share(val_maps, _true_boxes(val_masks), right[1])
    boxes = _boxes(maps, share)
    rows = zip(boxes, _true_boxes(masks), np.asarray(right[0]), strict=True)
    wrong = [localization_error([box], [true], [found]) for box, true, found in rows]
    return {
        "ids": list(items.ids),
        "grades": list(items.grades),
        "specimens": list(items.specimens),
        "iou": each_score(iou_per_map, maps, masks, raw=raw),
        "iou_best": each_score(iou_per_map, maps, masks, threshold=threshold, raw=raw),
        "threshold": threshold,
        "pointing": each_score(pointing_per_map, maps, masks),
        "mass": each_score(mass_per_map, maps, masks),
        "localization_error": wrong,
        "share": share,
    }


def each_score(
    score: Callable[..., NDArray[np.float64]], maps: Pictures, masks: Pictures, **options: Any
) -> list[float]:
    """A score of maps that differ in size."""
    pairs = zip(maps, masks, strict=True)
    return [float(score(one[None], mask[None], **options)[0]) for one, mask in pairs]


def _best_threshold(maps: Pictures, masks: Pictures, raw: bool) -> float:
    """As `metrics.best_threshold`, of maps that differ in size."""
    table = [each_score(iou_per_map, maps, masks, threshold=one, raw=raw) for one in THRESHOLDS]
    return _chosen(THRESHOLDS, [-_mean(row) for row in table])


def _best_share(maps: Pictures, true_boxes: NDArray[np.float64], right: ArrayLike) -> float:
    """As `metrics.best_share`, of maps that differ in size."""
    errors = [localization_error(_boxes(maps, one), true_boxes, right) for one in SHARES]
    return _chosen(SHARES, errors)


def _chosen(values: Sequence[float], costs: Sequence[float]) -> float:
    """The first of the values with the least cost; NaN where no cost is defined."""
    return math.nan if np.isnan(costs).all() else values[int(np.nanargmin(costs))]


def _mean(values: Sequence[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    return sum(defined) / len(defined) if defined else math.nan


def _boxes(maps: Pictures, share: float) -> NDArray[np.float64]:
    """(N, 4) boxes of maps; undefined where no share could be chosen."""
    if math.isnan(share):
        return np.full((len(maps), 4), np.inf)
    return np.concatenate([map_boxes(one[None], share) for one in maps])


def _true_boxes(masks: Pictures) -> NDArray[np.float64]:
    return np.concatenate([mask_boxes(one[None]) for one in masks])


def _now(device: torch.device) -> float:
    """Seconds, once a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
