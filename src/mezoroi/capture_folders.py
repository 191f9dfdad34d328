"""Folders of captures: what each was made from, and where the next one goes."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from mezoroi.capture.folders import is_capture, photos_among
from mezoroi.capture.images import OUTLINE_NAME, SURFACE_NAME
from mezoroi.capture.unrolling import CAPTURE_NAME, COVERAGE_NAME
from mezoroi.errors import MezoroiError
from mezoroi.files import content_hash, read_json

PREVIEW_NAME = "preview.png"
SOURCE_NAME = "source.json"
"""What a capture folder was made from; whole once it holds what was found."""
_PARTS = (SURFACE_NAME, COVERAGE_NAME, OUTLINE_NAME, CAPTURE_NAME, PREVIEW_NAME)


class CaptureFolders:
    """The captures in a folder, by the content of their sources.

    Parameters
    ----------
    out : the folder, which need not exist
    shared : whether sources of the same content share a capture; else each gets one of its own
    """

    def __init__(self, out: Path, *, shared: bool) -> None:
        self.out = out
        self.shared = shared
        self._by_content: dict[str, list[str]] = {}
        inside = sorted(out.iterdir()) if out.is_dir() else []
        self._taken = {path.name.casefold() for path in inside}
        for folder in inside:
            content = made_from(folder).get("content")
            if isinstance(content, str):
                self._by_content.setdefault(content, []).append(folder.name)

    @property
    def has_captures(self) -> bool:
        """Whether there are any so far."""
        return bool(self._by_content)

    def may_hold(self, image: Path) -> bool:
        """Whether an image is, or was before it was deleted, the surface of a capture in here."""
        folder = image.parent
        inside = image.name == SURFACE_NAME and folder.parent.resolve() == self.out.resolve()
        return inside and (not image.exists() or bool(made_from(folder)))

    def known(self, content: str, name: str) -> Path | None:
        """The folder of a source of this content, that called `name` first; None without any."""
        known = self._by_content.get(content, [])
        if not known:
            return None
        found = name if name in known else known[0]
        if not self.shared:
            known.remove(found)
        return self.out / found

    def claim(self, content: str, name: str) -> Path:
        """A new folder for a source of this content, called like `name`.

        What stands there already and was made from something else, or by someone else, is left
        alone. The folder is made here, so that nobody else who captures at the same time takes it.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        found, number = name, 2
        while found.casefold() in self._taken or not _is_made(self.out / found):
            found, number = f"{name}-{number}", number + 1
        self._taken.add(found.casefold())
        if self.shared:
            self._by_content.setdefault(content, []).append(found)
        return self.out / found


def _is_made(folder: Path) -> bool:
    """Make a folder, unless there is something of this name."""
    try:
        folder.mkdir()
    except FileExistsError:
        return False
    return True


def made_from(folder: Path) -> dict[str, Any]:
    """What ``source.json`` in a folder says; nothing where there is none that can be read."""
    if not (folder / SOURCE_NAME).is_file():
        return {}
    try:
        found = read_json(folder / SOURCE_NAME, "capture again")
    except MezoroiError:
        return {}
    return found if isinstance(found, dict) else {}


def is_whole(folder: Path) -> bool:
    """Whether a capture in `folder` was finished and has lost no file."""
    return "covered" in made_from(folder) and all((folder / name).is_file() for name in _PARTS)


def content_of(source: Path) -> str:
    """Hash of a file, or of the photos in a folder with their names.

    Raises
    ------
    MezoroiError
        If it does not exist, cannot be read, or is a capture itself.
    """
    try:
        return _content_of(source)
    except OSError as error:
        reason = error.strerror or error
        raise MezoroiError(f"{source} cannot be read ({reason}): check its permissions") from error


def _content_of(source: Path) -> str:
    if source.name == SURFACE_NAME or is_capture(source):
        raise MezoroiError(f"{source} is a capture already: give what it was made from")
    if not source.is_dir():
        if not source.is_file():
            raise MezoroiError(f"{source} does not exist: check the path")
        return content_hash(source)
    digest = hashlib.sha256()
    for path in photos_among(sorted(source.iterdir())):
        digest.update(f"{path.name}\0{content_hash(path)}\0".encode())
    return digest.hexdigest()
