"""Which fruits a calibration session is opened with."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from mezoroi.app import teaching
from mezoroi.app.roles import Role
from mezoroi.app.routes import calibration as calibration_pages
from mezoroi.app.store import calibration, practice, specimens
from mezoroi.app.tables import now
from mezoroi.app.tables_learning import CalibrationGrade, CalibrationSession, Specimen
from tests.app.conftest import App
from tests.app.sessions import fruits_on, open_session

ENGLISH = {"accept-language": "en"}


def test_fruits_of_tests_are_proposed_to_no_session_but_may_be_chosen(ready: App) -> None:
    ready.client(Role.ADMIN).post("/practice/tests")
    client = ready.client(Role.EXPERT)
    with ready.services.database.read() as session:
        tested = teaching.test_ids(session)
        known = {item.id for item in specimens.known_specimens(session)}
    assert tested and known - tested
    free = len(known - tested)
    page = client.get("/calibration/new?way=stratified", headers=ENGLISH).text
    assert f"{free} fruits can be chosen from" in page
    open_session(client, count="100")
    with ready.services.database.read() as session:
        assert {one.specimen_id for one in calibration.fruits_of(session, 1)} == known - tested
    page = client.get("/calibration/new?way=hand", headers=ENGLISH).text
    marked = re.findall(r'value="(\d+)"><img[^>]*><small>in a test</small>', page)
    assert set(map(int, marked)) == tested
    open_session(client, way="hand", chosen=str(min(tested)))
    with ready.services.database.read() as session:
        assert [one.specimen_id for one in calibration.fruits_of(session, 2)] == [min(tested)]


def test_the_places_of_fruits_tell_neither_their_grade_nor_the_repeats(ready: App) -> None:
    # Who grades blind reads the fruits' numbers in the page.
    client = ready.client(Role.EXPERT)
    with ready.services.database.write() as session:
        ids = sorted(item.id for item in specimens.known_specimens(session))[:12]
        found = [
            calibration.open_session(session, "", "stratified", 1, 1, ids[:8], ids[8:])
            for _ in range(3)
        ]
        fruits = [calibration.fruits_of(session, one.id) for one in found]
        kept = [[fruit.specimen_id for fruit in own] for own in fruits]
        repeats = [[place for place, fruit in enumerate(own) if fruit.is_repeat] for own in fruits]
    assert all(sorted(own) == ids for own in kept)
    assert len({tuple(own) for own in kept}) == 3 and ids not in kept
    assert repeats != [[8, 9, 10, 11]] * 3
    address = f"/calibration/{found[0].id}"
    assert len(fruits_on(client, address)) == 12


def test_no_hidden_repeat_is_in_a_test(ready: App) -> None:
    client = ready.client(Role.EXPERT)
    first = open_session(client, count="8")
    for fruit in fruits_on(client, first):
        client.post(fruit, data={"grade": "B"})
    client.post(f"{first}/reveal")
    with ready.services.database.write() as session:
        for given in session.query(CalibrationGrade):
            given.given_at -= timedelta(weeks=3)
        for found in session.query(CalibrationSession):
            found.revealed_at = now() - timedelta(weeks=3)
        ids = [fruit.specimen_id for fruit in calibration.fruits_of(session, 1)]
        chosen = next(one.id for one in specimens.known_specimens(session) if one.id not in ids)
        practice.keep_tests(session, {"pre-test": [(number, "B") for number in ids[1:]]})
    open_session(client, way="hand", chosen=str(chosen))
    with ready.services.database.read() as session:
        repeats = [f.specimen_id for f in calibration.fruits_of(session, 2) if f.is_repeat]
    assert repeats == ids[:1]


def test_the_form_starts_with_a_way_that_proposes_fruits(prepared: App) -> None:
    client = prepared.client(Role.EXPERT)

    def begins() -> str:
        page = client.get("/calibration/new", headers=ENGLISH).text
        assert "can be chosen from" in page
        (way,) = re.findall(r'value="(\w+)" aria-current', page)
        return str(way)

    with prepared.services.database.write() as session:
        for item in session.query(Specimen):
            item.result = {**item.result, "reliability": None}
    assert begins() == "border", "nothing is disputed, and no reliability known"
    with prepared.services.database.write() as session:
        item = session.query(Specimen).filter_by(grade="A").first()
        assert item is not None
        found = calibration.open_session(session, "", "hand", 1, 1, [item.id], [])
        (fruit,) = calibration.fruits_of(session, found.id)
        calibration.give_grade(session, found, fruit, 1, "D", 0, "")
        found.revealed_at = now()
    assert begins() == "disputed"


def test_a_session_that_is_not_over_is_in_progress(prepared: App) -> None:
    client = prepared.client(Role.EXPERT)
    open_session(client)
    assert '<span class="open">進行中: ' in client.get("/calibration").text
    assert '<span class="open">In progress: ' in client.get("/calibration", headers=ENGLISH).text


def test_older_sessions_are_on_further_pages(
    prepared: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration_pages, "SESSIONS_SHOWN", 2)
    client = prepared.client(Role.EXPERT)
    for _ in range(3):
        open_session(client, count="1")
    pages = [client.get(f"/calibration?page={page}").text for page in (1, 2, 9)]
    shown = [re.findall(r'class="card session" href="/calibration/(\d+)"', page) for page in pages]
    assert shown == [["3", "2"], ["1"], ["1"]]
    assert 'href="/calibration?page=2"' in pages[0] and 'href="/calibration?page=1"' in pages[1]
