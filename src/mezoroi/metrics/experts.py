"""How well experts agree with each other: the ceiling of any map scored by their masks."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mezoroi.errors import MezoroiError


def expert_ceiling(
    votes: ArrayLike, num_experts: int = 3, *, ties: bool = False
) -> NDArray[np.float64]:
    """IoU of each expert with the majority of the others, from the votes alone.

    Who voted need not be known: a pixel with v votes lies in v experts' masks, and for each of
    those the others gave v - 1 votes, for the rest v. Intersections and unions are added up over
    the experts of an image before they are divided.

    Parameters
    ----------
    votes : (N, H, W) whole numbers of experts that marked a pixel
    num_experts : >= 2
    ties : whether half of the others are a majority; of three experts the others are two, which
        are a majority together, or, with True, each alone

    Returns
    -------
    (N,) in [0, 1]; NaN where nobody marked anything

    Raises
    ------
    MezoroiError
        If there are more votes than experts.
    """
    planes = np.asarray(votes)
    if planes.ndim != 3 or planes.dtype.kind not in "iub" or num_experts < 2:
        raise MezoroiError(
            f"votes {planes.shape} {planes.dtype} of {num_experts} experts: give whole numbers "
            "(N, H, W)"
        )
    if planes.size and not 0 <= planes.min() <= planes.max() <= num_experts:
        raise MezoroiError(
            f"votes run from {planes.min()} to {planes.max()}: there are {num_experts} experts"
        )
    given = np.arange(num_experts + 1)
    others = num_experts - 1

    def majority(number: NDArray[np.int64]) -> NDArray[np.bool_]:
        return 2 * number >= others if ties else 2 * number > others

    both = given * majority(given - 1)
    either = given + (num_experts - given) * majority(given)
    counts = np.array(
        [np.bincount(one.ravel(), minlength=num_experts + 1) for one in planes], dtype=np.intp
    ).reshape(len(planes), num_experts + 1)
    overlap, union = counts @ both, counts @ either
    marked = counts[:, 1:].sum(axis=1) > 0
    return np.where(marked, overlap / np.maximum(union, 1), np.nan)
