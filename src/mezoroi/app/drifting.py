"""Who still grades as before: graders' own repeats, and Mezoroi beside the experts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from mezoroi.app.store import calibration, practice, specimens
from mezoroi.app.tables import now
from mezoroi.app.teaching import active_standard

if TYPE_CHECKING:
    from mezoroi.calibrating.drift import Drift, PastGrade, Repeat

APART = timedelta(weeks=2)
"""A repeat counts when the grader hardly remembers the first answer."""


@dataclass(frozen=True)
class Watched:
    """The drift of one grader; the model where `name` is None."""

    name: str | None
    repeats: int
    drift: Drift


def history_of(
    session: Session, user_id: int | None = None, *, shown: bool = False
) -> list[PastGrade]:
    """What a user once graded blind, or what anyone did in sessions; oldest first.

    A specimen that comes again within two weeks is left out: that is memory, not consistency. Of
    practice, where the grade is told, only the answer to a hidden repeat is taken, beside an
    earlier blind grade, and only of who allows that results are kept.

    Parameters
    ----------
    shown : only what pages may tell, without the open sessions
    """
    from mezoroi.calibrating.drift import PastGrade

    blind = calibration.past_grades(session, user_id, shown=shown)
    if user_id is None:
        return [PastGrade(*row) for row in sorted(blind, key=lambda row: row[2])]
    agrees = practice.consent_of(session, user_id)
    found = [(*row, True, True) for row in blind]
    for name, grade, at, is_repeat in practice.practised(session, user_id):
        found.append((name, grade, at, is_repeat and agrees, False))
    latest: dict[str, datetime] = {}
    begun, kept = set(), []
    for name, grade, at, is_taken, is_first in sorted(found, key=lambda row: row[2]):
        is_apart = name not in latest or at - latest[name] >= APART
        if is_taken and is_apart and (is_first or name in begun):
            kept.append(PastGrade(name, grade, at))
            begun.add(name)
        latest[name] = at
    return kept


def repeatable(session: Session, user_id: int) -> list[PastGrade]:
    """Of `history_of`, the specimens that the user has not seen in practice of late."""
    seen = {name for name, _, at, _ in practice.practised(session, user_id) if now() - at < APART}
    return [item for item in history_of(session, user_id) if item.specimen not in seen]


def watch(session: Session) -> list[Watched]:
    """Everyone who grades blind, then Mezoroi."""
    from mezoroi.calibrating.drift import drift_of, repeats_in

    standard = active_standard(session)
    found = []
    for user in calibration.graders(session):
        past = history_of(session, user.id, shown=True)
        repeats = repeats_in([item for item in past if item.grade in standard.grades])
        name = user.full_name or user.name
        found.append(Watched(name, len(repeats), drift_of(repeats, standard)))
    own = _beside_experts(session, standard.grades)
    return [*found, Watched(None, len(own), drift_of(own, standard))]


def _beside_experts(session: Session, grades: tuple[str, ...]) -> list[Repeat]:
    """Mezoroi's grade of every uploaded fruit beside the experts' agreed one."""
    from mezoroi.calibrating.drift import Repeat
    from mezoroi.practice.fruits import Candidate, agreed_grade

    agreed = {}
    for item in specimens.known_specimens(session):
        candidate = Candidate(str(item.id), item.name, item.labels, item.consensus)
        grade = agreed_grade(candidate)
        if grade in grades:
            agreed[item.id] = (item.name, grade)
    return [
        Repeat(agreed[specimen_id][0], agreed[specimen_id][1], grade, at)
        for specimen_id, grade, at in calibration.model_grades(session)
        if specimen_id in agreed and grade in grades
    ]
