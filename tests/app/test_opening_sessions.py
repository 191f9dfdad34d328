"""Which fruits a calibration session is opened with."""

from __future__ import annotations

import re
from datetime import timedelta

from mezoroi.app import teaching
from mezoroi.app.roles import Role
from mezoroi.app.store import calibration, practice, specimens
from mezoroi.app.tables import now
from mezoroi.app.tables_learning import CalibrationGrade, CalibrationSession
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
