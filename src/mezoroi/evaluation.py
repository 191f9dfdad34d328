"""How good a grader is on a split: grades, maps against experts' masks, likeness."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from mezoroi.datasets import Dataset
from mezoroi.errors import MezoroiError
from mezoroi.grader import Grader, Predictions
from mezoroi.maps import upsample_maps
from mezoroi.metrics.grading import grading_report
from mezoroi.metrics.intervals import bootstrap_interval
from mezoroi.metrics.maps import iou_per_map
from mezoroi.metrics.trivial import trivial_maps_each
from mezoroi.models.preprocess import fit_mask, picture_box
from mezoroi.progress import Progress, silent

SECONDARY = "secondary"
"""Manifest column with the grade whose features a fruit shows besides its own."""


def evaluate(
    grader: Grader, dataset: Dataset, progress: Progress = silent, n_resamples: int = 2000
) -> dict[str, Any]:
    """Score a grader on a dataset.

    Returns
    -------
    dict, ready for JSON
        ``grading`` (see `grading_report`), ``maps`` (mIoU beside the trivial rows, None where the
        dataset has no masks or the model no maps) and ``likeness`` (the paper's table of fruits
        with features of several grades).

    Raises
    ------
    MezoroiError
        If the grades differ from the grader's, or the dataset cannot be read.
    """
    if set(dataset.standard.grades) - set(grader.standard.grades):
        raise MezoroiError(
            f"the dataset has grades {', '.join(dataset.standard.grades)}, the grader "
            f"{', '.join(grader.standard.grades)}: evaluate with the standard it was trained on"
        )
    predictions = grader.predict(dataset, progress=progress)
    return {
        "observations": len(dataset),
        "specimens": len(set(dataset.specimens)),
        "fingerprint": dataset.fingerprint,
        "grading": grading_report(
            true_grades(grader, dataset),
            predictions.grades,
            grader.standard.grades,
            dataset.specimens,
            grader.standard.ordered,
            n_resamples,
        ),
        "maps": score_maps(grader, dataset, predictions, n_resamples),
        "likeness": score_likeness(grader, dataset, predictions),
    }


def true_grades(grader: Grader, dataset: Dataset) -> np.ndarray:
    """(N,) index of each observation's grade in the grader's standard.

    Raises
    ------
    MezoroiError
        If the grader does not know a grade.
    """
    numbers = {grade: number for number, grade in enumerate(grader.standard.grades)}
    for item in dataset:
        if item.grade not in numbers:
            raise MezoroiError(
                f"{item.id} is of grade {item.grade}, the grader knows {', '.join(numbers)}: "
                "leave such fruits out, or add the grade from examples first"
            )
    return np.array([numbers[item.grade] for item in dataset])


def score_maps(
    grader: Grader, dataset: Dataset, predictions: Predictions, n_resamples: int = 2000
) -> dict[str, Any] | None:
    """IoU of the activation map of the true grade at 0.5 with the expert's mask.

    Both are compared at the network's input size, within the picture: what repeats its border
    beside it is no answer to anything. Observations without a mask for their grade are
    left out and counted.
    """
    surface = grader.bundle.trained_standard.surface_grades
    if not predictions.maps.shape[1]:
        return None
    size = (grader.bundle.size.height, grader.bundle.size.width)
    wraps, grid = grader.bundle.size.wraps, grader.network.encoder.grid
    chosen, maps, masks = [], [], []
    for index, item in enumerate(dataset):
        mask = dataset.mask_of(item) if item.grade in surface else None
        if mask is None or not mask.any():
            continue
        cells = torch.from_numpy(predictions.maps[index : index + 1, [surface.index(item.grade)]])
        chosen.append(index)
        top, left, height, width = picture_box(mask.shape[0], mask.shape[1], *size)
        picture = slice(top, top + height), slice(left, left + width)
        maps.append(upsample_maps(cells, *size, wraps, grid)[0, 0].numpy()[picture])
        masks.append(fit_mask(mask, *size)[picture])
    if not chosen:
        return None
    grades = np.array([dataset.observations[index].grade for index in chosen])
    groups = np.array(dataset.specimens)[chosen]
    rows = {"activation map": maps, **trivial_maps_each([mask.shape for mask in masks])}
    scores = {
        name: np.concatenate(
            [
                iou_per_map(one[None], mask[None], raw=False)
                for one, mask in zip(values, masks, strict=True)
            ]
        )
        for name, values in rows.items()
    }
    interval = bootstrap_interval(
        np.nanmean, groups, scores["activation map"], n_resamples=n_resamples
    )
    return {
        "masks": len(chosen),
        "without_mask": len(dataset) - len(chosen),
        "undefined": int(np.isnan(scores["activation map"]).sum()),
        "mean_iou": {"value": interval.value, "low": interval.low, "high": interval.high},
        "per_grade": {
            name: {
                grade: float(np.nanmean(values[grades == grade]))
                for grade in surface
                if (grades == grade).any()
            }
            for name, values in scores.items()
        },
        "overall": {name: float(np.nanmean(values)) for name, values in scores.items()},
    }


def score_likeness(grader: Grader, dataset: Dataset, predictions: Predictions) -> dict[str, Any]:
    """How many fruits resemble several grades or none, and whether the second is right.

    The second most similar grade is compared with the manifest's column ``secondary``, for the
    fruits that have one and whose own grade was found.
    """
    grades = grader.standard.grades
    thresholds = grader.bundle.prototypes.thresholds.numpy()
    likeness = (predictions.similarity >= thresholds).sum(axis=1)
    truth = true_grades(grader, dataset)
    order = np.argsort(-predictions.similarity, axis=1)
    table = {}
    for index, grade in enumerate(grades):
        own = truth == index
        table[grade] = {
            "fruits": int(own.sum()),
            "resemble_several": int((likeness[own] >= 2).sum()),
            "unlike_all": int((likeness[own] == 0).sum()),
        }
    agreement = {}
    for index, grade in enumerate(grades):
        hits = [
            grades[order[row, 1]] == item.extra[SECONDARY]
            for row, item in enumerate(dataset)
            if truth[row] == index == order[row, 0] and item.extra.get(SECONDARY) in grades
        ]
        agreement[grade] = {"fruits": len(hits), "agree": int(sum(hits))}
    fruits = sum(entry["fruits"] for entry in agreement.values())
    return {
        "per_grade": table,
        "second_grade": {
            "per_grade": agreement,
            "fruits": fruits,
            "share": sum(e["agree"] for e in agreement.values()) / fruits if fruits else None,
        },
    }
