"""The pictures of the standard's features, and the measurements that they are found by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from mezoroi.app.tables import now
from mezoroi.app.tables_learning import FeaturePicture, Specimen


def chosen_pictures(session: Session) -> dict[str, FeaturePicture]:
    """What experts chose, by the feature's key."""
    return {item.feature: item for item in session.scalars(select(FeaturePicture))}


def choose_picture(
    session: Session, feature: str, specimen_id: int, user_id: int, place: Mapping[str, float]
) -> None:
    """Show a feature on this fruit from now on, rather than on any other."""
    chosen: dict[str, Any] = {
        "specimen_id": specimen_id,
        "place": dict(place),
        "chosen_by_id": user_id,
        "chosen_at": now(),
    }
    if session.get(FeaturePicture, feature) is None:
        try:
            with session.begin_nested():
                session.add(FeaturePicture(feature=feature, **chosen))
                session.flush()
                return
        except IntegrityError:  # another request has just chosen the first one
            pass
    found = session.get_one(FeaturePicture, feature)
    for name, value in chosen.items():
        setattr(found, name, value)


def take_back(session: Session, feature: str) -> None:
    """Show a feature as before anybody chose its picture."""
    found = session.get(FeaturePicture, feature)
    if found is not None:
        session.delete(found)


def measured(session: Session, measure: str, *, filmed: bool) -> dict[int, float]:
    """A statistic of the outline, by the id of every specimen that has it.

    Parameters
    ----------
    filmed : only of those whose silhouette is known
    """
    value = Specimen.result["outline"][measure].as_float()
    query = select(Specimen.id, value).where(value.is_not(None))
    if filmed:
        query = query.where(Specimen.result["silhouette"]["mean"].as_string().is_not(None))
    return {row[0]: row[1] for row in session.execute(query)}


def specimen_of(session: Session, fruit_id: int) -> int | None:
    """The specimen that an uploaded fruit is, or None before it is prepared."""
    own = select(Specimen.id).where(
        Specimen.fruit_id == fruit_id, Specimen.run_id.is_not(None), Specimen.trouble == ""
    )
    return session.scalar(own)
