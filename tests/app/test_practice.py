"""Practice: rounds and tests; nothing tells an answer too early."""

from __future__ import annotations

import re
from datetime import timedelta

import numpy as np
import pytest

from mezoroi.app import hiding, practising, teaching
from mezoroi.app.roles import Role
from mezoroi.app.store import practice, specimens, users
from mezoroi.app.tables import now
from mezoroi.app.tables_learning import PracticeRound, Question
from tests.app.conftest import App
from tests.app.learning import (
    answer,
    begin,
    play,
    questions_on,
    truth_of,
    wrong,
)

ENGLISH = {"accept-language": "en"}


@pytest.mark.parametrize(
    ("length", "repeats", "places"),
    [(20, 2, [6, 12]), (20, 3, [5, 10, 15]), (20, 0, []), (4, 2, [2, 4]), (5, 20, [2, 4])],
)
def test_an_expert_meets_at_most_as_many_repeats_as_set(
    length: int, repeats: int, places: list[int]
) -> None:
    numbers = range(1, length + 1)
    found = [n for n in numbers if practising.is_place_of_repeat(n, length, repeats)]
    assert found == places


def test_nothing_tells_the_answer_before_it_is_given(ready: App) -> None:
    client = ready.client(Role.NEWCOMER)
    address = begin(client)
    (question,) = questions_on(client, address)
    page = client.get(address)
    with ready.services.database.read() as session:
        found = practice.get_question(session, int(question.rsplit("/", 1)[1]), 3)
        found = found or practice.get_question(session, int(question.rsplit("/", 1)[1]), 1)
    assert found is not None
    result = found.specimen.result
    secrets = [
        *result["pictures"]["maps"].values(),
        *(entry["picture"] for row in found.specimen.alike.values() for entry in row),
        found.specimen.name,
        found.specimen.reference or "",
        "radar",
        "similarity",
    ]
    for address_ in (address, "/practice", "/practice/progress"):
        reply = client.get(address_)
        raw = reply.text + str(reply.headers)
        assert not [secret for secret in secrets if secret in raw], address_
    assert not re.findall(r'class="badge', page.text)
    assert client.get(question).status_code == 404
    letters = re.findall(r'name="grade" value="([^"]+)"', page.text)
    assert letters == list("ABCD"), "every grade can be chosen, in the standard's order"


def test_a_round_teaches_and_comes_to_an_end(ready: App) -> None:
    client = ready.client(Role.NEWCOMER)
    address = begin(client)
    seen = []
    for number in range(4):
        (question,) = questions_on(client, address)
        truth = truth_of(ready, question)
        given = truth if number % 2 else wrong(truth)
        with ready.services.database.read() as session:
            found = session.get_one(Question, int(question.rsplit("/", 1)[1]))
            shown = {truth, given if given != truth else found.grades["rival"]}
        told = client.get(answer(client, question, given)["location"]).text
        assert f">{truth}</b>" in told and "radar" in told
        assert told.count("data-overlay-map") == len(shown - {"C"}), "C is an outline's"
        assert ("told-head right" in told) == (given == truth)
        seen.append(question)
    assert len(set(seen)) == 4
    assert "2 / 4" not in client.get(address).text
    with ready.services.database.read() as session:
        user = users.find_user(session, "newcomer")
        assert user is not None
        learner = practice.get_learner(session, user.id)
        rounds = practice.list_rounds(session, user.id)
        names = [item.specimen.name for item in practice.questions_of(session, rounds[0].id)]
    assert learner is not None and learner.state["pairs"]
    assert learner.state["shown"] == names
    assert rounds[0].finished_at is not None
    assert len(set(names)) == 4, "a fresh fruit every time"


