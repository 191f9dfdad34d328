"""New graders from verdicts: the training process, comparing and switching."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mezoroi.app import retraining, trainer
from mezoroi.app.background import Background
from mezoroi.app.painting import mask_png
from mezoroi.app.roles import Role
from mezoroi.app.routes.jobs import _state
from mezoroi.app.store import house, jobs, runs, verdicts
from mezoroi.app.tables import GradingRow, Job, Run, Standard, User
from mezoroi.app.trainer import Trainer
from mezoroi.bundle import read_bundle
from mezoroi.standard import GradingStandard
from tests.app.conftest import App, jpeg, work
from tests.app.helpers import send

# Python tells of an interrupt that falls into a destructor, and drops it; another one follows.
lost_interrupts = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

Line = tuple[socket.socket, socket.socket]
PER_GRADE = 6


@pytest.fixture
def judged(own_run_app: App, melons: Path) -> App:
    """An app with graded fruits of every grade that no grader has seen, and experts' grades."""
    app = own_run_app
    truth = {}
    for path in sorted(melons.glob("captures/*/surface.png"))[: 4 * PER_GRADE]:
        grade = "ABCD"[len(truth) % 4]
        with Image.open(path) as image:
            flipped = np.asarray(image.convert("RGB"))[:, ::-1]
        stream = app.services.settings.data / "x.png"
        Image.fromarray(flipped).save(stream)
        truth[send(app, stream.read_bytes())] = grade
    work(app.services)
    with app.services.database.write() as session:
        admin = session.query(User).filter_by(name="admin").one()
        painted = app.services.blobs.keep_picture(mask_png({"B": np.eye(64, 128) > 0}), "png")
        for row in session.query(GradingRow).all():
            own = truth[row.fruit_id]
            answer = "agree" if own == row.grade else "wrong"
            mask = painted if own == "B" else None
            verdicts.give_verdict(session, row, admin.id, answer, own_grade=own, mask=mask)
    return app


@pytest.fixture
def server_end() -> Iterator[Line]:
    """Both ends of the line on which a training process hears that it is to stop."""
    heard, told = socket.socketpair()
    yield heard, told
    heard.close()
    told.close()


def job_of(app: App) -> Job:
    with app.services.database.read() as session:
        return jobs.recent_jobs(session, [jobs.TRAIN], 1)[0]


@lost_interrupts
def test_a_grader_is_trained_compared_switched_to_and_back(judged: App, server_end: Line) -> None:
    app, admin = judged, judged.client(Role.ADMIN)
    assert admin.post("/graders/train").status_code == 303
    admin.post("/graders/train")
    with app.services.database.read() as session:
        assert jobs.count_open(session, jobs.TRAIN) == 1, "one at a time"

    # The server ends while it trains: it goes on later, which is no failed attempt.
    waiting = job_of(app)
    stop = threading.Thread(target=_close_after_first_epoch, args=(app, server_end[1]))
    stop.start()
    Trainer(app.services.settings, "trainer-1", server_end[0].fileno()).run()
    stop.join()
    _revise(app)
    first = job_of(app)
    if first.state != "done":  # a tiny training may be over first
        assert (first.state, first.attempts) == ("queued", 0)
        heard, told = socket.socketpair()
        with heard, told:
            Trainer(app.services.settings, "trainer-2", heard.fileno()).run()
    done = job_of(app)
    assert (done.id, done.state, done.error) == (waiting.id, "done", None), done.detail
    assert done.step == "comparing" and "epoch 2" in done.log
    assert re.search(r"maps also learn from [1-9]\d* masks", done.log)

    with app.services.database.read() as session:
        new, old = runs.list_runs(session)
        assert old.active and not new.active
        assert new.standard.content["grades"].keys() == old.standard.content["grades"].keys()
    settings = [read_bundle(run.folder).config.loss.mask_weight for run in (old, new)]
    assert settings == [0, retraining.MASK_WEIGHT]
    compared = new.metrics["compared"]
    assert compared["run_id"] == old.id
    assert compared["fruits"] == sum(row["fruits"] for row in compared["per_grade"].values()) == 4
    for name in ("active", "new"):
        right = sum(row[name] for row in compared["per_grade"].values())
        assert compared[name] == pytest.approx(right / 4)
    difference = compared["difference"]
    assert difference["value"] == pytest.approx(compared["new"] - compared["active"])
    assert difference["low"] <= difference["value"] <= difference["high"]
    page = admin.get("/graders", headers={"accept-language": "en"}).text
    assert "on the same 4 fruits that neither learned from" in page

    assert admin.post(f"/graders/{new.id}/use").status_code == 303
    work(app.services)
    assert _run_of_next(app) == new.id
    with app.services.database.read() as session:
        previous = runs.previous_run(session)
        used = runs.active_run(session)
    assert used is not None
    assert used.standard.content["grades"]["A"]["title"] == {"ja": "特秀"}, "as it is called by now"
    assert previous is not None and previous.id == old.id
    admin.post(f"/graders/{old.id}/use")
    assert _run_of_next(app) == old.id


