"""Painted masks: from the browser's runs of pixels to the PNG that datasets read, and back.

A mask comes as numbers, not as a file, so that the web process decodes nothing of a user's.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from mezoroi.errors import MezoroiError

MOST_GRADES = 16
_CHUNK = "mezoroi-grades"


def mask_of_runs(runs: Sequence[int], height: int, width: int) -> NDArray[np.bool_]:
    """(H, W) bool from runs in reading order: start and length of each, one after the other.

    Raises
    ------
    MezoroiError
        If a run is outside of the picture, or they are not in order.
    """
    ends = np.asarray(runs, dtype=np.int64).reshape(-1, 2) if len(runs) % 2 == 0 else None
    if ends is None:
        raise MezoroiError("the mask's runs are no pairs: paint it again")
    stops = ends.sum(axis=1)
    starts_after = np.concatenate([[0], stops[:-1]])
    if len(ends) and (
        (ends[:, 1] < 1).any() or (ends[:, 0] < starts_after).any() or stops[-1] > height * width
    ):
        raise MezoroiError("the mask does not fit the picture: paint it again")
    # +1 where a run begins, -1 after its end: the sum is 1 inside.
    change = np.zeros(height * width + 1, dtype=np.int8)
    np.add.at(change, ends[:, 0], 1)
    np.add.at(change, stops, -1)
    return change[:-1].cumsum(dtype=np.int8).astype(bool).reshape(height, width)


def runs_of_mask(mask: NDArray[np.bool_]) -> list[int]:
    """The inverse of `mask_of_runs`."""
    flat = np.concatenate([[0], mask.ravel().astype(np.int8), [0]])
    change = np.flatnonzero(np.diff(flat)).reshape(-1, 2)
    change[:, 1] -= change[:, 0]
    return [int(value) for value in change.ravel()]


def mask_png(masks: Mapping[str, NDArray[np.bool_]]) -> bytes:
    """The masks of several grades as `mezoroi.datasets.write_mask` writes them.

    Raises
    ------
    MezoroiError
        If there are none or too many, or a grade cannot be named.
    """
    if not 1 <= len(masks) <= MOST_GRADES:
        raise MezoroiError(f"a mask holds 1 to {MOST_GRADES} grades, not {len(masks)}: paint fewer")
    if any("," in grade for grade in masks):
        raise MezoroiError("a grade with a comma in its name cannot be painted: rename it")
    shape = next(iter(masks.values())).shape
    flags = np.zeros(shape, dtype=np.uint8 if len(masks) <= 8 else np.uint16)
    for bit, mask in enumerate(masks.values()):
        flags |= mask.astype(flags.dtype) << flags.dtype.type(bit)
    named = PngImagePlugin.PngInfo()
    named.add_text(_CHUNK, ",".join(masks))
    stream = io.BytesIO()
    Image.fromarray(flags).save(stream, "PNG", pnginfo=named, optimize=True)
    return stream.getvalue()


def read_painted(path: Path) -> dict[str, NDArray[np.bool_]]:
    """The masks by grade of a file that `mask_png` made."""
    with Image.open(path) as image:
        image.load()
        grades = str(image.info[_CHUNK]).split(",")
        flags = np.asarray(image).astype(np.uint16)
    return {grade: (flags >> bit & 1).astype(bool) for bit, grade in enumerate(grades)}
