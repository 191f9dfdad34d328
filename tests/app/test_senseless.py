"""Ids that no row can have, and characters that no column can hold, are refused with a message."""

from __future__ import annotations

import re

import pytest
from fastapi.routing import APIRoute

from mezoroi.app.roles import Role
from tests.app.conftest import App
from tests.app.filled import add

HUGE = 2**63
LARGEST = 2**31 - 1


def addresses(app: App) -> list[tuple[str, str]]:
    """Method and path of every route with a number in its path."""
    found = []
    for route in app.app.routes:
        if isinstance(route, APIRoute) and "_id}" in route.path:
            found += [(method, route.path) for method in sorted(route.methods)]
    return found


@pytest.mark.parametrize("number", [HUGE, LARGEST, 0, -1])
def test_no_id_in_an_address_is_a_fault_of_ours(either: App, number: int) -> None:
    client = either.client(Role.ADMIN)
    asked = addresses(either)
    assert len(asked) > 30
    for method, path in asked:
        answer = client.request(method, re.sub(r"\{\w+_id\}", str(number), path))
        is_sensible = number == LARGEST  # such a row there may be; there is none
        fit = (204, 303, 404, 422) if is_sensible else (422,)
        assert answer.status_code in fit, (method, path)


@pytest.mark.parametrize("number", [HUGE, -1])
def test_no_id_in_a_form_is_a_fault_of_ours(either: App, number: int) -> None:
    add(either.services, "A")
    client = either.client(Role.ADMIN)
    one = {"grading_id": number, "answer": "agree", "grade": "A"}
    for path in ("/fruits/1/verdict", "/fruits/1/blind"):
        assert client.post(path, data=one).status_code == 422
    painted = {"grading_id": number, "masks": {}}
    assert client.post("/fruits/1/mask", json=painted).status_code == 422
    chosen = {"way": "by hand", "chosen": number}
    assert client.post("/calibration", data=chosen).status_code == 422


def test_a_nul_in_a_text_is_refused_where_the_database_cannot_hold_it(
    either: App, photo: bytes
) -> None:
    add(either.services, "A")
    client = either.client(Role.ADMIN)
    bad = "a\0b"
    answers = {
        "note": client.post("/api/v1/fruits/1/verdict", json={"answer": "agree", "note": bad}),
        "filter": client.get("/fruits", params={"grade": bad}),
        "login": either.client().post("/login", data={"name": bad, "password": "x"}),
        "orchard": client.post("/fruits/1/details", data={"orchard": bad}),
        "lot": client.post("/lots", data={"name": bad}),
        "key": client.post("/account/tokens", data={"name": bad}),
        "upload": client.post("/fruits", files={"file": ("a.jpg", photo)}, data={"lot": bad}),
        "person": client.post("/admin/users", data={"name": "x", "full_name": bad}),
    }
    is_postgresql = either.services.database.engine.dialect.name == "postgresql"
    for name, answer in answers.items():
        assert answer.status_code < 500, name
        assert answer.status_code == 422 or not is_postgresql, name
    assert not is_postgresql or "NUL" in answers["note"].json()["detail"]
