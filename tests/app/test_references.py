"""Reference fruits: seen, added, removed and indexed by the worker."""

from __future__ import annotations

import math
import re
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

from mezoroi.app.referencing import _fruit_of
from mezoroi.app.roles import Role
from mezoroi.app.routes.jobs import step_text
from mezoroi.app.routes.references import prototype_radars
from mezoroi.app.store import fruits, jobs, references, runs
from mezoroi.app.tables import Fruit, Lot
from mezoroi.bundle import read_bundle
from mezoroi.grader import Grader
from mezoroi.retrieval.reference import Reference
from tests.app.conftest import App, work
from tests.app.helpers import send, send_all


def test_the_page_shows_what_the_run_has(own_run_app: App) -> None:
    work(own_run_app.services)
    with own_run_app.services.database.read() as session:
        run = runs.active_run(session)
        assert run is not None
        counts = references.count_by_grade(session, run.id)
    gallery = Grader.load(run.folder).gallery
    assert gallery is not None
    assert sum(counts.values()) == len(gallery.index) > 0
    page = own_run_app.client(Role.EXPERT).get("/references?grade=A").text
    assert page.count('class="card reference"') == counts["A"]
    assert page.count("/pictures/") == counts["A"]


def test_prototypes_are_compared_by_cosine(own_run_app: App) -> None:
    work(own_run_app.services)
    with own_run_app.services.database.read() as session:
        run = runs.active_run(session)
    assert run is not None
    bundle = read_bundle(run.folder)
    vectors = bundle.prototypes.embeddings.tolist()
    grades = bundle.standard.grades
    for row, grade in enumerate(grades):
        for column, other in enumerate(grades):
            dot = sum(a * b for a, b in zip(vectors[row], vectors[column], strict=True))
            expected = dot / math.dist(vectors[row], [0] * len(vectors[row]))
            expected /= math.dist(vectors[column], [0] * len(vectors[column]))
            found = run.metrics["prototypes"]["similarity"][grade][other]
            assert found == pytest.approx(expected, abs=1e-3)
    assert set(prototype_radars(run, "ja")) == set(grades)


def test_a_fruit_becomes_a_reference_and_its_own_neighbour_then_goes(
    own_run_app: App, melons: Path
) -> None:
    app = own_run_app
    surface = sorted(melons.glob("captures/*/surface.png"))[0]
    flipped = app.services.settings.data / "flipped.png"
    _flip(surface, flipped)
    (fruit_id,) = send_all(app, [flipped])
    expert = app.client(Role.EXPERT)
    assert expert.post(f"/fruits/{fruit_id}/reference", data={"grade": "B"}).status_code == 303
    work(app.services)

    listed = expert.get("/api/v1/references", params={"grade": "B", "most": 1}).json()
    assert [(item["name"], item["fruit_id"]) for item in listed] == [
        (f"fruit-{fruit_id}", fruit_id)
    ]
    assert expert.get(f"/pictures/{listed[0]['picture']}").status_code == 200
    (again,) = send_all(app, [flipped])
    assert _neighbours(app, again)[0] == f"fruit-{fruit_id}"

    # Another grade replaces it; it is no second reference.
    expert.post(f"/fruits/{fruit_id}/reference", data={"grade": "A"})
    work(app.services)
    listed = expert.get("/api/v1/references", params={"most": 200}).json()
    mine = [item for item in listed if item["fruit_id"] == fruit_id]
    assert [item["grade"] for item in mine] == ["A"]

    gone = expert.delete(f"/api/v1/references/{mine[0]['id']}")
    assert gone.status_code == 202
    work(app.services)
    job = expert.get(f"/api/v1/jobs/{gone.json()['id']}").json()
    assert (job["kind"], job["state"]) == ("remove-reference", "done")
    (third,) = send_all(app, [flipped])
    assert f"fruit-{fruit_id}" not in _neighbours(app, third)


