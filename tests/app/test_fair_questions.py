"""Practice neither asks, nor tells, nor learns from a fruit that is asked for elsewhere."""

from __future__ import annotations

import re

import pytest
from fastapi.testclient import TestClient

from mezoroi.app import progressing, teaching
from mezoroi.app.roles import Role
from mezoroi.app.store import calibration, opinions, practice, specimens, users
from mezoroi.app.tables import now
from mezoroi.app.tables_learning import Question, Specimen
from tests.app.conftest import App
from tests.app.learning import answer, begin, play, questions_on, truth_of, wrong
from tests.app.sessions import fruits_on, open_session, second_expert

ENGLISH = {"accept-language": "en"}


def specimen_of(app: App, question: str) -> Specimen:
    with app.services.database.read() as session:
        found = session.get_one(Question, number_of(question))
        return found.specimen


def number_of(question: str) -> int:
    return int(question.rsplit("/", 1)[1])


def state_of(app: App, name: str) -> dict[str, object]:
    with app.services.database.read() as session:
        user = users.find_user(session, name)
        assert user is not None
        learner = practice.get_learner(session, user.id)
        return dict(learner.state) if learner is not None else {}


def awaited(app: App, client: TestClient, specimen_id: int) -> str:
    """Another expert opens a session with a fruit, and a client joins; its address."""
    address = open_session(second_expert(app), way="hand", chosen=str(specimen_id))
    assert len(fruits_on(client, address)) == 1
    return address


def secrets_of(specimen: Specimen) -> list[str]:
    return [*specimen.result["pictures"]["maps"].values(), specimen.name, "radar", "told-head"]


def dispute(app: App, specimen_id: int) -> None:
    """Another expert gave a grade of its own in a session that is over."""
    client = second_expert(app)
    address = open_session(client, way="hand", chosen=str(specimen_id))
    with app.services.database.read() as session:
        grade = session.get_one(Specimen, specimen_id).grade
    (asked,) = fruits_on(client, address)
    client.post(asked, data={"grade": wrong(grade or "")})
    assert client.post(f"{address}/reveal").status_code == 303


def test_a_fruit_that_a_session_asks_for_is_asked_no_more_and_another_comes(ready: App) -> None:
    client = ready.client(Role.EXPERT)
    address = begin(client)
    (question,) = questions_on(client, address)
    secret = specimen_of(ready, question)
    awaited(ready, client, secret.id)
    (other,) = questions_on(client, address)
    page = client.get(address).text
    assert secret.result["pictures"]["surface"]["name"] not in page
    assert specimen_of(ready, other).name != secret.name
    assert "1 / 4" in page, "in its place"
    assert number_of(other) > number_of(question), "a late answer must not count for another fruit"
    late = client.post(question, data={"grade": "A"}, headers={"accept": "application/json"})
    assert late.status_code == 422 and "読み込み直してください" in late.json()["error"]
    with ready.services.database.read() as session:
        assert [item.id for item in session.query(Question)] == [number_of(other)]
    told = client.get(answer(client, other, truth_of(ready, other))["location"])
    assert told.status_code == 200 and "radar" in told.text


def test_other_pictures_of_a_disputed_test_fruit_are_not_asked(ready: App) -> None:
    """The test's own picture teaches no more, but its fruit stays in the test."""
    with ready.services.database.write() as session:
        tested, sibling, *_ = session.query(Specimen).filter_by(grade="B").order_by(Specimen.id)
        practice.keep_tests(session, {"pre": [(tested.id, "B")]})
        sibling.name = tested.name
    dispute(ready, tested.id)
    with ready.services.database.read() as session:
        standard = teaching.active_standard(session)
        names = {fruit.specimen for fruit in teaching.practice_fruits(session, standard)}
    assert tested.name not in names and names


def test_a_grade_of_an_earlier_standard_disputes_a_fruit_where_it_is_chosen_too(
    ready: App,
) -> None:
    with ready.services.database.read() as session:
        standard = teaching.active_standard(session)
        (one, *_) = teaching.practice_fruits(session, standard)
    number = int(one.id)
    with ready.services.database.write() as session:
        opened = calibration.open_session(session, "", "hand", 1, 1, [number], [])
        (fruit,) = calibration.fruits_of(session, opened.id)
        expert = users.find_user(session, "expert")
        assert expert is not None
        calibration.give_grade(session, opened, fruit, expert.id, "Z", 0, "")
        opened.revealed_at = now()
    with ready.services.database.read() as session:
        fruits = {fruit.id for fruit in teaching.practice_fruits(session, standard)}
        assert opinions.agreed_grades(session, [number]) == {number: None}
    assert one.id not in fruits and fruits


@pytest.mark.parametrize("is_answered_before", [True, False])
def test_no_response_tells_the_grade_that_a_session_asks_for(
    ready: App, is_answered_before: bool
) -> None:
    client = ready.client(Role.EXPERT)
    address = begin(client)
    (question,) = questions_on(client, address)
    secret, truth = specimen_of(ready, question), truth_of(ready, question)
    if is_answered_before:
        answer(client, question, truth)
        assert client.get(question).status_code == 200
    calibrating = awaited(ready, client, secret.id)
    before = state_of(ready, "expert")
    replies = []
    if not is_answered_before:  # from the page that is still open
        assert answer(client, question, truth) == {"location": address}
        assert state_of(ready, "expert") == before == {}, "nothing is learned from it"
        replies.append(client.get("/practice/progress"))
        assert not re.search(r'<td class="(same|other)">[1-9]', replies[0].text)
    while (found := questions_on(client, address)) != []:
        answer(client, found[0], truth_of(ready, found[0]))
    replies += [client.get(question), client.get(address, headers=ENGLISH)]
    assert replies[-2].status_code == 404
    for reply in replies:
        raw = reply.text + str(reply.headers)
        assert not [one for one in secrets_of(secret) if one in raw]
    listed = replies[-1].text
    assert "3 of 3 right" in listed and question not in listed
    assert listed.count("Not told now") == 1 and listed.count('class="badge') == 3

    (asked,) = fruits_on(client, calibrating)
    client.post(asked, data={"grade": "A"})
    assert client.get(question).status_code == 200, "graded blind there"


