"""What pages know of the runs' reference fruits, and which fruits may become some."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import bindparam, delete, func, select
from sqlalchemy.orm import Session

from mezoroi.app.tables_house import ReferenceFruit

_MOST_AT_ONCE = 500
_OF_RUN = ReferenceFruit.run_id == bindparam("run_id")
_SHOWN = ReferenceFruit.name.not_in(bindparam("without", expanding=True))
_COUNTS = select(ReferenceFruit.grade, func.count()).where(_OF_RUN).group_by(ReferenceFruit.grade)
_PAGE = (
    select(ReferenceFruit)
    .where(_OF_RUN, _SHOWN)
    .order_by(ReferenceFruit.id.desc())
    .offset(bindparam("first"))
    .limit(bindparam("most"))
)
_PAGE_OF_GRADE = _PAGE.where(ReferenceFruit.grade == bindparam("grade"))
_COUNT = select(func.count()).select_from(ReferenceFruit).where(_OF_RUN, _SHOWN)
_COUNT_OF_GRADE = _COUNT.where(ReferenceFruit.grade == bindparam("grade"))
_OF_FRUIT = (
    select(ReferenceFruit).where(_OF_RUN, ReferenceFruit.fruit_id == bindparam("fruit_id")).limit(1)
)


def count_by_grade(session: Session, run_id: int) -> dict[str | None, int]:
    """Number of a run's references by grade."""
    return {row[0]: row[1] for row in session.execute(_COUNTS, {"run_id": run_id})}


def count_listed(
    session: Session, run_id: int, grade: str | None, without: Collection[str] = ()
) -> int:
    """How many references `list_references` goes through."""
    asked = {"run_id": run_id, "without": list(without)}
    if grade is None:
        return session.scalar(_COUNT, asked) or 0
    return session.scalar(_COUNT_OF_GRADE, {**asked, "grade": grade}) or 0


def list_references(
    session: Session,
    run_id: int,
    grade: str | None,
    first: int,
    most: int,
    without: Collection[str] = (),
) -> Sequence[ReferenceFruit]:
    """A run's references, or those of a grade, newest first.

    Parameters
    ----------
    without : names of those that the reader may not be shown
    """
    asked = {"run_id": run_id, "first": first, "most": most, "without": list(without)}
    if grade is None:
        return session.scalars(_PAGE, asked).all()
    return session.scalars(_PAGE_OF_GRADE, {**asked, "grade": grade}).all()


def get_reference(session: Session, reference_id: int) -> ReferenceFruit | None:
    """The reference of an id, or None."""
    return session.get(ReferenceFruit, reference_id)


def reference_of(session: Session, run_id: int, fruit_id: int) -> ReferenceFruit | None:
    """The reference that was made from a fruit, or None."""
    return session.scalar(_OF_FRUIT, {"run_id": run_id, "fruit_id": fruit_id})


def of_fruits(session: Session, run_id: int) -> dict[int, list[ReferenceFruit]]:
    """A run's references that were made from fruits of the app, or learned from them, by fruit."""
    query = select(ReferenceFruit).where(
        ReferenceFruit.run_id == run_id, ReferenceFruit.fruit_id.is_not(None)
    )
    found: dict[int, list[ReferenceFruit]] = {}
    for item in session.scalars(query.order_by(ReferenceFruit.id)):
        found.setdefault(item.fruit_id or 0, []).append(item)
    return found


def add_reference(
    session: Session,
    run_id: int,
    name: str,
    grade: str | None,
    picture: str | None,
    fruit_id: int | None,
) -> None:
    """Note a reference that was added to a run's index."""
    session.add(
        ReferenceFruit(run_id=run_id, name=name, grade=grade, picture=picture, fruit_id=fruit_id)
    )


def forget(session: Session, run_id: int, gone: Sequence[str]) -> None:
    """Note that references were removed from a run's index."""
    for start in range(0, len(gone), _MOST_AT_ONCE):
        some = gone[start : start + _MOST_AT_ONCE]
        session.execute(
            delete(ReferenceFruit).where(
                ReferenceFruit.run_id == run_id, ReferenceFruit.name.in_(some)
            )
        )


def names(session: Session, run_id: int) -> set[str]:
    """The names of a run's references."""
    query = select(ReferenceFruit.name).where(ReferenceFruit.run_id == run_id)
    return set(session.scalars(query))
