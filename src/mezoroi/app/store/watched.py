"""Files of the watched folder that were looked at."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from mezoroi.app.tables import WatchedFile, now

LONGEST_NAME = 512


def known_files(session: Session) -> dict[str, tuple[int, int]]:
    """Size and moment of change by name."""
    rows = session.execute(select(WatchedFile.name, WatchedFile.size, WatchedFile.modified))
    return {name: (size, modified) for name, size, modified in rows}


def note(session: Session, name: str, size: int, modified: int, fruit_id: int | None) -> None:
    """Remember that a file was looked at, and which fruit it became."""
    file = session.get(WatchedFile, name)
    if file is None:
        file = WatchedFile(name=name)
        session.add(file)
    file.size, file.modified, file.fruit_id, file.looked_at = size, modified, fruit_id, now()
