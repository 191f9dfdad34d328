"""Fruits that practice and calibration may show, and what experts say of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, func, select, update
from sqlalchemy.orm import Session

from mezoroi.app.store import jobs, opinions, runs
from mezoroi.app.store.opinions import FRUIT as FRUIT
from mezoroi.app.tables import Fruit, GradingRow
from mezoroi.app.tables_house import ReferenceFruit
from mezoroi.app.tables_learning import (
    CalibrationFruit,
    CalibrationGrade,
    CalibrationGrader,
    CalibrationSession,
    Specimen,
)

if TYPE_CHECKING:
    from mezoroi.retrieval.reference import Reference

FROM_DATASET = "data/"
"""What those of a dataset begin with in a training, so that none is taken for an uploaded one."""
_COUNT = select(func.count()).select_from(Specimen).where(Specimen.retired.is_(False))
_OF_OTHER_RUN = Specimen.run_id.is_(None) | (Specimen.run_id != bindparam("run_id"))
_UNPREPARED = select(Specimen).where(_OF_OTHER_RUN, Specimen.retired.is_(False))
_COUNT_UNPREPARED = _COUNT.where(_OF_OTHER_RUN)
_IN_OPEN_SESSIONS = (
    select(CalibrationFruit.specimen_id)
    .join(CalibrationSession, CalibrationFruit.session_id == CalibrationSession.id)
    .where(CalibrationSession.revealed_at.is_(None))
)
_AWAITED = _IN_OPEN_SESSIONS.join(
    CalibrationGrader, CalibrationGrader.session_id == CalibrationSession.id
).where(
    CalibrationGrader.user_id == bindparam("user_id"),
    CalibrationFruit.id.not_in(
        select(CalibrationGrade.fruit_id).where(CalibrationGrade.user_id == bindparam("user_id"))
    ),
)


@dataclass(frozen=True)
class Known:
    """A prepared specimen without its pictures.

    Attributes
    ----------
    id : of the specimen
    name : the physical fruit
    grade : a reference's grade, None for an uploaded fruit
    similarity : S_g by grade; None where a grade could not be judged
    labels : grades by experts' ids, and by ``reference`` that of a reference
    answers : what others answered
    """

    id: int
    name: str
    fruit_id: int | None
    reference: str | None
    consensus: str | None
    similarity: dict[str, float | None]
    labels: dict[str, str]
    answers: list[str]


def order_preparation(session: Session) -> bool:
    """Queue the preparation of what the active run has not prepared, unless it is queued.

    Returns
    -------
    whether something was queued
    """
    if not is_preparation_due(session):
        return False
    jobs.add_job(session, jobs.PREPARE)
    return True


def is_preparation_due(session: Session) -> bool:
    """Whether `order_preparation` would queue something: to ask is no write."""
    return not jobs.count_open(session, jobs.PREPARE) and _is_due(session)


def is_waiting(session: Session) -> bool:
    """Whether fruits are being prepared, or will be."""
    return bool(jobs.count_open(session, jobs.PREPARE))


def is_half_prepared(session: Session) -> bool:
    """Whether the active run has yet to prepare fruits that are known.

    Fruits that were sent since are not among them: they come one by one, and are never all there.
    """
    run = runs.active_run(session)
    return run is not None and count_unprepared(session, run.id) > 0


def note_references(session: Session, run_id: int, references: Iterable[Reference]) -> None:
    """Make specimens of a run's references; those that are no longer there retire.

    A reference that was made from an uploaded fruit, or learned from it, is that fruit. A fruit
    stays the same specimen under another run, which may call its pictures otherwise.
    """
    uploads = set(
        session.scalars(
            select(ReferenceFruit.name).where(
                ReferenceFruit.run_id == run_id, ReferenceFruit.fruit_id.is_not(None)
            )
        )
    )
    present = [one for one in references if one.grade is not None and one.id not in uploads]
    earlier = session.scalars(
        select(Specimen).where(Specimen.fruit_id.is_(None)).order_by(Specimen.retired, Specimen.id)
    ).all()
    found = _found_again(present, earlier)
    wanted = {one.id for one in present}
    for item in earlier:
        item.retired = True
        if item.reference in wanted and found.get(item.reference) is not item:
            item.reference = None  # another takes it
    session.flush()
    for one in present:
        specimen = found.get(one.id) or Specimen()
        session.add(specimen)
        specimen.reference, specimen.name = one.id, _fruit_name(one)
        specimen.grade, specimen.retired = one.grade, False
    session.flush()


def note_fruits(session: Session) -> None:
    """Make specimens of the uploaded fruits that have been graded.

    A file that came more than once shows one physical fruit, which is called after the first.
    """
    first = select(Fruit.content, func.min(Fruit.id).label("id")).group_by(Fruit.content).subquery()
    pairs = select(Fruit.id, first.c.id).join(first, first.c.content == Fruit.content)
    noted = select(Specimen.fruit_id).where(Specimen.fruit_id.is_not(None))
    graded = select(GradingRow.fruit_id).distinct()
    new = pairs.where(Fruit.id.in_(graded), Fruit.id.not_in(noted)).order_by(Fruit.id)
    for fruit_id, first_id in session.execute(new).all():
        name = f"{FRUIT}{first_id}"
        session.add(Specimen(fruit_id=fruit_id, name=name, consensus=_settled(session, name)))
        session.flush()
    # Until November 2026 each upload was called after itself.
    again = pairs.where(Fruit.id != first.c.id, Fruit.id.in_(noted))
    for fruit_id, first_id in session.execute(again).all():
        renamed = update(Specimen).where(Specimen.fruit_id == fruit_id)
        session.execute(renamed.values(name=f"{FRUIT}{first_id}"))
    session.flush()


def twins(session: Session, specimen: Specimen) -> Sequence[Specimen]:
    """A specimen and those of the same file sent once more."""
    if specimen.fruit_id is None:
        return [specimen]
    query = select(Specimen).where(Specimen.name == specimen.name, Specimen.fruit_id.is_not(None))
    return session.scalars(query.order_by(Specimen.id)).all()


def _settled(session: Session, name: str) -> str | None:
    """What graders settled on for an upload of the same file."""
    query = select(Specimen.consensus).where(
        Specimen.name == name, Specimen.fruit_id.is_not(None), Specimen.consensus.is_not(None)
    )
    return session.scalar(query.limit(1))


def unprepared(session: Session, run_id: int, most: int) -> Sequence[Specimen]:
    """Specimens that a run has not prepared."""
    query = _UNPREPARED.order_by(Specimen.id).limit(most)
    return session.scalars(query, {"run_id": run_id}).all()


def count_unprepared(session: Session, run_id: int) -> int:
    """How many specimens a run has not prepared."""
    return session.scalar(_COUNT_UNPREPARED, {"run_id": run_id}) or 0


def count_all(session: Session) -> int:
    """How many specimens there are."""
    return session.scalar(_COUNT) or 0


def keep_prepared(
    session: Session,
    specimen_id: int,
    run_id: int,
    *,
    result: dict[str, Any] | None = None,
    similarity: dict[str, Any] | None = None,
    alike: dict[str, Any] | None = None,
    trouble: str = "",
) -> None:
    """Keep what a run says of a specimen, or why it says nothing."""
    specimen = session.get_one(Specimen, specimen_id)
    specimen.run_id, specimen.trouble = run_id, trouble
    if trouble:  # what is in a test or a session is shown as another run had prepared it
        return
    specimen.result, specimen.similarity = result or {}, similarity or {}
    specimen.alike = alike or {}


def get_specimen(session: Session, specimen_id: int) -> Specimen | None:
    """The specimen of an id, or None."""
    return session.get(Specimen, specimen_id)


def get_specimens(session: Session, ids: Iterable[int]) -> dict[int, Specimen]:
    """Specimens by id."""
    found = session.scalars(select(Specimen).where(Specimen.id.in_(list(ids))))
    return {item.id: item for item in found}


def names_of(session: Session, ids: Iterable[int]) -> set[str]:
    """The physical fruits of specimens, without what was prepared of them: that is large."""
    return set(session.scalars(select(Specimen.name).where(Specimen.id.in_(list(ids)))))


def known_specimens(session: Session, *, of_references: bool = False) -> list[Known]:
    """All that the active run has prepared, with what experts and others answered.

    Parameters
    ----------
    of_references : only those that are among the run's references
    """
    run = runs.active_run(session)
    if run is None:
        return []
    columns = (
        Specimen.id,
        Specimen.name,
        Specimen.fruit_id,
        Specimen.reference,
        Specimen.grade,
        Specimen.consensus,
        Specimen.similarity,
    )
    query = select(*columns).where(
        Specimen.run_id == run.id, Specimen.retired.is_(False), Specimen.trouble == ""
    )
    if of_references:
        made = select(ReferenceFruit.fruit_id).where(ReferenceFruit.run_id == run.id)
        is_made = Specimen.fruit_id.in_(made.where(ReferenceFruit.fruit_id.is_not(None)))
        query = query.where(Specimen.reference.is_not(None) | is_made)
    labels = opinions.labels(session)
    answers = opinions.answers(session)
    found = []
    for row in session.execute(query.order_by(Specimen.id)):
        own = {} if row.grade is None else {"reference": row.grade}
        found.append(
            Known(
                row.id,
                row.name,
                row.fruit_id,
                row.reference,
                row.consensus,
                row.similarity,
                {**labels.get(row.id, {}), **own},
                answers.get(row.id, []),
            )
        )
    return found


def in_open_sessions(session: Session) -> set[int]:
    """Specimens of calibration sessions that have not been revealed."""
    return set(session.scalars(_IN_OPEN_SESSIONS))


def awaited_from(session: Session, user_id: int) -> set[int]:
    """Specimens of open sessions that a user takes part in and has not graded there.

    With them come all other pictures of the same fruits, whose grade is theirs.
    """
    asked = set(session.scalars(_AWAITED, {"user_id": user_id}))
    if not asked:
        return asked
    return set(
        session.scalars(select(Specimen.id).where(Specimen.name.in_(names_of(session, asked))))
    )


def uploads_among(session: Session, ids: Iterable[int]) -> frozenset[int]:
    """Ids of the uploaded fruits among specimens, and of the same files sent once more."""
    chosen = select(Specimen.fruit_id).where(Specimen.id.in_(list(ids)))
    contents = select(Fruit.content).where(Fruit.id.in_(chosen))
    return frozenset(session.scalars(select(Fruit.id).where(Fruit.content.in_(contents))))


def _is_due(session: Session) -> bool:
    """Whether there is a fruit that is not prepared, or a reference that came or went."""
    run = runs.active_run(session)
    if run is None:
        return False
    if not count_all(session) or count_unprepared(session, run.id):
        return True
    noted = select(Specimen.fruit_id).where(Specimen.fruit_id.is_not(None))
    new_fruit = select(GradingRow.id).where(GradingRow.fruit_id.not_in(noted)).limit(1)
    present = select(ReferenceFruit.name).where(ReferenceFruit.run_id == run.id)
    known = select(Specimen.reference).where(
        Specimen.reference.is_not(None), Specimen.retired.is_(False)
    )
    new_reference = present.where(
        ReferenceFruit.grade.is_not(None),
        ReferenceFruit.fruit_id.is_(None),
        ReferenceFruit.name.not_in(known),
    ).limit(1)
    gone = known.where(Specimen.reference.not_in(present)).limit(1)
    if session.scalar(present.limit(1)) is None:  # the worker has yet to read them
        return session.scalar(new_fruit) is not None
    return any(session.scalar(query) is not None for query in (new_fruit, new_reference, gone))


def _fruit_name(reference: Reference) -> str:
    """The physical fruit of a reference, as the first run calls it."""
    return str(reference.more.get("specimen") or reference.id).removeprefix(FROM_DATASET)


def _found_again(
    references: Sequence[Reference], earlier: Sequence[Specimen]
) -> dict[str, Specimen]:
    """By reference, the specimen that it is: the same picture of the fruit, else the next one."""
    free: dict[str, list[Specimen]] = {}
    for item in earlier:
        free.setdefault(item.name, []).append(item)
    found = {}
    # A training numbers its pictures in the order of their dataset: 2 comes before 10.
    for is_same in (True, False):
        for one in sorted(references, key=lambda one: (len(one.id), one.id)):
            own = free.get(_fruit_name(one), [])
            fit = [item for item in own if not is_same or item.reference == one.id]
            if one.id not in found and fit:
                found[one.id] = fit[0]
                own.remove(fit[0])
    return found
