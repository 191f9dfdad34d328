"""How a worker starts: the line that tells what it works for, and the memory it may take."""

from __future__ import annotations

import json
import os
import resource
from dataclasses import asdict
from pathlib import Path

from mezoroi.app.settings import Limits, Settings


def start_line(settings: Settings, name: str) -> str:
    """The first line of a worker's standard input."""
    content = {
        "name": name,
        "run": str(settings.run),
        "data": str(settings.data),
        "database_url": settings.url,
        "limits": asdict(settings.limits),
        "training": None if settings.training is None else str(settings.training),
    }
    return json.dumps(content) + "\n"


def read_start_line(line: str) -> tuple[Settings, str]:
    """The inverse of `start_line`: settings and the worker's name."""
    content = json.loads(line)
    settings = Settings(
        Path(content["run"]),
        Path(content["data"]),
        content["database_url"],
        Limits(**content["limits"]),
        training=None if content["training"] is None else Path(content["training"]),
    )
    return settings, content["name"]


def first_line() -> str:
    """The first line of standard input, unbuffered: what follows is read from the same handle."""
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            raise SystemExit("error: no settings came: start it with `mezoroi serve`")
        line += byte
    return line.decode()


def limit_memory(extra: int) -> None:
    """Allow this process so many bytes on top of what it has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if _has_proc() else 0
    if not pages:
        return
    limit = pages * resource.getpagesize() + extra
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def _has_proc() -> bool:
    return Path("/proc/self/statm").is_file()
