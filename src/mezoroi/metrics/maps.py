"""How well maps point at the annotated region.

Everywhere: maps are (N, H, W) finite numbers, masks (N, H, W) with non-zero inside; torch tensors
are accepted. A map with an empty mask has no right answer: it scores NaN and is left
out of the mean, never counted as a hit or a miss; the ``*_per_map`` functions show which those are.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import distance_transform_edt

from mezoroi.errors import MezoroiError
from mezoroi.metrics.arrays import as_array

Floats = NDArray[np.float64]
BOX_IOU = 0.5
ROUNDING = 1e-6  # a softmax in float32 may end just above 1


def mean_iou(
    maps: ArrayLike, masks: ArrayLike, threshold: float = 0.5, *, raw: bool | None = None
) -> float:
    """Mean intersection over union of ``map > threshold`` and the mask (melon paper, table 1).

    Parameters
    ----------
    maps : (N, H, W); raw maps are min-max scaled one by one first, probabilities are not
    masks : (N, H, W)
    threshold : a map value strictly above it is marked
    raw : None takes all maps as raw if any value of any map lies outside [0, 1]. Say True for raw
        maps that may by chance stay inside it, such as Grad-CAM's. A constant raw map has no range
        and is scaled to zeros: it marks nothing.

    Returns
    -------
    float in [0, 1], higher is better; NaN if every mask is empty

    Raises
    ------
    MezoroiError
        If shapes differ or a map holds NaN or infinity.
    """
    return _defined_mean(iou_per_map(maps, masks, threshold, raw=raw))


def iou_per_map(
    maps: ArrayLike, masks: ArrayLike, threshold: float = 0.5, *, raw: bool | None = None
) -> Floats:
    """The (N,) terms of `mean_iou`; NaN where the mask is empty or the threshold is NaN."""
    values, inside = _checked(maps, masks)
    if raw is None:
        raw = bool(values.size) and bool(values.min() < -ROUNDING or values.max() > 1 + ROUNDING)
    marked = (_min_max_scaled(values) if raw else values) > threshold
    overlap = (marked & inside).sum(axis=(1, 2))
    union = (marked | inside).sum(axis=(1, 2))
    defined = inside.any(axis=(1, 2)) & (not math.isnan(threshold))
    return np.where(defined, overlap / np.maximum(union, 1), np.nan)


def pointing_game(maps: ArrayLike, masks: ArrayLike, tolerance: float = 15) -> float:
    """Share of maps whose maximum lies in the mask or near it (Zhang et al. 2016).

    Parameters
    ----------
    maps, masks : (N, H, W)
    tolerance : pixels between the maximum and the mask that still count as a hit

    Returns
    -------
    float in [0, 1], higher is better; NaN if every mask is empty. Where several positions share the
    maximum, the hit is the share of them that hit: a constant map scores what blind pointing would.
    """
    return _defined_mean(pointing_per_map(maps, masks, tolerance))


def pointing_per_map(maps: ArrayLike, masks: ArrayLike, tolerance: float = 15) -> Floats:
    """The (N,) terms of `pointing_game`; NaN where the mask is empty."""
    values, inside = _checked(maps, masks)
    if not tolerance >= 0:
        raise MezoroiError(f"tolerance is {tolerance}: give a distance of 0 pixels or more")
    hits = np.full(len(values), np.nan)
    for row, (one_map, mask) in enumerate(zip(values, inside, strict=True)):
        if mask.any():
            near = distance_transform_edt(~mask) <= tolerance
            hits[row] = near[one_map == one_map.max()].mean()
    return hits


def relevance_mass(maps: ArrayLike, masks: ArrayLike) -> float:
    """Mean share of the positive relevance that lies inside the mask (Arras et al. 2022).

    Parameters
    ----------
    maps, masks : (N, H, W); negative relevance speaks against the grade and is left out

    Returns
    -------
    float in [0, 1], higher is better; NaN if no map has both a mask and positive relevance
    """
    return _defined_mean(mass_per_map(maps, masks))


def mass_per_map(maps: ArrayLike, masks: ArrayLike) -> Floats:
    """The (N,) terms of `relevance_mass`; NaN where the mask is empty or nothing is positive."""
    values, inside = _checked(maps, masks)
    positive = np.maximum(values, 0)
    total = positive.sum(axis=(1, 2))
    within = (positive * inside).sum(axis=(1, 2))
    defined = inside.any(axis=(1, 2)) & (total > 0)
    return np.where(defined, within / np.where(total > 0, total, 1), np.nan)


def localization_error(boxes: ArrayLike, true_boxes: ArrayLike, correct_class: ArrayLike) -> float:
    """Top-1 localization error: share of wrong class or box IoU below 0.5 (Dist-CAM, table 1).

    Parameters
    ----------
    boxes, true_boxes : (N, 4) as x0, y0, x1, y1 with x0 <= x1 and y0 <= y1, continuous coordinates;
        a row of NaN is a box that was not found (an error) or not annotated (left out), one of
        infinity the box of an undefined map (left out)
    correct_class : (N,) bool, whether the class is right

    Returns
    -------
    float in [0, 1], lower is better; NaN if no true box has an area and a defined map

    Raises
    ------
    MezoroiError
        If shapes differ or a box is turned inside out.
    """
    found, true = _checked_boxes("boxes", boxes), _checked_boxes("true_boxes", true_boxes)
    right = as_array(correct_class)
    if found.shape != true.shape or right.shape != (len(true),):
        raise MezoroiError(
            f"boxes {found.shape}, true_boxes {true.shape} and correct_class {right.shape} "
            "do not match: give one of each per image"
        )
    undefined = np.asarray(np.isinf(found).any(axis=1))
    found = np.where(undefined[:, None], np.nan, found)
    sides = np.minimum(found[:, 2:], true[:, 2:]) - np.maximum(found[:, :2], true[:, :2])
    overlap = np.maximum(sides, 0).prod(axis=1)
    true_area = (true[:, 2:] - true[:, :2]).prod(axis=1)
    union = (found[:, 2:] - found[:, :2]).prod(axis=1) + true_area - overlap
    defined = (true_area > 0) & ~undefined
    localized = np.zeros(len(true), bool)
    np.greater_equal(overlap, BOX_IOU * union, out=localized, where=defined)
    return _defined_mean(np.where(defined, ~(localized & right.astype(bool)), np.nan))


def _checked(maps: ArrayLike, masks: ArrayLike) -> tuple[Floats, NDArray[np.bool_]]:
    values, mask_values = as_array(maps), as_array(masks)
    if values.ndim != 3 or values.shape != mask_values.shape:
        raise MezoroiError(
            f"maps {values.shape} and masks {mask_values.shape} do not match: "
            "give both as (N, H, W), resized to the same size"
        )
    if values.size == 0 and len(values):
        raise MezoroiError(f"maps of shape {values.shape} hold no position: give larger maps")
    if not np.isfinite(values).all():
        raise MezoroiError("a map holds NaN or infinity: leave it out or correct the explainer")
    if not np.isfinite(mask_values).all():
        raise MezoroiError("a mask holds NaN or infinity: use zero outside and one inside")
    return values.astype(np.float64), mask_values.astype(bool)


def _checked_boxes(name: str, boxes: Any) -> Floats:
    corners = as_array(boxes).astype(np.float64)
    if corners.ndim != 2 or corners.shape[1] != 4:
        raise MezoroiError(f"{name} has shape {corners.shape}: give (N, 4) as x0, y0, x1, y1")
    if (corners[:, 2:] < corners[:, :2]).any():
        raise MezoroiError(f"{name} holds a box with x1 < x0 or y1 < y0: give x0, y0, x1, y1")
    return corners


def _min_max_scaled(values: Floats) -> Floats:
    low = values.min(axis=(1, 2), keepdims=True)
    width = values.max(axis=(1, 2), keepdims=True) - low
    scaled: Floats = (values - low) / np.where(width > 0, width, 1)
    return scaled


def _defined_mean(terms: NDArray[Any]) -> float:
    defined = terms[~np.isnan(terms)]
    return float(defined.mean()) if len(defined) else math.nan
