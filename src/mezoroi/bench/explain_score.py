"""Maps of a trained grader against experts' masks, as the rows of an explanation table."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from mezoroi.bench.ledger import cell_key
from mezoroi.bundle import GRADER_JSON
from mezoroi.capture.images import read_image
from mezoroi.config import Config
from mezoroi.datasets import Dataset
from mezoroi.explain import Explainer, explain_together
from mezoroi.explaining import grade_target
from mezoroi.grader import Grader
from mezoroi.metrics import (
    best_share,
    best_threshold,
    iou_per_map,
    localization_error,
    map_boxes,
    mask_boxes,
    mass_per_map,
    pointing_per_map,
    trivial_maps,
)
from mezoroi.models.preprocess import fit_image, to_tensor
from mezoroi.progress import Progress, silent
from mezoroi.workflow import train

Planes = NDArray[np.float32]
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
    """

    images: Tensor
    masks: NDArray[np.bool_]
    grades: Sequence[str]
    ids: Sequence[str]
    specimens: Sequence[str]
    boxes: Sequence[tuple[int, int, int, int]]

    def __len__(self) -> int:
        return len(self.ids)

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
            shape = (image.width, image.height)
            shrunk = cv2.resize(mask.astype(np.float32), shape, interpolation=cv2.INTER_AREA)
            # A defect finer than a pixel of the network keeps its largest share.
            inside = shrunk > min(0.5, 0.5 * float(shrunk.max()))
            plane[image.top : image.top + image.height, image.left : image.left + image.width] = (
                inside
            )
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
        start = time.perf_counter()
        raw = explain_together({name: explainer}, image, targets)[name]
        if number <= _TIMED:
            seconds.append(time.perf_counter() - start)
        values = explainer.to_pixels(raw, height, width)[0].float().cpu().numpy()
        planes.append(_inside(values, items.boxes[number]))
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

    Parameters
    ----------
    right : whether the class was found, of the test and of the validation observations

    Returns
    -------
    dict of lists with one value per observation, and the chosen threshold and share
    """
    raw = name != PROBABILITY
    threshold, _ = best_threshold(val_maps, val_items.masks, raw=raw)
    share = best_share(val_maps, mask_boxes(val_items.masks), right[1])
    rows = zip(map_boxes(maps, share), mask_boxes(items.masks), np.asarray(right[0]), strict=True)
    wrong = [localization_error([box], [true], [found]) for box, true, found in rows]
    return {
        "ids": list(items.ids),
        "grades": list(items.grades),
        "specimens": list(items.specimens),
        "iou": iou_per_map(maps, items.masks, raw=raw).tolist(),
        "iou_best": iou_per_map(maps, items.masks, threshold, raw=raw).tolist(),
        "threshold": threshold,
        "pointing": pointing_per_map(maps, items.masks).tolist(),
        "mass": mass_per_map(maps, items.masks).tolist(),
        "localization_error": wrong,
        "share": share,
    }


def score_trivial(items: Marked, val_items: Marked) -> dict[str, dict[str, Any]]:
    """`score_method` for answers that never looked at the image, by name."""
    rows = trivial_maps(items.masks.shape)
    val_rows = trivial_maps(val_items.masks.shape, seed=1)
    never = ([False] * len(items), [False] * len(val_items))
    return {
        name: score_method(PROBABILITY, rows[name], items, val_rows[name], val_items, never)
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


def false_alarms(maps: Planes, val_maps: Planes, val_masks: NDArray[np.bool_]) -> list[float]:
    """Share of each sound picture that is marked, at one threshold on the raw values.

    The threshold is the best one on the validation defects after one fixed scaling, since a map
    scaled by itself always marks something.
    """
    low, high = float(val_maps.min()), float(val_maps.max())
    width = max(high - low, 1e-12)
    scaled = np.clip((val_maps - low) / width, 0, 1)
    threshold, _ = best_threshold(scaled, val_masks, raw=False)
    marks = np.clip((maps - low) / width, 0, 1) > threshold
    shares: list[float] = marks.mean(axis=(1, 2)).tolist()
    return shares


def _inside(values: Planes, box: tuple[int, int, int, int]) -> Planes:
    """A map with its least value beside the picture, where the border is repeated."""
    top, left, height, width = box
    rows, columns = slice(top, top + height), slice(left, left + width)
    plane = np.full_like(values, values[rows, columns].min())
    plane[rows, columns] = values[rows, columns]
    return plane
