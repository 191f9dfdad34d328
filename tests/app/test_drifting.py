"""Drift: what counts as a repeat, and where an alert is seen."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

from mezoroi.app import calibrating_sessions, drifting, practising
from mezoroi.app.roles import Role
from mezoroi.app.store import calibration, fruits, practice, specimens, users
from mezoroi.app.tables import Fruit, now
from mezoroi.app.tables_learning import Specimen
from mezoroi.practice.fruits import PracticeFruit
from tests.app.conftest import App
from tests.app.learning import prepare, send_fruits
from tests.app.sessions import second_expert

ENGLISH = {"accept-language": "en"}
START = datetime(2026, 1, 5, tzinfo=timezone.utc)


def held(
    app: App, grades: dict[str, list[str]], at: datetime, settled: str | None = None
) -> list[str]:
    """A session on the first fruits, with the grades that graders gave; the fruits' names."""
    with app.services.database.write() as session:
        people = {name: users.find_user(session, name) for name in grades}
        number = max(len(given) for given in grades.values())
        ids = [item.id for item in specimens.known_specimens(session)][:number]
        found = calibration.open_session(session, "", "hand", 1, 1, ids, [])
        fruits = sorted(calibration.fruits_of(session, found.id), key=lambda one: one.specimen_id)
        for name, given in grades.items():
            user = people[name]
            assert user is not None
            for fruit, grade in zip(fruits, given, strict=False):
                calibration.give_grade(session, found, fruit, user.id, grade, 0, "")
        for item in calibration.grades_of(session, found.id):
            item.given_at = at
        found.revealed_at = at
        fruits[0].consensus = settled
        return [fruit.specimen.name for fruit in fruits]


def watched(app: App, name: str) -> drifting.Watched:
    with app.services.database.read() as session:
        return next(item for item in drifting.watch(session) if item.name == name)


def repeatable(app: App, name: str) -> set[str]:
    with app.services.database.read() as session:
        user = users.find_user(session, name)
        assert user is not None
        return {item.specimen for item in drifting.repeatable(session, user.id)}


@pytest.mark.parametrize("settled", [None, "B"])
def test_who_learned_from_the_reveal_is_not_inconsistent(
    prepared: App, settled: str | None
) -> None:
    """Most gave another grade, or it was settled on: to give it the next time is learning."""
    second_expert(prepared)
    before = now() - timedelta(weeks=9)
    grades = {"expert": ["A", "C"], "second": ["B", "C"]}
    if settled is None:
        grades["admin"] = ["B", "C"]
    first, other = held(prepared, grades, before, settled)
    assert repeatable(prepared, "expert") == {other}
    assert repeatable(prepared, "second") == {first, other}
    held(prepared, {"expert": ["B", "C"], "second": ["B", "D"]}, before + timedelta(weeks=3))
    assert watched(prepared, "expert").repeats == 1
    assert watched(prepared, "expert").drift.consistency.value == 1
    assert watched(prepared, "second").repeats == 2
    assert watched(prepared, "second").drift.consistency.value == 0.5
    held(prepared, {"expert": ["A", "C"]}, before + timedelta(weeks=6))
    assert watched(prepared, "expert").repeats == 3, "beside what was given after the reveal"
    assert watched(prepared, "expert").drift.consistency.value == pytest.approx(2 / 3)


def test_who_was_told_in_practice_is_not_compared_with_a_grade_before(prepared: App) -> None:
    before = now() - timedelta(weeks=9)
    first, other = held(prepared, {"expert": ["A", "C"]}, before)
    with prepared.services.database.write() as session:
        user = users.find_user(session, "expert")
        assert user is not None
        within = practice.start_round(session, user.id, practice.PRACTICE, 9)
        for place, item in enumerate(specimens.known_specimens(session)[:2], start=1):
            asked = practice.add_question(session, within, place, item.id, "C", {})
            asked.given, asked.answered_at = "C", before + timedelta(weeks=3)
    assert repeatable(prepared, "expert") == {other}
    assert first != other


def test_sessions_repeat_fruits_on_which_nobody_was_corrected(prepared: App) -> None:
    second_expert(prepared)
    grades = {"expert": [*"ABCDABCD"], "second": [*"BBBDBBBD"], "admin": [*"BBBDBBBD"]}
    names = held(prepared, grades, now() - timedelta(weeks=3))
    fit = {name for name, own, other in zip(names, *list(grades.values())[:2], strict=True)
           if own == other}  # fmt: skip
    with prepared.services.database.read() as session:
        known = {item.id: item for item in specimens.known_specimens(session)}
        for number in list(known)[8:16]:
            drawn = calibrating_sessions._repeats(session, known, [number])
            assert len(drawn) == 2 and {known[one].name for one in drawn} <= fit
        few = {number: item for number, item in known.items() if item.name not in fit}
        assert len(calibrating_sessions._repeats(session, few, [max(few)])) == 2, "else any"


def graded(app: App, pictures: dict[int, str], weeks: int) -> None:
    """The expert graded pictures in a session so many weeks ago."""
    with app.services.database.write() as session:
        expert = users.find_user(session, "expert")
        assert expert is not None
        opened = calibration.open_session(session, "", "hand", 1, 1, pictures, [])
        for fruit in calibration.fruits_of(session, opened.id):
            grade = pictures[fruit.specimen_id]
            calibration.give_grade(session, opened, fruit, expert.id, grade, 0, "")
        opened.revealed_at = now() - timedelta(weeks=weeks)
        for given in calibration.grades_of(session, opened.id):
            given.given_at = opened.revealed_at


