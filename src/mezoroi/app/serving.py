"""The server process: one per data folder."""

from __future__ import annotations

import fcntl
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from mezoroi.app.assets import STATIC
from mezoroi.app.backup import active_folder
from mezoroi.app.database import served_by_one
from mezoroi.app.logs import set_up_logs
from mezoroi.app.server import create_app
from mezoroi.app.settings import Settings, check_run
from mezoroi.errors import MezoroiError

GRACE_SECONDS = 10
KEEP_ALIVE_SECONDS = 30
"""Longer than `intake.RETRY_SECONDS`: else connections close just when senders come back."""


def serve_forever(
    settings: Settings, host: str, port: int, first_logins: Callable[[], Sequence[str]]
) -> None:
    """Serve until interrupted; what is being graded is finished, or queued again.

    Parameters
    ----------
    first_logins : makes the logins that there must be and returns what to tell about them

    Raises
    ------
    MezoroiError
        If the run, the folder, the database or the port cannot be used.
    """
    check_run(settings.run)
    with _alone(settings.data), served_by_one(settings.url):
        app = create_app(settings)
        listener = _listen(host, port)
        port = listener.getsockname()[1]
        _tell(f"Mezoroi at http://{_shown(host)}:{port}  (data in {settings.data})")
        if app.state.is_grader_changed:
            _tell(f"{settings.run} holds another grader than before, which grades from now on")
        for line in (*_other_grader(settings), *first_logins()):
            _tell(line)
        if app.state.watcher is not None:
            app.state.watcher.check()
            _tell(f"watching {settings.watch} for `{settings.watch_user}`")
        training = app.state.services.training
        if training is not None:
            count = sum(training.counts.values())
            _tell(f"new graders also learn from {count} fruits in {training.path}")
        if not (STATIC / "vendor").is_dir():
            _tell("note: fonts and scripts are missing: run `python tools/vendor.py`")
        set_up_logs()
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        uvicorn.Server(config).run(sockets=[listener])


def _other_grader(settings: Settings) -> list[str]:
    """What to tell where another run grades than the one that was given: the data had one."""
    active = active_folder(settings)
    if active == str(settings.run):
        return []
    return [f"grading with {active}, not with {settings.run}: switch on the page `Graders`"]


@contextmanager
def _alone(data: Path) -> Iterator[None]:
    """Hold the folder's lock, so that two servers do not share one queue."""
    data.mkdir(parents=True, exist_ok=True)
    with (data / "server.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise MezoroiError(
                f"another server works in {data}: stop it, or give another --data"
            ) from error
        yield


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise MezoroiError(
            f"cannot listen on {host}:{port} ({error.strerror}): give another --port"
        ) from error
    return listener


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _tell(line: str) -> None:
    print(line, flush=True, file=sys.stdout)