def test_words_that_were_changed_before_a_grader_is_used_stay(app: App, tmp_path: Path) -> None:
    send(app, jpeg(0))
    content = (app.services.settings.run / "grader.json").read_text()
    without_outlines = content.replace('"view": "outline"', '"view": "surface"')
    assert without_outlines != content
    database = app.services.database

    def registered(content: str, keep_words: bool = False) -> Run:
        (tmp_path / "grader.json").write_text(content)
        with database.write() as session:
            return runs.register_run(session, tmp_path, keep_words=keep_words)

    def standard_in_use(run: Run) -> Standard:
        with database.write() as session:
            runs.activate_run(session, session.get_one(Run, run.id))
        with database.read() as session:
            return session.get_one(Run, run.id).standard

    earlier, on_surface = registered(content + "\n"), registered(without_outlines)
    revised = _revise(app)
    assert registered(content + "\n\n", keep_words=True).standard_id == revised
    assert earlier.standard_id != revised and standard_in_use(earlier).id == revised
    reworded = standard_in_use(on_surface)
    grades = reworded.content["grades"]
    assert grades["A"]["title"] == {"ja": "特秀"} and grades["C"]["view"] == "surface"
    with database.read() as session:
        assert len(house.examples(session, reworded.id)) == 1
    assert standard_in_use(earlier).id == revised, "nothing is new for it"
    assert standard_in_use(on_surface).id == reworded.id


def test_a_grade_that_is_added_leaves_words_and_examples_of_the_others(own_run_app: App) -> None:
    send(own_run_app, jpeg(0))
    revised = _revise(own_run_app)
    folder = own_run_app.services.settings.run
    content = json.loads((folder / "grader.json").read_text())
    content["standard"]["grades"]["E"] = {"title": {}, "description": {}, "view": "surface"}
    content["standard"]["precedence"].insert(0, "E")
    (folder / "grader.json").write_text(json.dumps(content))
    with own_run_app.services.database.write() as session:
        assert runs.serve_run(session, folder)
        active = runs.active_run(session)
        assert active is not None and active.standard_id != revised
        grades = active.standard.content["grades"]
        assert list(grades) == list("ABCDE") and grades["A"]["title"] == {"ja": "特秀"}
        examples = house.examples(session, active.standard_id)
        assert [(item.grade, item.fruit_id) for item in examples] == [("A", 1)]
        session.get_one(Run, 1).standard_id = 1
        runs.activate_run(session, session.get_one(Run, 1))
        assert session.get_one(Run, 1).standard_id == 1, "words for other grades are not its own"


def test_an_interrupt_that_is_lost_is_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(trainer, "_AGAIN_SECONDS", 0.01)
    sent, again = [], threading.Event()

    class Deaf:
        def is_cancelled(self, job_id: int) -> bool:
            return True

        def interrupt(self) -> None:
            sent.append(time.monotonic())
            if len(sent) == 2:
                again.set()

    with trainer.Watch(Deaf(), 1, tmp_path, 2) as watch:  # type: ignore[arg-type]
        assert again.wait(30)
    assert watch.is_cancelled
    count = len(sent)
    time.sleep(0.1)
    assert len(sent) == count, "none after the training has ended"


