"""Keeps one grading worker running: starts it, wakes it, ends it when it hangs."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import IO

from sqlalchemy.exc import SQLAlchemyError

from mezoroi.app.database import Database
from mezoroi.app.settings import Settings
from mezoroi.app.store import jobs
from mezoroi.app.worker_start import start_line

log = logging.getLogger("mezoroi.app")
_LOOK_SECONDS = 0.25
_OVERDUE_SECONDS = 2.0
_LONGEST_PAUSE = 30.0
STOP_SECONDS = 20.0


class Supervisor:
    """Runs ``python -m mezoroi.app.worker`` and starts it again when it ends.

    The worker's standard input is its bell: a line wakes it, the end of it (also when this process
    is killed) tells it to finish what it has and go.

    Parameters
    ----------
    on_start : called whenever a worker is started

    Attributes
    ----------
    trouble : why no worker grades, in English; empty where one does, or may soon
    """

    def __init__(
        self, settings: Settings, database: Database, on_start: Callable[[], None]
    ) -> None:
        self._settings = settings
        self._database = database
        self._on_start = on_start
        self._process: subprocess.Popen[str] | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._bell = threading.Lock()
        self._ready = False
        self._trouble_told = False
        self.trouble = ""

    @property
    def is_ready(self) -> bool:
        """Whether the worker has loaded its grader and grades."""
        process = self._process
        return self._ready and process is not None and process.poll() is None

    @property
    def pid(self) -> int | None:
        """The worker's process, or None between two of them."""
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Queue again what an earlier server left, and start the worker."""
        with self._database.write() as session:
            jobs.release(session, None, self._settings.limits.attempts)
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Tell the worker that there is work; it also looks by itself once a second."""
        process = self._process
        if process is None or process.stdin is None:
            return
        with suppress(OSError, ValueError), self._bell:  # a new one looks by itself when it starts
            process.stdin.write("\n")
            process.stdin.flush()

    def stop(self) -> None:
        """Let the worker finish what it has, for `STOP_SECONDS`; the rest is queued again."""
        self._stopping.set()
        process = self._process
        if process is not None:
            _close(process.stdin)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._thread is not None:
            self._thread.join(STOP_SECONDS)
        with self._database.write() as session:
            jobs.release(session, None, self._settings.limits.attempts)

    def _run(self) -> None:
        pause = 0.0
        while not self._stopping.wait(pause):
            began = time.monotonic()
            try:
                self._one_life()
            except Exception:
                log.exception("the worker could not be watched")
            lived = time.monotonic() - began
            pause = 0.0 if lived > _LONGEST_PAUSE else min(_LONGEST_PAUSE, 2 * pause + 0.5)

    def _one_life(self) -> None:
        """Start a worker and watch it until it ends; however that goes, no process stays."""
        self._ready = False
        with self._database.write() as session:  # also where it could not be done after the last
            jobs.release(session, None, self._settings.limits.attempts, but=[jobs.TRAIN])
        process = subprocess.Popen(
            [sys.executable, "-m", "mezoroi.app.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._process = process
        self._on_start()
        name = f"worker-{process.pid}"
        self._trouble_told = False
        reader = threading.Thread(target=self._listen, args=(process.stdout,), daemon=True)
        reader.start()
        try:
            assert process.stdin is not None
            process.stdin.write(start_line(self._settings, name))
            process.stdin.flush()
            self._watch(process, name)
        finally:
            process.kill()  # nothing where it has ended
            status = process.wait()
            reader.join(5)
            _close(process.stdin)
            _close(process.stdout)
            was_ready, self._ready = self._ready, False
        if not self._stopping.is_set():
            log.warning("the worker ended", extra={"worker": name, "exit_status": status})
            if not was_ready and not self._trouble_told:
                self.trouble = f"the worker ended with status {status} before it could grade"
        with self._database.write() as session:
            jobs.release(session, name, self._settings.limits.attempts)

    def _watch(self, process: subprocess.Popen[str], name: str) -> None:
        """Return when a worker has ended, if need be because it took too long."""
        looked = time.monotonic()
        while process.poll() is None:
            time.sleep(_LOOK_SECONDS)
            if time.monotonic() - looked > _OVERDUE_SECONDS:
                looked = time.monotonic()
                if self._is_overdue(name):
                    log.warning("the worker takes too long and is ended", extra={"worker": name})
                    process.kill()

    def _is_overdue(self, name: str) -> bool:
        try:
            with self._database.read() as session:
                return jobs.is_overdue(session, name)
        except SQLAlchemyError:  # the database may answer next time; the worker goes on meanwhile
            log.exception("it is not known whether the worker takes too long")
            return False

    def _listen(self, stream: IO[str]) -> None:
        """Read what the worker says, a JSON object a line."""
        for line in stream:
            try:
                said = json.loads(line)
            except ValueError:
                continue
            if said.get("event") == "ready":
                self._ready, self.trouble = True, ""
                log.info("the worker is ready", extra={"run": said.get("run", "")})
            elif said.get("event") == "trouble":
                self.trouble, self._trouble_told = str(said.get("reason", "")), True
                log.error("the worker is in trouble", extra={"reason": self.trouble})


def _close(stream: IO[str] | None) -> None:
    if stream is not None:
        with suppress(OSError):  # what was left to write has no reader any more
            stream.close()
