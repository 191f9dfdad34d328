"""What a user may hand over to be graded."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mezoroi.capture.folders import holds_charts, is_capture, photos_among, videos_among, visible
from mezoroi.capture.frames import is_video
from mezoroi.capture.images import (
    OUTLINE_NAME,
    SURFACE_NAME,
    as_image,
    is_panorama,
    read_image,
    read_outline,
    read_size,
)
from mezoroi.capture.unrolling import (
    CAPTURE_NAME,
    COVERAGE_NAME,
    Capture,
    read_capture,
    unroll,
)
from mezoroi.errors import MezoroiError

IN_MEMORY = "image"
PHOTO_SIDE = 1600
"""Longest side, in pixels, at which a photo is graded and shown; a larger one is reduced."""
InputKind = Literal["surface", "photo"]


@dataclass(frozen=True)
class FruitInput:
    """One fruit ready to be graded.

    Attributes
    ----------
    name : the path it came from, or `IN_MEMORY`
    image : (H, W, 3) uint8 RGB, the surface image or the photo, this at most `PHOTO_SIDE` long
    outline : shape statistics by name, where a capture brought some
    notes : what a user should know about the capture, one line each
    coverage : (H, W) bool of a surface image, where the fruit was seen, where that is known
    """

    name: str
    image: np.ndarray
    outline: Mapping[str, float] | None = None
    notes: tuple[str, ...] = ()
    coverage: np.ndarray | None = None


def read_fruit(source: str | Path | np.ndarray, kind: InputKind = "photo") -> FruitInput:
    """Read one fruit as a grader of an input kind needs it.

    Parameters
    ----------
    source : path of a photo, of a capture folder (``surface.png`` and, where there are,
        ``outline.json``, ``coverage.png`` and ``capture.json``) or of the surface image in it; for
        ``surface`` also of a video or a folder of frames, which are unrolled; or an (H, W, 3) uint8
        RGB array, taken as it is
    kind : ``surface``: a photo that is no panorama, twice as wide as high, shows one side of a
        fruit and is unrolled, if a fruit stands out in it; ``photo``: it is used as it is

    Raises
    ------
    MezoroiError
        If it is none of these or cannot be read.
    """
    if isinstance(source, np.ndarray):
        return FruitInput(IN_MEMORY, as_image(source))
    path = _as_path(source)
    image = path / SURFACE_NAME if path.is_dir() else path
    if path.is_dir() and not image.is_file():
        if kind == "surface":
            return _unrolled(path)
        raise MezoroiError(
            f"{path} is no capture folder, it has no {SURFACE_NAME}: give its photos one by one"
        )
    if is_video(path):
        if kind == "surface":
            return _unrolled(path)
        raise MezoroiError(f"{path} is a video, but this grader learned from photos: give a photo")
    if kind == "surface" and image.name != SURFACE_NAME and not is_panorama(*read_size(image)):
        return _one_side(path)
    if image.name == SURFACE_NAME:
        return _saved(path, image)
    return FruitInput(str(path), read_image(image, PHOTO_SIDE))


def find_sources(paths: Iterable[str | Path], kind: InputKind = "photo") -> list[Path]:
    """Photos, captures and, for ``surface``, videos and folders of frames below `paths`, sorted.

    A path that is no folder is kept as it is, so that reading it gives its own error. Folders that
    a grading was written to are passed over: their pictures are charts. For ``surface`` a folder of
    several photos none of which is a panorama is one fruit's frames.

    Raises
    ------
    MezoroiError
        If a folder holds neither photos nor captures.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        inside = _below(path, kind, set()) if path.is_dir() else [path]
        if not inside:
            raise MezoroiError(f"{path} holds no photo and no capture: give another folder")
        found += inside
    return found


def as_input(path: Path, capture: Capture) -> FruitInput:
    """What a grader of surfaces takes of the capture of a path."""
    # One view says little about the shape over a turn.
    outline = capture.outline if len(capture.views) > 1 else None
    return FruitInput(str(path), capture.surface, outline, capture.notes, capture.coverage)


def _as_path(source: Any) -> Path:
    """The path that was given; an empty text, which would be the current folder, is none."""
    if isinstance(source, str | os.PathLike) and source != "":
        return Path(source)
    given = "an empty text" if isinstance(source, str) else type(source).__name__
    raise MezoroiError(
        f"a fruit is a path or an (H, W, 3) uint8 array, not {given}: give one of these, "
        "a picture in memory as np.asarray(picture)"
    )


def _unrolled(path: Path) -> FruitInput:
    return as_input(path, unroll(path))


def _saved(path: Path, image: Path) -> FruitInput:
    """A capture as it was saved, so that it is graded as its source would be."""
    surface = read_image(image, PHOTO_SIDE)
    notes, views = read_capture(image.with_name(CAPTURE_NAME))
    beside = image.with_name(OUTLINE_NAME)
    outline = read_outline(beside) if beside.is_file() and views != 1 else None
    seen = image.with_name(COVERAGE_NAME)
    coverage = read_image(seen, PHOTO_SIDE)[..., 0] >= 128 if seen.is_file() else None
    if coverage is not None and coverage.shape != surface.shape[:2]:
        raise MezoroiError(f"{seen} is not of the size of {image.name}: capture the fruit again")
    return FruitInput(str(path), surface, outline, notes, coverage)


def _one_side(photo: Path) -> FruitInput:
    """The visible side of the fruit in a photo, unrolled; a photo without one as it is."""
    try:
        return _unrolled(photo)
    except MezoroiError as error:
        reason = str(error).removeprefix(f"{photo}: ").partition(":")[0]
        notes = (f"graded as it is, not unrolled: {reason}",)
        return FruitInput(str(photo), read_image(photo, PHOTO_SIDE), notes=notes)


def _below(folder: Path, kind: InputKind, seen: set[Path]) -> list[Path]:
    if is_capture(folder):
        return [folder]
    if holds_charts(folder):
        return []
    inside = visible(folder, seen)
    photos = photos_among(inside)
    taken = photos + (videos_among(inside) if kind == "surface" else [])
    found: list[Path] = []
    if kind == "surface" and len(photos) > 1 and not any(map(_is_panorama_file, photos)):
        taken, found = taken[len(photos) :], [folder]
    for path in inside:
        if path.is_dir():
            found += _below(path, kind, seen)
        elif path in taken:
            found.append(path)
    return found


def _is_panorama_file(path: Path) -> bool:
    try:
        return is_panorama(*read_size(path))
    except MezoroiError:
        return False
