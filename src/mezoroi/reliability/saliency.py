"""Saliency maps of the grades that a grader decided, as the clusters take them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mezoroi.bundle import Bundle
from mezoroi.errors import MezoroiError
from mezoroi.explain import OCCLUSION_PRESETS, Explainer, create
from mezoroi.similarity import surface_target

ACTIVATION = "activation-map"
METHODS = (ACTIVATION, "grad-cam", "occlusion", "lime")
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "occlusion": OCCLUSION_PRESETS["coarse"],
    "lime": {"num_samples": 200, "seed": 0},
}
"""Of the slow methods; 200 samples of LIME keep a map within seconds."""


def default_method(bundle: Bundle) -> str:
    """The activation map, which costs nothing, or Grad-CAM for a grader without class channels."""
    return ACTIVATION if bundle.network.channels_per_grade else "grad-cam"


def map_explainer(bundle: Bundle, method: str) -> Explainer | None:
    """What makes the maps of a method; None for activation maps, which grading makes anyway.

    Raises
    ------
    MezoroiError
        If the method is unknown or does not suit the grader.
    """
    if method not in METHODS:
        raise MezoroiError(f"unknown method `{method}`: use {', '.join(METHODS)}")
    if method != ACTIVATION:
        return create(method, bundle.network, **OPTIONS.get(method, {}))
    if not bundle.network.channels_per_grade:
        raise MezoroiError(
            "this grader has no activation maps, it was trained without class channels: "
            "use --method grad-cam"
        )
    return None


def explained_grades(bundle: Bundle, similarity: NDArray, given: NDArray) -> list[int]:
    """Per fruit the index of the surface grade that its map is of.

    The grade given, or, where that is judged on the outline or was added without training, the
    most similar grade that has a place on the surface.
    """
    grades = bundle.standard.grades
    surface = [grades.index(grade) for grade in bundle.trained_standard.surface_grades]
    return [
        int(one) if one in surface else surface[int(np.nanargmax(row[surface]))]
        for one, row in zip(given, similarity, strict=True)
    ]


def chosen_activation_maps(
    bundle: Bundle, maps: NDArray[np.floating], grades: Sequence[int]
) -> NDArray[np.floating]:
    """(N, h, w) of activation maps (N, S, h, w): the one of each fruit's grade."""
    standard = bundle.standard
    surface = bundle.trained_standard.surface_grades
    columns = [surface.index(standard.grades[grade]) for grade in grades]
    return maps[np.arange(len(maps)), columns]


def explained_maps(
    bundle: Bundle, explainer: Explainer, images: Tensor, grades: Sequence[int]
) -> NDArray[np.floating]:
    """(N, h, w) maps of images (N, 3, H, W), each divided by its largest absolute value.

    Gradients and score drops have no common scale: what counts is where they are.
    """
    targets = [surface_target(bundle, bundle.standard.grades[grade]) for grade in grades]
    maps = explainer(images, targets).detach().float().cpu().numpy()
    largest = np.abs(maps).max(axis=(1, 2), keepdims=True)
    return np.asarray(maps / np.where(largest > 0, largest, 1))
