"""Fruits, gradings and verdicts written straight into the database, with known counts."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from mezoroi.app.roles import Role
from mezoroi.app.services import Services
from mezoroi.app.store import fruits, runs, users, verdicts
from mezoroi.app.store.fruits import Details
from mezoroi.app.tables import User
from tests.app.conftest import NAMES

PICTURE = {"name": "0" * 64 + ".jpg", "width": 4, "height": 2}


def result(
    grade: str,
    *,
    resembles: int = 1,
    reliability: float | None = None,
    is_clear: bool | None = True,
) -> dict[str, Any]:
    """What the worker would store of a grading."""
    others = [name for name in "ABCD" if name != grade]
    return {
        "source": "a.jpg",
        "grade": grade,
        "similarity": {name: 0.9 if name == grade else 0.5 for name in "ABCD"},
        "thresholds": dict.fromkeys("ABCD", 0.6),
        "resembles": [grade, *others][:resembles],
        "is_unlike_all": resembles == 0,
        "not_judged": [],
        "map_grade": None,
        "map_differs": False,
        "reliability": reliability,
        "adjusted_from": None,
        "neighbours": [],
        "outline": None,
        "notes": [],
        "gap": 0.4,
        "is_clear": is_clear,
        "sureness": None,
        "silhouette": None,
        "pictures": {"surface": PICTURE, "thumbnail": PICTURE, "photo": None, "maps": {}},
    }


def user_of(services: Services, role: Role) -> User:
    with services.database.read() as session:
        found = users.find_user(session, NAMES[role])
    assert found is not None
    return found


def add(
    services: Services,
    grade: str | None,
    *,
    when: datetime | None = None,
    uploader: Role = Role.NEWCOMER,
    name: str = "a.jpg",
    content: str = "0" * 64,
    details: Details | None = None,
    **grading: Any,
) -> int:
    """Add a fruit, graded unless `grade` is None; returns its id."""
    with services.database.write() as session:
        fruit = fruits.add_fruit(
            session,
            content=content,
            media="image/jpeg",
            size=1,
            name=name,
            uploader_id=user_of(services, uploader).id,
            details=details or Details(),
        )
        if when is not None:
            fruit.created_at = when.astimezone(timezone.utc)
        if grade is not None:
            run = runs.active_run(session)
            assert run is not None
            fruits.add_grading(session, fruit.id, run, result(grade, **grading))
        return fruit.id


def judge(
    services: Services,
    fruit_id: int,
    answer: str | None,
    *,
    by: Role = Role.EXPERT,
    own: str | None = None,
    blind: str | None = None,
    note: str | None = None,
) -> None:
    """Give a verdict on a fruit's newest grading."""
    user = user_of(services, by)
    with services.database.write() as session:
        grading = fruits.newest_grading(session, fruit_id)
        assert grading is not None
        if blind is not None:
            verdicts.grade_blind(session, grading, user.id, blind)
        if answer is not None or blind is None:
            verdicts.give_verdict(session, grading, user.id, answer, own_grade=own, note=note)
