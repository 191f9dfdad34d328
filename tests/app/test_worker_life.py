"""The worker and who keeps it running: signals, trouble, and what a lost one leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from mezoroi.app.i18n import catalogue
from mezoroi.app.roles import Role
from mezoroi.app.store import fruits, jobs
from mezoroi.app.supervisor import Supervisor
from mezoroi.app.tables import Job
from mezoroi.app.worker import Worker
from mezoroi.app.worker_start import start_line
from mezoroi.errors import MezoroiError
from tests.app.conftest import App, work
from tests.app.helpers import send

ENGLISH = {"accept-language": "en"}
SLEEPER = [sys.executable, "-c", "import sys; sys.stdin.read()"]


def wait_for(what: Callable[[], bool], seconds: float = 120.0) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_signal_to_the_whole_group_lets_the_worker_finish(app: App, photo: bytes) -> None:
    services = app.services
    command = [sys.executable, "-m", "mezoroi.app.worker"]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(start_line(services.settings, "worker-test"))
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["event"] == "ready"
        os.killpg(process.pid, signal.SIGINT)
        os.killpg(process.pid, signal.SIGTERM)
        fruit_id = send(app, photo)
        client = app.client(Role.NEWCOMER)
        address = f"/api/v1/fruits/{fruit_id}"
        wait_for(lambda: client.get(address).json()["state"] == "done")
        os.killpg(process.pid, signal.SIGINT)
        process.stdin.close()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()


def test_a_grader_that_cannot_be_loaded_is_told(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise KeyError("weights")

    monkeypatch.setattr("mezoroi.grader.Grader.load", fail)
    worker = Worker(app.services.settings, "worker-test", lambda said: None)
    with pytest.raises(MezoroiError, match=r"cannot be loaded \(KeyError\): use another one"):
        worker.work_once()


def test_trouble_stands_where_somebody_sees_it(app: App, photo: bytes) -> None:
    fruit_id = send(app, photo)
    page, progress = f"/fruits/{fruit_id}", f"/fruits/{fruit_id}/progress"
    newcomer, admin = app.client(Role.NEWCOMER), app.client(Role.ADMIN)
    for address in (page, progress):
        assert "tell the administrator" not in newcomer.get(address, headers=ENGLISH).text
    assert newcomer.get("/readyz").json()["trouble"] is False
    app.services.supervisor.trouble = "the grader in /runs/1 is damaged"
    for address in (page, progress):
        text = newcomer.get(address, headers=ENGLISH).text
        assert "tell the administrator" in text and "/runs/1" not in text
    news = newcomer.get(progress, params={"known": "queued..0"})
    assert "known=queued..0.trouble" in news.text, "told at once to who waits"
    told = admin.get("/graders", headers={"accept-language": "ja"}).text
    assert 'lang="en">the grader in /runs/1 is damaged' in told and "使用中の判定器" in told
    ready = app.client().get("/readyz")
    assert ready.status_code == 503 and ready.json()["trouble"] is True


@contextmanager
def watched(
    app: App, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> Iterator[tuple[Supervisor, list[subprocess.Popen[str]]]]:
    """A supervisor of another program, and the processes it started."""
    started: list[subprocess.Popen[str]] = []
    popen = subprocess.Popen

    def start(_: object, **options: Any) -> subprocess.Popen[str]:
        started.append(popen(command, **options))
        return started[-1]

    monkeypatch.setattr("mezoroi.app.supervisor.subprocess.Popen", start)
    monkeypatch.setattr("mezoroi.app.supervisor._OVERDUE_SECONDS", 0.1)
    supervisor = Supervisor(app.services.settings, app.services.database, lambda: None)
    supervisor.start()
    try:
        wait_for(lambda: bool(started))
        yield supervisor, started
    finally:
        supervisor.stop()
        assert all(process.poll() is not None for process in started)


def state_of(app: App, job_id: int) -> tuple[str, str | None]:
    with app.services.database.read() as session:
        job = session.get_one(Job, job_id)
    return job.state, job.worker


def claim(app: App, kind: str, worker: str) -> int:
    with app.services.database.write() as session:
        jobs.add_job(session, kind)
        (job,) = jobs.claim(session, kind, worker, 1, 1000.0)
    return job.id


def test_a_database_that_does_not_answer_ends_no_watching(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def fail(*args: object) -> bool:
        asked.append(args)
        raise OperationalError("SELECT", {}, Exception("gone"))

    monkeypatch.setattr(jobs, "is_overdue", fail)
    with watched(app, monkeypatch, SLEEPER) as (_, started):
        wait_for(lambda: len(asked) > 2)
        assert len(started) == 1 and started[0].poll() is None


def test_what_a_worker_left_is_queued_although_its_end_could_not_be_noted(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = jobs.release

    def fail_by_name(session: Any, worker: str | None, attempts: int, **options: Any) -> int:
        if worker is not None:
            raise OperationalError("UPDATE", {}, Exception("gone"))
        return release(session, worker, attempts, **options)

    monkeypatch.setattr(jobs, "release", fail_by_name)
    with watched(app, monkeypatch, SLEEPER) as (_, started):
        graded = claim(app, jobs.GRADE, f"worker-{started[0].pid}")
        trained = claim(app, jobs.TRAIN, "trainer-1")
        started[0].kill()
        wait_for(lambda: len(started) > 1)
        assert state_of(app, graded) == ("queued", None)
        assert state_of(app, trained) == ("running", "trainer-1")


def test_a_worker_that_ends_before_it_grades_is_trouble(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    with watched(app, monkeypatch, [sys.executable, "-c", "raise SystemExit(3)"]) as (found, _):
        wait_for(lambda: bool(found.trouble))
        assert found.trouble == "the worker ended with status 3 before it could grade"


def test_a_training_survives_servers_that_end_but_not_ends_of_its_own(app: App) -> None:
    database = app.services.database
    with database.write() as session:
        job_id = jobs.add_job(session, jobs.TRAIN).id

    def end(worker: str | None) -> str:
        with database.write() as session:
            jobs.claim(session, jobs.TRAIN, "trainer-1", 1, 10.0)
        with database.write() as session:
            jobs.release(session, worker, attempts=2)
        return state_of(app, job_id)[0]

    assert [end(None) for _ in range(4)] == ["queued"] * 4
    assert [end("trainer-1") for _ in range(2)] == ["queued", "failed"]


@pytest.mark.parametrize("state", ["failed", "cancelled", "done"])
def test_what_a_training_told_stays_when_it_is_over(app: App, state: str) -> None:
    with app.services.database.write() as session:
        job = jobs.add_job(session, jobs.TRAIN)
        jobs.add_log(session, job.id, "12:00 epoch 1 of 3")
        job.state = state
    page = app.client(Role.ADMIN).get("/graders", headers=ENGLISH).text
    assert "12:00 epoch 1 of 3" in page.split("What the last training told")[2]


def test_the_folder_of_a_run_is_not_needed_to_say_so(own_run_app: App, tmp_path: Path) -> None:
    (tmp_path / "run" / "grader.json").write_text("{}")
    worker = Worker(own_run_app.services.settings, "worker-test", lambda said: None)
    with pytest.raises(MezoroiError):
        worker.work_once()


def test_another_grader_in_the_folder_of_the_one_in_use_grades_nothing_under_its_name(
    own_run_app: App, photo: bytes
) -> None:
    file = own_run_app.services.settings.run / "grader.json"
    file.write_text(file.read_text() + "\n")
    fruit_id = send(own_run_app, photo)
    with pytest.raises(MezoroiError, match="another grader by now: start the server anew") as told:
        work(own_run_app.services)
    assert "別の判定器が入っています" in catalogue("ja").note(str(told.value))
    with own_run_app.services.database.read() as session:
        assert fruits.newest_grading(session, fruit_id) is None
    used = own_run_app.client(Role.ADMIN).post("/graders/1/use")
    assert used.status_code == 422 and "holds another one by now" in used.text
