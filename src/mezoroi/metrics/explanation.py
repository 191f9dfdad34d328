"""Whether a map explains a model: what deleting shows, what survives noise and shuffled weights.

These need no mask. Undefined cases are NaN: a constant map has no order, and a score that is hardly
higher for the image than for nothing cannot fall.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import trapezoid
from scipy.stats import rankdata

from mezoroi.errors import MezoroiError
from mezoroi.metrics.arrays import as_array
from mezoroi.metrics.maps import iou_per_map

Floats = NDArray[np.float64]
Score = Callable[[NDArray[np.float32]], ArrayLike]
"""Takes images (S, C, H, W) and returns one number each, (S,)."""

THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))
_LEAST_FALL = 0.5  # of the range that a score covers on its way from the image to nothing


def deletion_auc(
    score: Score, image: ArrayLike, saliency: ArrayLike, baseline: ArrayLike, steps: int = 20
) -> float:
    """Area under the score while pixels are taken away, most salient first (Petsiuk et al. 2018).

    Parameters
    ----------
    score : of images like `image`
    image : (C, H, W)
    saliency : (H, W)
    baseline : what a pixel taken away becomes; broadcasts to (C, H, W)
    steps : >= 1, equal shares of the pixels

    Returns
    -------
    float in [-1, 2], lower is better: 1 while the score stays as for the image, 0 as for the
    baseline. NaN where the score does not clearly fall: where that of the image is not higher than
    that of the baseline by at least half of the range that all scores on the way cover, so that
    their detours would count for more than the fall; and where the saliency is constant or not
    finite.
    """
    return _area(score, image, saliency, baseline, steps, deletes=True)


def insertion_auc(
    score: Score, image: ArrayLike, saliency: ArrayLike, baseline: ArrayLike, steps: int = 20
) -> float:
    """Area under the score while pixels are put back, most salient first; higher is better.

    Parameters, range and undefined cases are those of `deletion_auc`.
    """
    return _area(score, image, saliency, baseline, steps, deletes=False)


def map_correlation(maps: ArrayLike, others: ArrayLike) -> Floats:
    """Rank correlation (Spearman) of each map with another one of the same image.

    With the maps of a model whose weights were shuffled it is the sanity check of Adebayo et al.
    (2018): near 0 is good. With the maps of slightly noisy images it is stability: near 1 is good.

    Parameters
    ----------
    maps, others : (N, H, W)

    Returns
    -------
    (N,) in [-1, 1]; NaN where either map is constant or not finite

    Raises
    ------
    MezoroiError
        If the shapes differ.
    """
    first, second = (as_array(one).astype(np.float64) for one in (maps, others))
    if first.ndim != 3 or first.shape != second.shape:
        raise MezoroiError(
            f"maps {first.shape} and {second.shape} do not match: give both as (N, H, W)"
        )
    found = np.full(len(first), np.nan)
    for row, pair in enumerate(zip(first, second, strict=True)):
        if not all(np.isfinite(one).all() for one in pair):
            continue
        ranks = [rankdata(one.ravel()) for one in pair]
        if all(np.ptp(rank) > 0 for rank in ranks):
            found[row] = np.corrcoef(*ranks)[0, 1]
    return found


def best_threshold(
    maps: ArrayLike,
    masks: ArrayLike,
    thresholds: Sequence[float] = THRESHOLDS,
    *,
    raw: bool | None = None,
) -> tuple[float, float]:
    """The threshold with the highest mean IoU, to be chosen on validation maps.

    Parameters
    ----------
    maps, masks, raw : as in `mean_iou`
    thresholds : to choose from

    Returns
    -------
    (threshold, mean IoU); both NaN if every mask is empty
    """
    best = (math.nan, math.nan)
    for threshold in thresholds:
        terms = iou_per_map(maps, masks, threshold, raw=raw)
        if np.isnan(terms).all():
            return best
        value = float(np.nanmean(terms))
        if not value <= best[1]:
            best = (float(threshold), value)
    return best


def _area(
    score: Score,
    image: ArrayLike,
    saliency: ArrayLike,
    baseline: ArrayLike,
    steps: int,
    deletes: bool,
) -> float:
    whole = as_array(image).astype(np.float32)
    ranks = as_array(saliency).astype(np.float64)
    if whole.ndim != 3 or ranks.shape != whole.shape[1:] or steps < 1:
        raise MezoroiError(
            f"image {whole.shape}, saliency {ranks.shape}, {steps} steps: "
            "give (C, H, W), (H, W) and at least one step"
        )
    if not np.isfinite(ranks).all() or np.ptp(ranks) == 0:
        return math.nan
    nothing = as_array(baseline).astype(np.float32)
    try:
        nothing = np.broadcast_to(nothing, whole.shape)
    except ValueError as error:
        raise MezoroiError(
            f"a baseline {nothing.shape} does not fit an image {whole.shape}: give one number, or "
            "(C, 1, 1), or an image"
        ) from error
    # Most salient first; pixels of equal value keep their order.
    order = np.empty(ranks.size, np.int64)
    order[np.argsort(-ranks.ravel(), kind="stable")] = np.arange(ranks.size)
    counts = np.rint(np.linspace(0, ranks.size, steps + 1))
    chosen = order.reshape(ranks.shape) < counts[:, None, None]
    first, second = (nothing, whole) if deletes else (whole, nothing)
    images = np.where(chosen[:, None], first, second)
    values = as_array(score(images)).astype(np.float64)
    if values.shape != (len(images),):
        raise MezoroiError(
            f"the score of {len(images)} images is of shape {values.shape}: return one number per "
            "image, such as that of one class"
        )
    start, end = (values[0], values[-1]) if deletes else (values[-1], values[0])
    fall = start - end
    # Said so that scores that are no numbers are undefined, too.
    if not (fall > 0 and fall >= _LEAST_FALL * np.ptp(values)):
        return math.nan
    return float(trapezoid((values - end) / fall, dx=1 / steps))
