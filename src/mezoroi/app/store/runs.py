"""Trained graders and the versions of the grading standard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from mezoroi.app.store import house
from mezoroi.app.tables import Run, Standard, now
from mezoroi.errors import MezoroiError
from mezoroi.files import content_hash, read_json
from mezoroi.standard import GradingStandard

GRADER_JSON = "grader.json"
LONGEST_GRADE = 64
_ACTIVE = select(Run).where(Run.active)


def register_run(session: Session, folder: Path, *, keep_words: bool = False) -> Run:
    """Make a run folder known; its standard becomes a new version where it is another.

    Parameters
    ----------
    keep_words : whether grades of the standard in use keep the words that they have by now there

    Raises
    ------
    MezoroiError
        If the folder is no finished run, or a grade's name is too long.
    """
    path = folder / GRADER_JSON
    content = read_json(path, "give the folder that `train -o` wrote")
    digest = content_hash(path)
    run = session.scalar(select(Run).where(Run.digest == digest))
    if run is None:
        own = GradingStandard.from_dict(content["standard"])
        long = next((name for name in own.grades if len(name) > LONGEST_GRADE), None)
        if long is not None:  # PostgreSQL would keep no grading, and no page takes it in a form
            raise MezoroiError(
                f"{path}: the grade `{long}` has {len(long)} characters, and the app takes "
                f"{LONGEST_GRADE}: train with a shorter name"
            )
        standard = _standard(session, own, keep_words)
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
    is_same_folder = before is not None and before.folder == str(folder.absolute())
    run = register_run(session, folder, keep_words=is_same_folder)
    is_other = is_same_folder and run is not before
    if before is None or is_other:
        activate_run(session, run)
    return is_other


def is_unchanged(run: Run) -> bool:
    """Whether a run's folder still holds the grader that was registered."""
    return content_hash(Path(run.folder) / GRADER_JSON) == run.digest


def activate_run(session: Session, run: Run) -> None:
    """Grade with this run from now on, in newer words that its grades got in the meantime."""
    before = active_run(session)
    if before is not None and before.standard.version > run.standard.version:
        own, used = (GradingStandard.from_dict(item.standard.content) for item in (run, before))
        new = _in_words_of(own, used)
        # Where no fruit had an outline, all grades were learned on the surface.
        is_alike = new.judged_on_surface() == used.judged_on_surface()
        if new == used or (is_alike and new != own):
            run.standard = _standard(session, own, keep_words=True)
    session.execute(update(Run).where(Run.id != run.id).values(active=False))
    run.active, run.activated_at = True, now()
    session.flush()


def active_run(session: Session) -> Run | None:
    """The run that grades, or None before the first."""
    return session.scalar(_ACTIVE)


def lock_active(session: Session) -> Run | None:
    """The run that grades, held until the transaction ends: what is decided about it goes in turn.

    Gradings of it may be kept meanwhile. Held first and read then: PostgreSQL would show a row that
    it waited for beside older ones of other tables.
    """
    session.execute(select(Run.id).where(Run.active).with_for_update(key_share=True))
    return active_run(session)


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


def _standard(session: Session, own: GradingStandard, keep_words: bool) -> Standard:
    """The version in use, or the newest, if it is the same, else a new one with its examples."""
    active = active_run(session)
    used = active.standard if active is not None else None
    if keep_words and used is not None:
        own = _in_words_of(own, GradingStandard.from_dict(used.content))
    content = own.to_dict()
    newest = session.scalar(select(Standard).order_by(Standard.version.desc()).limit(1))
    for known in (used, newest):
        if known is not None and known.content == content:
            return known
    standard = Standard(version=newest.version + 1 if newest is not None else 1, content=content)
    session.add(standard)
    session.flush()
    if used is not None:
        house.copy_examples(session, used.id, standard)
    return standard


def _in_words_of(standard: GradingStandard, other: GradingStandard) -> GradingStandard:
    """A standard whose grades have the titles and descriptions that they have in another."""
    descriptions = dict(standard.descriptions)
    for grade in descriptions.keys() & other.descriptions.keys():
        known = other.descriptions[grade]
        descriptions[grade] = replace(
            descriptions[grade], title=known.title, description=known.description
        )
    return replace(standard, descriptions=descriptions)
