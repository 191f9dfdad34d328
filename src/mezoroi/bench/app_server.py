"""A real `mezoroi serve` to try: started, asked, killed, started again."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mezoroi.app.database import Database, migrate
from mezoroi.app.passwords import new_password
from mezoroi.app.roles import Role
from mezoroi.app.settings import Settings
from mezoroi.app.store import users
from mezoroi.errors import MezoroiError

if TYPE_CHECKING:
    import httpx

START_SECONDS = 180.0
_STOP_SECONDS = 60.0
_POLL_SECONDS = 0.1
_WORKER = b"mezoroi.app.worker"


@dataclass(frozen=True)
class Person:
    """A user who can ask as a program (token) and as a browser (session)."""

    id: int
    token: str
    session: str


@dataclass
class TriedApp:
    """A server process that may be killed and started again on the same data.

    Attributes
    ----------
    people : one user of each role
    url : changes with every start
    log : what all its processes wrote
    """

    settings: Settings
    people: dict[Role, Person]
    log: Path
    url: str = ""
    process: subprocess.Popen[str] | None = None
    orphans: list[int] = field(default_factory=list)

    def start(self) -> None:
        """Start the server on any free port; it listens when this returns.

        Raises
        ------
        MezoroiError
            If it ends instead.
        """
        command = [sys.executable, "-m", "mezoroi", "serve", str(self.settings.run)]
        command += ["--port", "0", "--data", str(self.settings.data)]
        with self.log.open("a", encoding="utf-8") as log:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        self.process = process
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.search(r"http://[\d.]+:\d+", line):
                self.url = found[0]
                return
        raise MezoroiError(f"the server did not start: see {self.log}")

    def wait_until_ready(self) -> None:
        """Wait until the worker grades.

        Raises
        ------
        MezoroiError
            If it does not within `START_SECONDS`.
        """
        until = time.monotonic() + START_SECONDS
        with self.client() as client:
            while time.monotonic() < until:
                with suppress(OSError, *network_errors()):
                    if client.get("/readyz").status_code == 200:
                        return
                time.sleep(_POLL_SECONDS)
        raise MezoroiError(f"the server did not become ready: see {self.log}")

    @property
    def pid(self) -> int:
        """The server's process."""
        assert self.process is not None
        return self.process.pid

    @property
    def worker(self) -> int | None:
        """The grading worker's process, or None between two of them."""
        return next((p for p in _children(self.pid) if _WORKER in _command(p)), None)

    def kill(self) -> None:
        """kill -9 for the server; its worker is left to find out by itself."""
        assert self.process is not None
        self.orphans += _children(self.pid)
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def kill_worker(self) -> bool:
        """kill -9 for the worker; False where there is none just now."""
        worker = self.worker
        if worker is None:
            return False
        with suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)
        return True

    def stop(self) -> None:
        """End the server in good order, and wait for workers that outlived theirs."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        assert self.process.stdout is not None
        self.process.stdout.close()
        until = time.monotonic() + _STOP_SECONDS
        while time.monotonic() < until and any(_WORKER in _command(p) for p in self.orphans):
            time.sleep(_POLL_SECONDS)

    def client(self, role: Role = Role.EXPERT) -> httpx.Client:
        """A program's connection with a user's token."""
        import httpx

        headers = {"authorization": f"Bearer {self.people[role].token}", "accept-language": "en"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=120.0, trust_env=False)

    def database(self) -> Database:
        """The database, opened beside the server."""
        return Database(self.settings.url)

    def peak_megabytes(self, process: int | None = None) -> float:
        """Most memory a process has held so far, by default the server; NaN where it is gone."""
        return _status(process or self.pid, "VmHWM")


@contextmanager
def tried_app(run: Path, folder: Path) -> Iterator[TriedApp]:
    """A server with new data and a copy of the run below `folder`, listening; ended afterwards."""
    copy = folder.absolute() / "run"
    shutil.copytree(run, copy, ignore=shutil.ignore_patterns("checkpoints"))
    settings = Settings(copy, folder.absolute() / "data")
    settings.data.mkdir(parents=True)
    app = TriedApp(settings, _add_people(settings), folder / "log.txt")
    app.start()
    try:
        yield app
    finally:
        app.stop()


def network_errors() -> tuple[type[Exception], ...]:
    """What a client raises whose server is gone."""
    import httpx

    return (httpx.TransportError,)


def _add_people(settings: Settings) -> dict[Role, Person]:
    database = Database(settings.url)
    migrate(database)
    people = {}
    with database.write() as session:
        for role in Role:
            user = users.add_user(session, role.value, role, new_password())
            token = users.add_token(session, user, "bench")
            people[role] = Person(user.id, token, users.start_login(session, user))
    database.close()
    return people


def _children(parent: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # The name in parentheses may hold anything; the parent is the second field after it.
            if int(path.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(path.parent.name))
    return found


def _command(process: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{process}/cmdline").read_bytes()
    return b""


def _status(process: int, name: str) -> float:
    with suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) / 1024
    return float("nan")
