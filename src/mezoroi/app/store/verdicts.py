"""Experts' answers to gradings; every change is a new revision."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import Session

from mezoroi.app.store.fruits import lock_fruit, refresh
from mezoroi.app.tables import GradingRow, Verdict, now
from mezoroi.errors import MezoroiError

ANSWERS = ("agree", "plausible", "wrong")
_OF_GRADING = Verdict.grading_id == bindparam("grading_id")
_OF_USER = Verdict.user_id == bindparam("user_id")
_CURRENT = select(Verdict).where(_OF_GRADING, _OF_USER).order_by(Verdict.revision.desc()).limit(1)
_HISTORY = select(Verdict).where(_OF_GRADING).order_by(Verdict.created_at, Verdict.id)
_ANSWERED = select(Verdict).where(
    Verdict.id.in_(
        select(func.max(Verdict.id))
        .where(_OF_USER, Verdict.grading_id.in_(bindparam("grading_ids", expanding=True)))
        .group_by(Verdict.grading_id)
    )
)
_NEWEST = select(Verdict).where(
    Verdict.id.in_(select(func.max(Verdict.id)).where(_OF_GRADING).group_by(Verdict.user_id))
)


def current_verdict(session: Session, grading_id: int, user_id: int) -> Verdict | None:
    """A user's newest revision, or None."""
    return session.scalar(_CURRENT, {"grading_id": grading_id, "user_id": user_id})


def give_verdict(
    session: Session,
    grading: GradingRow,
    user_id: int,
    answer: str | None,
    *,
    own_grade: str | None = None,
    note: str | None = None,
    mask: str | None = None,
) -> Verdict:
    """Add a revision; who agrees grades it as the grading does.

    Parameters
    ----------
    answer : one of `ANSWERS`, or None to take it back
    own_grade : default the one given before, else the blind grade, where it is not the grading's
    note : default the one given before; empty for none

    Raises
    ------
    MezoroiError
        If the answer or the grade is unknown.
    """
    if answer is not None and answer not in ANSWERS:
        raise MezoroiError(f"unknown answer `{answer}`: use {', '.join(ANSWERS)}")
    _check_grade(grading, own_grade)
    lock_fruit(session, grading.fruit_id)
    last = current_verdict(session, grading.id, user_id)
    if answer == "agree":
        own_grade = grading.grade
    elif answer is not None and own_grade is None and last is not None:
        given = (last.own_grade, last.blind_grade)
        own_grade = next((grade for grade in given if grade not in (None, grading.grade)), None)
    if note is None:
        note = last.note if last is not None else ""
    revision = Verdict(
        grading_id=grading.id,
        user_id=user_id,
        revision=1 if last is None else last.revision + 1,
        answer=answer,
        own_grade=own_grade,
        blind_grade=last.blind_grade if last is not None else None,
        blind_at=last.blind_at if last is not None else None,
        note=note,
        mask=mask if mask is not None or last is None else last.mask,
    )
    session.add(revision)
    session.flush()
    refresh(session, grading.fruit_id)
    return revision


def grade_blind(session: Session, grading: GradingRow, user_id: int, grade: str) -> Verdict:
    """Keep the grade a user gave before seeing the grading; the first one stands.

    Raises
    ------
    MezoroiError
        If the grade is unknown.
    """
    _check_grade(grading, grade)
    lock_fruit(session, grading.fruit_id)
    last = current_verdict(session, grading.id, user_id)
    if last is not None:
        return last
    verdict = Verdict(
        grading_id=grading.id,
        user_id=user_id,
        revision=1,
        own_grade=grade,
        blind_grade=grade,
        blind_at=now(),
    )
    session.add(verdict)
    session.flush()
    refresh(session, grading.fruit_id)
    return verdict


def look_first(session: Session, grading: GradingRow, user_id: int) -> None:
    """A user chose to see the grading without grading blind: an empty first revision."""
    lock_fruit(session, grading.fruit_id)
    if current_verdict(session, grading.id, user_id) is None:
        session.add(Verdict(grading_id=grading.id, user_id=user_id, revision=1))
        session.flush()


def history(session: Session, grading_id: int) -> Sequence[Verdict]:
    """All revisions of a grading's verdicts, oldest first."""
    return session.scalars(_HISTORY, {"grading_id": grading_id}).all()


def answered(session: Session, grading_ids: Iterable[int], user_id: int) -> dict[int, Verdict]:
    """A user's newest revision by grading, of those they have answered or looked at."""
    asked = {"grading_ids": list(grading_ids), "user_id": user_id}
    return {verdict.grading_id: verdict for verdict in session.scalars(_ANSWERED, asked)}


def _check_grade(grading: GradingRow, grade: str | None) -> None:
    known = list(grading.standard.content["grades"])
    if grade is not None and grade not in known:
        raise MezoroiError(f"unknown grade `{grade}`: the standard has {', '.join(known)}")


def keep_mask(session: Session, grading: GradingRow, user_id: int, mask: str) -> Verdict:
    """Add a revision with a painted mask, a blob; all else stays as it was. Empty takes it back."""
    lock_fruit(session, grading.fruit_id)
    last = current_verdict(session, grading.id, user_id)
    revision = Verdict(
        grading_id=grading.id,
        user_id=user_id,
        revision=1 if last is None else last.revision + 1,
        answer=last.answer if last is not None else None,
        own_grade=last.own_grade if last is not None else None,
        blind_grade=last.blind_grade if last is not None else None,
        blind_at=last.blind_at if last is not None else None,
        note=last.note if last is not None else "",
        mask=mask or None,
    )
    session.add(revision)
    session.flush()
    return revision


def painted(session: Session, grading_id: int) -> dict[int, Verdict]:
    """The newest revision of everyone who painted a mask on a grading's picture, by user."""
    newest = session.scalars(_NEWEST, {"grading_id": grading_id})
    return {verdict.user_id: verdict for verdict in newest if verdict.mask}
