"""Calibration sessions: their fruits, who grades, what they gave."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from mezoroi.app.problems import Refusal
from mezoroi.app.store.practice import given_at
from mezoroi.app.tables import GradingRow, User, Verdict, now
from mezoroi.app.tables_learning import (
    CalibrationFruit,
    CalibrationGrade,
    CalibrationGrader,
    CalibrationSession,
    Specimen,
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
    """Open a session with fruits and hidden repeats."""
    found = CalibrationSession(
        title=title[:128], way=way, leader_id=leader_id, standard_id=standard_id, outcome={}
    )
    session.add(found)
    session.flush()
    chosen = dict.fromkeys(specimen_ids, False) | dict.fromkeys(repeat_ids, True)
    for specimen_id, is_repeat in chosen.items():
        session.add(
            CalibrationFruit(session_id=found.id, specimen_id=specimen_id, is_repeat=is_repeat)
        )
    session.flush()
    return found


def list_sessions(session: Session, most: int) -> Sequence[CalibrationSession]:
    """The newest sessions."""
    query = select(CalibrationSession).order_by(CalibrationSession.id.desc()).limit(most)
    return session.scalars(query).all()


def get_session(session: Session, session_id: int) -> CalibrationSession | None:
    """The session of an id, or None."""
    return session.get(CalibrationSession, session_id)


def fruits_of(session: Session, session_id: int) -> Sequence[CalibrationFruit]:
    """A session's fruits, as they were chosen."""
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


def past_grades(
    session: Session, user_id: int | None = None, *, shown: bool = False
) -> list[tuple[str, str, datetime, str | None]]:
    """Specimen's name, grade, moment of blind grades of a user, or of everyone's in sessions.

    Beside them what the session's reveal told of the fruit, see `_told`. Of one user also grades
    given blind to uploaded fruits, of which nobody is told another expert's grade.

    Parameters
    ----------
    shown : only what pages may tell: of sessions the revealed ones
    """
    columns = (
        Specimen.name,
        CalibrationGrade.grade,
        CalibrationGrade.given_at,
        CalibrationGrade.user_id,
        CalibrationFruit.consensus,
        CalibrationFruit.given,
        CalibrationSession.revealed_at,
    )
    query = (
        select(*columns)
        .join(CalibrationFruit, CalibrationGrade.fruit_id == CalibrationFruit.id)
        .join(Specimen, CalibrationFruit.specimen_id == Specimen.id)
        .join(CalibrationSession, CalibrationFruit.session_id == CalibrationSession.id)
    )
    if shown:
        query = query.where(CalibrationSession.revealed_at.is_not(None))
    if user_id is not None:
        query = query.where(CalibrationGrade.user_id == user_id)
    found = [
        (name, grade, at, _told(consensus, given, own) if revealed_at is not None else None)
        for name, grade, at, own, consensus, given, revealed_at in session.execute(query)
    ]
    if user_id is None:
        return found
    blind = (
        select(Specimen.name, Verdict.blind_grade, Verdict.blind_at)
        .join(GradingRow, Verdict.grading_id == GradingRow.id)
        .join(Specimen, Specimen.fruit_id == GradingRow.fruit_id)
        .where(Verdict.user_id == user_id, Verdict.revision == 1, Verdict.blind_grade.is_not(None))
    )
    return found + [(row[0], row[1], row[2], None) for row in session.execute(blind)]


def _told(consensus: str | None, given: Mapping[str, Any], user_id: int) -> str | None:
    """What a reveal tells a grader of a fruit: what was settled on, else what most gave.

    None on a tie, and where nobody else gave it.
    """
    if consensus is not None or not given:
        return consensus
    counts = Counter(grade for grade, _ in given.values()).most_common(2)
    most, is_tie = counts[0][0], len({count for _, count in counts}) < len(counts)
    others = {grade for user, (grade, _) in given.items() if user != str(user_id)}
    return None if is_tie or most not in others else most


def _lock(session: Session, found: CalibrationSession) -> None:
    """Read a session anew and let no other request change it before this one is on disk.

    PostgreSQL locks no side of an outer join that may be empty, so the row's own table is named.
    """
    session.refresh(found, with_for_update={"of": CalibrationSession})


def graders(session: Session) -> Sequence[User]:
    """Everyone who has given a blind grade, by name."""
    given = select(CalibrationGrade.user_id).union(
        select(Verdict.user_id).where(Verdict.blind_grade.is_not(None))
    )
    query = select(User).where(User.id.in_(given), User.active.is_(True))
    return session.scalars(query.order_by(User.name)).all()


def model_grades(session: Session) -> list[tuple[int, str, datetime]]:
    """Specimen, grade and moment of every first grading of an uploaded fruit."""
    first = select(func.min(GradingRow.id)).group_by(GradingRow.fruit_id)
    query = (
        select(Specimen.id, GradingRow.grade, GradingRow.created_at)
        .join(Specimen, Specimen.fruit_id == GradingRow.fruit_id)
        .where(GradingRow.id.in_(first))
        .order_by(GradingRow.created_at)
    )
    return [(row[0], row[1], row[2]) for row in session.execute(query)]
