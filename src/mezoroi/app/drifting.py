"""Who still grades as before: graders' own repeats, and Mezoroi beside the experts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from mezoroi.app.store import opinions, past_grades, practice, runs, specimens
from mezoroi.app.tables import now
from mezoroi.app.teaching import active_standard
from mezoroi.standard import GradingStandard

if TYPE_CHECKING:
    from mezoroi.calibrating.drift import Drift, PastGrade, Repeat

APART = timedelta(weeks=2)
"""A repeat counts when the grader hardly remembers the first answer."""


@dataclass(frozen=True)
class Watched:
    """The drift of one grader; the model where `name` is None.

    Attributes
    ----------
    repeats : how many; of the model fruits compared with the experts
    first, last : when, None without any
    """

    name: str | None
    repeats: int
    first: datetime | None
    last: datetime | None
    drift: Drift


def history_of(
    session: Session, user_id: int | None = None, *, shown: bool = False
) -> list[PastGrade]:
    """What a user once graded blind, or what anyone did in sessions; oldest first.

    A specimen that comes again within two weeks, in whatever picture, is left out: that is memory,
    not consistency. Of practice, where the grade is told, only the answer to a hidden repeat is
    taken, beside an earlier blind grade, and only of who allows that results are kept.

    Parameters
    ----------
    shown : only what pages may tell, without the open sessions
    """
    from mezoroi.calibrating.drift import PastGrade

    first = opinions.first_of_twins(session)  # a file that was sent again is one picture
    blind = [
        (str(first.get(row[0], row[0])), *row[1:])
        for row in past_grades.past_grades(session, user_id, shown=shown)
    ]
    if user_id is None:
        return [PastGrade(*row) for row in sorted(blind, key=lambda row: row[3])]
    agrees = practice.consent_of(session, user_id)
    found = [(*row, True, True) for row in blind]
    for number, name, grade, at, truth, is_repeat in practice.practised(session, user_id):
        one = str(first.get(number, number))
        found.append((one, name, grade, at, truth, is_repeat and agrees, False))
    latest: dict[str, datetime] = {}
    place: dict[str, int] = {}
    kept: list[PastGrade] = []
    for one, name, grade, at, told, is_taken, is_first in sorted(found, key=lambda row: row[3]):
        is_apart = name not in latest or at - latest[name] >= APART
        if is_taken and is_apart and (is_first or one in place):
            place[one] = len(kept)
            kept.append(PastGrade(one, name, grade, at, told))
        elif one in place and told is not None:
            kept[place[one]] = replace(kept[place[one]], told=told)
        latest[name] = at
    return kept


def repeatable(session: Session, user_id: int) -> list[PastGrade]:
    """Of `history_of`, what would be compared, of specimens not seen in practice of late.

    Of a picture whose grade the user was told otherwise, another grade would show learning.
    """
    from mezoroi.calibrating.drift import comparable

    seen = {item[1] for item in practice.practised(session, user_id) if now() - item[3] < APART}
    history = history_of(session, user_id)
    fit = comparable(history)
    return [item for item in history if item.observation in fit and item.specimen not in seen]


def watch(session: Session) -> list[Watched]:
    """Everyone who grades blind, then Mezoroi."""
    from mezoroi.calibrating.drift import repeats_in

    standard = active_standard(session)
    found = []
    for user in past_grades.graders(session):
        past = history_of(session, user.id, shown=True)
        repeats = repeats_in([item for item in past if item.grade in standard.grades])
        found.append(_watched(user.full_name or user.name, repeats, standard))
    return [*found, _watched(None, _beside_experts(session, standard.grades), standard)]


def alerts(session: Session) -> list[Watched]:
    """Those of `watch` for whom an alert stands; none where no run is active."""
    if runs.active_run(session) is None:
        return []
    return [item for item in watch(session) if item.drift.alert is not None]


def _watched(name: str | None, repeats: Sequence[Repeat], standard: GradingStandard) -> Watched:
    from mezoroi.calibrating.drift import drift_of

    moments = [item.at for item in repeats]
    first, last = min(moments, default=None), max(moments, default=None)
    return Watched(name, len(repeats), first, last, drift_of(repeats, standard))


def _beside_experts(session: Session, grades: tuple[str, ...]) -> list[Repeat]:
    """Mezoroi's grade of every uploaded fruit beside the experts' agreed one.

    A file that was sent again is the same fruit: its grade would only be said once more.
    """
    from mezoroi.calibrating.drift import Repeat
    from mezoroi.practice.fruits import Candidate, agreed_grade

    agreed: dict[int, tuple[str, str]] = {}
    names: set[str] = set()
    for item in specimens.known_specimens(session):
        candidate = Candidate(str(item.id), item.name, item.labels, item.consensus)
        grade = agreed_grade(candidate)
        is_first = item.fruit_id is not None and item.name not in names
        if grade in grades and is_first:
            agreed[item.id] = (item.name, grade)
            names.add(item.name)
    return [
        Repeat(agreed[specimen_id][0], agreed[specimen_id][1], grade, at)
        for specimen_id, grade, at in past_grades.model_grades(session)
        if specimen_id in agreed and grade in grades
    ]
