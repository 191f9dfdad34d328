"""Which reference fruits no page may show as examples of their grade."""

from __future__ import annotations

from sqlalchemy.orm import Session

from mezoroi.app import teaching
from mezoroi.app.store import references, runs, specimens


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
    for item in specimens.known_specimens(session):
        own = {one.name: one.grade for one in made.get(item.fruit_id or 0, [])}
        if item.reference is not None:
            own[item.reference] = item.labels["reference"]
        for name, grade in own.items():
            labels = item.labels if grade is None else {**item.labels, "reference": grade}
            agreed = agreed_grade(Candidate(str(item.id), item.name, labels, item.consensus))
            if item.name in names or agreed != grade:
                hidden.add(name)
    return hidden
