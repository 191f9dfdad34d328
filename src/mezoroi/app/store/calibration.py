"""Calibration sessions: their fruits, who grades, what they gave."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from mezoroi.app.problems import Refusal
from mezoroi.app.store.practice import given_at
from mezoroi.app.tables import now
from mezoroi.app.tables_learning import (
    CalibrationFruit,
    CalibrationGrade,
    CalibrationGrader,
    CalibrationSession,
)

STILL_SENT = timedelta(minutes=1)
"""How long after the reveal was seen a grade is taken that a tablet may have kept until then."""


@dataclass(frozen=True)
class Progress:
    """How far a session is; it tells no grade.

    Attributes
    ----------
    joined, finished : number of graders
    """

    joined: int
    finished: int


def open_session(
    session: Session,
    title: str,
    way: str,
    leader_id: int,
    standard_id: int,
    specimen_ids: Iterable[int],
    repeat_ids: Iterable[int],
) -> CalibrationSession:
    """Open a session with fruits and hidden repeats.

    They are kept in an order that says nothing: pages name their ids to who grades blind, fruits
    are proposed grade by grade or by how disputed they are, and repeats come last.
    """
    found = CalibrationSession(
        title=title[:128], way=way, leader_id=leader_id, standard_id=standard_id, outcome={}
    )
    session.add(found)
    session.flush()
    chosen = list((dict.fromkeys(specimen_ids, False) | dict.fromkeys(repeat_ids, True)).items())
    secrets.SystemRandom().shuffle(chosen)
    for specimen_id, is_repeat in chosen:
        session.add(
            CalibrationFruit(session_id=found.id, specimen_id=specimen_id, is_repeat=is_repeat)
        )
    session.flush()
    return found


def list_sessions(session: Session, first: int, most: int) -> Sequence[CalibrationSession]:
    """Sessions from the newest on."""
    query = select(CalibrationSession).order_by(CalibrationSession.id.desc())
    return session.scalars(query.offset(first).limit(most)).all()


def count_sessions(session: Session) -> int:
    """How many sessions there are."""
    return session.scalar(select(func.count()).select_from(CalibrationSession)) or 0


def get_session(session: Session, session_id: int) -> CalibrationSession | None:
    """The session of an id, or None."""
    return session.get(CalibrationSession, session_id)


def fruits_of(session: Session, session_id: int) -> Sequence[CalibrationFruit]:
    """A session's fruits, always in the same order."""
    query = select(CalibrationFruit).where(CalibrationFruit.session_id == session_id)
    return session.scalars(query.order_by(CalibrationFruit.id)).all()


def get_fruit(session: Session, session_id: int, fruit_id: int) -> CalibrationFruit | None:
    """A fruit of a session, or None."""
    found = session.get(CalibrationFruit, fruit_id)
    return found if found is not None and found.session_id == session_id else None


def join(session: Session, session_id: int, user_id: int) -> None:
    """A grader takes part."""
    query = select(CalibrationSession.id).where(CalibrationSession.id == session_id)
    session.execute(query.with_for_update())  # another request may just do the same
    if not has_joined(session, session_id, user_id):
        session.add(CalibrationGrader(session_id=session_id, user_id=user_id))
        session.flush()


def has_joined(session: Session, session_id: int, user_id: int) -> bool:
    """Whether a grader takes part."""
    return session.get(CalibrationGrader, (session_id, user_id)) is not None


def is_reveal_new(session: Session, session_id: int, user_id: int) -> bool:
    """Whether somebody who takes part has not seen the reveal."""
    found = session.get(CalibrationGrader, (session_id, user_id))
    return found is not None and found.seen_at is None


def note_seen(session: Session, session_id: int, user_id: int) -> None:
    """Somebody who takes part sees the reveal: what is graded from now on is not blind."""
    found = session.get_one(CalibrationGrader, (session_id, user_id))
    found.seen_at = found.seen_at or now()


def progress(session: Session, session_id: int) -> Progress:
    """How many graders take part, and how many have graded every fruit."""
    joined = select(func.count()).where(CalibrationGrader.session_id == session_id)
    total = select(func.count()).where(CalibrationFruit.session_id == session_id)
    each = (
        select(func.count())
        .select_from(CalibrationGrade)
        .join(CalibrationFruit, CalibrationGrade.fruit_id == CalibrationFruit.id)
        .where(CalibrationFruit.session_id == session_id)
        .group_by(CalibrationGrade.user_id)
    )
    fruits = session.scalar(total) or 0
    finished = sum(count >= fruits for count in session.scalars(each))
    return Progress(session.scalar(joined) or 0, finished)


