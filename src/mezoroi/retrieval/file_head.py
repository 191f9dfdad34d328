"""The first bytes of a SQLite file, read beside SQLite and without its locks."""

from __future__ import annotations

import os
import weakref
from pathlib import Path
from threading import Lock

_ROLLBACK_JOURNAL = b"\x01"
_guard = Lock()
_shared: dict[tuple[int, int], tuple[int, int]] = {}
"""For each file (device, inode) that is open: its descriptor, and how many use it."""


class FileHead:
    """Tells whether a SQLite file has changed, in a tenth of the time that SQLite takes.

    Closing any descriptor of a file makes a process lose all its locks on it (POSIX), those of
    SQLite too. So a process has one for each file, which is closed with its last user: close a head
    after the connection.

    Parameters
    ----------
    path : an existing file
    """

    def __init__(self, path: Path) -> None:
        status = path.stat()
        key = (status.st_dev, status.st_ino)
        with _guard:
            descriptor, users = _shared.get(key) or (os.open(path, os.O_RDONLY), 0)
            _shared[key] = (descriptor, users + 1)
        self._descriptor = descriptor
        self.close = weakref.finalize(self, _release, key)

    def stamp(self) -> bytes | None:
        """What SQLite itself compares to see a change; None where it does not tell.

        The same bytes after a change that was rolled back may come again after another one: keep a
        stamp only from within a transaction.
        """
        if not self.close.alive:
            return None  # its descriptor may be another file's by now
        head = os.pread(self._descriptor, 40, 0)
        # With a write-ahead log, changes are elsewhere at first.
        return head[24:] if head[18:19] == _ROLLBACK_JOURNAL else None

    def is_cut_short(self) -> bool:
        """True where the file ends before the last of its pages."""
        head = os.pread(self._descriptor, 32, 0)
        expected = int.from_bytes(head[16:18], "big") * int.from_bytes(head[28:32], "big")
        return os.fstat(self._descriptor).st_size < expected


def _release(key: tuple[int, int]) -> None:
    with _guard:
        descriptor, users = _shared.pop(key)
        if users > 1:
            _shared[key] = (descriptor, users - 1)
        else:
            os.close(descriptor)
