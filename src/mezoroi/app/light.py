"""Brightness and colour of a picture beside those of the training pictures."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mezoroi.errors import MezoroiError
from mezoroi.retrieval.gallery import THUMBNAILS

MOST_PICTURES = 400
FEWEST_PICTURES = 8
TOLERANCE: Mapping[str, float] = {"brightness": 8.0, "warmth": 0.06, "tint": 0.05}
"""How far outside the range of the training pictures a picture may lie before it is said."""
WORDS: Mapping[str, tuple[str, str]] = {
    "brightness": ("darker", "brighter"),
    "warmth": ("bluer", "redder"),
    "tint": ("pinker", "greener"),
}
"""What a picture is that lies below, and above, the range."""
_LOW, _HIGH = 1, 99


def light_of(image: NDArray[np.uint8]) -> dict[str, float]:
    """Brightness and white balance of a picture.

    Parameters
    ----------
    image : (H, W, 3) uint8, RGB

    Returns
    -------
    ``brightness``: median luma, 0 to 255; ``warmth``: red / blue; ``tint``: green / geometric mean
    of red and blue, each of the channels' means. The ratios are 1 for grey.
    """
    pixels = image.reshape(-1, 3).astype(np.float64)
    red, green, blue = np.maximum(pixels.mean(axis=0), 1.0)
    return {
        "brightness": float(np.median(pixels @ (0.299, 0.587, 0.114))),
        "warmth": float(red / blue),
        "tint": float(green / np.sqrt(red * blue)),
    }


def training_light(run_dir: Path) -> dict[str, Any]:
    """Range of the light in a run's training pictures, from the thumbnails of its references.

    Returns
    -------
    ``pictures``, how many were looked at, and for each key of `light_of` the pair of the first and
    the 99th percentile; without these where there are fewer than `FEWEST_PICTURES`
    """
    from mezoroi.capture.images import read_image

    paths = sorted((run_dir / THUMBNAILS).glob("*.jpg"))
    chosen = paths[:: max(1, -(-len(paths) // MOST_PICTURES))]
    found = []
    for path in chosen:
        with suppress(MezoroiError):  # one that was just removed, or is damaged, tells nothing
            found.append(light_of(read_image(path)))
    light: dict[str, Any] = {"pictures": len(found)}
    if len(found) < FEWEST_PICTURES:
        return light
    for name in TOLERANCE:
        low, high = np.percentile([each[name] for each in found], [_LOW, _HIGH])
        light[name] = [float(low), float(high)]
    return light


def deviations(image: NDArray[np.uint8], training: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What is unlike the training pictures in a picture's light; empty where nothing is.

    Parameters
    ----------
    training : what `training_light` found

    Returns
    -------
    for each: ``kind`` (one of `WORDS`), ``value`` of the picture, ``low`` and ``high`` of the
    training pictures
    """
    found = light_of(image)
    unlike = []
    for name, tolerance in TOLERANCE.items():
        if name not in training:
            continue
        low, high = training[name]
        below, above = WORDS[name]
        if found[name] < low - tolerance:
            unlike.append(_entry(below, found[name], low, high))
        elif found[name] > high + tolerance:
            unlike.append(_entry(above, found[name], low, high))
    return unlike


def _entry(kind: str, value: float, low: float, high: float) -> dict[str, Any]:
    return {"kind": kind, "value": value, "low": low, "high": high}
