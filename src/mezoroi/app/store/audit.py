"""Who did what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mezoroi.app.problems import N_
from mezoroi.app.tables import AuditEntry, User

ACTIONS: Mapping[str, str] = {
    "answers exported": N_("Practice answers exported"),
    "backup downloaded": N_("Backup downloaded"),
    "calibration opened": N_("Calibration session opened"),
    "calibration revealed": N_("Calibration answers revealed"),
    "calibration cancelled": N_("Calibration session cancelled"),
    "consensus": N_("Consensus recorded"),
    "consensus to references": N_("Consensus fruits made references"),
    "example set": N_("Example fruit of a grade chosen"),
    "feature shown": N_("Picture of a feature chosen"),
    "fruit corrected": N_("Details of a fruit corrected"),
    "grader switched": N_("Grader put to use"),
    "grader trained": N_("Grader trained"),
    "grading costs": N_("Costs of wrong grades changed"),
    "house settings": N_("House settings changed"),
    "locked": N_("User locked out"),
    "login": N_("Logged in"),
    "login refused": N_("Login refused"),
    "lot added": N_("Lot added"),
    "lot changed": N_("Lot changed"),
    "original downloaded": N_("Original file downloaded"),
    "password changed": N_("Password changed"),
    "password reset": N_("Password reset"),
    "practice settings": N_("Practice settings changed"),
    "practice tests": N_("Practice tests made anew"),
    "reference added": N_("Reference fruit added"),
    "reference removed": N_("Reference fruit removed"),
    "references indexed": N_("References indexed anew"),
    "role changed": N_("Role changed"),
    "standard revised": N_("Grading standard revised"),
    "study arm": N_("Way of practice assigned"),
    "taken from the watched folder": N_("Taken from the watched folder"),
    "token made": N_("Key for a program made"),
    "token revoked": N_("Key for a program removed"),
    "training cancelled": N_("Training cancelled"),
    "training started": N_("Training started"),
    "unlocked": N_("User let in again"),
    "user added": N_("User added"),
}
"""What is recorded, as the log keeps it, and as pages say it."""
DETAILS: Mapping[str, str] = {
    "arm": N_("way"),
    "audit": N_("Audit log"),
    "before": N_("before"),
    "brix": N_("Sugar (Brix)"),
    "by": N_("by"),
    "closed": N_("closed"),
    "days": N_("days kept"),
    "diameter": N_("Diameter"),
    "fruits": N_("fruits"),
    "grade": N_("grade"),
    "job": N_("job"),
    "language": N_("language"),
    "lot_id": N_("Lot"),
    "note": N_("Note"),
    "orchard": N_("Orchard"),
    "over": N_("one grade too good"),
    "performance": N_("Results of practice and calibration"),
    "role": N_("role"),
    "rows": N_("rows"),
    "under": N_("one grade too low"),
    "weight": N_("Weight"),
}
"""What a line may say besides, likewise."""
COMMAND_LINE = N_("command line")
"""By what a line was made for which no user logged in."""


def record(
    session: Session, user: User | None, action: str, subject: str = "", **detail: Any
) -> None:
    """Add a line to the audit log, in the transaction of what it records.

    Parameters
    ----------
    user : who did it; None for the house itself
    action : one of `ACTIONS`
    subject : what it was done to: a name, or a number
    detail : what else is to be known, by names of `DETAILS`
    """
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
