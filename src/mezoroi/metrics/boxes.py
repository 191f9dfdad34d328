"""Boxes from maps and masks, for localization errors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import find_objects, label

from mezoroi.errors import MezoroiError
from mezoroi.metrics.arrays import as_array
from mezoroi.metrics.maps import localization_error

SHARES = tuple(round(0.05 * step, 2) for step in range(1, 20))


def map_boxes(maps: ArrayLike, share: float) -> NDArray[np.float64]:
    """The box around the largest connected region above a share of each map's maximum.

    Parameters
    ----------
    maps : (N, H, W)
    share : in (0, 1)

    Returns
    -------
    (N, 4) as x0, y0, x1, y1, edges of pixels; NaN for a map without positive values, where there is
    no box, infinity for one that holds NaN or infinity, of which nothing can be said
    """
    values = as_array(maps).astype(np.float64)
    if values.ndim != 3 or not 0 < share < 1:
        raise MezoroiError(
            f"maps {values.shape} at share {share}: give (N, H, W) and 0 < share < 1"
        )
    undefined = np.asarray(~np.isfinite(values).all(axis=(1, 2)))
    values = np.where(undefined[:, None, None], 0, values)
    tops = values.max(axis=(1, 2), keepdims=True, initial=0)
    boxes = mask_boxes((values > share * tops) & (tops > 0))
    boxes[undefined] = np.inf
    return boxes


def mask_boxes(masks: ArrayLike) -> NDArray[np.float64]:
    """(N, 4) box around the largest connected region of each (N, H, W) mask; NaN where empty."""
    inside = as_array(masks).astype(bool)
    boxes = np.full((len(inside), 4), np.nan)
    for row, mask in enumerate(inside):
        regions: Any = label(mask)[0]
        if not mask.any():
            continue
        largest = int(np.bincount(regions.ravel())[1:].argmax())
        height, width = find_objects(regions)[largest]
        boxes[row] = width.start, height.start, width.stop, height.stop
    return boxes


def best_share(
    maps: ArrayLike,
    true_boxes: ArrayLike,
    correct_class: ArrayLike,
    shares: Sequence[float] = SHARES,
) -> float:
    """The share of the maximum with the lowest localization error, to be chosen on validation.

    NaN where no error is defined, as without a true box.
    """
    errors = [localization_error(map_boxes(maps, one), true_boxes, correct_class) for one in shares]
    return math.nan if np.isnan(errors).all() else float(shares[int(np.nanargmin(errors))])
