"""What a learner does next: rounds and tests; the mathematics is `practice`'s."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
from sqlalchemy.orm import Session

from mezoroi.app import hiding
from mezoroi.app.practice_settings import (
    DAY,
    POST,
    PRE,
    TESTS,
    WEEK,
    read_settings,
)
from mezoroi.app.problems import N_, Refusal
from mezoroi.app.roles import Role
from mezoroi.app.store import practice
from mezoroi.app.tables import User, now
from mezoroi.app.tables_learning import PracticeRound, Question
from mezoroi.app.teaching import (
    active_standard,
    ensure_tests,
    make_tests,
    practice_fruits,
    with_fruits,
)
from mezoroi.errors import MezoroiError

if TYPE_CHECKING:
    from mezoroi.practice.fruits import PracticeFruit

ARMS = {"adaptive": N_("chosen for the learner"), "random": N_("at random")}
"""Ways of choosing the next fruit that a study compares, and how pages say them."""
_DELAYS = {DAY: timedelta(hours=20), WEEK: timedelta(days=6, hours=12)}


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


def test_states(rounds: Sequence[PracticeRound], taken: Mapping[str, str]) -> list[TestState]:
    """Which tests a learner may take now.

    The pre-test stands before all practice, the post-test after some, the delayed tests a day and
    a week after the post-test.

    Parameters
    ----------
    taken : `Learner.taken`
    """
    finished = {phase: datetime.fromisoformat(at) for phase, at in taken.items() if at}
    finished |= {item.phase: item.finished_at for item in rounds if item.finished_at is not None}
    begun = {item.phase for item in rounds} | set(taken)
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


def states_of(session: Session, user_id: int) -> list[TestState]:
    """Which tests a user may take now."""
    learner = practice.get_learner(session, user_id)
    rounds = practice.list_rounds(session, user_id)
    return test_states(rounds, learner.taken if learner is not None else {})


def test_under_way(session: Session, user_id: int) -> PracticeRound | None:
    """The test that a user has begun and not finished: it goes on before any practice."""
    rounds = practice.list_rounds(session, user_id)
    left = (item for item in rounds if item.phase in TESTS and item.finished_at is None)
    return next(left, None)


def begin(session: Session, user: User, phase: str) -> PracticeRound:
    """Start a round of practice, or a test, or go on with the one under way.

    A test that was begun comes first: practice in between would teach for it.

    Raises
    ------
    MezoroiError
        If there is nothing to show, or it is not the time for the test.
    """
    practice.lock(session, user.id)
    settings = read_settings(session)
    practice.learner(session, user.id).seen_at = now()
    left = test_under_way(session, user.id)
    if left is not None:
        return left
    if phase == practice.PRACTICE:
        ensure_tests(session)
        standard = active_standard(session)
        with_fruits(standard, practice_fruits(session, standard))  # refuses where there are none
        return practice.start_round(session, user.id, phase, settings.questions)
    open_tests = [item.test for item in states_of(session, user.id) if item.state == "open"]
    if phase not in open_tests:
        raise Refusal("no test now", phase)
    make_tests(session, settings)
    places = practice.list_tests(session).get(phase, [])
    return practice.start_round(session, user.id, phase, len(places))


def current_question(session: Session, user: User, within: PracticeRound) -> Question | None:
    """The fruit that is to be graded, chosen now where none is; None when the round is over.

    A fruit of practice that waits for its answer and may no longer be asked makes way for another.
    """
    practice.lock(session, user.id)
    if within.finished_at is not None:
        return None
    if within.phase != practice.PRACTICE:
        _ask_all(session, within)
    asked = practice.questions_of(session, within.id)
    waiting = next((item for item in asked if item.given is None), None)
    if waiting is not None:
        if within.phase != practice.PRACTICE or hiding.fair_questions(session, [waiting]):
            return waiting
        return _choose_instead(session, user, within, waiting)
    if within.phase != practice.PRACTICE:
        _finish_test(session, user, within)
        return None
    # The first ones have gone where the round lasted longer than the house keeps answers.
    number = asked[-1].number + 1 if asked else 1
    if number > within.length:
        practice.finish_round(session, within)
        return None
    return _choose(session, user, within, number)


def _ask_all(session: Session, within: PracticeRound) -> None:
    """Ask every fruit of a test; anew where it was left until they went: no answer was told."""
    asked = {item.number for item in practice.questions_of(session, within.id)}
    for place in practice.list_tests(session).get(within.phase, []):
        if place.number not in asked:
            practice.add_question(session, within, place.number, place.specimen_id, place.grade)


def _finish_test(session: Session, user: User, within: PracticeRound) -> None:
    """All of a test is answered; a certificate that it brings is kept: the answers go one day."""
    from mezoroi.app.progressing import progress_of

    if within.finished_at is not None:
        return
    practice.finish_round(session, within)
    session.flush()
    learner = practice.learner(session, user.id)
    if learner.certified_at is None and progress_of(session, user.id).shortfalls == []:
        learner.certified_at = within.finished_at


def _choose_instead(
    session: Session, user: User, within: PracticeRound, waiting: Question
) -> Question:
    """Another question in the place of one that goes."""
    number = waiting.number
    waiting.number = -number
    session.flush()
    # The old one goes last: SQLite would give its id to the new one, and a tablet that still shows
    # the old fruit would answer for the new.
    found = _choose(session, user, within, number)
    session.delete(waiting)
    session.flush()
    return found


def _choose(session: Session, user: User, within: PracticeRound, number: int) -> Question:
    from mezoroi.practice.schedule import (
        FruitPool,
        PracticeState,
        Round,
        next_round,
        random_round,
    )

    standard = active_standard(session)
    fruits = practice_fruits(session, standard)
    with_fruits(standard, fruits)  # refuses where there is nothing to tell apart
    learner = practice.learner(session, user.id)
    state = PracticeState.from_dict(learner.state) if learner.state else PracticeState()
    # SQLite gives the id of a round that has gone to the next one, which asks for other fruits.
    begun = round(within.started_at.timestamp() * 1e6)
    rng = np.random.default_rng([user.id, within.id, begun, number])
    repeat = _repeat(session, user, within, number, fruits, rng)
    if repeat is not None:
        chosen = Round(repeat, repeat.pair)
    elif learner.arm == "random":
        chosen = random_round(state, fruits, rng)
    else:
        chosen = next_round(state, FruitPool(fruits), now(), rng)
    return practice.add_question(
        session,
        within,
        number,
        int(chosen.fruit.id),
        chosen.fruit.grade,
        {
            "pair": list(chosen.pair),
            "rival": chosen.fruit.rival,
            "specimen": chosen.fruit.specimen,
            "repeat": repeat is not None,
        },
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
    from mezoroi.app.drifting import repeatable
    from mezoroi.calibrating.drift import hidden_repeats

    repeats = read_settings(session).repeats
    is_expert = Role(user.role).covers(Role.EXPERT)
    if not is_expert or not is_place_of_repeat(number, within.length, repeats):
        return None
    history = repeatable(session, user.id)
    teaching = {fruit.id: fruit for fruit in fruits}
    old = hidden_repeats(history, now(), len(history), rng)
    return next((teaching[one] for one in old if one in teaching), None)


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

    Nothing is learned where the fruit may no longer be asked. The question was read under
    `practice.lock`: another request of the user may take it away.

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
            _finish_test(session, user, question.round)
        return
    if question.number >= question.round.length:
        practice.finish_round(session, question.round)
    if not hiding.fair_questions(session, [question]):
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
