"""Experts' verdicts on gradings, and grades given blind."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, HTTPException, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.orm import Session

from mezoroi.app.access import Expert
from mezoroi.app.answers import is_fragment
from mezoroi.app.hiding import secret_fruits
from mezoroi.app.ids import FormId, Id
from mezoroi.app.pages import language_of
from mezoroi.app.problems import Refusal
from mezoroi.app.services import Here
from mezoroi.app.store import fruits, verdicts
from mezoroi.app.tables import GradingRow
from mezoroi.app.views import result_view

router = APIRouter(include_in_schema=False)
WITHDRAW = "withdraw"
Grade = Annotated[str, Form(max_length=64)]


@router.post("/fruits/{fruit_id}/blind")
def grade_blind(
    fruit_id: Id, user: Expert, here: Here, grading_id: FormId, grade: Grade = ""
) -> Response:
    """Keep a grade given before seeing the result; without one the user just looks."""
    with here.database.write() as session:
        grading = _grading(session, fruit_id, grading_id)
        if fruit_id in secret_fruits(session, user):
            raise Refusal("grade first")
        if grade:
            verdicts.grade_blind(session, grading, user.id, grade)
        else:
            verdicts.look_first(session, grading, user.id)
    return RedirectResponse(f"/fruits/{fruit_id}", 303)


@router.post("/fruits/{fruit_id}/verdict")
def give_verdict(
    request: Request,
    fruit_id: Id,
    user: Expert,
    here: Here,
    grading_id: FormId,
    answer: Annotated[str, Form(max_length=16)],
    own_grade: Grade = "",
    note: Annotated[str, Form(max_length=2000)] = "",
    note_shown: Annotated[bool, Form()] = False,
) -> Response:
    """Add a revision to the user's verdict.

    An empty note deletes the one there was where the form showed it, and leaves it otherwise.
    """
    with here.database.write() as session:
        grading = _grading(session, fruit_id, grading_id)
        if fruit_id in secret_fruits(session, user):
            raise Refusal("grade first")
        verdict = verdicts.give_verdict(
            session,
            grading,
            user.id,
            None if answer == WITHDRAW else answer,
            own_grade=own_grade or None,
            note=note.strip() if note or note_shown else None,
        )
    if not is_fragment(request):
        return RedirectResponse(f"/fruits/{fruit_id}", 303)
    with here.database.read() as session:
        past = verdicts.history(session, grading_id)
        fruit = fruits.get_fruit(session, fruit_id)
    return here.pages.render(
        request,
        "grade/_verdict.html",
        fruit=fruit,
        result=result_view(grading, language_of(request)),
        verdict=verdict,
        history=past,
        change=False,
        can_judge=True,
    )


def _grading(session: Session, fruit_id: int, grading_id: int) -> GradingRow:
    """The grading that was judged, which may no longer be the fruit's newest."""
    grading = session.get(GradingRow, grading_id)
    if grading is None or grading.fruit_id != fruit_id:
        raise HTTPException(404)
    return grading
