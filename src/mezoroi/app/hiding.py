"""What would tell a grade that somebody is asked for: gradings, and examples of a grade."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy.orm import Session

from mezoroi.app import teaching
from mezoroi.app.roles import Role
from mezoroi.app.store import opinions, references, runs, specimens, verdicts
from mezoroi.app.tables import GradingRow, User
from mezoroi.app.tables_learning import Question
from mezoroi.app.views import asks_blind

Neighbours = list[Mapping[str, Any]]


def hidden_names(session: Session) -> set[str]:
    """References of the active run that are in a test or an open calibration session, or disputed.

    Disputed are those whose grade is not the one that all experts gave, or settled on. Every
    reference of the same fruit is hidden, also one that was made from an upload.
    """
    from mezoroi.practice.fruits import Candidate, agreed_grade

    run = runs.active_run(session)
    if run is None:
        return set()
    ids = teaching.test_ids(session) | specimens.in_open_sessions(session)
    secret = specimens.get_specimens(session, ids).values()
    names = {item.name for item in secret}
    made = references.of_fruits(session, run.id)
    hidden = {item.reference for item in secret if item.reference is not None}
    hidden |= {one.name for item in secret for one in made.get(item.fruit_id or 0, [])}
    for item in specimens.known_specimens(session, of_references=True):
        own = {one.name: one.grade for one in made.get(item.fruit_id or 0, [])}
        if item.reference is not None:
            own[item.reference] = item.labels["reference"]
        for name, grade in own.items():
            labels = item.labels if grade is None else {**item.labels, "reference": grade}
            agreed = agreed_grade(Candidate(str(item.id), item.name, labels, item.consensus))
            if item.name in names or agreed != grade:
                hidden.add(name)
    return hidden


def secret_fruits(session: Session, user: User) -> frozenset[int]:
    """Uploaded fruits whose grade a user may not be told, since they are asked for it elsewhere.

    To a newcomer these are the fruits in tests and in open calibration sessions, to an expert those
    in open sessions that they take part in and have not graded there.
    """
    ids = _asked_in_sessions(session, user)
    if not Role(user.role).covers(Role.EXPERT):
        ids |= teaching.test_ids(session)
    return specimens.uploads_among(session, ids) if ids else frozenset()


def _asked_in_sessions(session: Session, user: User) -> set[int]:
    """Specimens whose grade no page tells a user while an open session lasts."""
    if Role(user.role).covers(Role.EXPERT):
        return specimens.awaited_from(session, user.id)
    return specimens.in_open_sessions(session)


def fair_questions(session: Session, questions: Sequence[Question]) -> set[int]:
    """Ids of the questions of practice that may be asked, and learned from.

    Their grade is the one that experts agree on, and no test and no open session has the fruit, be
    it in another picture.
    """
    secret = teaching.test_ids(session) | specimens.in_open_sessions(session)
    return _agreed_outside(session, questions, secret)


def told_questions(session: Session, user: User, questions: Sequence[Question]) -> set[int]:
    """Ids of the answered questions of practice whose right grade a user may be told."""
    secret = teaching.test_ids(session) | _asked_in_sessions(session, user)
    return _agreed_outside(session, questions, secret)


def _agreed_outside(
    session: Session, questions: Sequence[Question], secret: Iterable[int]
) -> set[int]:
    agreed = opinions.agreed_grades(session, {item.specimen_id for item in questions})
    names = specimens.names_of(session, secret)
    return {
        item.id
        for item in questions
        if agreed.get(item.specimen_id) == item.truth and item.specimen.name not in names
    }


def is_kept_from(session: Session, user: User, grading: GradingRow) -> bool:
    """Whether a user is asked for a fruit's grade before they may be told what Mezoroi says."""
    own = verdicts.current_verdict(session, grading.id, user.id)
    return asks_blind(user, own) or grading.fruit_id in secret_fruits(session, user)


def awaited_references(session: Session, user: User) -> set[str]:
    """References of the active run that an open session asks this grader for."""
    ids = specimens.awaited_from(session, user.id)
    run = runs.active_run(session) if ids else None
    if run is None:
        return set()
    found = specimens.get_specimens(session, ids).values()
    made = references.of_fruits(session, run.id)
    names = {item.reference for item in found if item.reference is not None}
    uploads = specimens.uploads_among(session, ids)
    return names | {one.name for fruit_id in uploads for one in made.get(fruit_id, [])}


def shown_neighbours(
    session: Session, user: User, gradings: Sequence[GradingRow]
) -> dict[int, Neighbours]:
    """By grading, the similar reference fruits that a user may see; a newcomer none that is hidden.

    Experts see all but those that an open session asks them for. Another run may call its
    references otherwise, so of those none can be told to be fit for a newcomer.
    """
    found: dict[int, Neighbours] = {row.id: row.result["neighbours"] for row in gradings}
    if not any(found.values()):
        return found
    if Role(user.role).covers(Role.EXPERT):
        awaited = awaited_references(session, user)
        return {
            number: [item for item in near if item["id"] not in awaited]
            for number, near in found.items()
        }
    run = runs.active_run(session)
    hidden = hidden_names(session)
    of_run = {row.id for row in gradings if run is not None and row.run_id == run.id}
    return {
        number: [item for item in near if item["id"] not in hidden] if number in of_run else []
        for number, near in found.items()
    }
