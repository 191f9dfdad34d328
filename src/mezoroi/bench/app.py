"""`mezoroi bench app`: what the app withstands, how fast it answers, and the page."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from mezoroi.bench.app_kill import kill_at_random
from mezoroi.bench.app_load import (
    THINK_SECONDS,
    grade_in_chromium,
    grade_over_http,
    read_pages,
    send_at_once,
    tablet_photos,
)
from mezoroi.bench.app_page import app_page
from mezoroi.bench.app_schema import ask_at_random
from mezoroi.bench.app_server import TriedApp, tried_app
from mezoroi.bench.app_uploads import send_malformed, send_slow
from mezoroi.bench.ledger import Ledger
from mezoroi.bench.pages import write_page
from mezoroi.datasets import load_dataset
from mezoroi.datasets.melons import write_melons
from mezoroi.errors import MezoroiError
from mezoroi.presets import make_config
from mezoroi.progress import Progress, silent
from mezoroi.workflow import train

PARTS = ("kill", "malformed", "slow", "schema", "photo", "uploads", "pages")
SEED = 8
_MELONS = 10
_SMALLER = (768, 1024)


@dataclass(frozen=True)
class Amounts:
    """How much of everything is tried.

    Attributes
    ----------
    uploads, kills : fruits sent, and kills meanwhile
    malformed : malformed uploads
    examples : questions to each operation of the API
    photos : photos timed, over HTTP and in Chromium each
    at_once : photos sent at the same moment
    users, rounds : readers, and how often each opens every page
    """

    uploads: int = 200
    kills: int = 20
    malformed: int = 500
    examples: int = 200
    photos: int = 12
    at_once: int = 200
    users: int = 20
    rounds: int = 5


def share_of(share: float) -> Amounts:
    """Shorter trials, at least as long as says anything; as many at once as ever."""
    whole = Amounts()
    return replace(
        whole,
        uploads=max(12, round(share * whole.uploads)),
        kills=max(2, round(share * whole.kills)),
        malformed=max(5, round(share * whole.malformed)),
        examples=max(5, round(share * whole.examples)),
        photos=max(2, round(share * whole.photos)),
        rounds=max(1, round(share * whole.rounds)),
    )


def run_app_bench(
    part: str, work: Path, page: Path, amounts: Amounts, progress: Progress = silent
) -> int:
    """Run a part (``all``, one of `PARTS`, or ``page`` for none) and write the page.

    Parameters
    ----------
    work : folder of the ledger, the trained run and the servers' data

    Returns
    -------
    number of cells in the ledger
    """
    if part not in ("all", "page", *PARTS):
        raise MezoroiError(f"unknown part `{part}`: use all, page, {', '.join(PARTS)}")
    ledger = Ledger(work / "app.jsonl")
    chosen = PARTS if part == "all" else [part] if part in PARTS else []
    for done, name in enumerate(chosen):
        progress(f"app: {name}", done, len(chosen))
        measure = partial(_measure, name, work, amounts, progress)
        ledger.compute(cell_settings(name, amounts), measure)
    cells = {name: ledger.find(cell_settings(name, amounts)) for name in PARTS}
    found = {name: cell for name, cell in cells.items() if cell is not None}
    write_page(page, app_page(found, amounts, Amounts()))
    return len(ledger)


def cell_settings(part: str, amounts: Amounts) -> dict[str, Any]:
    """What a cell of the ledger depends on; the app's own code as well, unlike in other benches."""
    return {"bench": "app", "part": part, "seed": SEED, "app": _app_code(), **asdict(amounts)}


def _measure(part: str, work: Path, amounts: Amounts, progress: Progress) -> dict[str, Any]:
    """One part, with how busy the machine was before it began."""
    run = _trained_run(work / "app" / "run")
    folder = work / "app" / part
    shutil.rmtree(folder, ignore_errors=True)
    load = os.getloadavg()[0]
    if part == "kill":
        result = kill_at_random(run, folder, amounts.uploads, amounts.kills, SEED, progress)
    else:
        with tried_app(run, folder) as app:
            app.wait_until_ready()
            result = _TRIALS[part](app, amounts, progress)
    machine = {
        "load": load,
        "cores": os.cpu_count(),
        "niceness": os.nice(0),
        "threads": os.environ.get("OMP_NUM_THREADS", "as many as cores"),
        "app": _app_code(),
    }
    return {**result, **machine}


def _malformed(app: TriedApp, amounts: Amounts, progress: Progress) -> dict[str, Any]:
    return send_malformed(app, amounts.malformed, SEED, progress)


def _slow(app: TriedApp, amounts: Amounts, progress: Progress) -> dict[str, Any]:
    return send_slow(app)


def _schema(app: TriedApp, amounts: Amounts, progress: Progress) -> dict[str, Any]:
    return ask_at_random(app, amounts.examples)


def _photo(app: TriedApp, amounts: Amounts, progress: Progress) -> dict[str, Any]:
    photos = list(tablet_photos(amounts.photos + 1, SEED))
    grade_over_http(app, photos[:1])  # the first one warms everything up
    return {
        "http": grade_over_http(app, photos[1:]),
        "chromium": grade_in_chromium(app, photos[1:], app.log.parent),
    }


def _uploads(app: TriedApp, amounts: Amounts, progress: Progress) -> dict[str, Any]:
    photo = next(tablet_photos(1, SEED, _SMALLER))
    return send_at_once(app, photo, amounts.at_once)


def _pages(app: TriedApp, amounts: Amounts, progress: Progress) -> dict[str, Any]:
    grade_over_http(app, list(tablet_photos(amounts.photos, SEED, _SMALLER)))
    read_pages(app, 1, 1, 0.0, SEED)
    return {
        "clicking": read_pages(app, amounts.users, amounts.rounds, THINK_SECONDS, SEED),
        "hammering": read_pages(app, amounts.users, amounts.rounds, 0.0, SEED),
    }


_TRIALS: Mapping[str, Callable[[TriedApp, Amounts, Progress], dict[str, Any]]] = {
    "malformed": _malformed,
    "slow": _slow,
    "schema": _schema,
    "photo": _photo,
    "uploads": _uploads,
    "pages": _pages,
}


def _trained_run(folder: Path) -> Path:
    """A run of the default size, trained just enough to grade; made once."""
    if not (folder / "grader.json").is_file():
        melons = folder.parent / "melons"
        write_melons(melons, _MELONS, seed=SEED)
        train(load_dataset(melons), make_config(overrides=["train.epochs=2"]), folder)
    return folder


@cache
def _app_code() -> str:
    """Hash of the app's source with its pages."""
    root = Path(__file__).parents[1] / "app"
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        if path.suffix in (".py", ".html", ".js", ".css", ".po"):
            digest.update(path.relative_to(root).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
