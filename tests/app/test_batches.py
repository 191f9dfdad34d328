"""Photos that wait together pass the network together; what one does is not another's fault."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mezoroi.app.store import fruits, jobs
from mezoroi.capture.sources import FruitInput
from mezoroi.grader import Grader
from mezoroi.grading import Grading
from tests.app.conftest import App, jpeg, work
from tests.app.helpers import send

TOGETHER = Grader.grade_together


def states(app: App, count: int) -> list[str]:
    with app.services.database.read() as session:
        found = [jobs.newest_job(session, fruit_id) for fruit_id in range(1, count + 1)]
    return [job.state for job in found if job is not None]


def test_what_is_ready_passes_the_network_at_once(
    app: App, melons: Path, grader: Grader, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[int] = []

    def noted(grader: Grader, fruits: Sequence[FruitInput]) -> list[Grading]:
        passes.append(len(fruits))
        return TOGETHER(grader, fruits)

    monkeypatch.setattr(Grader, "grade_together", noted)
    contents = [path.read_bytes() for path in sorted(melons.glob("captures/*/surface.png"))[:3]]
    contents.insert(1, jpeg(0)[:500])
    for content in contents:
        send(app, content)
    work(app.services)
    assert passes == [3]
    assert states(app, 4) == ["done", "failed", "done", "done"]
    with app.services.database.read() as session:
        kept = [fruits.newest_grading(session, number) for number in (1, 3, 4)]
    for row, content in zip(kept, [contents[0], *contents[2:]], strict=True):
        alone = grader.grade(np.asarray(Image.open(io.BytesIO(content)).convert("RGB")))
        assert row is not None and row.grade == alone.grade
        assert row.result["similarity"] == pytest.approx(alone.to_dict()["similarity"], abs=1e-4)


def test_a_fruit_that_spoils_a_pass_fails_alone(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(3):
        send(app, jpeg(seed))
    with app.services.database.read() as session:
        bad = fruits.get_fruit(session, 2)
    assert bad is not None
    path = str(app.services.blobs.original(bad.content))

    def spoiled(grader: Grader, fruits: Sequence[FruitInput]) -> list[Grading]:
        if any(fruit.name == path for fruit in fruits):
            raise RuntimeError("a layer cannot take it")
        return TOGETHER(grader, fruits)

    monkeypatch.setattr(Grader, "grade_together", spoiled)
    work(app.services)
    assert states(app, 3) == ["done", "failed", "done"]


def test_after_a_pass_that_ended_the_worker_each_is_tried_alone(app: App) -> None:
    """The first one is to blame; the others come to their end."""
    for seed in range(3):
        send(app, jpeg(seed))
    database = app.services.database
    with database.write() as session:
        for job in jobs.claim(session, jobs.GRADE, "worker-1", 8, 60.0):
            jobs.begin(session, job.id, "worker-1", jobs.TOGETHER, 60.0)
        jobs.release(session, "worker-1", attempts=2)
    for worker, left in (("worker-2", "queued"), ("worker-3", "failed")):
        with database.write() as session:
            (job,) = jobs.claim(session, jobs.GRADE, worker, 8, 60.0)
            jobs.begin(session, job.id, worker, "grading", 60.0)
            jobs.release(session, worker, attempts=2)
        assert states(app, 3) == [left, "queued", "queued"]
    work(app.services)
    assert states(app, 3) == ["failed", "done", "done"]


def test_who_waits_for_the_batch_is_not_blamed_for_what_another_does(app: App) -> None:
    for seed in range(2):
        send(app, jpeg(seed))
    with app.services.database.write() as session:
        first, second = jobs.claim(session, jobs.GRADE, "worker-1", 8, 60.0)
        jobs.begin(session, first.id, "worker-1", "grading", 1.0)
        jobs.set_aside(session, first.id, "worker-1", 60.0)
        jobs.begin(session, second.id, "worker-1", "grading", 60.0)
    with app.services.database.write() as session:
        assert not jobs.is_overdue(session, "worker-1")
        jobs.release(session, "worker-1", attempts=1)
    assert states(app, 2) == ["queued", "failed"]
