"""What a learner does next: fruits that teach, rounds, tests; the mathematics is `practice`'s."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
from sqlalchemy.orm import Session

from mezoroi.app.problems import N_, Refusal
from mezoroi.app.roles import Role
from mezoroi.app.store import house, practice, runs, specimens
from mezoroi.app.tables import User, now
from mezoroi.app.tables_learning import PracticeRound, Question
from mezoroi.errors import MezoroiError
from mezoroi.standard import GradingStandard

if TYPE_CHECKING:
    from mezoroi.practice.fruits import PracticeFruit
    from mezoroi.practice.progress import CertificateRule

SETTING = "practice"
ARMS = {"adaptive": N_("chosen for the learner"), "random": N_("at random")}
"""Ways of choosing the next fruit that a study compares, and how pages say them."""
PRE, POST, DAY, WEEK = "pre-test", "post-test", "1 day", "1 week"
TESTS = (PRE, POST, DAY, WEEK)
_DELAYS = {DAY: timedelta(hours=20), WEEK: timedelta(days=6, hours=12)}
_FRUITS_PER_TEST_FRUIT = 8  # as many fruits again are left to practise on


@dataclass(frozen=True)
class PracticeSettings:
    """What the house decided about practice.

    Attributes
    ----------
    questions : fruits of a round
    test_fruits : fruits of each grade in a test, fewer where there are too few
    repeats : hidden repeats in a calibration session, and at most in an expert's round
    accuracy, recall, kappa, fruits, test : what a certificate takes, see `CertificateRule`
    """

    questions: int = 20
    test_fruits: int = 5
    repeats: int = 2
    accuracy: float = 0.85
    recall: float = 0.7
    kappa: float = 0.8
    fruits: int = 20
    test: str = WEEK

    def __post_init__(self) -> None:
        whole = 1 <= self.questions <= 200 and 1 <= self.test_fruits <= 100
        if not whole or not (0 <= self.repeats <= 20 and 1 <= self.fruits <= 1000):
            raise MezoroiError("a number of practice is out of range: go back and correct it")
        if not all(0 <= value <= 1 for value in (self.accuracy, self.recall, self.kappa)):
            raise MezoroiError("accuracy, recall and kappa lie between 0 and 1: correct them")
        if self.test not in TESTS:
            raise MezoroiError(f"unknown test `{self.test}`: use {', '.join(TESTS)}")

    @property
    def rule(self) -> CertificateRule:
        """What a certificate takes."""
        from mezoroi.practice.progress import CertificateRule

        return CertificateRule(self.accuracy, self.recall, self.kappa, self.fruits, self.test)


def read_settings(session: Session) -> PracticeSettings:
    """The house's settings of practice."""
    return PracticeSettings(**house.get_setting(session, SETTING))


