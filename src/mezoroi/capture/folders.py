"""What lies in a folder that somebody hands over."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mezoroi.capture.frames import VIDEO_SUFFIXES
from mezoroi.capture.images import IMAGE_SUFFIXES, SURFACE_NAME
from mezoroi.errors import MezoroiError
from mezoroi.files import read_json

# What says that the pictures beside it are our own: of a grading, and of explanations.
_OWN = ({"grading.json"}, {"methods.png", "maps.npz"})
_SEARCH_NAME = "search.json"


def visible(folder: Path, seen: set[Path]) -> list[Path]:
    """What a folder holds, sorted, without hidden files and sheets of searches.

    Nothing of a folder that was seen before.

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
    sheets = _sheets(folder)
    return sorted(
        path
        for path in folder.iterdir()
        if not path.name.startswith(".") and path.name not in sheets
    )


def photos_among(paths: Iterable[Path]) -> list[Path]:
    """Files called like pictures."""
    return [path for path in paths if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()]


def videos_among(paths: Iterable[Path]) -> list[Path]:
    """Files called like videos."""
    return [path for path in paths if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file()]


def is_capture(folder: Path) -> bool:
    """Whether a folder holds an unrolled fruit."""
    return (folder / SURFACE_NAME).is_file()


def holds_charts(folder: Path) -> bool:
    """Whether a grading or explanations were written to a folder: its pictures are charts."""
    return any(all((folder / name).is_file() for name in names) for names in _OWN)


def _sheets(folder: Path) -> set[str]:
    """Names of the sheets that searches wrote to a folder, maybe beside photos."""
    if not (folder / _SEARCH_NAME).is_file():
        return set()
    try:
        found = read_json(folder / _SEARCH_NAME, "search again")
        return {Path(item["sheet"]).name for item in found if "sheet" in item}
    except (MezoroiError, TypeError):  # another program's: what lies beside it is no sheet
        return set()


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
