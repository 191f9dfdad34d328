"""What was graded blind, by whom and when: by what drift is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mezoroi.app.tables import GradingRow, User, Verdict
from mezoroi.app.tables_learning import (
    CalibrationFruit,
    CalibrationGrade,
    CalibrationSession,
    Specimen,
)


def past_grades(
    session: Session, user_id: int | None = None, *, shown: bool = False
) -> list[tuple[int, str, str, datetime, str | None]]:
    """Picture, fruit's name, grade, moment of blind grades of a user, or everyone's in sessions.

    Beside them what the session's reveal told of the fruit, see `_told`. Of one user also grades
    given blind to uploaded fruits, of which nobody is told another expert's grade.

    Parameters
    ----------
    shown : only what pages may tell: of sessions the revealed ones
    """
    columns = (
        Specimen.id,
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
        (number, name, grade, at, _told(consensus, given, own) if revealed_at is not None else None)
        for number, name, grade, at, own, consensus, given, revealed_at in session.execute(query)
    ]
    if user_id is None:
        return found
    blind = (
        select(Specimen.id, Specimen.name, Verdict.blind_grade, Verdict.blind_at)
        .join(GradingRow, Verdict.grading_id == GradingRow.id)
        .join(Specimen, Specimen.fruit_id == GradingRow.fruit_id)
        .where(Verdict.user_id == user_id, Verdict.revision == 1, Verdict.blind_grade.is_not(None))
    )
    return found + [(*row[:4], None) for row in session.execute(blind)]


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
