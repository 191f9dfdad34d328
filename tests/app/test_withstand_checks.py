"""The checks behind the trials see what they are for, and small repairs that the trials led to."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from mezoroi.app.background import Background
from mezoroi.app.blobs import Blobs
from mezoroi.app.settings import Limits
from mezoroi.app.store import fruits, jobs
from mezoroi.app.tables import Fruit, Job, now
from mezoroi.app.worker import Worker
from mezoroi.bench.app import PARTS, Amounts, run_app_bench, share_of
from mezoroi.bench.app_check import inconsistencies, leftovers
from mezoroi.bench.app_malformed import malformed_files
from mezoroi.bench.app_page import MISSING, app_page
from mezoroi.errors import MezoroiError
from tests.app.conftest import App, jpeg
from tests.app.helpers import send, send_all


@pytest.fixture
def graded(app: App, melons: Path) -> App:
    """An app with one graded fruit."""
    send_all(app, sorted(melons.glob("captures/*/surface.png"))[:1])
    return app


def test_sound_data_is_found_sound(graded: App) -> None:
    assert inconsistencies(graded.services.settings) == []


def test_a_missing_original_is_found(graded: App) -> None:
    next(_blobs(graded).glob("originals/??/*")).unlink()
    assert inconsistencies(graded.services.settings) == ["the original of fruit 1 is missing"]


def test_a_missing_picture_is_found(graded: App) -> None:
    path = next(_blobs(graded).glob("pictures/??/*.jpg"))
    path.unlink()
    found = inconsistencies(graded.services.settings)
    # A neighbour's picture is named by the reference fruit too.
    assert found
    assert all(line.startswith(path.name) and "is missing" in line for line in found)


def test_a_changed_file_is_found(graded: App) -> None:
    path = next(_blobs(graded).glob("pictures/??/*.png"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert inconsistencies(graded.services.settings) == [
        f"{path.name} does not hold what its name says"
    ]


def test_a_row_that_names_none_is_found(graded: App) -> None:
    with graded.services.database.engine.connect() as connection:
        connection.execute(text("COMMIT"))  # the setting holds outside of a transaction alone
        connection.execute(text("PRAGMA foreign_keys=OFF"))
        connection.execute(text("DELETE FROM fruits"))
        connection.execute(text("PRAGMA foreign_keys=ON"))
    found = inconsistencies(graded.services.settings)
    assert any("names a row of fruits that is not there" in line for line in found)


def test_what_a_killed_process_left_is_swept_away_after_an_hour(graded: App) -> None:
    settings, blobs = graded.services.settings, _blobs(graded)
    folder = next(blobs.glob("originals/??"))
    old, young = folder / ".old.x", folder / ".young.y"
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    assert leftovers(settings) == 2
    Background(settings, graded.services.database).clear_out()
    assert young.is_file() and not old.exists()
    assert inconsistencies(settings) == [] and Blobs(blobs).sweep() == 0


def test_every_fruit_of_a_batch_has_the_time_of_one(
    make_app: Callable[..., App], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A photo that never ends stops the queue for its own time, not for that of eight videos."""
    app = make_app(limits=Limits(photo_time=30.0, video_time=180.0))
    for seed in range(3):
        send(app, jpeg(seed))
    left: list[timedelta] = []

    def read(worker: Worker, job: Job, fruit: Fruit) -> None:
        with app.services.database.read() as session:
            held = jobs.get_job(session, job.id)
        assert held is not None and held.lease_until is not None
        left.append(held.lease_until - now())

    monkeypatch.setattr(Worker, "_read", read)
    Worker(app.services.settings, "worker-test", lambda said: None).work_once()
    assert len(left) == 3
    assert all(timedelta(seconds=20) < each <= timedelta(seconds=30) for each in left)


