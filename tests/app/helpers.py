"""What several tests of the app do."""

from __future__ import annotations

from pathlib import Path

from mezoroi.app.roles import Role
from tests.app.conftest import App, work


def send(app: App, content: bytes, name: str = "melon.png") -> int:
    """Send a fruit as a newcomer; returns its id."""
    client = app.client(Role.NEWCOMER)
    answer = client.post("/api/v1/fruits", files={"file": (name, content)})
    assert answer.status_code == 201, answer.text
    return int(answer.json()["id"])


def send_all(app: App, paths: list[Path]) -> list[int]:
    """Send files and grade them."""
    ids = [send(app, path.read_bytes()) for path in paths]
    work(app.services)
    return ids


def grading_of(app: App, fruit_id: int) -> int:
    """The id of a fruit's grading."""
    found = app.client(Role.NEWCOMER).get(f"/api/v1/fruits/{fruit_id}").json()
    assert found["state"] == "done", found
    return int(found["grading_id"])
