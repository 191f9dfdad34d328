"""A fruit that experts dispute neither teaches nor counts, however long ago they said so."""

from __future__ import annotations

from pathlib import Path

import pytest

from mezoroi.app import hiding, practice_settings, progressing, teaching
from mezoroi.app.roles import Role
from mezoroi.app.store import (
    calibration,
    fruits,
    practice,
    references,
    runs,
    specimens,
    users,
    verdicts,
)
from mezoroi.app.tables import User
from mezoroi.app.tables_learning import CalibrationGrade, CalibrationSession, Specimen
from tests.app.conftest import App
from tests.app.learning import answer, begin, play, prepare, questions_on, send_fruits, truth_of
from tests.app.sessions import fruits_on, open_session


def taught(app: App, fruit_id: int) -> str | None:
    """The grade that a fruit sent to the app teaches, or None."""
    with app.services.database.read() as session:
        found = teaching.teaching_fruits(session, teaching.active_standard(session))
        (own,) = [i.id for i in specimens.known_specimens(session) if i.fruit_id == fruit_id]
    return next((fruit.grade for fruit in found if int(fruit.id) == own), None)


@pytest.fixture
def fruit(ready: App, melons: Path) -> int:
    """A fruit that was sent and prepared."""
    file = sorted(melons.glob("captures/*/surface.png"))[0]
    (fruit_id,) = send_fruits(ready, ready.client(Role.EXPERT), [file])
    prepare(ready)
    return fruit_id


def say(app: App, role: Role, fruit_id: int, grade: str) -> None:
    with app.services.database.read() as session:
        grading = fruits.newest_grading(session, fruit_id)
    assert grading is not None
    form = {"grading_id": str(grading.id), "answer": "wrong", "own_grade": grade}
    assert app.client(role).post(f"/fruits/{fruit_id}/verdict", data=form).status_code == 303


def grade_in_session(app: App, fruit_id: int, grade: str) -> None:
    """The expert grades a fruit blind in a session of its own, which is revealed."""
    client = app.client(Role.EXPERT)
    with app.services.database.read() as session:
        (own,) = [i.id for i in specimens.known_specimens(session) if i.fruit_id == fruit_id]
    address = open_session(client, way="hand", chosen=str(own))
    (asked,) = fruits_on(client, address)
    client.post(asked, data={"grade": grade})
    assert client.post(f"{address}/reveal").status_code == 303


def test_of_one_expert_the_newest_grade_counts(ready: App, fruit: int) -> None:
    say(ready, Role.EXPERT, fruit, "A")
    assert taught(ready, fruit) == "A"
    grade_in_session(ready, fruit, "B")
    assert taught(ready, fruit) == "B", "the blind grade of the session is newer"
    with ready.services.database.write() as session:
        grading = fruits.newest_grading(session, fruit)
        user = users.find_user(session, "expert")
        assert grading is not None and user is not None
        verdicts.keep_mask(session, grading, user.id, "a-mask.png")
    assert taught(ready, fruit) == "B", "a mask says nothing new of the grade"
    say(ready, Role.EXPERT, fruit, "D")
    assert taught(ready, fruit) == "D"
    grade_in_session(ready, fruit, "B")
    say(ready, Role.EXPERT, fruit, "D")
    say(ready, Role.EXPERT, fruit, "D")
    assert taught(ready, fruit) == "D", "said again"


def grade_again(app: App, fruit_id: int) -> None:
    """Another grading of a fruit, which the expert only looks at and paints on."""
    with app.services.database.write() as session:
        run, before = runs.active_run(session), fruits.newest_grading(session, fruit_id)
        user = users.find_user(session, "expert")
        assert run is not None and before is not None and user is not None
        grading = fruits.add_grading(session, fruit_id, run, before.result)
        verdicts.look_first(session, grading, user.id)
        verdicts.keep_mask(session, grading, user.id, "a-mask.png")


def take_back(app: App, fruit_id: int) -> None:
    with app.services.database.read() as session:
        grading = fruits.newest_grading(session, fruit_id)
    assert grading is not None
    form = {"grading_id": str(grading.id), "answer": "withdraw"}
    path = f"/fruits/{fruit_id}/verdict"
    assert app.client(Role.EXPERT).post(path, data=form).status_code == 303


def test_an_experts_grade_outlasts_another_grading(ready: App, fruit: int) -> None:
    say(ready, Role.EXPERT, fruit, "A")
    grade_again(ready, fruit)
    assert taught(ready, fruit) == "A"
    say(ready, Role.ADMIN, fruit, "B")
    assert taught(ready, fruit) is None, "still disputed"
    say(ready, Role.EXPERT, fruit, "B")
    assert taught(ready, fruit) == "B"
    take_back(ready, fruit)
    assert taught(ready, fruit) is None, "what was said of the earlier grading stands"


def test_an_answer_that_is_taken_back_leaves_the_blind_grade_as_old_as_it_is(
    ready: App, fruit: int
) -> None:
    with ready.services.database.write() as session:
        grading, user = fruits.newest_grading(session, fruit), users.find_user(session, "expert")
        assert grading is not None and user is not None
        verdicts.grade_blind(session, grading, user.id, "A")
    say(ready, Role.EXPERT, fruit, "B")
    assert taught(ready, fruit) == "B"
    take_back(ready, fruit)
    assert taught(ready, fruit) == "A"
    say(ready, Role.EXPERT, fruit, "B")
    grade_in_session(ready, fruit, "D")
    take_back(ready, fruit)
    assert taught(ready, fruit) == "D", "given after the blind grade"


