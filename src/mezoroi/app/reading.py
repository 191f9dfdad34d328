"""An upload as the grader needs it, with what a page shows beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mezoroi.app.settings import Limits
from mezoroi.capture import Capture, unroll
from mezoroi.capture.images import read_image, read_size
from mezoroi.capture.sources import PHOTO_SIDE, FruitInput, InputKind, as_input, read_fruit
from mezoroi.capture.video import open_video
from mezoroi.errors import MezoroiError

_ANGLES = 90


@dataclass(frozen=True)
class Silhouette:
    """The outline over the turn: radius at `_ANGLES` directions from the right, counterclockwise.

    Attributes
    ----------
    mean, low, high : (_ANGLES,) in mean radii of the fruit; low and high are the least and largest
        over the turn
    """

    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True)
class Upload:
    """One upload, read.

    Attributes
    ----------
    fruit : what the grader takes
    photo : (H, W, 3) uint8, what the camera saw, or None where that is what is graded
    silhouette : of a video, else None
    """

    fruit: FruitInput
    photo: NDArray[np.uint8] | None
    silhouette: Silhouette | None


def read_upload(path: Path, is_video: bool, kind: InputKind, limits: Limits) -> Upload:
    """Read a photo or a video.

    Raises
    ------
    MezoroiError
        If it cannot be read, is larger than `limits` or shows no fruit that can be unrolled.
    """
    if is_video:
        _check_video(path, limits)
        capture = unroll(path)
        fruit = as_input(path, capture)
        middle = capture.views[len(capture.views) // 2].image
        return Upload(fruit, middle, _silhouette(capture) if fruit.outline is not None else None)
    height, width = read_size(path)
    _check_pixels(path, height, width, limits.photo_pixels)
    fruit = read_fruit(path, kind)
    is_unrolled = fruit.coverage is not None
    return Upload(fruit, read_image(path, max_side=PHOTO_SIDE) if is_unrolled else None, None)


def _check_pixels(path: Path, height: int, width: int, most: int) -> None:
    if height * width > most:
        raise MezoroiError(
            f"{path} has {width} x {height} pixels, more than {most}: take a smaller picture"
        )


def _check_video(path: Path, limits: Limits) -> None:
    with open_video(path) as (container, stream):
        _check_pixels(path, stream.height, stream.width, limits.frame_pixels)
        seconds = 0.0
        if stream.duration is not None and stream.time_base is not None:
            seconds = float(stream.duration * stream.time_base)
        elif container.duration is not None:
            seconds = container.duration / 1_000_000
    if seconds > limits.video_seconds:
        most = limits.video_seconds
        raise MezoroiError(f"{path} lasts {seconds:.0f} s, more than {most:.0f}: film one turn")


def _silhouette(capture: Capture) -> Silhouette:
    angles = np.arange(_ANGLES) * 2 * np.pi / _ANGLES
    radii = np.stack([_radius_at(polygon, angles) for polygon in capture.silhouettes])
    radii = radii / radii.mean()
    return Silhouette(radii.mean(axis=0), radii.min(axis=0), radii.max(axis=0))


def _radius_at(polygon: NDArray[np.float64], angles: NDArray[np.float64]) -> NDArray[np.float64]:
    offset = polygon - polygon.mean(axis=0)
    around = np.arctan2(offset[:, 1], offset[:, 0])
    return np.interp(angles, around, np.linalg.norm(offset, axis=1), period=2 * np.pi)
