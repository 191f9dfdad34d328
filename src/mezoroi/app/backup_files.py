"""The files of a backup: originals, pictures and run folders, into an archive and back."""

from __future__ import annotations

import hashlib
import re
import shutil
import sqlite3
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

from mezoroi.app.blobs import PICTURE_NAME, digest_of
from mezoroi.errors import MezoroiError
from mezoroi.files import atomic_path

_BLOCK = 1 << 20
_BUSY_SECONDS = 60.0
_BLOB = re.compile(r"^blobs/(originals|pictures)/[0-9a-f]{2}/([0-9a-f]{64})(\.png|\.jpg)?$")
_PICTURES = ("mask", "picture", "pictures")
"""Where rows name pictures: a file that a user or a dataset named may be called like one."""
_RUN = re.compile(r"^runs/(\d+)/.", re.DOTALL)
_LEFT_OUT = ("checkpoints", "evaluation")
"""Folders of a run that grading does not need."""
_DATABASE = ".sqlite"
_UNFINISHED = tuple(_DATABASE + end for end in ("-journal", "-wal", "-shm"))
"""What SQLite keeps beside a database while it writes; a copy made by SQLite needs none of it."""


def named_blobs(table: str, row: Mapping[str, Any]) -> set[str]:
    """The entries of the originals and pictures that a row names."""
    if table == "fruits":
        return {f"blobs/originals/{row['content'][:2]}/{row['content']}"}
    return {f"blobs/pictures/{name[:2]}/{name}" for name in _pictures(row)}


def _pictures(value: Any, place: str = "") -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _pictures(inner, place if place in _PICTURES else key)
    elif isinstance(value, list):
        for inner in value:
            yield from _pictures(inner, place)
    elif place in _PICTURES and isinstance(value, str) and PICTURE_NAME.match(value):
        yield value


def write_blobs(root: Path, archive: zipfile.ZipFile) -> set[str]:
    """Add originals and pictures; returns their entries."""
    written = set()
    for path in sorted(root.glob("*/??/*")):
        name = f"blobs/{path.relative_to(root).as_posix()}"
        if _BLOB.match(name):  # what is being written has another name
            archive.write(path, name)
            written.add(name)
    return written


def write_run(run_id: int, folder: Path, archive: zipfile.ZipFile, hashes: dict[str, str]) -> None:
    """Add what grading needs of a run folder, with its hashes."""
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if not path.is_file() or inside.parts[0] in _LEFT_OUT or path.name.startswith("."):
            continue
        if path.name.endswith(_UNFINISHED):
            continue
        name = f"runs/{run_id}/{inside.as_posix()}"
        with (
            _whole(path, Path(archive.filename or "").parent) as stream,
            archive.open(name, "w", force_zip64=True) as entry,
        ):
            hashes[name] = _copy(stream, entry)


@contextmanager
def _whole(path: Path, room: Path) -> Iterator[IO[bytes]]:
    """A file to read; of a database that may be written to meanwhile, what it is at one moment.

    Parameters
    ----------
    room : folder for a copy
    """
    if path.suffix != _DATABASE:
        with path.open("rb") as stream:
            yield stream
        return
    with tempfile.NamedTemporaryFile(dir=room, prefix=".copy-", suffix=_DATABASE) as copy:
        try:
            with (
                closing(sqlite3.connect(path, timeout=_BUSY_SECONDS)) as source,
                closing(sqlite3.connect(copy.name)) as target,
            ):
                source.backup(target)
        except sqlite3.OperationalError as error:
            raise MezoroiError(f"{path} cannot be read ({error}): try again") from error
        except sqlite3.DatabaseError:  # damaged as it is: no reason to make no backup at all
            shutil.copyfile(path, copy.name)
        with Path(copy.name).open("rb") as stream:
            yield stream


def restore_files(
    archive: zipfile.ZipFile, summary: Mapping[str, Any], data: Path
) -> tuple[set[str], int]:
    """Bring blobs and runs back below a data folder, compared with their hashes.

    Parameters
    ----------
    summary : ``hashes`` of the runs' files, and how many ``blobs`` were written, which backups of
        earlier versions do not say

    Returns
    -------
    the blobs' entries and how many runs

    Raises
    ------
    MezoroiError
        If one is damaged or missing.
    """
    blobs, runs = set(), set()
    hashes, written = summary["hashes"], summary.get("blobs", 0)
    missing = {name for name in hashes if name.startswith("runs/")}
    for name in archive.namelist():
        blob, run = _BLOB.match(name), _RUN.match(name)
        if blob is None and run is None:
            continue
        if {"", ".", ".."} & set(name.split("/")):  # a way out of the folder
            raise damaged(name)
        wanted = blob[2] if blob is not None else hashes.get(name)
        with atomic_path(data / PurePosixPath(name)) as temporary, temporary.open("wb") as file:
            with archive.open(name) as entry:
                found = _copy(entry, file)
            if found != wanted:
                raise damaged(name)
        missing.discard(name)
        if blob is not None:
            blobs.add(name)
        if run is not None:
            runs.add(run[1])
    if missing:
        raise damaged(min(missing))
    if len(blobs) < written:
        raise MezoroiError(
            f"{written - len(blobs)} of {written} pictures and originals are missing "
            "in the backup: take another backup"
        )
    return blobs, len(runs)


def check_entry(archive: zipfile.ZipFile, name: str, hashes: dict[str, str]) -> None:
    """Compare an entry with its hash, before anything of it is used.

    Raises
    ------
    MezoroiError
        If it is damaged or missing.
    """
    if name not in archive.namelist():
        raise MezoroiError(f"{name} is missing in the backup: take another backup")
    with archive.open(name) as entry:
        found, _ = digest_of(entry)
    if found != hashes[name]:
        raise damaged(name)


def _copy(source: IO[bytes], target: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while block := source.read(_BLOCK):
        digest.update(block)
        target.write(block)
    return digest.hexdigest()


def damaged(name: str) -> MezoroiError:
    """What to raise where an entry of a backup is not what its hash says."""
    return MezoroiError(f"{name} in the backup is damaged: take another backup")
