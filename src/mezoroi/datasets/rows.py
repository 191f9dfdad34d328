"""What a manifest or a folder says about one observation, before anything is checked."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mezoroi.capture.images import SURFACE_NAME

IMAGES_FOLDER = "images"
"""Folder of a dataset that its images may lie in, beside `masks`."""


@dataclass(frozen=True)
class Row:
    """One observation as written down; empty text means "not given".

    `where` names the row in messages (``manifest.csv row 7`` or the image's path); paths are
    already joined to their folder but need not exist.
    """

    where: str
    image: Path
    grade: str = ""
    specimen: str = ""
    split: str = ""
    mask: Path | None = None
    session: str = ""
    outline: Path | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Rows:
    """Everything found at a dataset's place.

    Attributes
    ----------
    root : folder that ids are relative to
    name : how messages call the whole (``manifest.csv``, or the folder)
    rows : the observations
    grades : grades that the layout names, also those without an observation
    problems : what was wrong with the layout itself
    """

    root: Path
    name: str
    rows: tuple[Row, ...]
    grades: frozenset[str]
    problems: tuple[str, ...]


def observation_id(image: Path, root: Path) -> str:
    """Path of `image` relative to `root` in POSIX form, in composed Unicode (NFC).

    A capture folder is its surface image, however a table names it.
    """
    surface = image / SURFACE_NAME
    relative = os.path.relpath(surface if surface.is_file() else image, root)
    return unicodedata.normalize("NFC", Path(relative).as_posix())


def find_path(folder: Path, text: str) -> Path:
    """The file that a cell names, relative to `folder`.

    Backslashes count as separators, and a name is found whether the file system spells it in
    composed or decomposed Unicode (macOS writes が as two characters).
    """
    path = folder / text.replace("\\", "/")
    if not path.exists():
        for form in ("NFC", "NFD"):
            spelled = folder / unicodedata.normalize(form, text.replace("\\", "/"))
            if spelled.exists():
                return spelled
    return path
