"""What a user may hand over to be graded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mezoroi.capture.images import (
    IMAGE_SUFFIXES,
    OUTLINE_NAME,
    SURFACE_NAME,
    as_image,
    read_image,
    read_outline,
)
from mezoroi.errors import MezoroiError

IN_MEMORY = "image"
_GRADING_NAME = "grading.json"


@dataclass(frozen=True)
class FruitInput:
    """One fruit ready to be graded.

    Attributes
    ----------
    name : the path it came from, or `IN_MEMORY`
    image : (H, W, 3) uint8 RGB, the photo or the surface image
    outline : shape statistics by name, where a capture brought some
    """

    name: str
    image: np.ndarray
    outline: Mapping[str, float] | None = None


def read_fruit(source: str | Path | np.ndarray) -> FruitInput:
    """Read a photo, a capture folder, or take an image in memory.

    Parameters
    ----------
    source : path of a photo, of a capture folder (``surface.png`` and, where there is one,
        ``outline.json``) or of the surface image in it; or an (H, W, 3) uint8 RGB array

    Raises
    ------
    MezoroiError
        If it is none of these or cannot be read.
    """
    if isinstance(source, np.ndarray):
        return FruitInput(IN_MEMORY, as_image(source))
    path = Path(source)
    image = path / SURFACE_NAME if path.is_dir() else path
    if path.is_dir() and not image.is_file():
        raise MezoroiError(
            f"{path} is no capture folder, it has no {SURFACE_NAME}: give its photos one by one"
        )
    beside = image.with_name(OUTLINE_NAME)
    has_outline = image.name == SURFACE_NAME and beside.is_file()
    return FruitInput(str(path), read_image(image), read_outline(beside) if has_outline else None)


def find_sources(paths: Iterable[str | Path]) -> list[Path]:
    """Photos and capture folders below `paths`, sorted within each folder.

    A path that is no folder is kept as it is, so that reading it gives its own error. Folders that
    a grading was written to are passed over: their pictures are charts.

    Raises
    ------
    MezoroiError
        If a folder holds neither photos nor captures.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        inside = list(_below(path)) if path.is_dir() else [path]
        if not inside:
            raise MezoroiError(f"{path} holds no photo and no capture: give another folder")
        found += inside
    return found


def _below(folder: Path) -> list[Path]:
    if (folder / SURFACE_NAME).is_file():
        return [folder]
    if (folder / _GRADING_NAME).is_file():
        return []
    found: list[Path] = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            found += _below(path)
        elif path.suffix.lower() in IMAGE_SUFFIXES:
            found.append(path)
    return found
