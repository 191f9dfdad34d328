"""The reveal of a calibration session: agreement, the fruits, their consensus, references."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Form, HTTPException, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.orm import Session

from mezoroi.app import calibrating_sessions as sessions
from mezoroi.app import hiding, teaching
from mezoroi.app.access import Expert
from mezoroi.app.ids import FieldId, Id
from mezoroi.app.pages import language_of
from mezoroi.app.problems import Refusal
from mezoroi.app.routes.calibration import CANCELLED, fruit_or_404, may_lead, session_or_404
from mezoroi.app.services import Here, Services
from mezoroi.app.store import audit, calibration, consensus, specimens
from mezoroi.app.tables import User
from mezoroi.app.tables_learning import CalibrationFruit, CalibrationSession
from mezoroi.app.views_learning import alike, fruit_view, specimen_result
from mezoroi.errors import MezoroiError
from mezoroi.standard import GradingStandard

router = APIRouter(include_in_schema=False)
Note = Annotated[str, Form(max_length=2000)]


@router.post("/calibration/{session_id}/reveal")
def reveal(
    request: Request,
    session_id: Id,
    user: Expert,
    here: Here,
    sure: Annotated[bool, Form()] = False,
) -> Response:
    """End the grading and show everything; by who opened the session, or an administrator.

    Parameters
    ----------
    sure : also where some have not finished; else a page says so first
    """
    goal = f"/calibration/{session_id}/reveal"
    with here.database.write() as session:
        found = session_or_404(session, session_id)
        if not may_lead(user, found):
            raise Refusal("not leader")
        if found.revealed_at is not None:
            return RedirectResponse(goal, 303)
        progress = calibration.progress(session, session_id)
        missing = progress.joined - progress.finished
        is_asked = missing > 0 and not sure and bool(calibration.grades_of(session, session_id))
        if not is_asked:
            calibration.close(session, found)
            audit.record(session, user, "calibration revealed", str(session_id))
    if is_asked:
        return here.pages.render(request, "calibration/sure.html", found=found, missing=missing)
    _outcome(here, found)
    return RedirectResponse(goal, 303)


@router.get("/calibration/{session_id}/reveal")
def reveal_page(request: Request, session_id: Id, user: Expert, here: Here) -> Response:
    """Agreement, and the fruits, most disputed first; before the reveal the session's own page."""
    with here.database.read() as session:
        found = calibration.get_session(session, session_id)
        if found is None:  # a page that was open when it was cancelled leads here
            return RedirectResponse(CANCELLED, 303)
        if found.revealed_at is None:
            return RedirectResponse(f"/calibration/{session_id}", 303)
        fruits = {str(item.id): item for item in calibration.fruits_of(session, session_id)}
        state = sessions.settled(session, found)
        standing = sessions.standing(session, list(fruits.values()))
        awaited = specimens.awaited_from(session, user.id)
        is_new = calibration.is_reveal_new(session, session_id, user.id)
        joined = calibration.progress(session, session_id).joined
    if is_new:
        _note_seen(here, session_id, user)
    outcome = _outcome(here, found)
    told = _told(outcome, fruits.values(), awaited)
    standard = GradingStandard.from_dict(found.standard.content)
    return here.pages.render(
        request,
        "calibration/reveal.html",
        found=found,
        outcome={**outcome, "fruits": told},
        withheld=len(outcome["fruits"]) - len(told),
        fruits=fruits,
        standing=standing,
        common=sessions.in_common(outcome),
        few=sessions.FEW_IN_COMMON,
        whole=sessions.graded_by_all(outcome),
        asked=len(outcome["fruits"]),
        joined=joined,
        grades=standard.grades,
        ordered=standard.ordered,
        state=state,
        learned=sum(item["model"] is None for item in outcome["fruits"]),
    )