def test_a_newcomer_is_not_told_the_grade_of_a_fruit_in_an_open_session(ready: App) -> None:
    client = ready.client(Role.NEWCOMER)
    address = begin(client)
    (question,) = questions_on(client, address)
    answer(client, question, truth_of(ready, question))
    asked = str(specimen_of(ready, question).id)
    open_session(second_expert(ready), way="hand", chosen=asked)
    assert client.get(question).status_code == 404


def test_a_disputed_fruit_is_neither_asked_nor_told_nor_learned_from(ready: App) -> None:
    client = ready.client(Role.NEWCOMER)
    address = begin(client)
    (first,) = questions_on(client, address)
    answer(client, first, truth_of(ready, first))
    (question,) = questions_on(client, address)
    with ready.services.database.write() as session:
        for asked in (first, question):
            found = session.get_one(Question, number_of(asked)).specimen
            found.consensus = wrong(found.grade or "")
    before = state_of(ready, "newcomer")
    assert answer(client, question, truth_of(ready, question)) == {"location": address}
    assert state_of(ready, "newcomer") == before
    for asked in (first, question):
        assert client.get(asked).status_code == 404

    (third,) = questions_on(client, address)
    with ready.services.database.write() as session:
        found = session.get_one(Question, number_of(third)).specimen
        found.consensus = wrong(found.grade or "")
    (fourth,) = questions_on(client, address)
    assert number_of(fourth) > number_of(third) and "3 / 4" in client.get(address).text


def test_a_fruit_disputed_in_a_session_makes_way(ready: App) -> None:
    client = ready.client(Role.NEWCOMER)
    address = begin(client)
    (question,) = questions_on(client, address)
    secret = specimen_of(ready, question)
    dispute(ready, secret.id)
    (other,) = questions_on(client, address)
    assert specimen_of(ready, other).name != secret.name
    answer(client, other, truth_of(ready, other))
    assert state_of(ready, "newcomer")["shown"] == [specimen_of(ready, other).name]


def test_a_question_of_a_grade_that_was_settled_otherwise_makes_way(ready: App) -> None:
    """Agreed, but on another grade than the question holds."""
    client = ready.client(Role.NEWCOMER)
    address = begin(client)
    (question,) = questions_on(client, address)
    with ready.services.database.write() as session:
        found = session.get_one(Question, number_of(question))
        found.truth = wrong(found.truth)
    assert questions_on(client, address) != [question]


def test_a_hidden_repeat_that_a_session_asks_for_makes_way(ready: App) -> None:
    client = ready.client(Role.EXPERT)
    address = begin(client)
    (question,) = questions_on(client, address)
    with ready.services.database.write() as session:
        found = session.get_one(Question, number_of(question))
        found.grades = {**found.grades, "repeat": True}
    awaited(ready, client, specimen_of(ready, question).id)
    assert questions_on(client, address) != [question]


def test_fruits_in_a_test_made_since_are_neither_asked_nor_told(ready: App) -> None:
    client = ready.client(Role.NEWCOMER)
    play(ready, client)
    address = begin(client)
    (question,) = questions_on(client, address)
    with ready.services.database.write() as session:
        found = session.get_one(Question, number_of(question))
        practice.keep_tests(session, {"pre-test": [(found.specimen_id, found.truth)]})
    assert questions_on(client, address) != [question]


def test_other_pictures_of_a_fruit_in_an_open_session_wait_too(ready: App) -> None:
    client = ready.client(Role.EXPERT)
    begin(client)
    with ready.services.database.write() as session:
        standard = teaching.active_standard(session)
        one, other = teaching.practice_fruits(session, standard)[:2]
        found = specimens.get_specimens(session, [int(one.id), int(other.id)])
        found[int(other.id)].name = found[int(one.id)].name
    open_session(client, way="hand", chosen=one.id)
    with ready.services.database.read() as session:
        left = {fruit.id for fruit in teaching.practice_fruits(session, standard)}
    assert not left & {one.id, other.id}


def test_progress_does_not_tell_by_its_sums_of_another_picture_in_an_open_session(
    ready: App,
) -> None:
    client = ready.client(Role.NEWCOMER)
    address = begin(client)
    (question,) = questions_on(client, address)
    answer(client, question, truth_of(ready, question))
    asked = specimen_of(ready, question)
    with ready.services.database.write() as session:
        other = next(item for item in session.query(Specimen) if item.name != asked.name)
        other.name = asked.name
        user = users.find_user(session, "newcomer")
        assert user is not None
        assert progressing.progress_of(session, user.id).answers == 1
    open_session(second_expert(ready), way="hand", chosen=str(other.id))
    with ready.services.database.read() as session:
        assert progressing.progress_of(session, user.id).answers == 0