def test_a_fruit_is_not_blamed_for_what_its_batch_did(app: App) -> None:
    """Twice a worker dies at the first fruit: that one is given up, the others are not."""
    database = app.services.database
    for seed in range(3):
        send(app, jpeg(seed))
    for worker in ("worker-1", "worker-2"):
        with database.write() as session:
            taken = jobs.claim(session, jobs.GRADE, worker, 8, 60.0)
            jobs.begin(session, taken[0].id, worker, "grading", 60.0)
        with database.write() as session:
            jobs.release(session, worker, attempts=2)
    with database.read() as session:
        left = [jobs.newest_job(session, fruit_id) for fruit_id in (1, 2, 3)]
    assert [job.state for job in left if job] == ["failed", "queued", "queued"]
    assert [job.attempts for job in left if job] == [2, 0, 0]


def test_a_worker_whose_server_was_killed_changes_nothing_any_more(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next server has queued its fruits again, and its worker has them."""
    database = app.services.database
    for seed in range(3):
        send(app, jpeg(seed))
    orphan = Worker(app.services.settings, "worker-1", lambda said: None)
    store = Worker._store

    def be_late(worker: Worker, job: Job, fruit: Fruit, result: dict[str, Any]) -> None:
        with database.write() as session:
            jobs.release(session, None, attempts=2)
            jobs.claim(session, jobs.GRADE, "worker-2", 8, 60.0)
        store(worker, job, fruit, result)

    monkeypatch.setattr(Worker, "_store", be_late)
    orphan.work_once()
    with database.read() as session:
        assert [fruits.newest_grading(session, each) for each in (1, 2, 3)] == [None] * 3
        held = [jobs.newest_job(session, each) for each in (1, 2, 3)]
    # Its first fruit was tried before, and is taken alone.
    assert [job.worker for job in held if job] == ["worker-2", None, None]


def test_malformed_files_come_from_their_seed() -> None:
    first, again, other = (list(malformed_files(30, seed)) for seed in (3, 3, 4))
    assert first == again
    assert [item.content for item in first] != [item.content for item in other]


def test_the_page_says_what_was_not_run(tmp_path: Path) -> None:
    page = tmp_path / "app.md"
    assert run_app_bench("page", tmp_path, page, Amounts()) == 0
    assert page.read_text(encoding="utf-8").count(f"\n{MISSING}\n") == len(PARTS)


def test_the_page_says_what_was_found() -> None:
    machine = {"load": 0.5, "cores": 2, "niceness": 0, "threads": "1", "app": "abc"}
    kill = {
        "killed": {"server": 1, "worker": 1},
        "states": {"done": 12},
        "uploads": 12,
        "verdicts": 3,
        "broken": 4,
        "extra": 0,
        "leftovers": 1,
        "findings": ["fruit 3 was acknowledged and is not there"],
    }
    times = {"http": [0.4, 0.6, 0.5], "chromium": [1.0, 3.0, 1.2]}
    cells = {"kill": {**kill, **machine}, "photo": {**times, **machine}}
    text = app_page(cells, Amounts(kills=2), Amounts())
    assert "**Shortened trials** (`--share`): kills 2 of 20." in text
    assert "nothing acknowledged lost | **not reached** |" in text
    assert "- fruit 3 was acknowledged and is not there" in text
    assert "| photo to grade <= 1.5 s (median, in Chromium) | reached |" in text
    assert "| over HTTP, asking as the page does | 500 ms | 590 ms | 600 ms |" in text
    assert "2 cores" in text and "0.5" in text


def test_a_share_of_the_trials_still_says_something() -> None:
    assert share_of(1.0) == Amounts()
    few = share_of(0.01)
    assert (few.uploads, few.kills, few.malformed, few.rounds) == (12, 2, 5, 1)
    assert (few.users, few.at_once) == (20, 200)


def test_an_unknown_part_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MezoroiError, match="unknown part `x`"):
        run_app_bench("x", tmp_path, tmp_path / "page.md", Amounts())


def _blobs(app: App) -> Path:
    return app.services.blobs.root