@pytest.fixture
def tomato(prepared: App) -> list[int]:
    """Two pictures of one fruit, and one of another."""
    with prepared.services.database.write() as session:
        ids = [item.id for item in specimens.known_specimens(session)][:3]
        for number in ids[:2]:
            session.get_one(Specimen, number).name = "tomato"
    return ids


def test_two_pictures_of_a_fruit_are_no_repeat_of_each_other(
    prepared: App, tomato: list[int]
) -> None:
    first, second, _ = tomato
    graded(prepared, {first: "A"}, 9)
    graded(prepared, {second: "C"}, 6)
    assert watched(prepared, "expert").repeats == 0
    graded(prepared, {first: "A"}, 5)
    assert watched(prepared, "expert").repeats == 0, "the fruit was seen a week before"
    graded(prepared, {second: "C"}, 2)
    assert watched(prepared, "expert").repeats == 1


def test_the_picture_that_was_graded_is_the_one_slipped_in(
    prepared: App, tomato: list[int]
) -> None:
    first, second, other = tomato
    graded(prepared, {first: "A"}, 9)
    with prepared.services.database.write() as session:
        known = {item.id: item for item in specimens.known_specimens(session)}
        assert calibrating_sessions._repeats(session, known, [other]) == [first]
        assert calibrating_sessions._repeats(session, known, [second]) == [], "the fruit is there"
        expert = users.find_user(session, "expert")
        assert expert is not None
        within = practice.start_round(session, expert.id, practice.PRACTICE, 4)
        fruits = [PracticeFruit(str(one), "tomato", "A", "B", 0.5) for one in (first, second)]
        rng = np.random.default_rng(0)
        assert practising._repeat(session, expert, within, 2, fruits, rng) == fruits[0]


def test_of_a_fruit_one_picture_is_slipped_in(prepared: App, tomato: list[int]) -> None:
    first, second, other = tomato
    graded(prepared, {first: "A"}, 9)
    graded(prepared, {second: "C"}, 3)
    with prepared.services.database.read() as session:
        known = {item.id: item for item in specimens.known_specimens(session)}
        (drawn,) = calibrating_sessions._repeats(session, known, [other])
    assert drawn in (first, second)


def test_a_file_that_was_sent_twice_is_one_picture(prepared: App) -> None:
    with prepared.services.database.write() as session:
        uploads = [Fruit(content="c", media="image/jpeg", size=1, uploader_id=1) for _ in range(2)]
        session.add_all(uploads)
        session.flush()
        name = f"{specimens.FRUIT}{uploads[0].id}"
        pictures = [Specimen(fruit_id=fruit.id, name=name) for fruit in uploads]
        session.add_all(pictures)
        session.flush()
        first, again = (item.id for item in pictures)
    graded(prepared, {first: "A"}, 9)
    graded(prepared, {again: "B"}, 3)
    assert watched(prepared, "expert").repeats == 1


def test_mezorois_grade_of_a_file_that_was_sent_twice_counts_once(
    prepared: App, melons: Path
) -> None:
    client = prepared.client(Role.EXPERT)
    one, other = sorted(melons.glob("captures/*/surface.png"))[:2]
    for number in send_fruits(prepared, client, [one, one, other, one]):
        with prepared.services.database.read() as session:
            grading = fruits.newest_grading(session, number)
        assert grading is not None
        form = {"grading_id": str(grading.id), "answer": "wrong", "own_grade": "A"}
        assert client.post(f"/fruits/{number}/verdict", data=form).status_code == 303
    prepare(prepared)
    with prepared.services.database.read() as session:
        model = drifting.watch(session)[-1]
    assert model.name is None and model.repeats == 2


def test_an_alert_is_seen_where_experts_begin(prepared: App) -> None:
    client = prepared.client(Role.EXPERT)
    for number in range(4):
        held(prepared, {"expert": ["A"] * 8}, START + timedelta(weeks=4 * number))
    assert "/calibration/drift" in client.get("/calibration").text
    assert "No longer grades" not in client.get("/calibration", headers=ENGLISH).text
    for number in (4, 5):
        held(prepared, {"expert": ["D"] * 8}, START + timedelta(weeks=4 * number))
    page = client.get("/calibration", headers=ENGLISH).text
    assert "No longer grades as before: expert." in page
    assert page.count('href="/calibration/drift"') == 2
    drift = client.get("/calibration/drift", headers=ENGLISH).text
    ends = ("Feb 2, 2026", "May 25, 2026")
    assert [drift.count(f">{end}<") for end in ends] == [2, 2]
    assert "0 fruits compared with the experts" in drift, "Mezoroi repeats nothing"
    assert ">0 repeats" not in drift


def test_mezorois_alert_is_seen_too(prepared: App, monkeypatch: pytest.MonkeyPatch) -> None:
    from mezoroi.calibrating.drift import Repeat

    compared = [
        Repeat(str(n), "B", "B" if n < 20 else "CA"[n % 2], START + timedelta(days=n))
        for n in range(28)
    ]
    monkeypatch.setattr(drifting, "_beside_experts", lambda session, grades: compared)
    client = prepared.client(Role.EXPERT)
    assert "以前と変わってきています：Mezoroi。" in client.get("/calibration").text
    page = client.get("/calibration/drift", headers=ENGLISH).text
    assert "28 fruits compared with the experts" in page
    assert "Differs from the experts more often than before" in page
    assert "Changes grades" not in page and "Same grade as the experts" in page
