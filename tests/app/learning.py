"""Apps whose fruits are prepared for practice and calibration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from fastapi.testclient import TestClient

from mezoroi.app.store import practice, specimens
from tests.app.conftest import App, work


def prepare(app: App) -> None:
    """Prepare all fruits, as the worker does."""
    with app.services.database.write() as session:
        specimens.order_preparation(session)
    work(app.services)


def send_fruits(app: App, client: TestClient, files: list[Path]) -> list[int]:
    """Send pictures and grade them; the fruits' ids."""
    ids = []
    for path in files:
        answer = client.post("/fruits", files={"file": (path.name, path.read_bytes())})
        ids.append(int(answer.headers["location"].rsplit("/", 1)[1]))
    work(app.services)
    return ids


def begin(client: TestClient, phase: str = "practice") -> str:
    """Begin a round; its address."""
    answer = client.post("/practice/rounds", data={"phase": phase})
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


def questions_on(client: TestClient, address: str) -> list[str]:
    """The addresses that the questions on a page are answered at."""
    return re.findall(r'action="(/practice/questions/\d+)"', client.get(address).text)


def truth_of(app: App, question: str) -> str:
    """The agreed grade of a question, which no page tells before the answer."""
    number = int(question.rsplit("/", 1)[1])
    with app.services.database.read() as session:
        found = next(
            item
            for user in range(1, 9)
            if (item := practice.get_question(session, number, user)) is not None
        )
    return found.truth


def answer(client: TestClient, question: str, grade: str, **more: str) -> Mapping[str, str]:
    """Answer a question as the script of the page does; the reply."""
    fields = {"grade": grade, "certainty": "fairly", "seconds": "3", **more}
    reply = client.post(question, data=fields, headers={"accept": "application/json"})
    assert reply.status_code == 200, reply.text
    content: Mapping[str, str] = reply.json()
    return content


def wrong(truth: str) -> str:
    return next(name for name in "ABCD" if name != truth)


def play(app: App, client: TestClient, *, right: bool = True) -> str:
    """Play a round of practice to its end; its address."""
    address = begin(client)
    for _ in range(4):
        (question,) = questions_on(client, address)
        truth = truth_of(app, question)
        answer(client, question, truth if right else wrong(truth))
    return address
