"""Practice and calibration on either database: what is locked is locked as both can."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from datetime import timezone

import pytest

from mezoroi.app import practice_settings, practising
from mezoroi.app.roles import Role
from mezoroi.app.store import calibration, practice, users
from mezoroi.app.tables_learning import Question
from tests.app.conftest import App
from tests.app.learning import answer, begin, play, prepare, questions_on, wrong
from tests.app.sessions import fruits_on, open_session, second_expert


@pytest.fixture(params=["sqlite", "postgresql"])
def either(request: pytest.FixtureRequest, make_app: Callable[..., App]) -> App:
    """An app with either database, whose fruits are prepared; rounds have four fruits."""
    if request.param == "sqlite":
        app = make_app()
    else:
        tables = request.getfixturevalue("postgresql_tables")
        app = make_app(database_url=request.getfixturevalue("new_postgresql")(tables))
    prepare(app)
    with app.services.database.write() as session:
        settings = practice_settings.PracticeSettings(questions=4, test_fruits=1)
        practice_settings.keep_settings(session, settings)
    return app


def test_a_round_is_practised_and_a_session_held(either: App) -> None:
    address = play(either, either.client(Role.NEWCOMER))
    assert "4 / 4" in either.client(Role.NEWCOMER).get(
        address, headers={"accept-language": "en"}
    ).text.replace("4 of 4 right", "4 / 4")

    first, second = either.client(Role.EXPERT), second_expert(either)
    address = open_session(first)
    for client, grade in ((first, "A"), (second, "B")):
        for fruit in fruits_on(client, address):
            assert client.post(fruit, data={"grade": grade}).status_code == 303
    assert first.post(f"{address}/reveal").status_code == 303
    page = second.get(f"{address}/reveal").text
    fruit = re.findall(rf'class="card fruit" href="({address}/fruits/\d+)"', page)[0]
    assert first.post(f"{fruit}/consensus", data={"grade": "B"}).status_code == 303
    with either.services.database.read() as session:
        found = calibration.get_session(session, 1)
        settled = calibration.get_fruit(session, 1, int(fruit.rsplit("/", 1)[1]))
    assert found is not None and len(found.outcome["fruits"]) == 4
    assert settled is not None and settled.specimen.consensus == "B"
    cancelled = open_session(first)
    assert first.post(f"{cancelled}/cancel").status_code == 303


def test_an_answer_counts_whose_tablet_has_put_its_clock_forward(either: App) -> None:
    # It seems older than the question, whose moment counts then, as the database gives it.
    client = either.client(Role.NEWCOMER)
    (question,) = questions_on(client, begin(client))
    answer(client, question, "A", waited="3600")
    with either.services.database.read() as session:
        (kept,) = session.query(Question)
        assert kept.answered_at == kept.shown_at
        assert kept.shown_at.tzinfo is timezone.utc, "as the cards of practice ask for"


def test_a_round_that_is_begun_twice_at_once_is_one_with_one_question(either: App) -> None:
    database = either.services.database
    with database.read() as session:
        user = users.find_user(session, "newcomer")
    assert user is not None
    start = threading.Barrier(6)
    failed: list[Exception] = []

    def begin() -> None:
        start.wait()
        try:
            with database.write() as session:
                found = practising.begin(session, user, practice.PRACTICE)
            with database.write() as session:
                again = practice.get_round(session, found.id, user.id)
                assert again is not None
                practising.current_question(session, user, again)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=begin) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    with database.read() as session:
        (found,) = practice.list_rounds(session, user.id)
        assert len(practice.questions_of(session, found.id)) == 1


def test_a_question_that_makes_way_while_it_is_answered_is_one_or_the_other(either: App) -> None:
    client = either.client(Role.NEWCOMER)
    address = begin(client)
    (asked,) = questions_on(client, address)
    with either.services.database.write() as session:
        found = session.get_one(Question, int(asked.rsplit("/", 1)[1]))
        found.specimen.consensus = wrong(found.truth)
    start = threading.Barrier(6)
    statuses: list[tuple[str, int]] = []

    def send(kind: str) -> None:
        own = either.client(Role.NEWCOMER)
        start.wait()
        reply = own.get(address) if kind == "page" else own.post(asked, data={"grade": "A"})
        statuses.append((kind, reply.status_code))

    threads = [threading.Thread(target=send, args=(kind,)) for kind in ("page", "answer") * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {code for kind, code in statuses if kind == "page"} == {200}
    (taken,) = {code for kind, code in statuses if kind == "answer"}
    with either.services.database.read() as session:
        left = sorted((item.number, item.given) for item in session.query(Question))
    assert (taken, left) in [(422, [(1, None)]), (303, [(1, "A"), (2, None)])]
