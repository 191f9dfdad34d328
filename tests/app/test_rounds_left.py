"""Rounds and tests that are left until their answers are no longer kept."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient

from mezoroi.app.roles import Role
from mezoroi.app.store import house, practice, users
from mezoroi.app.tables_learning import PracticeRound, Question
from tests.app.conftest import App
from tests.app.learning import answer, begin, play, questions_on, truth_of

ENGLISH = {"accept-language": "en"}
DAYS = 7


@pytest.fixture
def brief(ready: App) -> App:
    """A house that keeps answers for a week."""
    with ready.services.database.write() as session:
        house.set_setting(session, house.RETENTION, {"performance": DAYS})
    return ready


def agreeing(app: App) -> TestClient:
    """A newcomer's browser, whose results are kept."""
    client = app.client(Role.NEWCOMER)
    client.post("/practice/consent", data={"agrees": "true"})
    return client


def age(app: App) -> None:
    """All that was asked until now was asked a day too long ago, and goes."""
    with app.services.database.write() as session:
        for item in session.query(Question):
            item.shown_at -= timedelta(days=DAYS + 1)
    app.services.background.clear_out()


def answer_next(app: App, client: TestClient, address: str) -> int:
    """Answer what a page asks first; its number in the round."""
    question, *_ = questions_on(client, address)
    answer(client, question, truth_of(app, question))
    with app.services.database.read() as session:
        return session.get_one(Question, int(question.rsplit("/", 1)[1])).number


def test_a_round_goes_on_whose_first_answers_have_gone(brief: App) -> None:
    client = agreeing(brief)
    address = begin(client)
    assert [answer_next(brief, client, address) for _ in range(2)] == [1, 2]
    with brief.services.database.write() as session:
        for item in session.query(Question).filter_by(number=1):
            item.shown_at -= timedelta(days=DAYS + 1)
    brief.services.background.clear_out()
    assert [answer_next(brief, client, address) for _ in range(2)] == [3, 4]
    assert "3 of 3 right" in client.get(address, headers=ENGLISH).text
    assert begin(client) != address


def test_a_finished_round_whose_answers_have_gone_asks_no_more(brief: App) -> None:
    client = agreeing(brief)
    address = play(brief, client)
    age(brief)
    assert "<title>Round finished" in client.get(address, headers=ENGLISH).text
    with brief.services.database.read() as session:
        assert not session.query(Question).all()


def test_a_test_that_was_left_until_its_answers_went_is_asked_anew(brief: App) -> None:
    brief.client(Role.ADMIN).post("/practice/tests")
    client = agreeing(brief)
    address = begin(client, "pre-test")
    assert answer_next(brief, client, address) == 1
    age(brief)
    assert begin(client) == address, "it goes on before practice"
    assert [answer_next(brief, client, address) for _ in range(4)] == [1, 2, 3, 4]
    assert "All 4 answers are kept." in client.get(address, headers=ENGLISH).text
    with brief.services.database.read() as session:
        asked = {item.specimen_id: item.truth for item in practice.answers(session)}
        places = practice.list_tests(session)["pre-test"]
    assert asked == {place.specimen_id: place.grade for place in places}


def forget(app: App) -> None:
    """A day and more goes by for who does not agree that results are kept."""
    with app.services.database.write() as session:
        for item in session.query(PracticeRound):
            item.started_at -= practice.WITHOUT_CONSENT
    assert app.services.background.clear_out()["practice"] == 1


def asked_fruits(app: App) -> list[str]:
    with app.services.database.read() as session:
        return [item.specimen.name for item in session.query(Question).order_by(Question.number)]


def test_every_day_without_consent_has_its_own_fruits(ready: App) -> None:
    client = ready.client(Role.NEWCOMER)
    days = []
    for _ in range(5):
        play(ready, client)
        days.append(tuple(asked_fruits(ready)))
        forget(ready)
    # Of few fruits of fitting difficulty two days may draw the same, but hardly all five.
    assert len(set(days)) > 1, "although SQLite gives the round the same number each day"


def test_an_answer_to_a_question_that_has_gone_is_none_to_the_next_of_its_number(
    ready: App,
) -> None:
    client = ready.client(Role.NEWCOMER)
    address = begin(client)
    (kept,) = questions_on(client, address)
    (showing,) = re.findall(r'name="showing" value="([^"]+)"', client.get(address).text)
    waited = {"grade": "A", "waited": "90000", "showing": showing}  # given without a connection
    forget(ready)
    assert client.post(kept, data=waited).status_code == 422
    assert questions_on(client, begin(client)) == [kept], "the number is free again"
    late = client.post(kept, data=waited, headers={"accept": "application/json"} | ENGLISH)
    assert late.status_code == 422 and "not asked any more" in late.json()["error"]
    with ready.services.database.read() as session:
        assert not practice.answers(session)
    (showing,) = re.findall(r'name="showing" value="([^"]+)"', client.get(address).text)
    answer(client, kept, "A", showing=showing)
    with ready.services.database.read() as session:
        assert len(practice.answers(session)) == 1


def test_tests_stay_that_were_begun_when_their_rounds_have_gone(ready: App) -> None:
    client, admin = ready.client(Role.NEWCOMER), ready.client(Role.ADMIN)
    admin.post("/practice/tests")
    answer_next(ready, client, begin(client, "pre-test"))
    forget(ready)
    refused = admin.post("/practice/tests", headers=ENGLISH)
    assert refused.status_code == 422 and "begun a test" in refused.text
    assert "begun a test" in admin.get("/practice/settings", headers=ENGLISH).text


def test_an_arm_stays_fixed_when_the_rounds_have_gone(ready: App) -> None:
    client, admin = ready.client(Role.NEWCOMER), ready.client(Role.ADMIN)
    with ready.services.database.read() as session:
        user = users.find_user(session, "newcomer")
    assert user is not None
    arm = f"/practice/learners/{user.id}/arm"
    assert admin.post(arm, data={"arm": "random"}).status_code == 303
    play(ready, client)
    forget(ready)
    refused = admin.post(arm, data={"arm": "adaptive"}, headers=ENGLISH)
    assert refused.status_code == 422 and "has begun" in refused.text
    settings = admin.get("/practice/settings").text
    assert f'id="arm-{user.id}" name="arm" disabled' in settings