def keep_settings(session: Session, settings: PracticeSettings) -> None:
    """Change the house's settings of practice."""
    house.set_setting(session, SETTING, asdict(settings))


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
    cannot be judged by the surface. Fruits of an open calibration session wait until it is over.
    """
    from mezoroi.practice.fruits import Candidate, agreed_grade, teachable

    hidden = specimens.in_open_sessions(session)
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
        if item.id in hidden or grade is None:
            continue
        if grade in standard.outline_grades and math.isnan(similarity.get(grade, math.nan)):
            continue
        candidates.append(candidate)
    return teachable(candidates, standard)


def practice_fruits(session: Session, standard: GradingStandard) -> list[PracticeFruit]:
    """The fruits that may teach, less all of the specimens in tests."""
    ids = test_ids(session)
    fruits = teaching_fruits(session, standard)
    names = {fruit.specimen for fruit in fruits if int(fruit.id) in ids}
    return [fruit for fruit in fruits if fruit.specimen not in names and int(fruit.id) not in ids]


def test_ids(session: Session) -> set[int]:
    """Ids of the specimens in tests."""
    tests = practice.list_tests(session)
    return {item.specimen_id for places in tests.values() for item in places}


def make_tests(session: Session, settings: PracticeSettings, *, anew: bool = False) -> None:
    """Make the tests where there are none, with as many fruits as leave enough to practise on.

    Parameters
    ----------
    anew : make them with exactly ``settings.test_fruits`` of each grade, in place of old ones

    Raises
    ------
    MezoroiError
        If there are too few fruits, or tests that somebody has begun would change.
    """
    from mezoroi.practice.forms import make_forms

    if practice.list_tests(session) and not anew:
        return
    if anew and practice.are_tests_begun(session):
        raise MezoroiError("somebody has begun a test: the tests stay as they are")
    standard = active_standard(session)
    fruits = teaching_fruits(session, standard)
    taught = _with_fruits(standard, fruits)
    counts = [len({f.specimen for f in fruits if f.grade == name}) for name in taught.grades]
    per_grade = settings.test_fruits
    if not anew:
        per_grade = min(per_grade, min(counts) // _FRUITS_PER_TEST_FRUIT)
        if per_grade < 1:
            raise Refusal("no tests", f"{min(counts)} of a grade, not {_FRUITS_PER_TEST_FRUIT}")
    try:
        forms = make_forms(fruits, taught, per_grade, np.random.default_rng(0), TESTS)
    except MezoroiError as error:
        raise Refusal("no tests", str(error)) from error
    practice.keep_tests(
        session,
        {
            test: [(int(fruit.id), fruit.grade) for fruit in places]
            for test, places in forms.tests.items()
        },
    )


def _with_fruits(standard: GradingStandard, fruits: Sequence[PracticeFruit]) -> GradingStandard:
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


@dataclass(frozen=True)
class TestState:
    """Where a learner stands with a test.

    Attributes
    ----------
    state : ``open``, ``done``, ``later`` (from `since` on), ``missed`` or ``locked``
    """

    test: str
    state: str
    since: datetime | None = None
    __test__ = False


def test_states(rounds: Sequence[PracticeRound]) -> list[TestState]:
    """Which tests a learner may take now.

    The pre-test stands before all practice, the post-test after some, the delayed tests a day and
    a week after the post-test.
    """
    finished = {item.phase: item.finished_at for item in rounds if item.finished_at is not None}
    begun = {item.phase for item in rounds}
    states = []
    for test in TESTS:
        if test in finished:
            states.append(TestState(test, "done", finished[test]))
        elif test == PRE:
            late = practice.PRACTICE in begun and PRE not in begun
            states.append(TestState(test, "missed" if late else "open"))
        elif test == POST:
            states.append(TestState(test, "open" if practice.PRACTICE in finished else "locked"))
        elif POST not in finished:
            states.append(TestState(test, "locked"))
        else:
            since = finished[POST] + _DELAYS[test]
            states.append(TestState(test, "open" if since <= now() else "later", since))
    return states


def begin(session: Session, user: User, phase: str) -> PracticeRound:
    """Start a round of practice, or a test, or go on with the one under way.

    Raises
    ------
    MezoroiError
        If there is nothing to show, or it is not the time for the test.
    """
    settings = read_settings(session)
    practice.learner(session, user.id).seen_at = now()
    if phase == practice.PRACTICE:
        return practice.start_round(session, user.id, phase, settings.questions)
    open_tests = [
        item.test
        for item in test_states(practice.list_rounds(session, user.id))
        if item.state == "open"
    ]
    if phase not in open_tests:
        raise Refusal("no test now", phase)
    make_tests(session, settings)
    places = practice.list_tests(session).get(phase, [])
    found = practice.start_round(session, user.id, phase, len(places))
    if not practice.questions_of(session, found.id):
        for place in places:
            practice.add_question(session, found, place.number, place.specimen_id, place.grade)
    return found


def current_question(session: Session, user: User, within: PracticeRound) -> Question | None:
    """The fruit that is to be graded, chosen now where none is; None when the round is over."""
    asked = practice.questions_of(session, within.id)
    waiting = next((item for item in asked if item.given is None), None)
    if waiting is not None:
        return waiting
    if len(asked) >= within.length or within.phase != practice.PRACTICE:
        practice.finish_round(session, within)
        return None
    return _choose(session, user, within, len(asked) + 1)


def _choose(session: Session, user: User, within: PracticeRound, number: int) -> Question:
    from mezoroi.practice.fruits import neighbouring_pairs
    from mezoroi.practice.schedule import FruitPool, PracticeState, Round, next_round

    standard = active_standard(session)
    fruits = practice_fruits(session, standard)
    if len({fruit.grade for fruit in fruits}) < 2:
        raise Refusal("no practice")
    learner = practice.learner(session, user.id)
    state = PracticeState.from_dict(learner.state) if learner.state else PracticeState()
    rng = np.random.default_rng([user.id, within.id, number])
    repeat = _repeat(session, user, within, number, fruits, rng)
    if repeat is not None:
        chosen = Round(repeat, repeat.pair)
    elif learner.arm == "random":
        fresh = [fruit for fruit in fruits if fruit.specimen not in state.shown] or fruits
        fruit = fresh[int(rng.integers(len(fresh)))]
        chosen = Round(fruit, fruit.pair)
    else:
        pairs = neighbouring_pairs(_with_fruits(standard, fruits))
        chosen = next_round(state, FruitPool(fruits), pairs, now(), rng)
    return practice.add_question(
        session,
        within,
        number,
        int(chosen.fruit.id),
        chosen.fruit.grade,
        {"pair": list(chosen.pair), "rival": chosen.fruit.rival, "specimen": chosen.fruit.specimen},
    )


def is_place_of_repeat(number: int, length: int, repeats: int) -> bool:
    """Whether a question of a round may be a hidden repeat: spread evenly, at most `repeats`."""
    step = max(2, length // (repeats + 1))
    return number % step == 0 and number // step <= repeats


def _repeat(
    session: Session,
    user: User,
    within: PracticeRound,
    number: int,
    fruits: Sequence[PracticeFruit],
    rng: np.random.Generator,
) -> PracticeFruit | None:
    """Now and then a fruit that an expert graded weeks ago, unannounced."""
    from mezoroi.app.drifting import history_of
    from mezoroi.calibrating.drift import hidden_repeats

    repeats = read_settings(session).repeats
    is_expert = Role(user.role).covers(Role.EXPERT)
    if not is_expert or not is_place_of_repeat(number, within.length, repeats):
        return None
    history = history_of(session, user.id)
    teaching = {fruit.specimen: fruit for fruit in fruits}
    old = hidden_repeats(history, now(), len(history), rng)
    return next((teaching[name] for name in old if name in teaching), None)


def answer(
    session: Session,
    user: User,
    question: Question,
    given: str,
    certainty: str,
    seconds: float | None,
    waited: float,
    key: str,
) -> None:
    """Keep an answer and what practice learns from it; one that is sent again changes nothing.

    Parameters
    ----------
    certainty : empty where the learner did not say; the schedule takes it for fairly sure

    Raises
    ------
    MezoroiError
        If the grade or the certainty is unknown.
    """
    from mezoroi.practice.fruits import PracticeFruit
    from mezoroi.practice.schedule import CERTAINTIES, PracticeState, Round, record

    standard = active_standard(session)
    if given not in standard.grades:
        raise MezoroiError(
            f"unknown grade `{given}`: the standard has {', '.join(standard.grades)}"
        )
    if certainty and certainty not in CERTAINTIES:
        raise MezoroiError(f"certainty is `{certainty}`: use {', '.join(CERTAINTIES)}")
    if not practice.answer_question(session, question, given, certainty, seconds, waited, key):
        return
    if question.round.phase != practice.PRACTICE:
        if all(item.given for item in practice.questions_of(session, question.round_id)):
            practice.finish_round(session, question.round)
        return
    learner = practice.learner(session, user.id)
    state = PracticeState.from_dict(learner.state) if learner.state else PracticeState()
    first, second = question.grades["pair"]
    shown = Round(
        PracticeFruit(
            str(question.specimen_id),
            question.grades["specimen"],
            question.truth,
            question.grades["rival"],
            0.0,
        ),
        (first, second),
    )
    at = question.answered_at or now()
    learner.state = record(
        state, shown, given, question.seconds or 0.0, certainty or "fairly", at
    ).to_dict()
    if question.number >= question.round.length:
        practice.finish_round(session, question.round)


def pictures_turn(session: Session) -> bool:
    """Whether pictures go once around the fruit."""
    run = runs.active_run(session)
    return run is not None and run.input_kind == "surface"
