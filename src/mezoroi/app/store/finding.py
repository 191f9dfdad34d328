"""Lists of fruits by what they are: a filter, pages of it, and all of it in pieces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from sqlalchemy import ColumnElement, and_, bindparam, false, func, or_, select
from sqlalchemy.orm import Session, aliased

from mezoroi.app.database import Database
from mezoroi.app.store.fruits import Listed, listed
from mezoroi.app.tables import Fruit, GradingRow, Verdict
from mezoroi.report.sureness import FAIRLY_SURE, SURE

RELIABILITIES = ("sure", "fairly", "unsure", "unknown")
VERDICTS = ("agree", "plausible", "wrong", "none", "awaited")
_PIECE = 500
_FRUITS = (
    select(Fruit).where(Fruit.id.in_(bindparam("ids", expanding=True))).order_by(Fruit.id.desc())
)


@dataclass(frozen=True)
class Filter:
    """Which fruits.

    Attributes
    ----------
    start, end : first and last day, in the house's time zone
    grade : of the newest grading
    verdict : one of `VERDICTS`; ``awaited`` are those that the reader is asked for the grade of
    reliability : one of `RELIABILITIES`
    lot : id
    blind_for : id of a user who grades blind; of fruits that they have yet to grade, the grade
        decides nothing here, or the list would tell it
    secret : ids of fruits of which it decides nothing for another reason
    """

    start: date | None = None
    end: date | None = None
    grade: str | None = None
    verdict: str | None = None
    reliability: str | None = None
    lot: int | None = None
    blind_for: int | None = None
    secret: frozenset[int] = frozenset()

    @property
    def is_empty(self) -> bool:
        """Whether it is all fruits."""
        return not self._beside_grade() and not self._about_grade()

    def conditions(self) -> list[ColumnElement[bool]]:
        """As SQL, to be joined by AND."""
        about_grade = self._about_grade()
        if about_grade:
            about_grade += self.may_know()
        return self._beside_grade() + about_grade

    def may_know(self) -> list[ColumnElement[bool]]:
        """As SQL: not what the reader is asked for the grade of, whatever else the filter says."""
        found: list[ColumnElement[bool]] = []
        if self.blind_for is not None:
            found.append(~awaits_blind(self.blind_for))
        if self.secret:
            found.append(Fruit.id.not_in(self.secret))
        return found

    def _beside_grade(self) -> list[ColumnElement[bool]]:
        found: list[ColumnElement[bool]] = []
        if self.start is not None:
            found.append(Fruit.created_at >= midnight(self.start))
        if self.end is not None:
            found.append(Fruit.created_at < midnight(self.end + timedelta(days=1)))
        if self.lot is not None:
            found.append(Fruit.lot_id == self.lot)
        if self.verdict == "none":  # that nobody judged a fruit tells no grade
            found.append(and_(Fruit.verdict.is_(None), Fruit.grade.is_not(None)))
        elif self.verdict == "awaited":
            asked = [~condition for condition in self.may_know()]
            found.append(and_(Fruit.grade.is_not(None), or_(false(), *asked)))
        return found

    def _about_grade(self) -> list[ColumnElement[bool]]:
        found: list[ColumnElement[bool]] = []
        if self.grade is not None:
            found.append(Fruit.grade == self.grade)
        if self.verdict not in (None, "none", "awaited"):
            found.append(Fruit.verdict == self.verdict)
        if self.reliability == "sure":
            found.append(Fruit.reliability >= SURE)
        elif self.reliability == "fairly":
            found.append(and_(Fruit.reliability >= FAIRLY_SURE, Fruit.reliability < SURE))
        elif self.reliability == "unsure":
            found.append(Fruit.reliability < FAIRLY_SURE)
        elif self.reliability == "unknown":
            found.append(and_(Fruit.reliability.is_(None), Fruit.grade.is_not(None)))
        return found


def midnight(day: date) -> datetime:
    """The moment a day begins, in the house's time zone."""
    return datetime.combine(day, time()).astimezone()


