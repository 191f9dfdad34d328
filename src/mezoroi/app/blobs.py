"""Files named by the SHA-256 of their content, in two rooms: originals and pictures.

Originals are kept as they came, and only an administrator may have one: a photo tells where it was
taken. Pictures are made from them by the worker, without such data, and may be shown to whoever is
logged in.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, BinaryIO

from mezoroi.files import atomic_path

PICTURE_NAME = re.compile(r"^[0-9a-f]{64}\.(png|jpg)$")
_BLOCK = 1 << 20
_UNFINISHED_SECONDS = 3600.0  # nothing is written for so long by a process that lives


class Blobs:
    """The content-addressed files below a folder.

    Parameters
    ----------
    root : folder that holds ``originals`` and ``pictures``
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def original(self, digest: str) -> Path:
        """Path of an original."""
        return self.root / "originals" / digest[:2] / digest

    def picture(self, name: str) -> Path:
        """Path of a picture, ``DIGEST.png`` or ``DIGEST.jpg``.

        Raises
        ------
        ValueError
            If it is not such a name: no path of a user's reaches the disk.
        """
        if not PICTURE_NAME.match(name):
            raise ValueError(f"`{name}` is no picture")
        return self.root / "pictures" / name[:2] / name

    def keep_original(self, stream: BinaryIO) -> tuple[str, int]:
        """Copy a stream to disk; durable when this returns.

        Returns
        -------
        its digest and its size in bytes
        """
        name, size = digest_of(stream)
        target = self.original(name)
        if not target.is_file():
            stream.seek(0)
            with atomic_path(target) as temporary, temporary.open("wb") as file:
                while block := stream.read(_BLOCK):
                    file.write(block)
        _sync_names(target)  # also where somebody else has just put it there
        return name, size

    def keep_picture(self, content: bytes, suffix: str, *, durable: bool = False) -> str:
        """Store a picture; returns its name, ``DIGEST.SUFFIX``.

        Parameters
        ----------
        durable : its name is on disk when this returns: for what cannot be made again
        """
        name = f"{hashlib.sha256(content).hexdigest()}.{suffix}"
        target = self.picture(name)
        if not target.is_file():
            with atomic_path(target) as temporary:
                temporary.write_bytes(content)
        if durable:
            _sync_names(target)
        return name

    def sweep(self) -> int:
        """Delete what processes that were killed left half written; returns how many files."""
        gone = 0
        for path in self.root.glob("*/??/.*"):
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > _UNFINISHED_SECONDS:
                    path.unlink()
                    gone += 1
        return gone


def digest_of(stream: IO[bytes]) -> tuple[str, int]:
    """SHA-256 (hexadecimal) of all that a stream holds, and its size in bytes."""
    digest, size = hashlib.sha256(), 0
    stream.seek(0)
    while block := stream.read(_BLOCK):
        digest.update(block)
        size += len(block)
    return digest.hexdigest(), size


def _sync_names(path: Path) -> None:
    """The new name itself, and its folder's where that is new, are on disk only then."""
    for folder in (path.parent, path.parent.parent):
        _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
