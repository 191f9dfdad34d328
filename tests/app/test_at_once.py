"""What two requests do at the same moment; SQLite lets them take turns, PostgreSQL does not."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from mezoroi.app.roles import Role
from mezoroi.app.store import fruits, house, lots, runs, users, verdicts
from mezoroi.app.tables import Fruit, GradingRow, LoginFailure, Lot, Verdict, now
from mezoroi.errors import MezoroiError
from tests.app.conftest import PASSWORD, App
from tests.app.filled import add, result, user_of

Act = Callable[[Session], object]


def both(app: App, first: Act, second: Act) -> None:
    """Do both in transactions of their own; the second begins while the first is not yet over."""
    failed: list[Exception] = []

    def do_second() -> None:
        try:
            with app.services.database.write() as session:
                second(session)
        except Exception as error:
            failed.append(error)

    other = threading.Thread(target=do_second)
    with app.services.database.write() as session:
        first(session)
        other.start()
        other.join(0.5)
    other.join(30)
    assert not failed, failed


def grading_of(session: Session, fruit_id: int) -> GradingRow:
    found = fruits.newest_grading(session, fruit_id)
    assert found is not None
    return found


def agree(session: Session, user_id: int) -> None:
    verdicts.give_verdict(session, grading_of(session, 1), user_id, "agree")


def paint(session: Session, user_id: int) -> None:
    verdicts.keep_mask(session, grading_of(session, 1), user_id, "0" * 64 + ".png")


def grade_blind(session: Session, user_id: int) -> None:
    verdicts.grade_blind(session, grading_of(session, 1), user_id, "B")


def look(session: Session, user_id: int) -> None:
    verdicts.look_first(session, grading_of(session, 1), user_id)


@pytest.mark.parametrize(
    ("first", "second", "revisions"),
    [
        (agree, agree, 2),
        (agree, paint, 2),
        (paint, agree, 2),
        (grade_blind, grade_blind, 1),
        (look, look, 1),
        (grade_blind, look, 1),
    ],
)
def test_a_double_tap_is_a_revision_more_or_none(
    either: App,
    first: Callable[[Session, int], None],
    second: Callable[[Session, int], None],
    revisions: int,
) -> None:
    add(either.services, "A")
    user_id = user_of(either.services, Role.EXPERT).id
    both(either, lambda session: first(session, user_id), lambda session: second(session, user_id))
    with either.services.database.read() as session:
        found = session.scalars(select(Verdict.revision).order_by(Verdict.id)).all()
    assert found == list(range(1, revisions + 1))


@pytest.mark.parametrize("is_graded_first", [False, True])
def test_a_fruit_tells_its_newest_grading_whatever_comes_together(
    either: App, is_graded_first: bool
) -> None:
    add(either.services, "A")
    user_id = user_of(either.services, Role.EXPERT).id
    with either.services.database.read() as session:
        shown = grading_of(session, 1)

    def judge(session: Session) -> None:
        verdicts.give_verdict(session, shown, user_id, "wrong", own_grade="C")

    def grade(session: Session) -> None:
        session.get_one(Fruit, 1)  # as a worker that looked at the fruit before
        run = runs.active_run(session)
        assert run is not None
        fruits.add_grading(session, 1, run, result("B"))

    both(either, *((grade, judge) if is_graded_first else (judge, grade)))
    with either.services.database.read() as session:
        fruit = session.get_one(Fruit, 1)
    assert (fruit.grade, fruit.verdict, fruit.expert_grade) == ("B", None, "C")


def test_two_tablets_name_one_new_lot(either: App) -> None:
    name: Act = lambda session: lots.find_or_add_lot(session, "朝の畑")  # noqa: E731
    both(either, name, name)
    with either.services.database.read() as session:
        assert session.scalars(select(Lot.name)).all() == ["朝の畑"]


def test_failed_logins_at_once_are_all_counted(either: App) -> None:
    with either.services.database.write() as session:
        session.add(LoginFailure(name="old", failures=1, last_at=now() - timedelta(days=2)))
    fail: Act = lambda session: users.note_failure(session, "Expert")  # noqa: E731
    both(either, fail, fail)
    both(either, fail, fail)
    with either.services.database.read() as session:
        found = session.scalars(select(LoginFailure)).all()
    assert [(each.name, each.failures) for each in found] == [("expert", 4)]


def test_two_administrators_who_demote_each_other_leave_one(either: App) -> None:
    with either.services.database.write() as session:
        users.add_user(session, "second", Role.ADMIN, PASSWORD)
    refused: list[str] = []

    def demote(name: str) -> Act:
        def act(session: Session) -> None:
            user = users.find_user(session, name)
            assert user is not None
            try:
                users.set_role(session, user, Role.EXPERT)
            except MezoroiError as error:
                refused.append(str(error))

        return act

    both(either, demote("admin"), demote("second"))
    with either.services.database.read() as session:
        admins = [user.name for user in users.list_users(session) if user.role == Role.ADMIN.value]
    assert admins == ["second"] and len(refused) == 1


def test_a_person_who_is_added_by_a_double_tap_is_there_once(either: App) -> None:
    refused: list[str] = []

    def add_sato(session: Session) -> None:
        try:
            users.add_user(session, "Sato", Role.NEWCOMER, PASSWORD)
        except MezoroiError as error:
            refused.append(str(error))

    both(either, add_sato, add_sato)
    assert len(refused) == 1 and "already" in refused[0]


def test_what_the_house_decides_twice_at_once_is_decided_one_by_one(either: App) -> None:
    fruit_id = add(either.services, "A")
    author = user_of(either.services, Role.ADMIN).id

    def set_language(session: Session) -> None:
        house.set_setting(session, house.LANGUAGE, {"default": "ja"})

    def show(session: Session) -> None:
        run = runs.lock_active(session)
        assert run is not None
        house.set_example(session, run.standard_id, "A", fruit_id)

    def revise(session: Session) -> None:
        run = runs.lock_active(session)
        assert run is not None
        house.revise_standard(session, run, run.standard.content, author, "")

    for act in (set_language, show, revise):
        both(either, act, act)
    with either.services.database.read() as session:
        assert house.get_setting(session, house.LANGUAGE) == {"default": "ja"}
        assert [item.version for item in house.list_standards(session)] == [3, 2, 1]
        run = runs.active_run(session)
        assert run is not None and run.standard.version == 3
        assert [one.fruit_id for one in house.examples(session, run.standard_id)] == [fruit_id]