def awaits_blind(user_id: int) -> ColumnElement[bool]:
    """Whether a user has neither graded nor seen the newest grading of a fruit, or there is none.

    Asked from the user's verdicts on, of which there are fewer than of fruits.
    """
    newer = aliased(GradingRow)
    graded_again = select(newer.id).where(
        newer.fruit_id == GradingRow.fruit_id, newer.id > GradingRow.id
    )
    seen = (
        select(GradingRow.fruit_id)
        .join(Verdict, Verdict.grading_id == GradingRow.id)
        .where(Verdict.user_id == user_id, ~graded_again.exists())
    )
    return Fruit.id.not_in(seen)


def count(session: Session, chosen: Filter) -> int:
    """How many fruits a filter lets pass."""
    query = select(func.count()).select_from(Fruit).where(*chosen.conditions())
    return session.scalar(query) or 0


def find(session: Session, chosen: Filter, first: int, most: int) -> list[Listed]:
    """Fruits that a filter lets pass, from the newest on, starting at position `first`."""
    # Only ids are skipped over: an index holds them, and whole rows need not be read.
    ids = (
        select(Fruit.id)
        .where(*chosen.conditions())
        .order_by(Fruit.id.desc())
        .offset(first)
        .limit(most)
    )
    wanted = list(session.scalars(ids))
    return listed(session, session.scalars(_FRUITS, {"ids": wanted}).all())


@dataclass(frozen=True)
class Full:
    """A fruit of an export, with its newest grading and the verdict that counts."""

    fruit: Fruit
    grading: GradingRow | None
    verdict: Verdict | None


def pieces(database: Database, chosen: Filter) -> Iterator[list[Full]]:
    """All fruits of a filter, newest first, some hundred at a time.

    Each piece is read in a transaction of its own: a slow download holds none open. Fruits that are
    sent meanwhile are newer than all that follows, so that none is told twice.
    """
    before: int | None = None
    while True:
        with database.read() as session:
            query = select(Fruit).where(*chosen.conditions()).order_by(Fruit.id.desc())
            if before is not None:
                query = query.where(Fruit.id < before)
            fruits = session.scalars(query.limit(_PIECE)).all()
            found = _full(session, fruits, chosen)
        if not found:
            return
        yield found
        before = found[-1].fruit.id


def _full(session: Session, fruits: Sequence[Fruit], chosen: Filter) -> list[Full]:
    ids = [fruit.id for fruit in fruits]
    newest = select(func.max(GradingRow.id)).where(GradingRow.fruit_id.in_(ids))
    rows = session.scalars(
        select(GradingRow).where(GradingRow.id.in_(newest.group_by(GradingRow.fruit_id)))
    )
    gradings = {row.fruit_id: row for row in rows}
    hidden = set(chosen.secret)
    if chosen.blind_for is not None:
        unseen = select(Fruit.id).where(Fruit.id.in_(ids), awaits_blind(chosen.blind_for))
        hidden |= set(session.scalars(unseen))
    for fruit_id in hidden:
        gradings.pop(fruit_id, None)
    verdicts = current_verdicts(session, [row.id for row in gradings.values()])
    return [
        Full(fruit, row, verdicts.get(row.id) if row is not None else None)
        for fruit in fruits
        for row in (gradings.get(fruit.id),)
    ]


def current_verdicts(session: Session, grading_ids: Sequence[int]) -> dict[int, Verdict]:
    """By grading, the newest revision in force that says something."""
    later = aliased(Verdict)
    superseded = select(later.id).where(
        later.grading_id == Verdict.grading_id,
        later.user_id == Verdict.user_id,
        later.revision > Verdict.revision,
    )
    query = (
        select(Verdict)
        .where(
            Verdict.grading_id.in_(grading_ids),
            or_(Verdict.answer.is_not(None), Verdict.blind_grade.is_not(None)),
            ~superseded.exists(),
        )
        .order_by(Verdict.id)
    )
    return {verdict.grading_id: verdict for verdict in session.scalars(query)}