@lost_interrupts
def test_a_training_is_cancelled(judged: App, server_end: Line) -> None:
    admin = judged.client(Role.ADMIN)
    admin.post("/graders/train")
    admin.post(f"/jobs/{job_of(judged).id}/cancel")
    assert job_of(judged).state == "cancelled"
    admin.post("/graders/train")
    job = job_of(judged)
    with judged.services.database.write() as session:
        session.get_one(Job, job.id).cancel = True
    Trainer(judged.services.settings, "trainer-1", server_end[0].fileno()).run()
    assert job_of(judged).state in ("cancelled", "done")
    with admin.stream("GET", f"/jobs/{job.id}/events") as answer:
        text = "".join(answer.iter_text())
        assert answer.headers["x-accel-buffering"] == "no"  # else nginx tells it at the end
    assert text.startswith("event: job\ndata: {") and '"is_over": true' in text


def test_too_few_fruits_fail_with_a_reason(app: App, server_end: Line) -> None:
    app.client(Role.ADMIN).post("/graders/train")
    Trainer(app.services.settings, "trainer-1", server_end[0].fileno()).run()
    job = job_of(app)
    assert (job.state, job.error) == ("failed", "training")
    assert job.detail.startswith("grade A has 0 fruits with an expert's grade")
    page = app.client(Role.ADMIN).get("/graders", headers={"accept-language": "en"}).text
    assert "The training failed" in page and "has 0 fruits" in page


def test_what_a_training_tells_is_in_the_users_language(app: App) -> None:
    client = app.client(Role.ADMIN)
    with app.services.database.write() as session:
        job = jobs.add_job(session, jobs.TRAIN)
        job.log = "09:30:00 training begins\n09:31:00 epoch 1: loss 4.5\n09:32:00 as it is\n"
    japanese = {"accept-language": "ja"}
    page = client.get("/graders", headers=japanese).text
    assert "09:30:00 学習を始めます。\n09:31:00 1 回目：損失 4.5\n09:32:00 as it is\n" in page
    told = _state(app.services, job.id, "ja")
    assert told is not None and "09:30:00 学習を始めます。" in told["log"]
    with app.services.database.write() as session:
        reason = "all fruits were used in a training before, so none can test: grade new ones"
        jobs.fail(session, job.id, "training", reason)
    assert "新しい果実を判定してください。" in client.get("/graders", headers=japanese).text
    assert reason in client.get("/graders", headers={"accept-language": "en"}).text


def test_the_background_starts_the_process_and_notes_its_end(app: App) -> None:
    app.client(Role.ADMIN).post("/graders/train")
    background = Background(app.services.settings, app.services.database)
    background.start()
    until = time.monotonic() + 180  # its process has low priority
    while job_of(app).state in jobs.OPEN and time.monotonic() < until:
        time.sleep(0.2)
    background.stop()
    assert (job_of(app).state, job_of(app).error) == ("failed", "training")


def _revise(app: App) -> int:
    """Another word for a grade of the standard in use, and an example; returns the version's id."""
    with app.services.database.write() as session:
        run = runs.active_run(session)
        assert run is not None
        content = GradingStandard.from_dict(run.standard.content).to_dict()
        content["grades"]["A"]["title"] = {"ja": "特秀"}
        house.revise_standard(session, run, content, 1, "spring")
        house.set_example(session, run.standard_id, "A", 1)
        return run.standard_id


def _close_after_first_epoch(app: App, told: socket.socket) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until and "epoch 1" not in job_of(app).log:
        time.sleep(0.05)
    told.close()


def _run_of_next(app: App) -> int:
    generator = np.random.default_rng()
    stream = app.services.settings.data / "x.png"
    pixels = generator.integers(0, 256, (64, 128, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream)
    number = send(app, stream.read_bytes())
    work(app.services)
    with app.services.database.read() as session:
        return session.query(GradingRow).filter_by(fruit_id=number).one().run_id