def test_a_file_that_was_sent_twice_is_one_fruit(either: App, melons: Path) -> None:
    # It would be asked in a test and taught in practice, and could teach two grades at once.
    ready, client = either, either.client(Role.EXPERT)
    first_file, other_file = sorted(melons.glob("captures/*/surface.png"))[:2]
    first, other = send_fruits(ready, client, [first_file, other_file])
    prepare(ready)
    say(ready, Role.EXPERT, first, "A")
    (again,) = send_fruits(ready, client, [first_file])
    prepare(ready)

    def names() -> dict[int | None, str]:
        with ready.services.database.read() as session:
            return {i.fruit_id: i.name for i in specimens.known_specimens(session)}

    assert names()[again] == names()[first] != names()[other]
    with ready.services.database.write() as session:  # as each was called until November 2026
        session.query(Specimen).filter_by(fruit_id=again).one().name = f"fruit-{again}"
        specimens.note_fruits(session)
    assert names()[again] == names()[first]
    assert taught(ready, first) == taught(ready, again) == "A" and taught(ready, other) is None
    say(ready, Role.ADMIN, again, "B")
    assert taught(ready, first) is taught(ready, again) is None, "experts dispute the same photo"
    grade_in_session(ready, again, "B")
    assert taught(ready, first) == taught(ready, again) == "B", "of each the newest grade counts"
    settled = {"grade": "D", "settled": ""}
    assert client.post("/calibration/1/fruits/1/consensus", data=settled).status_code == 303
    assert taught(ready, first) == taught(ready, again) == "D"
    with ready.services.database.write() as session:
        references.add_reference(session, 1, f"fruit-{first}", "D", None, first)
        references.add_reference(session, 1, f"fruit-{other}", "A", None, other)
        own = [i.id for i in specimens.known_specimens(session) if i.fruit_id == again]
        calibration.open_session(session, "", "hand", 1, 1, own, [])
        calibration.join(session, 2, 1)
        asked = session.get_one(User, 1)
        assert hiding.hidden_names(session) == {f"fruit-{first}"}
        assert hiding.awaited_references(session, asked) == {f"fruit-{first}"}
        calibration.cancel(session, session.get_one(CalibrationSession, 2))
    (third,) = send_fruits(ready, client, [first_file])
    prepare(ready)
    assert taught(ready, third) == "D", "what was settled on holds for the file"
    taken_back = {"grade": "", "settled": "D"}
    assert client.post("/calibration/1/fruits/1/consensus", data=taken_back).status_code == 303
    assert {taught(ready, one) for one in (first, again, third)} == {"B"}


def test_a_dispute_outlasts_the_grades_it_came_from(ready: App, fruit: int) -> None:
    say(ready, Role.ADMIN, fruit, "A")
    say(ready, Role.EXPERT, fruit, "A")
    grade_in_session(ready, fruit, "B")
    assert taught(ready, fruit) is None
    with ready.services.database.write() as session:
        session.query(CalibrationGrade).delete()
    assert taught(ready, fruit) is None


def test_what_is_no_longer_agreed_counts_neither_in_progress_nor_for_the_certificate(
    ready: App,
) -> None:
    with ready.services.database.write() as session:
        settings = practice_settings.PracticeSettings(questions=4, test_fruits=1, test="post-test")
        practice_settings.keep_settings(session, settings)
    ready.client(Role.ADMIN).post("/practice/tests")
    client = ready.client(Role.NEWCOMER)
    play(ready, client)
    asked = questions_on(client, begin(client, "post-test"))
    for question in asked:
        answer(client, question, truth_of(ready, question))
    with ready.services.database.read() as session:
        user = users.find_user(session, "newcomer")
        assert user is not None
        before = progressing.progress_of(session, user.id)
        place = practice.list_tests(session)["post-test"][0]
    assert before.tests["post-test"].value == 1 and before.confusion.sum() == 4
    with ready.services.database.write() as session:
        session.get_one(Specimen, place.specimen_id).consensus = "DCBA"["ABCD".index(place.grade)]
    with ready.services.database.read() as session:
        view = progressing.progress_of(session, user.id)
    assert view.confusion.sum() == 3 and view.rule.fruits == 3
    assert view.shortfalls == [], "the others are enough"


def test_a_fruit_that_fails_later_stays_in_its_test_and_session(ready: App, fruit: int) -> None:
    ready.client(Role.ADMIN).post("/practice/tests")
    newcomer, expert = ready.client(Role.NEWCOMER), ready.client(Role.EXPERT)
    test = begin(newcomer, "pre-test")
    with ready.services.database.read() as session:
        (own,) = [i.id for i in specimens.known_specimens(session) if i.fruit_id == fruit]
        tested = teaching.test_ids(session)
    address = open_session(expert, way="hand", chosen=str(own))
    with ready.services.database.write() as session:
        for number in (own, *tested):
            specimens.keep_prepared(session, number, 1, trouble="the picture is gone")
    assert len(questions_on(newcomer, test)) == 4
    (asked,) = fruits_on(expert, address)
    assert expert.post(asked, data={"grade": "A"}).status_code == 303
    expert.post(f"{address}/reveal")
    assert expert.get(f"{address}/reveal").status_code == 200
    assert expert.get(asked).status_code == 200
    assert taught_not(ready, own), "but it teaches no more"


def taught_not(app: App, specimen_id: int) -> bool:
    with app.services.database.read() as session:
        return specimen_id not in {item.id for item in specimens.known_specimens(session)}
