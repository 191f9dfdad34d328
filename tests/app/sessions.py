"""What tests of calibration sessions share."""

from __future__ import annotations

import re
from datetime import timedelta

from fastapi.testclient import TestClient

from mezoroi.app.roles import Role
from mezoroi.app.store import calibration, users
from mezoroi.app.tables import now
from tests.app.conftest import PASSWORD, App


def open_session(client: TestClient, **fields: str) -> str:
    """Open a session; its address."""
    form = {"way": "stratified", "count": "4", "title": "朝", **fields}
    answer = client.post("/calibration", data=form)
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


def fruits_on(client: TestClient, address: str) -> list[str]:
    """The addresses that fruits of a session are graded at by who takes part."""
    assert client.post(f"{address}/join").status_code == 303
    return re.findall(r'<form data-answer method="post" action="([^"]+)"', client.get(address).text)


def second_expert(app: App) -> TestClient:
    """A browser of another expert."""
    with app.services.database.write() as session:
        users.add_user(session, "second", Role.EXPERT, PASSWORD)
        user = users.find_user(session, "second")
        assert user is not None
        client = app.client()
        client.cookies.set("mezoroi_session", users.start_login(session, user))
    return client


def grade_weeks_ago(app: App, session_id: int) -> None:
    """The expert graded a session's fruits once before, all as A."""
    at = now() - timedelta(weeks=3)
    with app.services.database.write() as session:
        user = users.find_user(session, "expert")
        assert user is not None
        ids = [fruit.specimen_id for fruit in calibration.fruits_of(session, session_id)]
        found = calibration.open_session(session, "", "hand", user.id, 1, ids, [])
        for fruit in calibration.fruits_of(session, found.id):
            calibration.give_grade(session, found, fruit, user.id, "A", 0, "")
        for given in calibration.grades_of(session, found.id):
            given.given_at = at
        found.revealed_at = at
