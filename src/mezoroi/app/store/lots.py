"""Harvest batches."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import bindparam, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from mezoroi.app.tables import Fruit, Lot, now

_STILL_THE_SAME = timedelta(hours=12)
_LONGEST_NAME = 128
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_COUNT = select(func.count()).where(Fruit.lot_id == Lot.id).scalar_subquery()
_COUNTED = (
    select(Lot, _COUNT).order_by(Lot.id.desc()).offset(bindparam("first")).limit(bindparam("most"))
)
_NEWEST = select(Lot).order_by(Lot.id.desc()).limit(bindparam("most"))
_NEWEST_OPEN = (
    select(Lot).where(Lot.closed_at.is_(None)).order_by(Lot.id.desc()).limit(bindparam("most"))
)
_LAST_SENT = (
    select(Fruit)
    .where(Fruit.uploader_id == bindparam("user_id"))
    .order_by(Fruit.id.desc())
    .limit(1)
)


@dataclass(frozen=True)
class CountedLot:
    """A lot with the number of its fruits."""

    lot: Lot
    count: int


def find_or_add_lot(session: Session, name: str) -> int | None:
    """The id of the lot of a name, made where it is new; None without a name.

    Names that look the same are the same: a folder of a Mac has か and ゛ where people type が.
    """
    given = name.strip()[:_LONGEST_NAME]
    clean = _CONTROLS.sub(" ", unicodedata.normalize("NFC", name)).strip()[:_LONGEST_NAME]
    if not clean:
        return None
    named = select(Lot).where(Lot.name == clean)
    lot = None
    if given != clean:  # earlier versions kept it as it was typed
        lot = session.scalar(select(Lot).where(Lot.name == given))
    lot = lot or session.scalar(named)
    if lot is None:
        lot = Lot(name=clean)
        try:
            with session.begin_nested():
                session.add(lot)
        except IntegrityError:  # another tablet has just made it
            lot = session.scalars(named).one()
    return lot.id


def get_lot(session: Session, lot_id: int) -> Lot | None:
    """The lot of an id, or None."""
    return session.get(Lot, lot_id)


def list_lots(session: Session, first: int, most: int) -> list[CountedLot]:
    """Lots from the newest on, each with its number of fruits."""
    rows = session.execute(_COUNTED, {"first": first, "most": most})
    return [CountedLot(lot, number) for lot, number in rows]


def count_lots(session: Session) -> int:
    """How many lots there are."""
    return session.scalar(select(func.count()).select_from(Lot)) or 0


def lots_to_choose(session: Session, chosen: int | None, most: int = 200) -> list[Lot]:
    """The newest lots, and after them the one that is chosen, where it is older."""
    newest = list(session.scalars(_NEWEST, {"most": most}))
    lot = None if chosen is None else get_lot(session, chosen)
    return newest if lot is None or lot in newest else [*newest, lot]


def open_lots(session: Session, most: int = 50) -> Sequence[Lot]:
    """Lots that fruits are still added to, newest first."""
    return session.scalars(_NEWEST_OPEN, {"most": most}).all()


def last_lot(session: Session, user_id: int) -> Lot | None:
    """The open lot of the fruit that a user sent last, within half a day; None without one."""
    fruit = session.scalar(_LAST_SENT, {"user_id": user_id})
    if fruit is None or fruit.lot is None or fruit.lot.closed_at is not None:
        return None
    return fruit.lot if now() - fruit.created_at < _STILL_THE_SAME else None


def change_lot(session: Session, lot: Lot, *, orchard: str, note: str, closed: bool) -> None:
    """Keep what is said about a lot."""
    lot.orchard, lot.note = orchard.strip()[:128], note.strip()
    if closed != (lot.closed_at is not None):
        lot.closed_at = now() if closed else None
    session.flush()
