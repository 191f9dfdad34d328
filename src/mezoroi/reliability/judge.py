"""Judge: gives the answers of one bundle their maps and judges them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mezoroi.bundle import Bundle
from mezoroi.capture.silhouette import find_silhouettes
from mezoroi.capture.sources import FruitInput
from mezoroi.errors import MezoroiError
from mezoroi.models.preprocess import FittedImage
from mezoroi.reliability.clusters import MAP_SIDE, as_vectors
from mezoroi.reliability.model import ReliabilityModel
from mezoroi.reliability.saliency import (
    chosen_activation_maps,
    explained_grades,
    explained_maps,
    map_explainer,
)
from mezoroi.reliability.store import RELIABILITY_JSON, is_of_earlier_format, read_reliability
from mezoroi.retrieval import Neighbour

_PHOTO_SIDE = 200  # pixels: enough to see where in a photo the fruit is


class MapMaker:
    """Maps of the grades that a bundle decided, all of one size.

    Parameters
    ----------
    bundle : with its network on the device to use
    method : as in `map_explainer`
    """

    def __init__(self, bundle: Bundle, method: str) -> None:
        self._bundle = bundle
        self._explainer = map_explainer(bundle, method)

    @property
    def needs_images(self) -> bool:
        """False for activation maps, which come with the grading."""
        return self._explainer is not None

    def __call__(
        self,
        similarity: NDArray[np.floating],
        given: NDArray[np.intp],
        activation_maps: NDArray[np.floating],
        images: Tensor | None,
    ) -> NDArray[np.float32]:
        """(N, 64, 64) maps.

        Parameters
        ----------
        similarity : (N, G)
        given : (N,)
        activation_maps : (N, S, H, W) at network size; not used by other methods
        images : (N, 3, H, W) in [0, 1], where `needs_images`
        """
        grades = explained_grades(self._bundle, similarity, given)
        if self._explainer is None:
            maps = chosen_activation_maps(self._bundle, activation_maps, grades)
        else:
            if images is None:
                raise ValueError("this method needs the images")
            maps = explained_maps(self._bundle, self._explainer, images, grades)
        vectors = as_vectors(maps).reshape(-1, MAP_SIDE, MAP_SIDE)
        return np.asarray(vectors, dtype=np.float32)


def read_judge(folder: Path, bundle: Bundle) -> tuple[ReliabilityModel | None, str | None]:
    """The reliability of a run folder, if it has one; else, or where it does not fit, a note.

    Raises
    ------
    MezoroiError
        If it is damaged or of another model.
    """
    if not (folder / RELIABILITY_JSON).exists():
        return None, None
    if is_of_earlier_format(folder):
        return None, (
            "no reliability: an earlier version of Mezoroi fitted it; "
            "fit it again with `mezoroi reliability fit`"
        )
    model, record = read_reliability(folder)
    if record.fingerprint != bundle.fingerprint:
        raise MezoroiError(
            f"the reliability in {folder} is of another model: "
            "fit it again with `mezoroi reliability fit`"
        )
    if record.grades != bundle.standard.grades:
        return None, (
            f"no reliability: it was fitted for grades {', '.join(record.grades)}; "
            "fit it again with `mezoroi reliability fit`"
        )
    return model, None


def neighbour_grades(
    neighbours: Sequence[Sequence[Neighbour]], grades: Sequence[str]
) -> NDArray[np.intp]:
    """(N, k) index of each neighbour's grade, -1 where it is unknown or there are fewer than k."""
    width = max((len(row) for row in neighbours), default=0)
    found = np.full((len(neighbours), width), -1, dtype=np.intp)
    for row, own in enumerate(neighbours):
        for column, neighbour in enumerate(own):
            if neighbour.grade in grades:
                found[row, column] = grades.index(neighbour.grade)
    return found


def covered_part(fruit: FruitInput, fitted: FittedImage) -> NDArray[np.bool_] | None:
    """Where an unrolled fruit was seen, (H, W) at network size; None where that is not known."""
    if fruit.coverage is None:
        return None
    return fitted.fit_mask(fruit.coverage)


def fruit_in_photo(photo: NDArray[np.uint8]) -> NDArray[np.bool_] | None:
    """Where the fruit is in a photo (H, W, 3): a mask of a smaller size, or None if none is found.

    Looking for it takes some 0.1 s, much longer than grading.
    """
    height, width = photo.shape[:2]
    scale = _PHOTO_SIDE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    try:
        found = find_silhouettes([small])[0]
    except MezoroiError:
        return None
    mask = np.zeros(small.shape[:2], dtype=np.uint8)
    cv2.fillPoly(mask, [np.rint(found.contour).astype(np.int32)], 1)
    return mask.astype(bool)
