"""Fruits and what was graded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import BindParameter, bindparam, func, select
from sqlalchemy.orm import Session

from mezoroi.app.store.jobs import GRADE
from mezoroi.app.store.lots import find_or_add_lot
from mezoroi.app.store.revisions import said_last
from mezoroi.app.tables import Fruit, GradingRow, Job, Run, Verdict

_IDS: BindParameter[list[int]] = bindparam("ids", expanding=True)
_FRUIT = select(Fruit).where(Fruit.id == bindparam("fruit_id"))
_NEWEST = (
    select(Fruit).order_by(Fruit.id.desc()).offset(bindparam("first")).limit(bindparam("most"))
)
_NEWEST_GRADING = (
    select(GradingRow)
    .where(GradingRow.fruit_id == bindparam("fruit_id"))
    .order_by(GradingRow.id.desc())
    .limit(1)
)
_NEWEST_GRADINGS = select(GradingRow).where(
    GradingRow.id.in_(
        select(func.max(GradingRow.id))
        .where(GradingRow.fruit_id.in_(_IDS))
        .group_by(GradingRow.fruit_id)
    )
)
_NEWEST_JOBS = select(Job).where(
    Job.id.in_(
        select(func.max(Job.id))
        .where(Job.fruit_id.in_(_IDS), Job.kind == GRADE)
        .group_by(Job.fruit_id)
    )
)


@dataclass(frozen=True)
class Details:
    """What the uploader says about a fruit; all of it optional.

    Attributes
    ----------
    weight : grams
    diameter : millimetres
    brix : percent
    """

    weight: float | None = None
    diameter: float | None = None
    brix: float | None = None
    orchard: str = ""
    note: str = ""
    lot: str = ""


@dataclass(frozen=True)
class Listed:
    """A fruit in a list, with its newest grading and job to grade it, where it has them."""

    fruit: Fruit
    grading: GradingRow | None
    job: Job | None


def add_fruit(
    session: Session,
    *,
    content: str,
    media: str,
    size: int,
    name: str,
    uploader_id: int,
    details: Details,
    upload_key: str | None = None,
) -> Fruit:
    """Add a fruit whose original is on disk."""
    fruit = Fruit(content=content, media=media, size=size, name=name[:255], uploader_id=uploader_id)
    fruit.upload_key = upload_key
    set_details(session, fruit, details)
    session.add(fruit)
    session.flush()
    return fruit


def get_details(fruit: Fruit) -> Details:
    """What is said about a fruit."""
    lot = fruit.lot.name if fruit.lot is not None else ""
    return Details(fruit.weight, fruit.diameter, fruit.brix, fruit.orchard, fruit.note, lot)


def set_details(session: Session, fruit: Fruit, details: Details) -> dict[str, Any]:
    """Keep what is said about a fruit; returns what changed, old values by name."""
    values = {
        "lot_id": find_or_add_lot(session, details.lot),
        "weight": details.weight,
        "diameter": details.diameter,
        "brix": details.brix,
        "orchard": details.orchard[:128],
        "note": details.note,
    }
    changed = {
        name: getattr(fruit, name)
        for name, value in values.items()
        if (getattr(fruit, name) or None) != (value or None)
    }
    for name, value in values.items():
        setattr(fruit, name, value)
    return changed


def add_grading(session: Session, fruit_id: int, run: Run, result: Mapping[str, Any]) -> GradingRow:
    """Keep what a run says about a fruit; `result` as `mezoroi.app.drawing.describe` gives it."""
    lock_fruit(session, fruit_id)
    grading = GradingRow(
        fruit_id=fruit_id,
        run_id=run.id,
        standard_id=run.standard_id,
        grade=result["grade"],
        reliability=result["reliability"],
        likenesses=len(result["resembles"]),
        result=dict(result),
    )
    session.add(grading)
    session.flush()
    refresh(session, fruit_id)
    return grading


def lock_fruit(session: Session, fruit_id: int) -> Fruit:
    """Hold a fruit until the transaction ends: what is said about it is written one by one.

    SQLite lets one transaction write at a time as it is; PostgreSQL needs this before the newest
    revision is looked up.
    """
    # Of the fruit alone, since outer joins cannot be locked; its key stays free for new rows.
    alone = {"of": Fruit, "key_share": True}
    return session.get_one(Fruit, fruit_id, with_for_update=alone)


def refresh(session: Session, fruit_id: int) -> None:
    """Bring a fruit's columns of grade and verdict up to date with the tables they repeat."""
    fruit = lock_fruit(session, fruit_id)
    grading = newest_grading(session, fruit_id)
    fruit.grade = fruit.reliability = fruit.verdict = fruit.expert_grade = None
    if grading is None:
        return
    fruit.grade, fruit.reliability = grading.grade, grading.reliability
    revisions = select(Verdict).join(GradingRow, GradingRow.id == Verdict.grading_id)
    revisions = revisions.where(GradingRow.fruit_id == fruit_id).order_by(Verdict.id)
    said = said_last(session.scalars(revisions), lambda each: (each.grading_id, each.user_id))
    for verdict in said.values():
        if verdict.grading_id == grading.id:
            fruit.verdict = verdict.answer or fruit.verdict
        # The fruit keeps its grade when another run grades it.
        fruit.expert_grade = verdict.grade or fruit.expert_grade


def get_fruit(session: Session, fruit_id: int) -> Fruit | None:
    """The fruit of an id, or None."""
    return session.scalar(_FRUIT, {"fruit_id": fruit_id})


def sent_with(session: Session, user_id: int, upload_key: str) -> Fruit | None:
    """The fruit that a user sent with this key, or None."""
    query = select(Fruit).where(Fruit.uploader_id == user_id, Fruit.upload_key == upload_key)
    return session.scalar(query)


def has_content(session: Session, digest: str) -> int | None:
    """The id of a fruit whose original has this digest, or None."""
    return session.scalar(select(Fruit.id).where(Fruit.content == digest).limit(1))


def newest_grading(session: Session, fruit_id: int) -> GradingRow | None:
    """The grading of a fruit that counts, or None."""
    return session.scalar(_NEWEST_GRADING, {"fruit_id": fruit_id})


def pictures(session: Session, fruit_id: int) -> set[str]:
    """SHA-256 of the pictures of a fruit that were graded."""
    query = select(GradingRow.result).where(GradingRow.fruit_id == fruit_id)
    found = (result["pictures"]["surface"]["name"] for result in session.scalars(query))
    return {Path(name).stem for name in found}


def count_fruits(session: Session) -> int:
    """How many fruits there are."""
    return session.scalar(select(func.count()).select_from(Fruit)) or 0


def list_fruits(session: Session, first: int, most: int) -> list[Listed]:
    """Fruits from the newest on, starting at position `first`."""
    return listed(session, session.scalars(_NEWEST, {"first": first, "most": most}).all())


def listed(session: Session, fruits: Sequence[Fruit]) -> list[Listed]:
    """Fruits with their newest gradings and jobs to grade them, in the same order."""
    ids = {"ids": [fruit.id for fruit in fruits]}
    by_fruit = {row.fruit_id: row for row in session.scalars(_NEWEST_GRADINGS, ids)}
    job_of = {job.fruit_id: job for job in session.scalars(_NEWEST_JOBS, ids)}
    return [Listed(fruit, by_fruit.get(fruit.id), job_of.get(fruit.id)) for fruit in fruits]
