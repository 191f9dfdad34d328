"""A grading as the database keeps it: plain data, and its pictures as blobs."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mezoroi.app.blobs import Blobs
from mezoroi.app.reading import Silhouette, Upload
from mezoroi.capture.sources import PHOTO_SIDE
from mezoroi.grading import Grading
from mezoroi.report.html import CLEAR_GAP, decision_gap
from mezoroi.report.overlay import overlay
from mezoroi.report.sureness import sureness

THUMBNAIL_SIDE = 320
_CLUSTER_SIDE = 640
_QUALITY = 88
_DIGITS = 4


def describe(grading: Grading, upload: Upload, blobs: Blobs, *, shown_name: str) -> dict[str, Any]:
    """Plain data of a grading, its pictures stored.

    Parameters
    ----------
    shown_name : replaces the file's path, which means nothing to a user

    Returns
    -------
    `Grading.to_dict` with ``pictures`` (names of blobs with their sizes: ``surface``,
    ``thumbnail``, ``photo`` and ``cluster_map``, or None, ``maps`` by grade), ``gap`` and
    ``is_clear`` of the decision, ``sureness`` (its words, or None), ``silhouette``; each neighbour
    has a ``picture``
    """
    path = grading.source
    content = grading.to_dict()
    # An adjusted grade is not the most similar one, so that nothing is ahead of anything.
    gap = decision_gap(grading.similarity) if grading.adjusted_from is None else math.nan
    found = sureness(grading.reliability, grading.reliability_cases)
    return content | {
        "source": shown_name,
        "notes": [note.replace(path, shown_name) for note in grading.notes],
        "neighbours": [_neighbour(entry, blobs) for entry in content["neighbours"]],
        "gap": None if math.isnan(gap) else gap,
        "is_clear": None if math.isnan(gap) or grading.is_unlike_all else gap >= CLEAR_GAP,
        "sureness": None if found is None else found.words,
        "silhouette": _silhouette(upload.silhouette),
        "pictures": {
            "surface": _photo(grading.surface, PHOTO_SIDE, blobs),
            "thumbnail": _photo(grading.surface, THUMBNAIL_SIDE, blobs),
            "photo": None if upload.photo is None else _photo(upload.photo, PHOTO_SIDE, blobs),
            "cluster_map": _cluster_map(grading, blobs),
            "maps": {grade: _map(item, blobs) for grade, item in grading.activation_maps.items()},
        },
    }


def _neighbour(entry: dict[str, Any], blobs: Blobs) -> dict[str, Any]:
    """A neighbour with its picture kept: the reference may be removed later."""
    path = entry.pop("thumbnail")
    picture = None
    if path is not None and Path(path).is_file():
        picture = blobs.keep_picture(Path(path).read_bytes(), "jpg")
    return entry | {"picture": picture}


def _photo(image: NDArray[np.uint8], longest: int, blobs: Blobs) -> dict[str, Any]:
    scale = min(1.0, longest / max(image.shape[:2]))
    if scale < 1:
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=_QUALITY, subsampling=0)
    return {
        "name": blobs.keep_picture(stream.getvalue(), "jpg"),
        "width": image.shape[1],
        "height": image.shape[0],
    }


def _cluster_map(grading: Grading, blobs: Blobs) -> dict[str, Any] | None:
    """The fruit under the mean map of those that were judged by the same places."""
    if grading.cluster_map is None:
        return None
    picture = overlay(grading.surface, grading.cluster_map, contour=None, legend=False)
    return _photo(picture, _CLUSTER_SIDE, blobs)


def _map(values: NDArray[np.float32], blobs: Blobs) -> str:
    """One grey channel, 0 to 255 for 0 to 1: the browser colours and blends it."""
    stream = io.BytesIO()
    grey = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    Image.fromarray(grey).save(stream, "PNG", compress_level=3)
    return blobs.keep_picture(stream.getvalue(), "png")


def _silhouette(found: Silhouette | None) -> dict[str, list[float]] | None:
    if found is None:
        return None
    return {name: np.round(values, _DIGITS).tolist() for name, values in vars(found).items()}
