"""What was graded on a day or in a lot, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from mezoroi.app.store.finding import Filter
from mezoroi.app.tables import Fruit


@dataclass(frozen=True)
class GradeTally:
    """The fruits of one grade.

    Attributes
    ----------
    grade : an expert's where one was given, else Mezoroi's
    share : of all graded fruits, in [0, 1]
    weight : grams of those that were weighed; None where none was
    weighed : how many were
    brix : mean of those that were measured, or None
    corrected : how many an expert graded otherwise than Mezoroi
    """

    grade: str
    count: int
    share: float
    weight: float | None
    weighed: int
    brix: float | None
    corrected: int


@dataclass(frozen=True)
class Tally:
    """What was graded on a day, in a lot, or both.

    Attributes
    ----------
    grades : in the order of the standard, others after these; only those that occur
    waiting : fruits without a grading
    hidden : graded fruits that the reader is asked for the grade of first
    by_hour : number of fruits by hour of the day, 0 to 23, in the house's time zone
    by_day : number of fruits by day
    """

    grades: Sequence[GradeTally]
    waiting: int
    hidden: int
    by_hour: Mapping[int, int]
    by_day: Mapping[date, int]

    @property
    def graded(self) -> int:
        """Number of graded fruits."""
        return sum(item.count for item in self.grades)

    @property
    def total(self) -> int:
        """Number of all fruits."""
        return self.graded + self.waiting + self.hidden

    @property
    def corrected(self) -> int:
        """Number of fruits that an expert graded otherwise than Mezoroi."""
        return sum(item.corrected for item in self.grades)

    @property
    def weighed(self) -> int:
        """Number of fruits with a weight."""
        return sum(item.weighed for item in self.grades)

    @property
    def weight(self) -> float | None:
        """Grams of all that were weighed; None where none was."""
        return sum(item.weight or 0.0 for item in self.grades) if self.weighed else None


def tally(session: Session, chosen: Filter, order: Sequence[str]) -> Tally:
    """Count the fruits of a filter.

    Parameters
    ----------
    order : grades of the standard, best first
    """
    conditions = Filter(start=chosen.start, end=chosen.end, lot=chosen.lot).conditions()
    moments = session.scalars(select(Fruit.created_at).where(*conditions)).all()
    local = [moment.astimezone() for moment in moments]
    conditions.append(Fruit.grade.is_not(None))
    known = session.scalar(select(func.count()).select_from(Fruit).where(*conditions)) or 0
    conditions += chosen.may_know()
    final = func.coalesce(Fruit.expert_grade, Fruit.grade)
    corrected = case((Fruit.expert_grade != Fruit.grade, 1), else_=0)
    query = select(
        final,
        func.count(),
        func.sum(Fruit.weight),
        func.count(Fruit.weight),
        func.avg(Fruit.brix),
        func.sum(corrected),
    ).where(*conditions)
    rows = session.execute(query.group_by(final)).all()
    graded = sum(row[1] for row in rows)
    places = {grade: place for place, grade in enumerate(order)}
    rows = sorted(rows, key=lambda row: (places.get(row[0], len(places)), row[0]))
    return Tally(
        grades=[
            GradeTally(grade, count, count / graded, weight, weighed, brix, int(wrong))
            for grade, count, weight, weighed, brix, wrong in rows
        ],
        waiting=len(moments) - known,
        hidden=known - graded,
        by_hour=dict(sorted(Counter(moment.hour for moment in local).items())),
        by_day=dict(sorted(Counter(moment.date() for moment in local).items())),
    )
