"""What lies in a folder that somebody hands over."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mezoroi.capture.frames import VIDEO_SUFFIXES
from mezoroi.capture.images import IMAGE_SUFFIXES, SURFACE_NAME
from mezoroi.errors import MezoroiError

_GRADING_NAME = "grading.json"


def visible(folder: Path, seen: set[Path]) -> list[Path]:
    """What a folder holds, sorted, hidden files left out; nothing of a folder seen before.

    Parameters
    ----------
    seen : folders gone into, which is added to: a link may lead back to one

    Raises
    ------
    OSError
        If the folder cannot be read.
    """
    real = folder.resolve()
    if real in seen:
        return []
    seen.add(real)
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def photos_among(paths: Iterable[Path]) -> list[Path]:
    """Files called like pictures."""
    return [path for path in paths if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()]


def videos_among(paths: Iterable[Path]) -> list[Path]:
    """Files called like videos."""
    return [path for path in paths if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file()]


def is_capture(folder: Path) -> bool:
    """Whether a folder holds an unrolled fruit."""
    return (folder / SURFACE_NAME).is_file()


def is_grading(folder: Path) -> bool:
    """Whether a grading was written to a folder: its pictures are charts."""
    return (folder / _GRADING_NAME).is_file()


def require_apart(folders: Iterable[Path], sources: Iterable[Path]) -> None:
    """Refuse to write charts among the frames of a fruit: they would be taken for more of them.

    Parameters
    ----------
    folders : what is to be written to
    sources : the fruits

    Raises
    ------
    MezoroiError
        Naming the first such folder. Among what a capture holds, charts do no harm.
    """
    fruits = {path.resolve() for path in sources if not is_capture(path)}
    for folder in folders:
        if folder.resolve() in fruits:
            raise MezoroiError(
                f"{folder} holds the frames of a fruit, and nothing is written among them: "
                "give another folder with -o"
            )
