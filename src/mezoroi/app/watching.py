"""A watched folder: what a turntable's camera puts there is graded by itself."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mezoroi.app import intake
from mezoroi.app.blobs import Blobs
from mezoroi.app.database import Database
from mezoroi.app.problems import UploadProblem
from mezoroi.app.settings import Settings
from mezoroi.app.store import audit, fruits, runs, users, watched
from mezoroi.app.store.fruits import Details
from mezoroi.app.tables import User
from mezoroi.errors import MezoroiError

log = logging.getLogger("mezoroi.app.watching")
POLL_SECONDS = 1.0
SETTLED_SECONDS = 2.0
"""A file that did not change for so long is taken to be whole."""
MOST_REFUSED = 3
"""So many refused files are told on the page."""
_TOO_LARGE = "too large"
_PASSING = (_TOO_LARGE, "no video")
"""Refusals that another start, or another grader, may take back."""
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Found:
    """A file of the folder: its name in it, size in bytes, and nanoseconds when it changed."""

    name: str
    size: int
    modified: int


@dataclass(frozen=True)
class Refused:
    """A file that was not taken, and why: a key of `mezoroi.app.problems.PROBLEMS`."""

    name: str
    code: str


class Watcher:
    """Looks into a folder again and again, and sends what is new as an upload would be.

    Files stay where they are and as they are. Those in a subfolder go into the lot of its name.

    Parameters
    ----------
    folder : what to watch
    user_name : whom the fruits count for
    wake : called when there is work for the grader

    Attributes
    ----------
    refused : the last files that were not taken since the start, newest first
    """

    def __init__(
        self,
        folder: Path,
        user_name: str,
        settings: Settings,
        database: Database,
        blobs: Blobs,
        wake: Callable[[], None],
    ) -> None:
        self._folder = folder
        self._user_name = user_name
        self._settings = settings
        self._database = database
        self._blobs = blobs
        self._wake = wake
        self.refused: deque[Refused] = deque(maxlen=MOST_REFUSED)
        self._last: dict[str, Found] = {}
        self._set_aside: dict[str, tuple[Found, int | None]] = {}
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def check(self) -> None:
        """See that there is a folder and a user.

        Raises
        ------
        MezoroiError
        """
        if not self._folder.is_dir():
            raise MezoroiError(f"{self._folder} is no folder: make it, or give another --watch")
        if self._user() is None:
            raise MezoroiError(
                f"there is no user `{self._user_name}` for what comes in the watched folder: "
                "give --watch-user"
            )

    def start(self) -> None:
        """Begin to watch, in a thread of its own."""
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Watch no longer; a file at hand is finished."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def look(self, now: float) -> list[int]:
        """Take every file that is whole and new; ids of the fruits they became.

        Parameters
        ----------
        now : seconds since 1970
        """
        user = self._user()
        if user is None:
            log.warning("the watched folder's user is gone", extra={"user": self._user_name})
            return []
        taken = []
        before, self._last = self._last, {found.name: found for found in self._files()}
        with self._database.read() as session:
            known = watched.known_files(session)
            run = runs.active_run(session)
        grader = run.id if run is not None else None
        for name, found in self._last.items():
            settled = now - found.modified / 1e9 >= SETTLED_SECONDS and before.get(name) == found
            looked_at = known.get(name) == (found.size, found.modified)
            if not settled or looked_at or self._set_aside.get(name) == (found, grader):
                continue
            for earlier in [item for item in self.refused if item.name == name]:
                self.refused.remove(earlier)
            try:
                fruit_id = self._take(found, user)
            except UploadProblem as problem:
                if problem.status == 503:  # the others wait as well: again at the next look
                    break
                log.warning("not taken", extra={"file": name, "reason": problem.code})
                self.refused.appendleft(Refused(name, problem.code))
                if problem.code in _PASSING:  # not noted for good
                    self._set_aside[name] = found, grader
                    continue
                fruit_id = None
            except OSError as error:
                log.warning("not readable", extra={"file": name, "reason": str(error)})
                continue
            with self._database.write() as session:
                watched.note(session, name, found.size, found.modified, fruit_id)
            if fruit_id is not None:
                taken.append(fruit_id)
        if taken:
            self._wake()
        return taken

    def _take(self, found: Found, user: User) -> int | None:
        """Send a file; None where a fruit has this very content already."""
        if found.size > self._settings.limits.upload_bytes:
            raise UploadProblem(_TOO_LARGE, 413)
        if intake.is_full(self._database, self._settings.limits, user, None):
            raise UploadProblem("queue full", 503)  # before the file is read for its content
        path = self._folder / found.name
        with path.open("rb") as stream:
            digest = hashlib.sha256()
            while block := stream.read(_BLOCK):
                digest.update(block)
            with self._database.read() as session:
                if fruits.has_content(session, digest.hexdigest()) is not None:
                    return None
            lot = Path(found.name).parent.name
            accepted = intake.accept(
                stream,
                path.name,
                Details(lot=lot),
                user,
                database=self._database,
                blobs=self._blobs,
                limits=self._settings.limits,
            )
        with self._database.write() as session:
            audit.record(session, user, "taken from the watched folder", str(accepted.fruit_id))
        return accepted.fruit_id

    def _files(self) -> Iterator[Found]:
        """The files of the folder and of its subfolders; no links, nothing hidden."""
        for place in (self._folder, *_entries(self._folder, folders=True)):
            for path in _entries(place, folders=False):
                try:
                    status = path.lstat()
                except OSError:  # it went meanwhile
                    continue
                name = path.relative_to(self._folder).as_posix()
                if status.st_size > 0 and len(name) <= watched.LONGEST_NAME:
                    yield Found(name, status.st_size, status.st_mtime_ns)

    def _user(self) -> User | None:
        with self._database.read() as session:
            user = users.find_user(session, self._user_name)
        return user if user is not None and user.active else None

    def _run(self) -> None:
        while not self._stopping.wait(POLL_SECONDS):
            try:
                self.look(time.time())
            except Exception:  # a full disk or a busy database may pass
                log.exception("the watched folder could not be read")


def _entries(folder: Path, *, folders: bool) -> list[Path]:
    try:
        with os.scandir(folder) as found:
            kept = [
                Path(entry.path)
                for entry in found
                if not entry.name.startswith(".")
                and entry.name.isprintable()
                and (
                    entry.is_dir(follow_symlinks=False)
                    if folders
                    else entry.is_file(follow_symlinks=False)
                )
            ]
    except OSError:
        return []
    return sorted(kept)