@router.get("/calibration/{session_id}/fruits/{fruit_id}")
def fruit_page(
    request: Request, session_id: Id, fruit_id: Id, user: Expert, here: Here
) -> Response:
    """One fruit of a revealed session: who said what, maps, neighbours, consensus."""
    with here.database.read() as session:
        found = _revealed(session, session_id)
        fruit = fruit_or_404(session, session_id, fruit_id)
        fruits = calibration.fruits_of(session, session_id)
        turns = teaching.pictures_turn(session)
        hidden = hiding.hidden_names(session)
        awaited = specimens.awaited_from(session, user.id)
        standing = sessions.standing(session, [fruit])[str(fruit.id)]
        is_new = calibration.is_reveal_new(session, session_id, user.id)
    if fruit.specimen_id in awaited:  # an open session asks for its grade
        return RedirectResponse("/calibration", 303)
    if is_new:
        _note_seen(here, session_id, user)
    told = _told(_outcome(here, found), fruits, awaited)
    order = [item["id"] for item in told]
    place = order.index(str(fruit_id))
    said = told[place]
    result = specimen_result(fruit.specimen, found.standard, language_of(request))
    standard = GradingStandard.from_dict(found.standard.content)
    given = [grade for grade, number in said["distribution"].items() if number]
    return here.pages.render(
        request,
        "calibration/fruit.html",
        found=found,
        fruit=fruit,
        said=said,
        standing=standing,
        place=place + 1,
        count=len(order),
        following=order[place + 1] if place + 1 < len(order) else None,
        shown=fruit_view(fruit.specimen, turns),
        result=result,
        grades=result.grades,
        maps=[(grade, fruit.specimen.result["pictures"]["maps"].get(grade)) for grade in given],
        alike=alike(fruit.specimen, given, standard, hidden),
    )


@router.post("/calibration/{session_id}/fruits/{fruit_id}/consensus")
def settle(
    session_id: Id,
    fruit_id: Id,
    user: Expert,
    here: Here,
    grade: Annotated[str, Form(max_length=64)] = "",
    settled: Annotated[str, Form(max_length=64)] = "",
    note: Note = "",
    noted: Note = "",
) -> Response:
    """Keep what the graders agreed on, with a note; without a grade it is taken back.

    Parameters
    ----------
    settled, noted : consensus and note as the page showed them
    """
    with here.database.write() as session:
        found = _revealed(session, session_id)
        fruit = fruit_or_404(session, session_id, fruit_id)
        grades = GradingStandard.from_dict(found.standard.content).grades
        if grade and grade not in grades:
            raise MezoroiError(f"unknown grade `{grade}`: the standard has {', '.join(grades)}")
        consensus.settle(session, fruit, user.id, grade or None, settled or None)
        consensus.keep_note(fruit, note.strip(), noted)
        audit.record(session, user, "consensus", str(fruit_id), grade=grade)
    here.supervisor.wake()
    return RedirectResponse(f"/calibration/{session_id}/fruits/{fruit_id}", 303)


@router.post("/calibration/{session_id}/fruits/{fruit_id}/note")
def keep_note(
    session_id: Id,
    fruit_id: Id,
    user: Expert,
    here: Here,
    note: Note = "",
    noted: Note = "",
    following: Annotated[FieldId | None, Form()] = None,
) -> Response:
    """Keep a note and go on to the following fruit, or to the overview; it decides nothing."""
    with here.database.write() as session:
        _revealed(session, session_id)
        consensus.keep_note(fruit_or_404(session, session_id, fruit_id), note.strip(), noted)
    goal = "reveal" if following is None else f"fruits/{following}"
    return RedirectResponse(f"/calibration/{session_id}/{goal}", 303)


@router.post("/calibration/{session_id}/references")
def make_references(session_id: Id, user: Expert, here: Here) -> Response:
    """Make references of the settled fruits."""
    with here.database.write() as session:
        _revealed(session, session_id)
        made = consensus.make_references(session, session_id, user.id)
        audit.record(session, user, "consensus to references", str(session_id), fruits=made)
    here.supervisor.wake()
    return RedirectResponse(f"/calibration/{session_id}/reveal", 303)


def _revealed(session: Session, session_id: int) -> CalibrationSession:
    found = session_or_404(session, session_id)
    if found.revealed_at is None:
        raise HTTPException(404)
    return found


def _told(
    outcome: Mapping[str, Any], fruits: Iterable[CalibrationFruit], awaited: Container[int]
) -> list[dict[str, Any]]:
    """What a session shows of its fruits, without those that open sessions ask the reader for."""
    kept = {str(fruit.id) for fruit in fruits if fruit.specimen_id in awaited}
    return [item for item in outcome["fruits"] if item["id"] not in kept]


def _note_seen(here: Services, session_id: int, user: User) -> None:
    with here.database.write() as session:
        calibration.note_seen(session, session_id, user.id)


def _outcome(here: Services, found: CalibrationSession) -> dict[str, Any]:
    """What a closed session shows; computed once, outside of any writing: it takes seconds."""
    if found.outcome:  # stays as it was: the grades that it was made of go after a time
        unknown = [[None] * len(row) for row in found.outcome["kappa"]]
        # What was kept before kappa came with its interval has none.
        return {"kappa_low": unknown, "kappa_high": unknown, **found.outcome}
    with here.database.read() as session:
        count = len(calibration.grades_of(session, found.id))
        outcome = sessions.outcome_of(session, found)
    with here.database.write() as session:
        calibration.keep_outcome(session, found.id, outcome, count)
    return outcome
