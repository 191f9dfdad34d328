"""Folders of grades: ``[images/][train|val|calibration|test/]GRADE/[SPECIMEN/]photo.jpg``.

A folder with ``surface.png`` is a capture and counts as one image wherever a photo may stand. The
name of a specimen folder identifies the fruit in the whole dataset: ``A/fruit01`` and ``B/fruit01``
are one fruit at two times. Hidden files and files that are no images are passed over; links to
photos or folders that are not there are problems.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mezoroi.capture.frames import VIDEO_SUFFIXES
from mezoroi.capture.images import IMAGE_SUFFIXES, SURFACE_NAME
from mezoroi.datasets.dataset import SPLITS
from mezoroi.datasets.manifest import MANIFEST_NAMES
from mezoroi.datasets.rows import IMAGES_FOLDER, Row, Rows
from mezoroi.errors import MezoroiError

MASKS_FOLDER = "masks"

_UNREAD_SUFFIXES = (".avif", ".gif", ".jp2", ".cr2", ".cr3", ".nef", ".dng")


def folder_rows(root: Path) -> Rows:
    """Observations of a folder of grade folders; odd places are reported, not skipped."""
    rows: list[Row] = []
    problems: list[str] = []
    grades: set[str] = set()
    top = _top(root)
    children = [folder for folder in _folders(top) if folder.name != MASKS_FOLDER]
    has_splits = any(folder.name in SPLITS for folder in children)
    for base in [root, top] if top != root else [root]:
        problems += _stray(base, root)
    if has_splits:
        for folder in children:
            if folder.name not in SPLITS:
                problems.append(
                    f"{_name(folder, root)}/ lies beside split folders but is none of "
                    f"{', '.join(SPLITS)}: move it elsewhere or rename it"
                )
                continue
            problems += _stray(folder, root)
            for grade in _folders(folder):
                grades.add(grade.name)
                rows += _grade_rows(grade, root, folder.name, problems)
    else:
        for grade in children:
            grades.add(grade.name)
            rows += _grade_rows(grade, root, "", problems)
    if not grades and not problems:
        problems.append("it holds no photos: make one folder per grade, or a manifest.csv")
    return Rows(root, str(root), tuple(rows), frozenset(grades), tuple(problems))


def require_outside(out: Path, data: Path) -> None:
    """Refuse to write to a folder that would from then on be a grade of a dataset.

    Parameters
    ----------
    data : a folder of grades; nothing else is refused, a manifest says itself what belongs to it

    Raises
    ------
    MezoroiError
        Naming both.
    """
    if not data.is_dir() or any((data / name).is_file() for name in MANIFEST_NAMES):
        return
    top, place = _top(data).resolve(), out.resolve()
    inside = [path for path in (place, *place.parents) if path.parent == top]
    if any(_is_visible(path) and path.name != MASKS_FOLDER for path in inside):
        raise MezoroiError(
            f"{out} lies in {data}, where it would be taken for a grade: give another folder with "
            "-o, outside of it"
        )


def _top(root: Path) -> Path:
    return root / IMAGES_FOLDER if (root / IMAGES_FOLDER).is_dir() else root


def _grade_rows(grade: Path, root: Path, split: str, problems: list[str]) -> Iterator[Row]:
    for image in _images(grade, root, problems):
        yield Row(_name(image, root), image, grade.name, "", split)
    for specimen in _folders(grade):
        for image in _specimen_images(specimen, root, problems):
            yield Row(_name(image, root), image, grade.name, specimen.name, split)


def _specimen_images(specimen: Path, root: Path, problems: list[str]) -> Iterator[Path]:
    if (specimen / SURFACE_NAME).is_file():
        yield specimen / SURFACE_NAME
        return
    yield from _images(specimen, root, problems)
    for inner in _folders(specimen):
        if (inner / SURFACE_NAME).is_file():
            yield inner / SURFACE_NAME
        elif any(path.suffix.lower() in IMAGE_SUFFIXES for path in inner.rglob("*")):
            problems.append(
                f"{_name(inner, root)}/ lies too deep: put photos in GRADE/ or GRADE/SPECIMEN/"
            )


def _images(folder: Path, root: Path, problems: list[str]) -> Iterator[Path]:
    problems += _dangling(folder, root)
    for path in _files(folder):
        suffix = path.suffix.lower()
        if suffix in IMAGE_SUFFIXES:
            yield path
        elif suffix in VIDEO_SUFFIXES:
            problems.append(
                f"{_name(path, root)} is a video: list it in a manifest for `mezoroi capture`"
            )
        elif suffix in _UNREAD_SUFFIXES:
            problems.append(f"{_name(path, root)} is in a format not read here: save it as JPEG")


def _stray(folder: Path, root: Path) -> list[str]:
    dangling = _dangling(folder, root)
    loose = [path for path in _files(folder) if path.suffix.lower() in IMAGE_SUFFIXES]
    if not loose:
        return dangling
    subject = f"{_name(loose[0], root)} lies"
    if len(loose) > 1:
        subject = f"{_name(loose[0], root)} and {len(loose) - 1} more lie"
    outside = f"{subject} outside the grade folders: make one folder per grade, or a manifest.csv"
    return [*dangling, outside]


def _dangling(folder: Path, root: Path) -> list[str]:
    """Links to photos, or to what may be folders, that lead nowhere, as to a drive that is off."""
    return [
        f"{_name(path, root)} is a link to what is not there: connect its drive, or remove the link"
        for path in sorted(folder.iterdir())
        if path.is_symlink()
        and not path.exists()
        and _is_visible(path)
        and path.suffix.lower() in ("", *IMAGE_SUFFIXES)
    ]


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and _is_visible(path))


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file() and _is_visible(path))


def _is_visible(path: Path) -> bool:
    return not path.name.startswith((".", "__"))


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()
