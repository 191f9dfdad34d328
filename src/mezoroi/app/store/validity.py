"""Verdicts in force, as the page on validity counts them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, case, func, or_, select
from sqlalchemy.orm import Session, aliased

from mezoroi.app.store.finding import Filter
from mezoroi.app.tables import Fruit, GradingRow, Run, User, Verdict

_NAMES = select(User.id, User.full_name, User.name).where(
    User.id.in_(bindparam("ids", expanding=True))
)
_RUNS = (
    select(Run)
    .where(select(GradingRow.id).where(GradingRow.run_id == Run.id).exists())
    .order_by(Run.id.desc())
)


@dataclass(frozen=True)
class Judged:
    """An expert's verdict on a grading.

    Attributes
    ----------
    fruit_id, expert_id : whose and by whom
    grade : Mezoroi's
    likenesses : how many grades the fruit resembles
    answer : ``agree``, ``plausible``, ``wrong``, or None where it was only graded blind
    expert_grade : given blind where it was, else with the verdict; None where neither
    is_blind : whether the grade was given before seeing Mezoroi's
    """

    fruit_id: int
    expert_id: int
    grade: str
    likenesses: int
    answer: str | None
    expert_grade: str | None
    is_blind: bool


def judged(session: Session, chosen: Filter, run_id: int) -> list[Judged]:
    """All verdicts in force on a run's gradings, of fruits sent in a filter's time.

    Those of fruits that the reader is asked for the grade of are left out: they would tell it.
    Where the run graded a fruit several times, an expert's newest verdict counts.
    """
    later = aliased(Verdict)
    superseded = select(later.id).where(
        later.grading_id == Verdict.grading_id,
        later.user_id == Verdict.user_id,
        later.revision > Verdict.revision,
    )
    query = (
        select(
            Fruit.id,
            Verdict.user_id,
            GradingRow.grade,
            GradingRow.likenesses,
            Verdict.answer,
            Verdict.own_grade,
            Verdict.blind_grade,
        )
        .select_from(Verdict)
        .join(GradingRow, GradingRow.id == Verdict.grading_id)
        .join(Fruit, Fruit.id == GradingRow.fruit_id)
        .where(
            GradingRow.run_id == run_id,
            or_(Verdict.answer.is_not(None), Verdict.blind_grade.is_not(None)),
            ~superseded.exists(),
            *chosen.conditions(),
            *chosen.may_know(),
        )
        .order_by(Verdict.id)
    )
    found: dict[tuple[int, int], Judged] = {}
    for fruit_id, expert_id, grade, likenesses, answer, own, blind in session.execute(query):
        found[fruit_id, expert_id] = Judged(
            fruit_id, expert_id, grade, likenesses, answer, blind or own, blind is not None
        )
    return list(found.values())


def graded_counts(session: Session, chosen: Filter, run_id: int) -> dict[str, tuple[int, int]]:
    """By grade, how many fruits a run graded, and how many of them resemble several grades.

    Without those that the reader is asked for the grade of.
    """
    newer = aliased(GradingRow)
    graded_again = select(newer.id).where(
        newer.run_id == GradingRow.run_id,
        newer.fruit_id == GradingRow.fruit_id,
        newer.id > GradingRow.id,
    )
    several = func.sum(case((GradingRow.likenesses > 1, 1), else_=0))
    query = (
        select(GradingRow.grade, func.count(), several)
        .join(Fruit, Fruit.id == GradingRow.fruit_id)
        .where(
            GradingRow.run_id == run_id,
            ~graded_again.exists(),
            *chosen.conditions(),
            *chosen.may_know(),
        )
        .group_by(GradingRow.grade)
    )
    return {grade: (count, int(alike)) for grade, count, alike in session.execute(query)}


def hidden_count(session: Session, chosen: Filter, run_id: int) -> int:
    """How many fruits a run graded that the reader is asked for the grade of first."""
    graded = select(GradingRow.fruit_id).where(GradingRow.run_id == run_id)
    query = select(func.count()).where(Fruit.id.in_(graded), *chosen.conditions())
    shown = session.scalar(query.where(*chosen.may_know())) or 0
    return (session.scalar(query) or 0) - shown


def experts(session: Session, ids: Sequence[int]) -> dict[int, str]:
    """Names of users by id."""
    rows = session.execute(_NAMES, {"ids": list(ids)})
    return {key: full_name or name for key, full_name, name in rows}


def all_runs(session: Session) -> Sequence[Run]:
    """Runs that graded anything, newest first."""
    return session.scalars(_RUNS).all()