@pytest.mark.parametrize(
    ("own", "expected"), [("", "north"), ("south", "south")], ids=["of the lot", "its own"]
)
def test_a_reference_is_filtered_by_its_orchard_and_the_day_it_was_sent(
    own_run_app: App, melons: Path, monkeypatch: pytest.MonkeyPatch, own: str, expected: str
) -> None:
    app = own_run_app
    surface = sorted(melons.glob("captures/*/surface.png"))[0]
    (fruit_id,) = send_all(app, [surface])
    with app.services.database.write() as session:
        fruit = session.get_one(Fruit, fruit_id)
        fruit.created_at = datetime(2025, 7, 30, 22, 30, tzinfo=timezone.utc)
        fruit.orchard = own
        fruit.lot = Lot(name="morning", orchard="north")
        run = runs.active_run(session)
    assert run is not None
    app.client(Role.EXPERT).post(f"/fruits/{fruit_id}/reference", data={"grade": "B"})
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        work(app.services)
    finally:
        monkeypatch.undo()
        time.tzset()
    gallery = Grader.load(run.folder).gallery
    assert gallery is not None
    where = {"orchard": expected, "date": "2025-07-31"}
    assert [one.id for one in gallery.index.references(where=where)] == [f"fruit-{fruit_id}"]


def test_an_upload_is_known_by_its_picture_among_what_a_run_learned(app: App, photo: bytes) -> None:
    fruit_id = send(app, photo)
    work(app.services)
    own = Reference("images/fruit-1.jpg", "A", None, None, None, {"specimen": f"fruit-{fruit_id}"})
    with app.services.database.read() as session:
        (picture,) = fruits.pictures(session, fruit_id)
        assert _fruit_of(session, own, {own.id: picture}) == fruit_id
        assert _fruit_of(session, own, {own.id: "0" * 64}) is None, "a dataset calls its own so"
        added = own._replace(id=f"fruit-{fruit_id}", more={})
        assert _fruit_of(session, added, {}) == fruit_id
        assert _fruit_of(session, own._replace(id="fruit-99", more={}), {}) is None


def test_the_index_is_made_anew(own_run_app: App) -> None:
    expert = own_run_app.client(Role.EXPERT)
    assert expert.post("/references/index").status_code == 303
    work(own_run_app.services)
    (job,) = expert.get("/api/v1/jobs", params={"kind": "index-references"}).json()
    assert job["state"] == "done"
    with own_run_app.services.database.read() as session:
        found = jobs.get_job(session, job["id"])
    assert found is not None
    found.state = "running"
    assert step_text(found, "ja") == "参考玉を読み込んでいます …", "while it is at it"


def test_what_cannot_be_a_reference_is_refused(own_run_app: App, melons: Path) -> None:
    (fruit_id,) = send_all(own_run_app, sorted(melons.glob("captures/*/surface.png"))[:1])
    expert = own_run_app.client(Role.EXPERT)
    assert expert.post(f"/fruits/{fruit_id}/reference", data={"grade": "Z"}).status_code == 422
    assert expert.post("/fruits/999/reference", data={"grade": "A"}).status_code == 404
    wrong = {"fruit_id": fruit_id, "grade": "Z"}
    assert expert.post("/api/v1/references", json=wrong).status_code == 422


def _neighbours(app: App, fruit_id: int) -> list[str]:
    found = app.client(Role.NEWCOMER).get(f"/api/v1/fruits/{fruit_id}").json()
    return [item["id"] for item in found["grading"]["neighbours"]]


def _flip(source: Path, target: Path) -> None:
    from PIL import Image

    with Image.open(source) as image:
        Image.fromarray(np.asarray(image.convert("RGB"))[::-1]).save(target)


def test_of_many_jobs_the_page_follows_the_one_at_hand(app: App) -> None:
    """A browser has few connections to a server, and each that is followed takes one."""
    with app.services.database.write() as session:
        ids = [jobs.add_job(session, jobs.INDEX_REFERENCES).id for _ in range(4)]
    page = app.client(Role.EXPERT).get("/references").text
    assert page.count("data-job=") == 1 and f'data-job="{ids[0]}"' in page


