"""Fruits that teach and that test: those whose grade the experts agree on."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from sqlalchemy.orm import Session

from mezoroi.app.practice_settings import TESTS, PracticeSettings, read_settings
from mezoroi.app.problems import Refusal
from mezoroi.app.store import practice, runs, specimens
from mezoroi.errors import MezoroiError
from mezoroi.standard import GradingStandard

if TYPE_CHECKING:
    from mezoroi.practice.fruits import PracticeFruit

_FRUITS_PER_TEST_FRUIT = 8  # as many fruits again are left to practise on


def active_standard(session: Session) -> GradingStandard:
    """The standard that is learned: the active run's.

    Raises
    ------
    MezoroiError
        If no run is active.
    """
    run = runs.active_run(session)
    if run is None:
        raise MezoroiError("no run is active: activate one")
    return GradingStandard.from_dict(run.standard.content)


def teaching_fruits(session: Session, standard: GradingStandard) -> list[PracticeFruit]:
    """All fruits that may teach or test; their ids are those of specimens.

    A fruit of a grade judged on the outline is one of them only where its outline is known: it
    cannot be judged by the surface. Fruits of an open calibration session wait until it is over, in
    every picture of theirs.
    """
    from mezoroi.practice.fruits import Candidate, agreed_grade, teachable

    hidden = specimens.names_of(session, specimens.in_open_sessions(session))
    candidates = []
    for item in specimens.known_specimens(session):
        similarity = {
            grade: math.nan if value is None else value for grade, value in item.similarity.items()
        }
        known = {name: grade for name, grade in item.labels.items() if grade in standard.grades}
        consensus = item.consensus if item.consensus in standard.grades else None
        candidate = Candidate(
            str(item.id), item.name, known, consensus, similarity, tuple(item.answers)
        )
        grade = agreed_grade(candidate)
        # Grades of an earlier standard dispute it, too, as they do where answers are told.
        whole = replace(candidate, labels=item.labels, consensus=item.consensus)
        if item.name in hidden or grade is None or agreed_grade(whole) != grade:
            continue
        if grade in standard.outline_grades and math.isnan(similarity.get(grade, math.nan)):
            continue
        candidates.append(candidate)
    return teachable(candidates, standard)


def practice_fruits(session: Session, standard: GradingStandard) -> list[PracticeFruit]:
    """The fruits that may teach, less all of the specimens in tests."""
    fruits = teaching_fruits(session, standard)
    names = names_in_tests(session)
    return [fruit for fruit in fruits if fruit.specimen not in names]


def test_ids(session: Session) -> set[int]:
    """Ids of the specimens in tests."""
    tests = practice.list_tests(session)
    return {item.specimen_id for places in tests.values() for item in places}


def names_in_tests(session: Session) -> set[str]:
    """The physical fruits in tests."""
    return specimens.names_of(session, test_ids(session))


def ensure_tests(session: Session) -> None:
    """Make the tests before anybody sees a fruit that would be in them, where they can be made.

    Raises
    ------
    Refusal
        If there are none yet and fruits are still being prepared.
    """
    if practice.list_tests(session):
        return
    try:
        make_tests(session, read_settings(session))
    except Refusal as error:
        if error.code not in ("no tests", "no practice"):
            raise


def make_tests(session: Session, settings: PracticeSettings, *, anew: bool = False) -> None:
    """Make the tests where there are none, with as many fruits as leave enough to practise on.

    Fruits that were asked in practice are in none: somebody has seen their grade.

    Parameters
    ----------
    anew : make them with exactly ``settings.test_fruits`` of each grade, in place of old ones

    Raises
    ------
    MezoroiError
        If there are too few fruits, some are still being prepared, or tests that somebody has begun
        would change.
    """
    from mezoroi.practice.forms import make_forms

    if not anew and practice.list_tests(session):
        return
    practice.lock_tests(session)
    if practice.list_tests(session):
        if not anew:
            return
        if practice.are_tests_begun(session):
            raise Refusal("tests begun")
    if specimens.is_half_prepared(session):
        raise Refusal("preparing")
    standard = active_standard(session)
    fruits = teaching_fruits(session, standard)
    taught = with_fruits(standard, fruits)
    unseen = _unseen(session, fruits)
    most = least = settings.test_fruits
    if not anew:
        most, least = min(most, _affordable(fruits, unseen, taught.grades)), 1
    for per_grade in range(most, least - 1, -1):
        try:
            forms = make_forms(unseen, taught, per_grade, np.random.default_rng(0), TESTS)
        except MezoroiError as error:
            if per_grade == least:
                raise Refusal("no tests", str(error)) from error
        else:
            break
    practice.keep_tests(
        session,
        {
            test: [(int(fruit.id), fruit.grade) for fruit in places]
            for test, places in forms.tests.items()
        },
    )


def short_tests(session: Session, settings: PracticeSettings) -> int | None:
    """Fruits of each grade in the tests where they are fewer than set for want of fruits."""
    tests = practice.list_tests(session)
    counts = Counter(place.grade for place in next(iter(tests.values()), []))
    found = min(counts.values(), default=settings.test_fruits)
    if found >= settings.test_fruits:
        return None
    standard = active_standard(session)
    fruits = teaching_fruits(session, standard)
    try:
        grades = with_fruits(standard, fruits).grades
        can_be = _affordable(fruits, _unseen(session, fruits), grades)
    except Refusal:
        can_be = 0
    return found if can_be < settings.test_fruits else None


def _unseen(session: Session, fruits: Sequence[PracticeFruit]) -> list[PracticeFruit]:
    """The fruits that were never asked in practice."""
    seen = practice.names_practised(session)
    return [fruit for fruit in fruits if fruit.specimen not in seen]


def _affordable(
    fruits: Sequence[PracticeFruit], unseen: Sequence[PracticeFruit], grades: Sequence[str]
) -> int:
    """Fruits of each grade in a test that leave enough to practise on, and that nobody has seen.

    Raises
    ------
    Refusal
        If there is none.
    """

    def fewest(among: Sequence[PracticeFruit]) -> int:
        return min(len({one.specimen for one in among if one.grade == name}) for name in grades)

    found = min(fewest(fruits) // _FRUITS_PER_TEST_FRUIT, (fewest(unseen) - 1) // len(TESTS))
    if found < 1:
        needed = f"not {_FRUITS_PER_TEST_FRUIT}, {len(TESTS) + 1} of them never asked"
        raise Refusal("no tests", f"{fewest(fruits)} of a grade, {needed}")
    return found


def with_fruits(standard: GradingStandard, fruits: Sequence[PracticeFruit]) -> GradingStandard:
    """The standard without the grades that have no fruit."""
    present = {fruit.grade for fruit in fruits}
    if len(present) < 2 or not present & set(standard.surface_grades):
        raise Refusal("no practice")
    return replace(
        standard,
        grades=tuple(name for name in standard.grades if name in present),
        precedence=tuple(name for name in standard.precedence if name in present),
        descriptions={name: standard.descriptions[name] for name in present},
    )


def pictures_turn(session: Session) -> bool:
    """Whether pictures go once around the fruit."""
    run = runs.active_run(session)
    return run is not None and run.input_kind == "surface"