def test_a_right_answer_also_shows_the_grade_it_is_easily_taken_for(ready: App) -> None:
    client = ready.client(Role.NEWCOMER)
    (question,) = questions_on(client, begin(client))
    truth = truth_of(ready, question)
    with ready.services.database.read() as session:
        found = session.get_one(Question, int(question.rsplit("/", 1)[1]))
        rival, outlined = found.grades["rival"], "C" in (truth, found.grades["rival"])
    answer(client, question, truth)
    page = client.get(question, headers=ENGLISH).text
    maps, likes = page.split("data-maps")[1], page.split('<section class="likes"')[1]
    for part in (maps.split('class="told-side"')[0], likes):
        assert re.findall(r'<b class="badge[^>]*>(\w)</b>', part) == [truth, rival]
    assert "easily confused with it" in maps
    assert likes.count('class="silhouette"') == (likes.count("<img") if outlined else 0)


def test_an_answer_counts_once_however_often_it_is_sent(ready: App) -> None:
    client = ready.client(Role.NEWCOMER)
    (question,) = questions_on(client, begin(client))
    with ready.services.database.write() as session:
        session.query(Question).one().shown_at -= timedelta(seconds=200)
    first = answer(client, question, "A", key="k1", waited="120")
    again = answer(client, question, "B", key="k1")
    assert first == again
    with ready.services.database.read() as session:
        (found,) = practice.answers(session)
    assert (found.given, found.key) == ("A", "k1")
    assert found.answered_at is not None
    assert timedelta(seconds=115) < now() - found.answered_at < timedelta(seconds=180)


def test_how_sure_one_is_need_not_be_said_and_is_not_made_up(ready: App) -> None:
    client = ready.client(Role.NEWCOMER)
    address = begin(client)
    (question,) = questions_on(client, address)
    assert not re.findall(r'name="certainty"[^>]*checked', client.get(address).text)
    assert client.post(question, data={"grade": truth_of(ready, question)}).status_code == 303
    with ready.services.database.read() as session:
        (found,) = practice.answers(session)
        user = users.find_user(session, "newcomer")
        assert user is not None
        from mezoroi.app.progressing import progress_of

        shares = progress_of(session, user.id).certainty
    assert found.certainty is None
    assert all(np.isnan(share.value) for share in shares.values())


@pytest.mark.parametrize(
    "form",
    [
        {"grade": "Z"},
        {"grade": "A", "certainty": "perhaps"},
        {"grade": "A", "seconds": "-1"},
        {"grade": "A", "waited": "nan"},
        {},
    ],
)
def test_an_answer_that_makes_no_sense_is_refused(ready: App, form: dict[str, str]) -> None:
    client = ready.client(Role.NEWCOMER)
    (question,) = questions_on(client, begin(client))
    assert client.post(question, data=form).status_code == 422
    with ready.services.database.read() as session:
        assert not practice.answers(session)


def test_rounds_of_others_are_their_own(ready: App) -> None:
    client, other = ready.client(Role.NEWCOMER), ready.client(Role.EXPERT)
    address = begin(client)
    (question,) = questions_on(client, address)
    assert other.get(address).status_code == 404
    assert other.post(question, data={"grade": "A"}).status_code == 422


def test_tests_tell_nothing_and_their_fruits_occur_nowhere_else(ready: App) -> None:
    admin, client = ready.client(Role.ADMIN), ready.client(Role.NEWCOMER)
    assert admin.post("/practice/tests").status_code == 303
    address = begin(client, "pre-test")
    questions = questions_on(client, address)
    assert len(questions) == 4
    for question in questions:
        reply = answer(client, question, truth_of(ready, question))
        assert reply == {"location": address}
        assert client.get(question).status_code == 404, "no answer is told, not even afterwards"
    with ready.services.database.read() as session:
        hidden = hiding.hidden_names(session)
        tests = teaching.test_ids(session)
        fruits = teaching.practice_fruits(session, teaching.active_standard(session))
        pictures = {
            item.result["pictures"]["surface"]["name"]
            for item in specimens.get_specimens(session, tests).values()
        }
    assert len(tests) == 16 and len(hidden) == 16
    assert not tests & {int(fruit.id) for fruit in fruits}
    page = client.get("/practice/gallery").text
    assert not [name for name in pictures if name in page]
    assert client.post("/practice/rounds", data={"phase": "pre-test"}).status_code == 422


