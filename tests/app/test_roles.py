"""Every route is in the table, and lets in who the table says."""

from __future__ import annotations

import pytest
from fastapi.routing import APIRoute

from mezoroi.app.roles import Role
from tests.app.conftest import App

ANYONE, NEWCOMER, EXPERT, ADMIN = None, Role.NEWCOMER, Role.EXPERT, Role.ADMIN
TABLE: dict[tuple[str, str], Role | None] = {
    ("GET", "/healthz"): ANYONE,
    ("GET", "/readyz"): ANYONE,
    ("GET", "/metrics"): ADMIN,
    ("GET", "/login"): ANYONE,
    ("POST", "/login"): ANYONE,
    ("POST", "/logout"): ANYONE,
    ("POST", "/language"): ANYONE,
    ("GET", "/grades.css"): ANYONE,
    ("GET", "/account"): NEWCOMER,
    ("POST", "/account"): NEWCOMER,
    ("GET", "/"): NEWCOMER,
    ("POST", "/fruits"): NEWCOMER,
    ("GET", "/fruits"): NEWCOMER,
    ("GET", "/fruits/{fruit_id}"): NEWCOMER,
    ("GET", "/fruits/{fruit_id}/progress"): NEWCOMER,
    ("GET", "/recent"): NEWCOMER,
    ("POST", "/fruits/{fruit_id}/again"): NEWCOMER,
    ("POST", "/fruits/{fruit_id}/blind"): EXPERT,
    ("POST", "/fruits/{fruit_id}/verdict"): EXPERT,
    ("GET", "/fruits/{fruit_id}/picture"): NEWCOMER,
    ("GET", "/fruits/{fruit_id}/original"): ADMIN,
    ("POST", "/fruits/{fruit_id}/details"): NEWCOMER,
    ("GET", "/exports/fruits.csv"): EXPERT,
    ("GET", "/exports/fruits.parquet"): EXPERT,
    ("GET", "/lots"): NEWCOMER,
    ("POST", "/lots"): NEWCOMER,
    ("GET", "/lots/{lot_id}"): NEWCOMER,
    ("POST", "/lots/{lot_id}"): NEWCOMER,
    ("GET", "/summary"): NEWCOMER,
    ("GET", "/summary/sheet"): NEWCOMER,
    ("GET", "/validity"): EXPERT,
    ("POST", "/validity/costs"): ADMIN,
    ("GET", "/practice"): NEWCOMER,
    ("GET", "/practice/preparing"): NEWCOMER,
    ("POST", "/practice/consent"): NEWCOMER,
    ("GET", "/practice/gallery"): NEWCOMER,
    ("GET", "/practice/progress"): NEWCOMER,
    ("POST", "/practice/rounds"): NEWCOMER,
    ("GET", "/practice/rounds/{round_id}"): NEWCOMER,
    ("POST", "/practice/questions/{question_id}"): NEWCOMER,
    ("GET", "/practice/questions/{question_id}"): NEWCOMER,
    ("GET", "/practice/learners"): EXPERT,
    ("GET", "/practice/learners/{user_id}"): EXPERT,
    ("POST", "/practice/learners/{user_id}/arm"): ADMIN,
    ("GET", "/practice/settings"): ADMIN,
    ("POST", "/practice/settings"): ADMIN,
    ("POST", "/practice/tests"): ADMIN,
    ("GET", "/practice/answers.csv"): ADMIN,
    ("GET", "/calibration"): EXPERT,
    ("POST", "/calibration"): EXPERT,
    ("GET", "/calibration/new"): EXPERT,
    ("GET", "/calibration/drift"): EXPERT,
    ("GET", "/calibration/{session_id}"): EXPERT,
    ("POST", "/calibration/{session_id}/join"): EXPERT,
    ("GET", "/calibration/{session_id}/count"): EXPERT,
    ("POST", "/calibration/{session_id}/fruits/{fruit_id}"): EXPERT,
    ("POST", "/calibration/{session_id}/cancel"): EXPERT,
    ("POST", "/calibration/{session_id}/reveal"): EXPERT,
    ("GET", "/calibration/{session_id}/reveal"): EXPERT,
    ("GET", "/calibration/{session_id}/fruits/{fruit_id}"): EXPERT,
    ("POST", "/calibration/{session_id}/fruits/{fruit_id}/consensus"): EXPERT,
    ("POST", "/calibration/{session_id}/fruits/{fruit_id}/note"): EXPERT,
    ("POST", "/calibration/{session_id}/references"): EXPERT,
    ("GET", "/fruits/{fruit_id}/mask"): EXPERT,
    ("POST", "/fruits/{fruit_id}/mask"): EXPERT,
    ("GET", "/fruits/{fruit_id}/masks.json"): NEWCOMER,
    ("POST", "/fruits/{fruit_id}/reference"): EXPERT,
    ("GET", "/references"): EXPERT,
    ("POST", "/references/index"): EXPERT,
    ("POST", "/references/{reference_id}/remove"): EXPERT,
    ("GET", "/jobs/{job_id}/events"): EXPERT,
    ("POST", "/jobs/{job_id}/cancel"): ADMIN,
    ("GET", "/graders"): ADMIN,
    ("POST", "/graders/train"): ADMIN,
    ("POST", "/graders/{run_id}/use"): ADMIN,
    ("GET", "/admin"): ADMIN,
    ("GET", "/admin/users"): ADMIN,
    ("POST", "/admin/users"): ADMIN,
    ("POST", "/admin/users/{user_id}/role"): ADMIN,
    ("POST", "/admin/users/{user_id}/password"): ADMIN,
    ("POST", "/admin/users/{user_id}/lock"): ADMIN,
    ("GET", "/admin/standard"): ADMIN,
    ("GET", "/standard"): EXPERT,
    ("GET", "/standard/features/{key}"): EXPERT,
    ("GET", "/standard/features/{key}/fruits/{specimen_id}"): EXPERT,
    ("POST", "/standard/features/{key}"): EXPERT,
    ("POST", "/standard/features/{key}/remove"): EXPERT,
    ("POST", "/admin/standard"): ADMIN,
    ("POST", "/admin/standard/example"): ADMIN,
    ("GET", "/admin/house"): ADMIN,
    ("POST", "/admin/house"): ADMIN,
    ("GET", "/admin/audit"): ADMIN,
    ("POST", "/admin/backup"): ADMIN,
    ("GET", "/account/tokens"): NEWCOMER,
    ("POST", "/account/tokens"): NEWCOMER,
    ("POST", "/account/tokens/{token_id}/revoke"): NEWCOMER,
    ("GET", "/api/v1/jobs"): NEWCOMER,
    ("GET", "/api/v1/references"): EXPERT,
    ("POST", "/api/v1/references"): EXPERT,
    ("DELETE", "/api/v1/references/{reference_id}"): EXPERT,
    ("GET", "/api/v1/graders"): ADMIN,
    ("GET", "/pictures/{name}"): NEWCOMER,
    ("GET", "/api"): NEWCOMER,
    ("GET", "/api/v1/openapi.json"): NEWCOMER,
    ("POST", "/api/v1/fruits"): NEWCOMER,
    ("GET", "/api/v1/fruits"): NEWCOMER,
    ("GET", "/api/v1/fruits/{fruit_id}"): NEWCOMER,
    ("POST", "/api/v1/fruits/{fruit_id}/verdict"): EXPERT,
    ("GET", "/api/v1/jobs/{job_id}"): NEWCOMER,
}
"""Method and path -> the least role. A new route is added here, or the first test fails."""


def test_the_table_names_every_route(app: App) -> None:
    routes = {
        (method, route.path)
        for route in app.app.routes
        if isinstance(route, APIRoute)
        for method in route.methods
    }
    assert routes == set(TABLE)


@pytest.mark.parametrize("visitor", [None, *Role], ids=lambda role: role and role.value)
def test_routes_let_in_whom_the_table_says(app: App, visitor: Role | None) -> None:
    for (method, path), role in TABLE.items():
        client = app.client(visitor)
        ids = ("fruit_id", "lot_id", "job_id", "round_id", "question_id", "user_id", "session_id")
        for name in (*ids, "name", "reference_id", "run_id", "user_id", "token_id"):
            path = path.replace(f"{{{name}}}", "77")
        answer = client.request(method, path)
        turned_away = answer.status_code in (401, 403) or (
            answer.status_code == 303 and answer.headers["location"].startswith("/login")
        )
        allowed = role is None or (visitor is not None and visitor.covers(role))
        if path in ("/login", "/logout"):  # they answer nobody with the login page
            continue
        assert turned_away is not allowed, f"{method} {path} as {visitor}: {answer.status_code}"
