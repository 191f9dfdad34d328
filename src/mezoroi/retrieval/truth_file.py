"""The SQLite file of a local reference index: made, opened, and changed in transactions.

The journal is a rollback journal: a folder that nobody writes to holds one file that can be copied,
and vectors are written once.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from mezoroi.errors import MezoroiError
from mezoroi.files import atomic_path
from mezoroi.retrieval.file_head import FileHead

FORMAT = 1
REMEDY = "restore a copy, or fill the references anew"
_APPLICATION = 0x4D5A5249
_PAGE_BYTES = 32768
_CACHE_BYTES = 16 << 20
"""A load beyond this is written out before it is complete, with two more waits for the disk."""
_WAIT_SECONDS = 5.0
_VARIABLES = 5000
_TABLES = """
CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE fruits (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,
    grade TEXT, date TEXT, orchard TEXT, thumbnail TEXT, more TEXT
);
CREATE TABLE vectors (first INTEGER PRIMARY KEY, vectors BLOB NOT NULL);
"""


class TruthFile:
    """An opened file; what goes wrong with it is a `MezoroiError` of one line.

    Attributes
    ----------
    path : the file
    db : the connection, to be used within `readable` or `writing`
    dim : length of a vector
    fingerprint : of the model whose vectors these are

    Raises
    ------
    MezoroiError
        If the file is missing, damaged, no reference index or of another version.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise MezoroiError(f"{path} does not exist: create the reference index first")
        self.path = path
        self._stamp: bytes | None = None
        self._changes = 0
        with self.readable():
            self._head = FileHead(path)
            self.db = _connect(path)
            (application,) = self.db.execute("PRAGMA application_id").fetchone()
            (version,) = self.db.execute("PRAGMA user_version").fetchone()
            if application != _APPLICATION:
                raise MezoroiError(f"{path} is no reference index: give another file")
            if version != FORMAT:
                raise MezoroiError(
                    f"{path} has format {version}, this version reads {FORMAT}: "
                    "fill the references anew with this version"
                )
            with self._unwritten():
                about = dict(self.db.execute("SELECT key, value FROM about"))
                # SQLite notices a file cut short only where it reads past the end.
                is_cut_short = self._head.is_cut_short()
            if is_cut_short:
                raise MezoroiError(f"{path} is truncated: {REMEDY}")
            self.dim = int(about["dim"])
            self.fingerprint = str(about["fingerprint"])

    def close(self) -> None:
        self.db.close()
        self._head.close()

    @property
    def generation(self) -> str:
        """Random, until it is drawn again."""
        with self.readable():
            row = self.db.execute("SELECT value FROM about WHERE key = 'generation'").fetchone()
        return str(row[0])

    def draw_generation(self) -> None:
        """Draw the generation again; within `writing`."""
        self.db.execute("UPDATE about SET value = ? WHERE key = 'generation'", (_new_generation(),))

    @property
    def changes_of_others(self) -> int:
        """Differs from its earlier value when another connection has written since."""
        stamp = self._head.stamp()
        if stamp is None or stamp != self._stamp:
            with self.readable(), self._unwritten():
                (self._changes,) = self.db.execute("PRAGMA data_version").fetchone()
                self._stamp = self._head.stamp()
        return self._changes

    def rows_in(self, query: str, values: Iterable[Any]) -> Iterator[Any]:
        """Rows of a query that ends in ``IN``, for any number of values; within `readable`."""
        remaining = iter(values)
        while part := list(islice(remaining, _VARIABLES)):
            yield from self.db.execute(f"{query} ({','.join('?' * len(part))})", part)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """One transaction: nothing of it is left after an error or a kill."""
        with self.readable():
            self.db.execute("BEGIN IMMEDIATE")
            try:
                yield
                # Fails, and leaves the transaction open, where a reader holds the file too long.
                self.db.execute("COMMIT")
            except BaseException:
                if self.db.in_transaction:  # a full disk has ended it already
                    self.db.execute("ROLLBACK")
                raise

    @contextmanager
    def _unwritten(self) -> Iterator[None]:
        """Nobody writes to the file from the first statement within to the end."""
        self.db.execute("BEGIN")
        try:
            yield
        finally:
            if self.db.in_transaction:
                self.db.execute("COMMIT")

    @contextmanager
    def readable(self) -> Iterator[None]:
        """Errors of SQLite become a `MezoroiError`, but for a row that is there already."""
        try:
            yield
        except sqlite3.IntegrityError:
            raise
        except sqlite3.OperationalError as error:
            raise MezoroiError(
                f"{self.path} cannot be used ({error}): check free space and permissions, "
                "and that no other program holds it"
            ) from error
        except MezoroiError:
            raise
        except UnicodeEncodeError as error:  # what was given is wrong, not the file
            raise MezoroiError(
                f"{str(error.object)[:60]!r} is not Unicode text, which {self.path} cannot keep: "
                "write it in UTF-8"
            ) from error
        except (sqlite3.DatabaseError, KeyError, ValueError) as error:
            raise MezoroiError(f"{self.path} is damaged ({error}): {REMEDY}") from error


def create_truth_file(path: Path, dim: int, fingerprint: str) -> None:
    """Make a file without fruits; it appears whole or not at all, and replaces none.

    Raises
    ------
    MezoroiError
        If there is a file already.
    """
    _check_free(path)
    with atomic_path(path) as temporary:
        db = _connect(temporary)
        db.executescript(
            f"PRAGMA page_size = {_PAGE_BYTES};"
            f"PRAGMA application_id = {_APPLICATION}; PRAGMA user_version = {FORMAT};{_TABLES}"
        )
        about = {"dim": str(dim), "fingerprint": fingerprint, "generation": _new_generation()}
        db.executemany("INSERT INTO about VALUES (?, ?)", about.items())
        db.close()
        _check_free(path)
        # What a kill has left beside a file that is gone would be rolled back into the new one.
        path.with_name(f"{path.name}-journal").unlink(missing_ok=True)
        try:
            # Unlike a rename, it cannot replace what another program has just made and filled.
            os.link(temporary, path)
        except FileExistsError:
            _check_free(path)
        except OSError:  # a file system without hard links: it is renamed
            pass


def _check_free(path: Path) -> None:
    if path.exists():
        raise MezoroiError(f"{path} already exists: open it, or give another file")


def _connect(path: Path) -> sqlite3.Connection:
    # The lock of `ReferenceIndex` keeps threads apart.
    db = sqlite3.connect(path, timeout=_WAIT_SECONDS, isolation_level=None, check_same_thread=False)
    # FULL would leave the journal's removal to the file system: a journal that comes back after a
    # power cut undoes what was reported as kept.
    db.execute("PRAGMA synchronous = EXTRA")
    db.execute(f"PRAGMA cache_size = {-_CACHE_BYTES // 1024}")
    return db


def _new_generation() -> str:
    # Not of a seeded generator: two indexes must differ.
    return os.urandom(8).hex()