def graded_by(session: Session, session_id: int, user_id: int) -> dict[int, str]:
    """A grader's own grades in a session, by fruit."""
    query = (
        select(CalibrationGrade.fruit_id, CalibrationGrade.grade)
        .join(CalibrationFruit, CalibrationGrade.fruit_id == CalibrationFruit.id)
        .where(CalibrationFruit.session_id == session_id, CalibrationGrade.user_id == user_id)
    )
    return {row[0]: row[1] for row in session.execute(query)}


def give_grade(
    session: Session,
    found: CalibrationSession,
    fruit: CalibrationFruit,
    user_id: int,
    grade: str,
    waited: float,
    key: str,
) -> bool:
    """Keep a grader's first grade of a fruit; False where there is one already.

    Raises
    ------
    Refusal
        If the session had been revealed before: the grade would not be blind. One that was given
        before, and waited on a tablet for the connection, is taken; but from nobody who joined
        after the reveal, nor later than `STILL_SENT` from when the grader saw it.
    """
    _lock(session, found)
    query = select(CalibrationGrade).where(
        CalibrationGrade.fruit_id == fruit.id, CalibrationGrade.user_id == user_id
    )
    if session.scalar(query) is not None:
        return False
    join(session, found.id, user_id)
    grader = session.get_one(CalibrationGrader, (found.id, user_id))
    at = max(given_at(waited), grader.joined_at)
    if found.revealed_at is not None:
        has_seen = grader.seen_at is not None and now() - grader.seen_at >= STILL_SENT
        if at >= found.revealed_at or has_seen:
            raise Refusal("too late")
        found.outcome = {}  # is put together anew, with this grade
    session.refresh(fruit, ["given"])
    fruit.given = {**fruit.given, str(user_id): [grade, at.isoformat()]}
    session.add(
        CalibrationGrade(
            fruit_id=fruit.id,
            user_id=user_id,
            grade=grade,
            given_at=at,
            key=key or None,
        )
    )
    session.flush()
    return True


def grades_of(session: Session, session_id: int) -> Sequence[CalibrationGrade]:
    """All grades of a session: for the reveal alone."""
    query = (
        select(CalibrationGrade)
        .join(CalibrationFruit, CalibrationGrade.fruit_id == CalibrationFruit.id)
        .where(CalibrationFruit.session_id == session_id)
    )
    return session.scalars(query.order_by(CalibrationGrade.user_id, CalibrationGrade.id)).all()


def close(session: Session, found: CalibrationSession) -> None:
    """End the grading.

    Raises
    ------
    Refusal
        If nobody has graded a fruit.
    """
    _lock(session, found)
    if found.revealed_at is not None:
        return
    if not grades_of(session, found.id):
        raise Refusal("nothing graded")
    found.revealed_at = now()
    session.flush()


def cancel(session: Session, found: CalibrationSession) -> None:
    """Take back a session that nobody has graded in.

    Raises
    ------
    Refusal
        If somebody has: grades are kept, and the session ends with the reveal.
    """
    _lock(session, found)
    if found.revealed_at is not None or grades_of(session, found.id):
        raise Refusal("graded already")
    for table in (CalibrationFruit, CalibrationGrader):
        session.execute(delete(table).where(table.session_id == found.id))
    session.delete(found)
    session.flush()


def keep_outcome(session: Session, session_id: int, outcome: Mapping[str, Any], count: int) -> None:
    """Keep what a closed session shows, unless a late grade has come in meanwhile.

    Parameters
    ----------
    count : grades that the outcome was made of
    """
    found = session.get_one(
        CalibrationSession, session_id, with_for_update={"of": CalibrationSession}
    )
    if len(grades_of(session, session_id)) == count:
        found.outcome = dict(outcome)


def _lock(session: Session, found: CalibrationSession) -> None:
    """Read a session anew and let no other request change it before this one is on disk.

    PostgreSQL locks no side of an outer join that may be empty, so the row's own table is named.
    """
    session.refresh(found, with_for_update={"of": CalibrationSession})
