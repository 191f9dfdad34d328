"""What an expert may do with a graded fruit besides judging it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from mezoroi.app.roles import Role
from mezoroi.app.store import features, house, references, runs
from mezoroi.app.tables import GradingRow, User, Verdict
from mezoroi.app.tables_house import ReferenceFruit, StandardExample
from mezoroi.standard import GradingStandard
from mezoroi.standard_features import Feature


@dataclass(frozen=True)
class ExpertTools:
    """State of these tools for one fruit and user.

    Attributes
    ----------
    grade : what the user would grade it, else the grading's
    own_mask : whether the user painted a mask
    reference : the active run's reference that it is, or None
    example : the example of the standard that it is, or None
    specimen_id : the fruit where practice shows it, or None before it is prepared
    features : those of the standard in use, whose picture it can become
    is_admin : whether the user may change the standard's examples
    is_old : whether another run than the active one graded it
    """

    grade: str
    own_mask: bool
    reference: ReferenceFruit | None
    example: StandardExample | None
    specimen_id: int | None
    features: Sequence[tuple[str, Feature]]
    is_admin: bool
    is_old: bool


def expert_tools(
    session: Session, grading: GradingRow, user: User, own: Verdict | None
) -> ExpertTools | None:
    """The tools for a grading, or None where no run is active."""
    run = runs.active_run(session)
    if run is None:
        return None
    examples = house.examples(session, run.standard_id)
    return ExpertTools(
        grade=(own.grade if own is not None else None) or grading.grade,
        own_mask=own is not None and bool(own.mask),
        reference=references.reference_of(session, run.id, grading.fruit_id),
        example=next((each for each in examples if each.fruit_id == grading.fruit_id), None),
        specimen_id=features.specimen_of(session, grading.fruit_id),
        features=GradingStandard.from_dict(run.standard.content).features,
        is_admin=Role(user.role).covers(Role.ADMIN),
        is_old=grading.run_id != run.id,
    )
