"""Who did what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mezoroi.app.tables import AuditEntry, User


def record(
    session: Session, user: User | None, action: str, subject: str = "", **detail: Any
) -> None:
    """Add a line to the audit log, in the transaction of what it records."""
    session.add(
        AuditEntry(
            user_id=user.id if user is not None else None,
            action=action,
            subject=subject,
            detail=detail,
        )
    )


def count_entries(session: Session) -> int:
    """How many lines the audit log has."""
    return session.scalar(select(func.count()).select_from(AuditEntry)) or 0


def list_entries(session: Session, first: int, most: int) -> Sequence[tuple[AuditEntry, str]]:
    """Lines from the newest on, each with the user's name; empty for the house itself."""
    query = select(AuditEntry, User.name).outerjoin(User, User.id == AuditEntry.user_id)
    query = query.order_by(AuditEntry.id.desc()).offset(first).limit(most)
    return [(entry, name or "") for entry, name in session.execute(query)]
