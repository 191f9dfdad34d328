"""What the graders of a session settle on, and the references that are made of it."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from mezoroi.app.problems import Refusal
from mezoroi.app.store import jobs, references, runs
from mezoroi.app.store.calibration import fruits_of
from mezoroi.app.store.specimens import FRUIT, twins
from mezoroi.app.tables import now
from mezoroi.app.tables_learning import CalibrationFruit, Specimen

_BETWEEN_NOTES = " / "


def keep_note(fruit: CalibrationFruit, note: str, noted: str) -> None:
    """Keep the note of a fruit, unless it is as it was shown; what another wrote since stays.

    Parameters
    ----------
    noted : the note as the page showed it
    """
    if note == noted:
        return
    if fruit.note in ("", noted):
        fruit.note = note[:2000]
    elif note and note not in fruit.note.split(_BETWEEN_NOTES):
        fruit.note = f"{fruit.note}{_BETWEEN_NOTES}{note}"[:2000]


def settle(
    session: Session,
    fruit: CalibrationFruit,
    user_id: int,
    grade: str | None,
    settled: str | None,
) -> None:
    """Keep what the graders agreed on for a fruit; None takes it back.

    It holds for the same file sent once more, too. What the newest session settled on counts. A
    reference that was made of another grade goes: it would teach what nobody agrees on.

    Parameters
    ----------
    settled : the consensus as the page showed it

    Raises
    ------
    Refusal
        If another has changed it since, and not to this grade.
    """
    session.refresh(fruit, ["consensus"], with_for_update={"of": CalibrationFruit})
    if fruit.consensus not in (settled, grade):
        raise Refusal("settled since")
    fruit.consensus = grade
    fruit.decided_by_id, fruit.decided_at = user_id, now()
    session.flush()
    specimen = session.get_one(Specimen, fruit.specimen_id)
    same = {one.id: one for one in twins(session, specimen)}
    query = select(CalibrationFruit).where(CalibrationFruit.specimen_id.in_(same))
    every = session.scalars(query.order_by(CalibrationFruit.session_id)).all()
    agreed = next((one.consensus for one in reversed(every) if one.consensus), None)
    outdated = set()
    for one in every:
        if one.reference_job is not None and one.reference_job.payload["grade"] != agreed:
            one.reference_job = None
            outdated.add(one.specimen_id)
    for number, twin in same.items():
        twin.consensus = agreed
        if number in outdated or _is_other_reference(session, twin):
            payload = {"fruit_id": twin.fruit_id}
            jobs.add_job(session, jobs.REMOVE_REFERENCE, user_id=user_id, payload=payload)
    session.flush()


def _is_other_reference(session: Session, specimen: Specimen) -> bool:
    """Whether somebody made a fruit a reference of another grade than its consensus."""
    run = runs.active_run(session)
    if run is None or specimen.fruit_id is None or specimen.consensus is None:
        return False
    made = references.of_fruits(session, run.id).get(specimen.fruit_id, [])
    name = f"{FRUIT}{specimen.fruit_id}"
    return any(one.name == name and one.grade != specimen.consensus for one in made)


def make_references(session: Session, session_id: int, user_id: int) -> int:
    """Queue every settled fruit that was sent to the app to become a reference; how many."""
    made = 0
    for fruit in fruits_of(session, session_id):
        if not can_be_reference(fruit):
            continue
        payload = {"fruit_id": fruit.specimen.fruit_id, "grade": fruit.consensus}
        fruit.reference_job = jobs.add_job(
            session, jobs.ADD_REFERENCE, user_id=user_id, payload=payload
        )
        made += 1
    return made


def can_be_reference(fruit: CalibrationFruit) -> bool:
    """Whether a settled fruit is not among the references yet, nor queued to be.

    One that a newer session settled otherwise is no reference of this session's grade.
    """
    job = fruit.reference_job
    is_new = fruit.specimen.fruit_id is not None and (job is None or job.state == "failed")
    return is_new and fruit.consensus is not None and fruit.consensus == fruit.specimen.consensus
