"""Logging in, forged requests, headers and sizes."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import quote

import pytest
from fastapi import APIRouter
from fastapi.testclient import TestClient
from markupsafe import escape

from mezoroi.app.roles import Role
from mezoroi.app.server import create_app
from mezoroi.app.settings import Limits, Settings
from mezoroi.app.store import users
from mezoroi.cli import main
from mezoroi.errors import MezoroiError
from tests.app.conftest import PASSWORD, App


def log_in(client: TestClient, name: str, password: str) -> int:
    return client.post("/login", data={"name": name, "password": password}).status_code


def test_a_login_opens_the_pages_until_it_is_ended(app: App) -> None:
    client = app.client()
    assert client.get("/fruits").headers["location"] == "/login?next=/fruits"
    goal = client.get("/fruits?grade=A&lot=1").headers["location"]
    assert goal == "/login?next=/fruits%3Fgrade%3DA%26lot%3D1"
    assert 'value="/fruits?grade=A&amp;lot=1"' in client.get(goal).text
    answer = client.post(
        "/login", data={"name": " Expert ", "password": PASSWORD, "next": "/fruits"}
    )
    assert answer.headers["location"] == "/fruits"
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=lax" in cookie
    assert client.get("/fruits").status_code == 200
    key = client.cookies["mezoroi_session"]
    client.post("/logout")
    client.cookies.set("mezoroi_session", key)
    assert client.get("/fruits").status_code == 303


def test_a_name_is_known_however_a_keyboard_writes_it(app: App) -> None:
    assert log_in(app.client(), "Ｅｘｐｅｒｔ　", PASSWORD) == 303
    with app.services.database.write() as session:
        users.add_user(session, "ハナコ１", Role.NEWCOMER, PASSWORD)
        with pytest.raises(MezoroiError, match="already"):
            users.add_user(session, "ﾊﾅｺ1", Role.NEWCOMER, PASSWORD)
    assert log_in(app.client(), "ﾊﾅｺ1", PASSWORD) == 303


def test_a_login_leads_back_to_a_list_whose_address_is_long(app: App) -> None:
    goal = f"/fruits?grade={quote('著しい網目の乱れ' * 8)}&verdict=plausible"
    page = app.client().get(goal).headers["location"]
    assert f'value="{escape(goal)}"' in app.client().get(page).text
    form = {"name": "expert", "password": PASSWORD, "next": goal}
    answer = app.client().post("/login", data=form)
    assert (answer.status_code, answer.headers["location"]) == (303, goal)


@pytest.mark.parametrize(
    "goal", ["//evil.example", "/\\evil.example", "https://evil.example", "x", "/" + "x" * 9000]
)
def test_login_leads_nowhere_else(app: App, goal: str) -> None:
    answer = app.client().post(
        "/login", data={"name": "expert", "password": PASSWORD, "next": goal}
    )
    assert answer.headers["location"] == "/"


@pytest.mark.parametrize("name", ["expert", "nobody"])
def test_a_name_is_locked_after_failures_whether_or_not_anyone_has_it(app: App, name: str) -> None:
    client = app.client()
    statuses = [log_in(client, name, f"wrong-{number}") for number in range(7)]
    assert statuses == [401] * users.FREE_FAILURES + [429, 429]
    assert log_in(client, name, PASSWORD) == 429
    assert log_in(client, "admin", PASSWORD) == 303


def test_a_locked_user_is_out_at_once(app: App) -> None:
    client = app.client(Role.EXPERT)
    assert client.get("/").status_code == 200
    with app.services.database.write() as session:
        user = users.find_user(session, "expert")
        assert user is not None
        user.active = False
    assert client.get("/").status_code == 303
    assert log_in(app.client(), "expert", PASSWORD) == 401


def test_a_one_time_password_must_be_changed_first(app: App) -> None:
    with app.services.database.write() as session:
        users.add_user(session, "sato", Role.EXPERT, PASSWORD, must_change=True)
    client = app.client()
    assert log_in(client, "sato", PASSWORD) == 303
    assert client.get("/").headers["location"] == "/account"
    assert client.get("/api/v1/fruits").status_code == 403
    change = {"old_password": PASSWORD, "new_password": "a-new-password"}
    assert client.post("/account", data=change).headers["location"] == "/login"
    assert client.get("/account").status_code == 303, "a new password ends all logins"
    assert log_in(client, "sato", "a-new-password") == 303
    assert client.get("/").status_code == 200


@pytest.mark.parametrize(
    ("headers", "passes"),
    [
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "none"}, True),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "same-site"}, False),
        ({"origin": "http://testserver"}, True),
        ({"origin": "http://testserver.evil.example"}, False),
        ({"origin": "null"}, False),
        ({}, False),
        ({"authorization": "Bearer forged"}, False),
    ],
)
def test_writes_come_from_our_own_pages(app: App, headers: dict[str, str], passes: bool) -> None:
    client = app.client(Role.EXPERT)
    del client.headers["sec-fetch-site"]
    answer = client.post("/language", data={"language": "en"}, headers=headers)
    assert answer.status_code == (303 if passes else 403)


def test_what_a_tablet_kept_is_taken_from_its_own_user_alone(app: App, photo: bytes) -> None:
    with app.services.database.read() as session:
        user = users.find_user(session, "newcomer")
    assert user is not None
    said = {"x-mezoroi-user": str(user.id), "accept": "application/json"}
    paths = ("/fruits", "/api/v1/fruits", "/practice/questions/1", "/calibration/1/fruits/1")
    for path in paths:
        assert app.client(Role.EXPERT).post(path, headers=said).status_code == 403, path
        assert app.client().post(path, headers=said).status_code in (303, 401), path
    files = {"file": ("melon.jpg", photo)}
    assert app.client(Role.EXPERT).post("/fruits", files=files, headers=said).status_code == 403
    assert app.client(Role.EXPERT).get("/api/v1/fruits").json() == []
    assert app.client(Role.NEWCOMER).post("/fruits", files=files, headers=said).status_code == 201


def test_an_api_token_works_without_cookie_until_it_is_revoked(app: App) -> None:
    with app.services.database.write() as session:
        user = users.find_user(session, "newcomer")
        assert user is not None
        key = users.add_token(session, user, "scales")
    client = TestClient(app.app, headers={"authorization": f"Bearer {key}"})
    assert client.get("/api/v1/fruits").json() == []
    assert client.post("/api/v1/fruits").status_code == 422
    client.headers["authorization"] = "Bearer " + key[:-1]
    refused = client.get("/api/v1/fruits")
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")


@pytest.mark.parametrize("by", ["the administrator", "the command line", "the user"])
def test_keys_end_with_the_password(app: App, by: str) -> None:
    with app.services.database.write() as session:
        user = users.find_user(session, "newcomer")
        assert user is not None
        key = users.add_token(session, user, "scales")
    client = TestClient(app.app, headers={"authorization": f"Bearer {key}"})
    assert client.get("/api/v1/fruits").status_code == 200
    if by == "the administrator":
        app.client(Role.ADMIN).post(f"/admin/users/{user.id}/password")
    elif by == "the command line":
        with pytest.raises(SystemExit):
            main(["users", str(app.services.settings.data), "password", "newcomer"])
    else:
        form = {"old_password": PASSWORD, "new_password": "another-melon"}
        app.client(Role.NEWCOMER).post("/account", data=form)
    with app.services.database.read() as session:
        assert users.user_of_token(session, key) is None


def test_a_key_made_before_the_first_login_outlives_the_one_time_password(app: App) -> None:
    with app.services.database.write() as session:
        user = users.find_user(session, "newcomer")
        assert user is not None
        users.set_password(session, user, PASSWORD, must_change=True)
        key = users.add_token(session, user, "scales")
    form = {"old_password": PASSWORD, "new_password": "another-melon"}
    app.client(Role.NEWCOMER).post("/account", data=form)
    with app.services.database.read() as session:
        assert users.user_of_token(session, key) is not None


def test_every_answer_carries_the_policy(app: App) -> None:
    client = app.client(Role.EXPERT)
    for path in ("/", "/fruits", "/nowhere", "/static/css/base.css", "/api/v1/fruits", "/healthz"):
        headers = client.get(path).headers
        assert "script" not in headers["content-security-policy"]
        assert "default-src 'self'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


def test_a_head_is_answered_as_the_get(app: App) -> None:
    client = app.client(Role.EXPERT)
    for path in ("/", "/healthz", "/readyz", "/api/v1/fruits", "/static/css/base.css", "/nowhere"):
        told, shown = client.head(path), client.get(path)
        assert told.status_code == shown.status_code != 405, path
        assert told.headers["content-type"] == shown.headers["content-type"]


def test_a_page_that_only_takes_forms_is_told_as_missing(app: App) -> None:
    answer = app.client(Role.EXPERT).get("/fruits/1/verdict", headers={"accept-language": "en"})
    assert answer.status_code == 405 and answer.headers["allow"] == "POST"
    assert "There is no such page." in answer.text


def test_pages_hold_nothing_that_the_policy_forbids(app: App) -> None:
    client = app.client(Role.ADMIN)
    for path in ("/", "/fruits", "/account", "/api", "/nowhere"):
        page = client.get(path).text
        assert not re.search(r"<style|<script(?![^>]*\bsrc=)|\son\w+=|\sstyle=", page), path


@pytest.mark.parametrize("path", ["/login", "/fruits"])
def test_bodies_have_a_largest_size(make_app: Callable[..., App], path: str) -> None:
    app = make_app(limits=Limits(upload_bytes=2_000_000))
    client = app.client(Role.EXPERT)
    large = b"x" * 2_100_000

    def in_pieces() -> object:
        yield from (large[at : at + 50_000] for at in range(0, len(large), 50_000))

    form = {"content-type": "multipart/form-data; boundary=x"}
    stated = client.post(path, content=large, headers=form)
    unstated = client.post(path, content=in_pieces(), headers=form)  # type: ignore[arg-type]
    assert (stated.status_code, unstated.status_code) == (413, 413)


@pytest.mark.parametrize(("language", "said"), [("ja", "大きすぎます"), ("en", "is too large")])
def test_a_file_that_is_too_large_is_refused_in_the_users_language(
    make_app: Callable[..., App], language: str, said: str
) -> None:
    app = make_app(limits=Limits(upload_bytes=2000))
    client = app.client(Role.NEWCOMER)
    client.post("/language", data={"language": language})
    client.cookies.delete("mezoroi_language")
    files = {"file": ("melon.png", bytes(3000))}
    answer = client.post("/fruits", files=files, headers={"accept": "application/json"})
    assert answer.status_code == 413 and said in answer.json()["error"]
    page = client.post("/fruits", files=files)
    assert page.status_code == 413 and said in page.text
    assert "default-src 'self'" in page.headers["content-security-policy"]


def test_an_app_with_a_route_open_by_mistake_does_not_start(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = APIRouter()
    bare.get("/open")(lambda: "hello")
    monkeypatch.setattr("mezoroi.app.server.ROUTERS", (bare,))
    settings: Settings = app.services.settings
    with pytest.raises(RuntimeError, match="/open does not say who may use it"):
        create_app(settings)


def test_metrics_need_an_administrator(app: App) -> None:
    assert b"mezoroi_queue_fruits 0.0" in app.client(Role.ADMIN).get("/metrics").content
    assert app.client(Role.EXPERT).get("/metrics").status_code == 403
