"""When tests are made: of all fruits at once, before anybody has seen one of them."""

from __future__ import annotations

import pytest

from mezoroi.app import practice_settings, teaching
from mezoroi.app.roles import Role
from mezoroi.app.store import practice, specimens
from mezoroi.app.tables_learning import PracticeRound, Specimen
from tests.app.conftest import App, work
from tests.app.learning import begin

ENGLISH, JAPANESE = {"accept-language": "en"}, {"accept-language": "ja"}


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven fruits of a grade are enough for tests of one, and to practise on."""
    monkeypatch.setattr(teaching, "_FRUITS_PER_TEST_FRUIT", 5)


def half_prepared(app: App) -> None:
    with app.services.database.write() as session:
        for number, item in enumerate(session.query(Specimen)):
            item.run_id = item.run_id if number % 4 == 3 else None


def made(app: App) -> dict[str, set[int]]:
    with app.services.database.read() as session:
        tests = practice.list_tests(session)
    return {test: {place.specimen_id for place in places} for test, places in tests.items()}


def test_no_test_is_made_of_the_fruits_that_are_prepared_first(ready: App, few: None) -> None:
    half_prepared(ready)
    client, admin = ready.client(Role.NEWCOMER), ready.client(Role.ADMIN)
    for form in ({"phase": "pre-test"}, {"phase": "practice"}):
        reply = client.post("/practice/rounds", data=form)
        assert (reply.status_code, reply.headers["location"]) == (303, "/practice")
    refused = admin.post("/practice/tests", headers=JAPANESE)
    assert refused.status_code == 422 and "果実を準備しています" in refused.text
    reply = client.get("/practice/gallery")
    assert (reply.status_code, reply.headers["location"]) == (303, "/practice")
    home = client.get("/practice", headers=ENGLISH).text
    assert 'action="/practice/rounds"' not in home and "/practice/gallery" not in home
    assert "Practice begins when the fruits are prepared" in home
    settings = admin.get("/practice/settings", headers=ENGLISH).text
    assert "Make them now" not in settings and "still being prepared" in settings
    with ready.services.database.read() as session:
        assert not session.query(PracticeRound).all() and not practice.list_tests(session)


def test_tests_are_made_when_all_is_prepared(ready: App, few: None) -> None:
    half_prepared(ready)
    with ready.services.database.write() as session:
        specimens.order_preparation(session)
    work(ready.services)
    tests = made(ready)
    assert [len(places) for places in tests.values()] == [4] * 4
    assert 'action="/practice/rounds"' in ready.client(Role.NEWCOMER).get("/practice").text


@pytest.mark.parametrize("first", ["gallery", "practice"])
def test_tests_are_made_before_anything_is_shown(ready: App, few: None, first: str) -> None:
    client = ready.client(Role.NEWCOMER)
    if first == "gallery":
        assert client.get("/practice/gallery").status_code == 200
    else:
        begin(client)
    assert [len(places) for places in made(ready).values()] == [4] * 4


def test_what_was_asked_in_practice_is_in_no_test(
    ready: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teaching, "TESTS", ("pre-test",))
    admin = ready.client(Role.ADMIN)
    assert admin.post("/practice/tests").status_code == 303
    (first,) = made(ready).values()
    asked = min(first)
    with ready.services.database.write() as session:
        practice.keep_tests(session, {})
        within = practice.start_round(session, 1, practice.PRACTICE, 4)
        practice.add_question(session, within, 1, asked, "A")
    assert admin.post("/practice/tests").status_code == 303
    (second,) = made(ready).values()
    assert len(second) == 4 and asked not in second


def test_fruits_photographed_at_several_grades_make_shorter_tests(
    ready: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each fruit in one test at one grade: five of each are not four of every grade."""
    monkeypatch.setattr(teaching, "TESTS", ("pre-test",))
    monkeypatch.setattr(teaching, "_FRUITS_PER_TEST_FRUIT", 1)
    with ready.services.database.write() as session:
        seen: dict[str | None, int] = {}
        for item in session.query(Specimen).order_by(Specimen.id):
            seen[item.grade] = seen.get(item.grade, 0) + 1
            item.name = f"tomato {seen[item.grade]}"
    assert set(seen.values()) == {5}
    begin(ready.client(Role.NEWCOMER), "pre-test")
    (places,) = made(ready).values()
    with ready.services.database.read() as session:
        names = [item.name for item in specimens.get_specimens(session, places).values()]
    assert len(names) == len(set(names)) == 4


def test_who_has_begun_is_told_in_japanese(ready: App) -> None:
    admin = ready.client(Role.ADMIN)
    admin.post("/practice/tests")
    begin(ready.client(Role.NEWCOMER), "pre-test")
    again = admin.post("/practice/tests", headers=JAPANESE)
    assert again.status_code == 422 and "テストを始めた人がいる" in again.text
    assigned = admin.post(
        f"/practice/learners/{_newcomer(ready)}/arm", data={"arm": "random"}, headers=JAPANESE
    )
    assert assigned.status_code == 422 and "すでに始めています" in assigned.text
    expert = ready.client(Role.EXPERT)
    for form in ({"way": "stratified", "count": "101"}, {"way": "stratified", "count": "0"}):
        session = expert.post("/calibration", data=form, headers=JAPANESE)
        assert session.status_code == 422 and "1〜100 玉" in session.text


def _newcomer(app: App) -> int:
    with app.services.database.read() as session:
        return session.query(PracticeRound).one().user_id


def test_why_tests_are_short_is_said(
    ready: App, few: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(wanted: int, language: dict[str, str] = ENGLISH) -> str:
        with ready.services.database.write() as session:
            settings = practice_settings.PracticeSettings(questions=4, test_fruits=wanted)
            practice_settings.keep_settings(session, settings)
        return ready.client(Role.ADMIN).get("/practice/settings", headers=language).text

    reason = "1 of each grade, as there are too few fruits (5 are set)"
    assert reason not in told(5), "there are no tests yet"
    begin(ready.client(Role.NEWCOMER), "pre-test")
    assert [len(places) for places in made(ready).values()] == [4] * 4
    assert reason in told(5)
    assert "果実が足りないため、各等級 1 玉です（設定は 5 玉）" in told(5, JAPANESE)
    assert "too few fruits" not in told(1)
    monkeypatch.setattr(teaching, "TESTS", ("pre-test",))
    monkeypatch.setattr(teaching, "_FRUITS_PER_TEST_FRUIT", 1)
    assert "too few fruits" not in told(2), "there are enough: the setting was changed since"
