"""What experts say of specimens, in verdicts and in sessions; what learners answered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from sqlalchemy import String, cast, func, literal, select
from sqlalchemy.orm import Session

from mezoroi.app.roles import Role
from mezoroi.app.store.revisions import said_last
from mezoroi.app.tables import GradingRow, User, Verdict
from mezoroi.app.tables_learning import (
    CalibrationFruit,
    CalibrationSession,
    Question,
    Specimen,
)

FRUIT = "fruit-"
"""What the specimens of uploaded fruits begin with."""
_EXPERTS = [role.value for role in Role if role.covers(Role.EXPERT)]
Said = tuple[int, str, str, datetime]
"""Specimen, expert's id, grade and moment."""


def labels(session: Session) -> dict[int, dict[str, str]]:
    """By specimen, the grade by expert: each one's newest, in a verdict or a revealed session.

    What is said of a file is said of all its uploads.
    """
    first = first_of_twins(session)
    newest: dict[int, dict[str, tuple[datetime, str]]] = {}
    for specimen_id, user, grade, at in (*_in_verdicts(session), *_in_sessions(session)):
        own = newest.setdefault(first.get(specimen_id, specimen_id), {})
        if user not in own or at >= own[user][0]:
            own[user] = (at, grade)
    found = {
        specimen_id: {user: grade for user, (_, grade) in own.items()}
        for specimen_id, own in newest.items()
    }
    return found | {twin: found[one] for twin, one in first.items() if one in found}


def agreed_grades(session: Session, ids: Iterable[int]) -> dict[int, str | None]:
    """By specimen, the grade that experts agree on now, whichever run is active; None: disputed."""
    from mezoroi.practice.fruits import Candidate, agreed_grade

    columns = (Specimen.id, Specimen.name, Specimen.grade, Specimen.consensus)
    said = labels(session)
    found = {}
    for row in session.execute(select(*columns).where(Specimen.id.in_(list(ids)))):
        given = {**said.get(row.id, {}), **({"reference": row.grade} if row.grade else {})}
        found[row.id] = agreed_grade(Candidate(str(row.id), row.name, given, row.consensus))
    return found


def answers(session: Session) -> dict[int, list[str]]:
    """By specimen, what learners answered."""
    query = select(Question.specimen_id, Question.given, func.count())
    query = query.where(Question.given.is_not(None))
    found: dict[int, list[str]] = {}
    for row in session.execute(query.group_by(Question.specimen_id, Question.given)):
        found.setdefault(row[0], []).extend([str(row[1])] * row[2])
    return found


def first_of_twins(session: Session) -> dict[int, int]:
    """By specimen of a file that was sent more than once, the first of them."""
    sent = Specimen.fruit_id.is_not(None)
    own_name = literal(FRUIT) + cast(Specimen.fruit_id, String)
    # A later upload is called after the first: few are, and only those are read.
    again = select(Specimen.name).where(sent, Specimen.name != own_name)
    query = select(Specimen.id, Specimen.name).where(sent, Specimen.name.in_(again))
    first: dict[str, int] = {}
    return {
        number: first.setdefault(name, number)
        for number, name in session.execute(query.order_by(Specimen.id))
    }


def _in_verdicts(session: Session) -> Iterator[Said]:
    """Each expert's newest revision on every grading of a fruit, where it has a grade.

    One without takes back only what was said of the same grading. One that keeps the grade and the
    answer but has another mask or note says nothing new of the grade: it counts from when that was
    given. So does a blind grade that an answer taken back leaves.
    """
    ids = (Specimen.id, Verdict.user_id, Verdict.grading_id)
    given = (Verdict.answer, Verdict.own_grade, Verdict.created_at)
    blind = (Verdict.blind_grade, Verdict.blind_at)
    query = (
        select(*ids, *given, *blind, Verdict.mask, Verdict.note)
        .join(GradingRow, Verdict.grading_id == GradingRow.id)
        .join(Specimen, Specimen.fruit_id == GradingRow.fruit_id)
        .join(User, Verdict.user_id == User.id)
        .where(User.role.in_(_EXPERTS))
        .order_by(Verdict.id)
    )
    rows = session.execute(query)
    for row in said_last(rows, lambda row: (row.id, row.user_id, row.grading_id)).values():
        grade, at = row.own_grade, row.created_at
        if not (row.answer or grade):
            grade, at = row.blind_grade, row.blind_at
        if grade is not None and at is not None:
            yield row.id, str(row.user_id), grade, at


def _in_sessions(session: Session) -> Iterator[Said]:
    """Grades in revealed sessions, also those that are no longer kept for their own sake."""
    query = (
        select(CalibrationFruit.specimen_id, CalibrationFruit.given)
        .join(CalibrationSession, CalibrationFruit.session_id == CalibrationSession.id)
        .where(CalibrationSession.revealed_at.is_not(None))
        .order_by(CalibrationSession.revealed_at)
    )
    for specimen_id, given in session.execute(query):
        for user, (grade, moment) in given.items():
            yield specimen_id, user, grade, datetime.fromisoformat(moment)
