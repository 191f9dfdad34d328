"""Rounds of practice, the tests, and what learners answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, delete, func, select
from sqlalchemy.orm import Session, joinedload

from mezoroi.app.tables import Run, User, now
from mezoroi.app.tables_learning import Learner, PracticeRound, Question, Specimen, TestFruit

PRACTICE = "practice"
LONGEST_ANSWER = 3600.0
"""Seconds: an answer that took longer says nothing about the learner."""
LONGEST_WAIT = timedelta(days=7)
"""How long an answer may have waited on a tablet for the connection."""
WITHOUT_CONSENT = timedelta(days=1)
"""How long results stay of those who do not allow that they are kept."""
_ROUNDS = (
    select(PracticeRound)
    .where(PracticeRound.user_id == bindparam("user_id"))
    .order_by(PracticeRound.id)
)
_CONSENT = select(User.consent_at).where(User.id == bindparam("user_id"))


def get_learner(session: Session, user_id: int) -> Learner | None:
    """What practice knows of a user, or None before the first round."""
    return session.get(Learner, user_id)


def learner(session: Session, user_id: int) -> Learner:
    """What practice knows of a user, begun where there is nothing yet."""
    found = session.get(Learner, user_id)
    if found is None:
        found = Learner(user_id=user_id, state={})
        session.add(found)
        session.flush()
    return found


def list_learners(session: Session) -> Sequence[Learner]:
    """Everyone who has practised, by name."""
    query = select(Learner).join(User, Learner.user_id == User.id).order_by(User.name)
    return session.scalars(query).all()


def give_consent(session: Session, user_id: int, *, agrees: bool) -> None:
    """A user allows that experts see the own results, or no longer."""
    user = session.get_one(User, user_id)
    if agrees:
        user.consent_at = user.consent_at or now()
    else:
        user.consent_at = None


def forget(session: Session) -> int:
    """Delete the rounds older than a day of those who do not agree, and what was learned of them.

    An arm that was assigned stays, and which tests were taken when: neither is a result, and a test
    that could be taken twice would measure nothing.

    Returns
    -------
    number of rounds deleted
    """
    unwilling = select(User.id).where(User.consent_at.is_(None))
    query = select(PracticeRound).where(
        PracticeRound.user_id.in_(unwilling), PracticeRound.started_at < now() - WITHOUT_CONSENT
    )
    old = session.scalars(query.order_by(PracticeRound.id)).all()
    session.execute(delete(Question).where(Question.round_id.in_([item.id for item in old])))
    for item in old:
        own = learner(session, item.user_id)
        own.state, own.certified_at = {}, None
        own.taken = _with_round(own.taken, item)
        session.delete(item)
    session.flush()
    return len(old)


def _with_round(taken: Mapping[str, str], item: PracticeRound) -> dict[str, str]:
    """The phases taken with that of a round; a test that was left counts as taken then."""
    at = item.finished_at if item.phase == PRACTICE else item.finished_at or item.started_at
    known = taken.get(item.phase, "")
    return {**taken, item.phase: known or (at.isoformat() if at is not None else "")}


def lock(session: Session, user_id: int) -> None:
    """Let no other request of a user go on with practice before this one is on disk."""
    session.execute(select(User.id).where(User.id == user_id).with_for_update())


def start_round(session: Session, user_id: int, phase: str, length: int) -> PracticeRound:
    """The round of a phase that is under way, else a new one."""
    query = select(PracticeRound).where(
        PracticeRound.user_id == user_id,
        PracticeRound.phase == phase,
        PracticeRound.finished_at.is_(None),
    )
    found = session.scalar(query.order_by(PracticeRound.id.desc()).limit(1))
    if found is None:
        found = PracticeRound(user_id=user_id, phase=phase, length=length)
        session.add(found)
        session.flush()
    return found


def get_round(session: Session, round_id: int, user_id: int) -> PracticeRound | None:
    """A user's own round, or None."""
    found = session.get(PracticeRound, round_id)
    return found if found is not None and found.user_id == user_id else None


def list_rounds(session: Session, user_id: int) -> Sequence[PracticeRound]:
    """A user's rounds, oldest first."""
    return session.scalars(_ROUNDS, {"user_id": user_id}).all()


def add_question(
    session: Session,
    within: PracticeRound,
    number: int,
    specimen_id: int,
    truth: str,
    grades: Mapping[str, Any] | None = None,
) -> Question:
    """Show a fruit in a round."""
    question = Question(
        round_id=within.id,
        user_id=within.user_id,
        number=number,
        specimen_id=specimen_id,
        truth=truth,
        grades=dict(grades or {}),
    )
    session.add(question)
    session.flush()
    return question


def get_question(session: Session, question_id: int, user_id: int) -> Question | None:
    """A user's own question, or None."""
    found = session.get(Question, question_id)
    return found if found is not None and found.user_id == user_id else None


