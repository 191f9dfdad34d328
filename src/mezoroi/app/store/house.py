"""What the house decided in the app: settings, versions of the standard, and how long data stay."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import CursorResult, Result, bindparam, delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from mezoroi.app.store import fruits
from mezoroi.app.tables import AuditEntry, GradingRow, HouseSetting, Run, Standard, now
from mezoroi.app.tables_house import StandardExample
from mezoroi.errors import MezoroiError
from mezoroi.standard import GradingStandard

LANGUAGE = "language"
RETENTION = "retention"
DEFAULT_DAYS: Mapping[str, int] = {"performance": 365, "audit": 730}
"""Days that practice results of people, and the audit log, are kept."""
MOST_DAYS = 3650
_SETTING = select(HouseSetting.value).where(HouseSetting.name == bindparam("name"))
_EXAMPLES = (
    select(StandardExample)
    .where(StandardExample.standard_id == bindparam("standard_id"))
    .order_by(StandardExample.id)
)


def get_setting(session: Session, name: str) -> dict[str, Any]:
    """A setting of the house, empty where none was made."""
    return session.scalar(_SETTING, {"name": name}) or {}


def set_setting(session: Session, name: str, value: Mapping[str, Any]) -> None:
    """Make or change a setting of the house."""
    found = session.get(HouseSetting, name)
    if found is None:
        try:
            with session.begin_nested():
                session.add(HouseSetting(name=name, value=dict(value)))
            return
        except IntegrityError:  # another request has just made it
            found = session.get_one(HouseSetting, name)
    found.value, found.changed_at = dict(value), now()


def days_kept(session: Session) -> dict[str, int]:
    """Days that data about people are kept, by kind."""
    return {**DEFAULT_DAYS, **get_setting(session, RETENTION)}


def list_standards(session: Session) -> Sequence[Standard]:
    """All versions of the grading standard, newest first."""
    return session.scalars(select(Standard).order_by(Standard.version.desc())).all()


def revise_standard(
    session: Session, run: Run, content: Mapping[str, Any], author_id: int, note: str
) -> Standard:
    """A new version of a run's standard, with other words for the same grades.

    Raises
    ------
    MezoroiError
        If the grades, their order or their views are others: these come from a training.
    """
    old, new = GradingStandard.from_dict(run.standard.content), GradingStandard.from_dict(content)
    same = (old.grades, old.precedence, old.ordered) == (new.grades, new.precedence, new.ordered)
    if not same or old.outline_grades != new.outline_grades:
        raise MezoroiError("the grades are those that were learned: only their words may change")
    version = session.scalar(select(func.max(Standard.version))) or 0
    revised = Standard(
        version=version + 1, content=new.to_dict(), author_id=author_id, note=note[:2000]
    )
    session.add(revised)
    session.flush()
    copy_examples(session, run.standard_id, revised)
    run.standard_id, run.standard = revised.id, revised
    return revised


def examples(session: Session, standard_id: int) -> Sequence[StandardExample]:
    """The example fruits of a version of the standard."""
    return session.scalars(_EXAMPLES, {"standard_id": standard_id}).all()


def copy_examples(session: Session, source_id: int, target: Standard) -> None:
    """Give a version of the standard the examples that another has of its grades."""
    for example in examples(session, source_id):
        if example.grade in target.content["grades"]:
            same = {"grade": example.grade, "fruit_id": example.fruit_id}
            session.add(StandardExample(standard_id=target.id, **same))


def example_pictures(
    session: Session, standard_id: int, is_hidden: Callable[[GradingRow], bool] = lambda row: False
) -> dict[str, list[tuple[int, str]]]:
    """By grade, the fruit and the thumbnail's name of every example that is not hidden."""
    found: dict[str, list[tuple[int, str]]] = {}
    for example in examples(session, standard_id):
        grading = fruits.newest_grading(session, example.fruit_id)
        if grading is not None and not is_hidden(grading):
            thumbnail = grading.result["pictures"]["thumbnail"]["name"]
            found.setdefault(example.grade, []).append((example.fruit_id, thumbnail))
    return found


def set_example(session: Session, standard_id: int, grade: str, fruit_id: int) -> None:
    """Make a fruit an example of a grade; an empty grade takes it back."""
    session.execute(
        delete(StandardExample).where(
            StandardExample.standard_id == standard_id, StandardExample.fruit_id == fruit_id
        )
    )
    if grade:
        session.add(StandardExample(standard_id=standard_id, grade=grade, fruit_id=fruit_id))


def purge(session: Session, performance: Sequence[tuple[Any, Any]]) -> dict[str, int]:
    """Delete what is older than the house keeps it.

    Parameters
    ----------
    performance : of each table of people's results: the class, and the column of its date

    Returns
    -------
    number of rows deleted, by table
    """
    days = days_kept(session)
    before = now() - timedelta(days=days["performance"])
    gone = {}
    for table, moment in performance:
        too_old = delete(table).where(moment < before)
        gone[table.__tablename__] = _count(session.execute(too_old))
    oldest = now() - timedelta(days=days["audit"])
    old_entries = delete(AuditEntry).where(AuditEntry.created_at < oldest)
    return gone | {"audit": _count(session.execute(old_entries))}


def _count(done: Result[Any]) -> int:
    assert isinstance(done, CursorResult)
    return done.rowcount
