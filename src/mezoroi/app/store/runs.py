"""Trained graders and the versions of the grading standard."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from mezoroi.app.tables import Run, Standard, now
from mezoroi.files import content_hash, read_json
from mezoroi.standard import GradingStandard

GRADER_JSON = "grader.json"
_ACTIVE = select(Run).where(Run.active)


def register_run(session: Session, folder: Path) -> Run:
    """Make a run folder known; its standard becomes a new version where it is another.

    Raises
    ------
    MezoroiError
        If the folder is no finished run.
    """
    path = folder / GRADER_JSON
    content = read_json(path, "give the folder that `train -o` wrote")
    digest = content_hash(path)
    run = session.scalar(select(Run).where(Run.digest == digest))
    if run is None:
        standard = _standard(session, GradingStandard.from_dict(content["standard"]).to_dict())
        run = Run(
            folder=str(folder.absolute()),
            digest=digest,
            standard_id=standard.id,
            input_kind=content["input_kind"],
            metrics={},
        )
        session.add(run)
        session.flush()
    run.folder = str(folder.absolute())
    return run


def serve_run(session: Session, folder: Path) -> bool:
    """Make the served run folder known; it grades if none did, or if the folder's last run did.

    Returns
    -------
    whether it grades in place of another that was in this folder

    Raises
    ------
    MezoroiError
        If the folder is no finished run.
    """
    before = active_run(session)
    run = register_run(session, folder)
    is_other = before is not None and before.id != run.id and before.folder == run.folder
    if before is None or is_other:
        activate_run(session, run)
    return is_other


def is_unchanged(run: Run) -> bool:
    """Whether a run's folder still holds the grader that was registered."""
    return content_hash(Path(run.folder) / GRADER_JSON) == run.digest


def activate_run(session: Session, run: Run) -> None:
    """Grade with this run from now on."""
    session.execute(update(Run).where(Run.id != run.id).values(active=False))
    run.active, run.activated_at = True, now()
    session.flush()


def active_run(session: Session) -> Run | None:
    """The run that grades, or None before the first."""
    return session.scalar(_ACTIVE)


def list_runs(session: Session) -> Sequence[Run]:
    """All runs, newest first."""
    return session.scalars(select(Run).order_by(Run.id.desc())).all()


def get_run(session: Session, run_id: int) -> Run | None:
    """The run of an id, or None."""
    return session.get(Run, run_id)


def previous_run(session: Session) -> Run | None:
    """The run that graded before the active one, to go back to; None where there is none."""
    query = select(Run).where(Run.active.is_(False), Run.activated_at.is_not(None))
    return session.scalar(query.order_by(Run.activated_at.desc()).limit(1))


def _standard(session: Session, content: dict[str, Any]) -> Standard:
    """The newest version if it is the same, else a new one."""
    newest = session.scalar(select(Standard).order_by(Standard.version.desc()).limit(1))
    if newest is not None and newest.content == content:
        return newest
    version = (session.scalar(select(func.max(Standard.version))) or 0) + 1
    standard = Standard(version=version, content=content)
    session.add(standard)
    session.flush()
    return standard
