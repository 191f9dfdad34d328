"""Fruits with an expert's grade: what a new grader learns from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mezoroi.app.roles import Role
from mezoroi.app.tables import Fruit, GradingRow, User, Verdict
from mezoroi.app.tables_learning import Specimen


@dataclass(frozen=True)
class ExpertGraded:
    """One fruit that experts graded.

    Attributes
    ----------
    fruit_id, content : of the newest upload of the same file
    grade : what experts settled on in a session; else the one most gave, of several the last
    picture : blob of the surface that was graded
    outline : shape statistics, or None
    mask : blob of the mask painted last on this picture, or None
    """

    fruit_id: int
    content: str
    grade: str
    picture: str
    outline: Mapping[str, float] | None
    mask: str | None


def expert_graded(session: Session) -> list[ExpertGraded]:
    """All fruits that experts graded, oldest first; a file that came twice counts once."""
    given: dict[int, dict[tuple[int, int], Verdict]] = {}
    experts = (Role.EXPERT.value, Role.ADMIN.value)
    query = (
        select(Verdict, GradingRow.fruit_id)
        .join(GradingRow, GradingRow.id == Verdict.grading_id)
        .join(User, User.id == Verdict.user_id)
        .where(User.role.in_(experts))
        .order_by(Verdict.id)
    )
    for verdict, fruit_id in session.execute(query):
        given.setdefault(fruit_id, {})[verdict.grading_id, verdict.user_id] = verdict
    settled = _settled(session)
    newest = select(func.max(GradingRow.id)).group_by(GradingRow.fruit_id)
    rows = session.execute(
        select(Fruit.id, Fruit.content, GradingRow.id, GradingRow.result)
        .join(GradingRow, GradingRow.fruit_id == Fruit.id)
        .where(GradingRow.id.in_(newest))
        .order_by(Fruit.id)
    )
    found: dict[str, ExpertGraded] = {}
    for fruit_id, content, grading_id, result in rows:
        verdicts = sorted(given.get(fruit_id, {}).values(), key=lambda verdict: verdict.id)
        grade = settled.get(content) or _agreed(_newest_grades(verdicts))
        if grade is not None:
            mask = next((v.mask for v in reversed(verdicts) if _is_of(v, grading_id)), None)
            found.pop(content, None)
            found[content] = ExpertGraded(fruit_id, content, grade, *_picture(result), mask)
    return list(found.values())


def _settled(session: Session) -> dict[str, str]:
    """By file, what experts settled on in sessions; on its latest upload, if on several."""
    query = (
        select(Fruit.content, Specimen.consensus)
        .join(Specimen, Specimen.fruit_id == Fruit.id)
        .where(Specimen.consensus.is_not(None))
        .order_by(Fruit.id)
    )
    return {row[0]: str(row[1]) for row in session.execute(query)}


def _newest_grades(verdicts: Iterable[Verdict]) -> list[str]:
    """Each expert's newest grade, whichever grading it was given to."""
    newest: dict[int, str] = {}
    for verdict in verdicts:
        if verdict.grade:
            newest.pop(verdict.user_id, None)  # the order is that of the newest
            newest[verdict.user_id] = verdict.grade
    return list(newest.values())


def _agreed(grades: list[str]) -> str | None:
    """The most frequent of grades in the order they were given; of several, the last."""
    if not grades:
        return None
    counts = Counter(grades)
    most = max(counts.values())
    return next(grade for grade in reversed(grades) if counts[grade] == most)


def _is_of(verdict: Verdict, grading_id: int) -> bool:
    return bool(verdict.mask) and verdict.grading_id == grading_id


def _picture(result: Mapping[str, Any]) -> tuple[str, Mapping[str, float] | None]:
    return result["pictures"]["surface"]["name"], result["outline"]