def test_a_reference_that_got_the_number_of_one_that_has_gone_stays(
    own_run_app: App, melons: Path
) -> None:
    app, expert = own_run_app, own_run_app.client(Role.EXPERT)
    first, second = send_all(app, sorted(melons.glob("captures/*/surface.png"))[:2])
    expert.post(f"/fruits/{first}/reference", data={"grade": "B"})
    work(app.services)
    number = _newest(app)["id"]
    page = expert.get("/references?grade=B").text
    meant = {"run_id": "1", "name": f"fruit-{first}"}
    for name, value in meant.items():
        assert f'<input type="hidden" name="{name}" value="{value}">' in page
    path = f"/references/{number}/remove"
    assert expert.post(path, data=meant).status_code == 303
    expert.post(f"/fruits/{second}/reference", data={"grade": "B"})
    assert expert.post(path, data=meant).status_code == 303, "a double tap: still to be removed"
    work(app.services)
    again = _newest(app)
    assert (again["id"], again["fruit_id"]) == (number, second), "SQLite gives numbers again"

    assert expert.post(path, data=meant).status_code == 404, "from a page that is older"
    assert expert.post(path, data={**meant, "name": f"fruit-{second}", "run_id": "2"}).is_error
    api = f"/api/v1/references/{number}"
    assert expert.delete(api, params={"name": f"fruit-{first}"}).status_code == 404
    work(app.services)
    assert _newest(app) == again
    assert expert.delete(api, params={"name": f"fruit-{second}"}).status_code == 202
    work(app.services)
    assert _newest(app)["id"] != number


def _newest(app: App) -> dict[str, Any]:
    (newest,) = app.client(Role.EXPERT).get("/api/v1/references", params={"most": 1}).json()
    return dict(newest)


def test_pages_of_references_hold_what_may_be_shown_and_stay_where_one_is_removed(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    with app.services.database.write() as session:
        run = runs.active_run(session)
        assert run is not None
        for number in range(90):
            grade = "AB"[number % 2]
            references.add_reference(session, run.id, f"n{number:02d}", grade, None, None)
    awaited = {f"n{number:02d}" for number in range(50, 90)}
    monkeypatch.setattr("mezoroi.app.hiding.awaited_references", lambda *_: awaited)
    expert = app.client(Role.EXPERT)

    def shown(query: str) -> list[str]:
        page = expert.get(f"/references{query}").text
        return re.findall(r'<span class="name">(n\d\d)</span>', page)

    of_grade = [f"n{number:02d}" for number in range(49, -1, -2)]
    assert shown("") == [f"n{number:02d}" for number in range(49, 9, -1)], "not what is awaited"
    assert (
        shown("?page=2") == shown("?page=99") == [f"n{number:02d}" for number in range(9, -1, -1)]
    )
    assert shown("?grade=B") == shown("?grade=B&page=7") == of_grade
    asked = {"grade": "B", "first": 20, "most": 5}
    listed = expert.get("/api/v1/references", params=asked).json()
    assert [item["name"] for item in listed] == of_grade[20:]

    last = expert.get("/references?page=99").text
    assert "2 / 2" in last and 'rel="prev"' in last and 'rel="next"' not in last
    assert '<input type="hidden" name="next" value="/references?page=2">' in last
    only = expert.get("/references?grade=B").text
    assert 'name="next" value="/references?grade=B&amp;page=1"' in only


def test_a_reference_of_a_grade_with_a_long_name_is_removed(app: App) -> None:
    with app.services.database.write() as session:
        run = runs.active_run(session)
        assert run is not None
        references.add_reference(session, run.id, "n", "A", None, None)
    goal = f"/references?grade={quote('著しい網目の乱れ' * 8)}&page=1"
    meant = {"run_id": str(run.id), "name": "n", "next": goal}
    answer = app.client(Role.EXPERT).post("/references/1/remove", data=meant)
    assert (answer.status_code, answer.headers["location"]) == (303, goal)