def test_tests_have_their_time(ready: App) -> None:
    ready.client(Role.ADMIN).post("/practice/tests")
    client = ready.client(Role.NEWCOMER)

    def states() -> list[str]:
        with ready.services.database.read() as session:
            user = users.find_user(session, "newcomer")
            assert user is not None
            rounds = practice.list_rounds(session, user.id)
        return [item.state for item in practising.test_states(rounds, {})]

    assert states() == ["open", "locked", "locked", "locked"]
    page = client.get("/practice", headers=ENGLISH).text
    assert page.count("<small>after practice</small>") == 1
    assert page.count("<small>after the post-test</small>") == 2
    play(ready, client)
    assert states() == ["missed", "open", "locked", "locked"]
    address = begin(client, "post-test")
    for question in questions_on(client, address):
        answer(client, question, "A")
    assert "<title>Test finished" in client.get(address, headers=ENGLISH).text
    assert states() == ["missed", "done", "later", "later"]
    with ready.services.database.write() as session:
        for item in session.query(PracticeRound).filter_by(phase="post-test"):
            assert item.finished_at is not None
            item.finished_at -= timedelta(days=1)
    assert states() == ["missed", "done", "open", "later"]
    refused = client.post("/practice/rounds", data={"phase": "1 week"})
    assert refused.status_code == 422


def test_a_test_that_was_begun_goes_on_before_practice(ready: App) -> None:
    ready.client(Role.ADMIN).post("/practice/tests")
    client = ready.client(Role.NEWCOMER)
    address = begin(client, "pre-test")
    first, *others = questions_on(client, address)
    answer(client, first, "A")
    assert begin(client) == address == begin(client, "pre-test")
    assert "Go on with the test" in client.get("/practice", headers=ENGLISH).text
    assert questions_on(client, address) == others
    assert "Pre-test 2 / 4" in client.get(address, headers=ENGLISH).text
    for question in others:
        answer(client, question, "A")
    assert "All 4 answers are kept." in client.get(address, headers=ENGLISH).text
    practised = begin(client)
    assert practised != address
    play(ready, client)
    practised = begin(client)
    test = begin(client, "post-test")
    assert client.get(practised).headers["location"] == test, "also where its page is still open"


def test_a_test_is_taken_once_also_by_who_withdraws_the_consent(ready: App) -> None:
    ready.client(Role.ADMIN).post("/practice/tests")
    client = ready.client(Role.NEWCOMER)
    client.post("/practice/consent", data={"agrees": "true"})
    for phase in ("pre-test", "post-test"):
        for question in questions_on(client, begin(client, phase)):
            answer(client, question, "A")
        play(ready, client)
    client.post("/practice/consent", data={"agrees": "false"})
    with ready.services.database.write() as session:
        for item in session.query(PracticeRound):
            item.started_at -= timedelta(days=2)
    assert ready.services.background.clear_out()["practice"] == 4
    with ready.services.database.read() as session:
        user = users.find_user(session, "newcomer")
        assert user is not None
        states = [item.state for item in practising.states_of(session, user.id)]
    assert states == ["done", "done", "later", "later"]
    for phase in ("pre-test", "post-test"):
        assert client.post("/practice/rounds", data={"phase": phase}).status_code == 422


def test_tests_that_somebody_began_are_not_made_anew(ready: App) -> None:
    admin = ready.client(Role.ADMIN)
    admin.post("/practice/tests")
    begin(ready.client(Role.NEWCOMER), "pre-test")
    assert admin.post("/practice/tests").status_code == 422


def test_too_few_fruits_for_tests_are_said_in_words(ready: App) -> None:
    client = ready.client(Role.NEWCOMER)
    reply = client.post(
        "/practice/rounds", data={"phase": "pre-test"}, headers={"accept-language": "ja"}
    )
    assert reply.status_code == 422 and "テストに使える果実が足りません" in reply.text