def questions_of(session: Session, round_id: int) -> Sequence[Question]:
    """The questions of a round, in order."""
    query = select(Question).where(Question.round_id == round_id)
    return session.scalars(query.order_by(Question.number)).all()


def answer_question(
    session: Session,
    question: Question,
    given: str,
    certainty: str,
    seconds: float | None,
    waited: float,
    key: str,
) -> bool:
    """Keep the first answer to a question; False where it has one already.

    Parameters
    ----------
    certainty : empty where it was not said
    seconds : that it took; None where only the server's clock knows
    waited : seconds it waited for the connection
    key : the same for an answer that is sent again
    """
    # Another request may just have answered it. PostgreSQL locks no side of an outer join that may
    # be empty, so the row's own table is named.
    session.refresh(question, with_for_update={"of": Question})
    if question.given is not None:
        return False
    answered = max(given_at(waited), question.shown_at)
    taken = (now() - question.shown_at).total_seconds() if seconds is None else seconds
    question.given, question.certainty, question.key = given, certainty or None, key or None
    question.seconds = min(max(taken, 0.0), LONGEST_ANSWER)
    question.answered_at = answered
    session.flush()
    return True


def given_at(waited: float) -> datetime:
    """When an answer was given that waited so many seconds to be sent."""
    most = LONGEST_WAIT.total_seconds()
    return now() - timedelta(seconds=min(max(waited, 0.0), most))


def finish_round(session: Session, within: PracticeRound) -> None:
    """All is answered."""
    if within.finished_at is None:
        within.finished_at = now()


def answers(session: Session, user_id: int | None = None) -> Sequence[Question]:
    """Answered questions of a user, or of everyone, oldest first."""
    # Only the names of the fruits: what was prepared of them is large.
    named = joinedload(Question.specimen).load_only(Specimen.name)
    query = select(Question).options(named).where(Question.given.is_not(None))
    if user_id is not None:
        query = query.where(Question.user_id == user_id)
    return session.scalars(query.order_by(Question.answered_at, Question.id)).all()


def practised(session: Session, user_id: int) -> list[tuple[int, str, str, datetime, str, bool]]:
    """A user's answers in practice: picture, fruit's name, grade, moment, truth, whether a repeat.

    The truth counts as told after each; a hidden repeat alone was of a fruit graded blind before.
    """
    found = answers(session, user_id)
    return [
        (
            item.specimen_id,
            item.specimen.name,
            item.given or "",
            item.answered_at or item.shown_at,
            item.truth,
            bool(item.grades.get("repeat")),
        )
        for item in found
        if item.round.phase == PRACTICE
    ]


def list_tests(session: Session) -> dict[str, list[TestFruit]]:
    """The fruits of every test, in order; empty before the tests are made."""
    found: dict[str, list[TestFruit]] = {}
    for item in session.scalars(select(TestFruit).order_by(TestFruit.test, TestFruit.number)):
        found.setdefault(item.test, []).append(item)
    return found


def keep_tests(session: Session, tests: Mapping[str, Sequence[tuple[int, str]]]) -> None:
    """Keep the tests for good: specimen and agreed grade of every place.

    Tests that nobody has begun are replaced.
    """
    for item in session.scalars(select(TestFruit)):
        session.delete(item)
    session.flush()
    for test, places in tests.items():
        for number, (specimen_id, grade) in enumerate(places, start=1):
            session.add(TestFruit(test=test, number=number, specimen_id=specimen_id, grade=grade))
    session.flush()


def lock_tests(session: Session) -> None:
    """Let no other request make tests before this one is on disk."""
    session.execute(select(Run.id).where(Run.active.is_(True)).with_for_update())


def names_practised(session: Session) -> set[str]:
    """Physical fruits that were asked in practice, of anybody."""
    query = select(Specimen.name).where(
        Specimen.id.in_(
            select(Question.specimen_id)
            .join(PracticeRound, Question.round_id == PracticeRound.id)
            .where(PracticeRound.phase == PRACTICE)
        )
    )
    return set(session.scalars(query))


def are_tests_begun(session: Session) -> bool:
    """Whether anybody has begun a test, so that they may not change any more.

    Also one whose round has gone, see `forget`: who took it would meet its fruits again.
    """
    query = select(func.count()).where(PracticeRound.phase != PRACTICE)
    gone = session.scalars(select(Learner.taken))
    return bool(session.scalar(query)) or any(set(taken) - {PRACTICE} for taken in gone)


def has_begun(session: Session, user_id: int) -> bool:
    """Whether a user has begun a round or a test, also one that has gone, see `forget`."""
    found = get_learner(session, user_id)
    return bool(list_rounds(session, user_id)) or bool(found is not None and found.taken)


def consent_of(session: Session, user_id: int) -> bool:
    """Whether a user allows that results are kept and seen by experts."""
    return session.scalar(_CONSENT, {"user_id": user_id}) is not None
