"""Starts the training process when a training waits, and clears out old data once an hour."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
import threading
import time
from contextlib import suppress

from mezoroi.app.blobs import Blobs
from mezoroi.app.database import Database
from mezoroi.app.settings import Settings
from mezoroi.app.store import house, jobs, practice
from mezoroi.app.store.performance import PERFORMANCE
from mezoroi.app.worker_start import start_line

log = logging.getLogger("mezoroi.app")
_LOOK_SECONDS = 1.0
_CLEAR_SECONDS = 3600.0
_PATIENCE = 60.0
STOP_SECONDS = 15.0
BACKUP_PREFIX = ".backup-"
"""How folders begin in which a backup is made for a browser."""


class Background:
    """Looks once a second for a training that waits; one runs at a time."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._process: subprocess.Popen[str] | None = None
        self._cancelled_at: float | None = None
        self._cleared_at: float | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="background", daemon=True)

    def start(self) -> None:
        """Begin to look; what a server that was killed left of backups goes first."""
        for left in self._settings.data.glob(f"{BACKUP_PREFIX}*"):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
        self._thread.start()

    def stop(self) -> None:
        """End the training process; what it works on goes on after the next start."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)
        process = self._process
        if process is None:
            return
        assert process.stdin is not None
        with suppress(OSError):
            process.stdin.close()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def clear_out(self) -> dict[str, int]:
        """Delete data about people that have been kept long enough, and unfinished files.

        Returns
        -------
        rows that went, by table
        """
        with self._database.write() as session:
            gone = house.purge(session, PERFORMANCE) | {"practice": practice.forget(session)}
        files = Blobs(self._settings.data / "blobs").sweep()
        log.info("old data cleared out", extra={"rows": gone, "files": files})
        return gone

    def _run(self) -> None:
        while not self._stopping.wait(_LOOK_SECONDS):
            try:
                self._look()
            except Exception:
                log.exception("the background could not be looked after")

    def _look(self) -> None:
        now = time.monotonic()
        if self._cleared_at is None or now - self._cleared_at > _CLEAR_SECONDS:
            self._cleared_at = now
            self.clear_out()
        if self._process is not None:
            self._watch(self._process)
            return
        with self._database.read() as session:
            kind = jobs.next_kind(session, [jobs.TRAIN])
        if kind is not None:
            self._process = self._begin()

    def _begin(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "mezoroi.app.trainer"], stdin=subprocess.PIPE, text=True
        )
        assert process.stdin is not None
        process.stdin.write(start_line(self._settings, _name(process.pid)))
        process.stdin.flush()
        return process

    def _watch(self, process: subprocess.Popen[str]) -> None:
        """Note its end; end it where it does not stop although a user wants it to."""
        name = _name(process.pid)
        with self._database.read() as session:
            unwanted = jobs.unwanted(session, name)
        if process.poll() is None:
            if unwanted is None:
                self._cancelled_at = None
            elif self._cancelled_at is None:
                self._cancelled_at = time.monotonic()
            elif time.monotonic() - self._cancelled_at > _PATIENCE:
                process.kill()
            return
        assert process.stdin is not None
        with suppress(OSError):
            process.stdin.close()
        self._process, self._cancelled_at = None, None
        if process.returncode:
            log.warning("the training process ended", extra={"exit_status": process.returncode})
        with self._database.write() as session:
            if unwanted is not None:
                jobs.cancel(session, unwanted)
            jobs.release(session, name, self._settings.limits.attempts)


def _name(pid: int) -> str:
    return f"trainer-{pid}"
