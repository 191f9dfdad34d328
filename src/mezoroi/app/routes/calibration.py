"""Calibration sessions until the reveal: opened by an expert, graded blind by all; and drift."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Form, HTTPException, Query, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from markupsafe import Markup
from sqlalchemy.orm import Session

from mezoroi.app import calibrating_sessions as sessions
from mezoroi.app import teaching
from mezoroi.app.access import Expert
from mezoroi.app.answers import wants_json
from mezoroi.app.drifting import alerts, watch
from mezoroi.app.i18n import catalogue
from mezoroi.app.ids import FieldId, Id
from mezoroi.app.learning_charts import control_svg
from mezoroi.app.pages import fit_page, language_of
from mezoroi.app.problems import N_, PROBLEMS, Refusal
from mezoroi.app.roles import Role
from mezoroi.app.routes.practice import Key, Waited
from mezoroi.app.services import Here
from mezoroi.app.store import audit, calibration, specimens
from mezoroi.app.tables import User
from mezoroi.app.tables_learning import CalibrationFruit, CalibrationSession
from mezoroi.app.templating import day_of
from mezoroi.app.views_learning import fruit_view
from mezoroi.errors import MezoroiError
from mezoroi.standard import GradingStandard

if TYPE_CHECKING:
    from mezoroi.calibrating.drift import Chart

router = APIRouter(include_in_schema=False)
SESSIONS_SHOWN, CHOICE_SHOWN = 50, 120
CANCELLED = "/calibration?cancelled=true"
"""Where a page of a session leads that is cancelled."""
WAY_NAMES = {
    "disputed": N_("Most disputed"),
    "unreliable": N_("Least reliable"),
    "border": N_("Nearest to a border between grades"),
    "stratified": N_("Some of every grade"),
    sessions.BY_HAND: N_("Chosen by hand"),
}


@router.get("/calibration")
def list_page(
    request: Request,
    user: Expert,
    here: Here,
    page: Annotated[int, Query(ge=1, le=10**6)] = 1,
    cancelled: Annotated[bool, Query()] = False,
) -> Response:
    """The sessions, newest first.

    Parameters
    ----------
    cancelled : say that the session is that the user comes from
    """
    with here.database.read() as session:
        page, pages = fit_page(page, calibration.count_sessions(session), SESSIONS_SHOWN)
        found = calibration.list_sessions(session, (page - 1) * SESSIONS_SHOWN, SESSIONS_SHOWN)
        listed = [(item, calibration.progress(session, item.id)) for item in found]
        drifting = alerts(session)
    return here.pages.render(
        request,
        "calibration/list.html",
        listed=listed,
        page=page,
        pages=pages,
        ways=WAY_NAMES,
        drifting=drifting,
        cancelled=cancelled,
    )


@router.get("/calibration/new")
def new_page(
    request: Request,
    user: Expert,
    here: Here,
    way: Annotated[str, Query(max_length=16)] = "",
    page: Annotated[int, Query(ge=1, le=100_000)] = 1,
    title: Annotated[str, Query(max_length=128)] = "",
    chosen: Annotated[list[int] | None, Query()] = None,
) -> Response:
    """Choose the fruits of a new session, or how they are proposed.

    Parameters
    ----------
    way : without one, the first that proposes fruits
    page : of the fruits to choose from by hand, newest first
    title, chosen : what the other pages of the choice have said so far
    """
    if way:
        _check_way(way)
    return _show_form(request, here, way, page, title, chosen or [])


@router.post("/calibration")
def open_session(
    request: Request,
    user: Expert,
    here: Here,
    way: Annotated[str, Form(max_length=16)],
    title: Annotated[str, Form(max_length=128)] = "",
    count: Annotated[int, Form()] = 12,
    chosen: Annotated[list[FieldId] | None, Form()] = None,
) -> Response:
    """Open a session; where that cannot be, the form says why and keeps what was typed."""
    _check_way(way)
    try:
        with here.database.write() as session:
            found = sessions.open_session(session, user, title.strip(), way, count, chosen or [])
            audit.record(session, user, "calibration opened", str(found.id))
    except Refusal as refusal:
        if wants_json(request):
            raise
        problem = PROBLEMS[refusal.code]
        return _show_form(request, here, way, 1, title, chosen or [], problem, count)
    return RedirectResponse(f"/calibration/{found.id}", 303)


def _check_way(way: str) -> None:
    if way not in WAY_NAMES:
        raise MezoroiError(f"unknown way `{way}` to choose fruits: use {', '.join(WAY_NAMES)}")


def _show_form(
    request: Request,
    here: Here,
    way: str,
    page: int,
    title: str,
    chosen: Sequence[int],
    problem: str = "",
    asked: int = 12,
) -> Response:
    """The form of a new session.

    Parameters
    ----------
    problem : English text of why it could not be opened
    asked : how many fruits are to be proposed
    """
    with here.database.write() as session:
        specimens.order_preparation(session)
    with here.database.read() as session:  # to rank all fruits takes long: nobody waits for it
        known = specimens.known_specimens(session)
        tested = teaching.names_in_tests(session)
        page, pages = fit_page(page, len(known), CHOICE_SHOWN)
        choice = []
        if not way:
            way, count = sessions.first_proposable(session, known)
        elif way == sessions.BY_HAND:
            count = len(known)
            newest = sorted(known, key=lambda item: -item.id)
            some = newest[CHOICE_SHOWN * (page - 1) : CHOICE_SHOWN * page]
            found = specimens.get_specimens(session, [item.id for item in some])
            choice = [(found[item.id], item.name) for item in some]
        else:
            count = sessions.count_proposable(session, known, way)
    here.supervisor.wake()
    elsewhere = {item.id for item in known} - {specimen.id for specimen, _ in choice}
    return here.pages.render(
        request,
        "calibration/new.html",
        422 if problem else 200,
        ways=WAY_NAMES,
        way=way,
        choice=choice,
        tested=tested,
        known=len(known),
        count=count,
        asked=asked,
        problem=problem,
        page=page,
        pages=pages,
        title=title,
        chosen=set(chosen),
        elsewhere=[number for number in dict.fromkeys(chosen) if number in elsewhere],
    )


@router.get("/calibration/drift")
def drift_page(request: Request, user: Expert, here: Here) -> Response:
    """Who still grades as before."""
    with here.database.read() as session:
        found = watch(session)
    language = language_of(request)
    gettext = catalogue(language).gettext
    shift = gettext(N_("Stricter or milder"))
    shown = []
    for item in found:
        changed = N_("How often the grade changed")
        if item.name is None:
            changed = N_("How often the grade differed")
        ends = day_of(item.first, language), day_of(item.last, language)
        shown.append(
            (
                item,
                _chart(item.drift.shift, shift, ends),
                _chart(item.drift.changed, gettext(changed), ends),
            )
        )
    return here.pages.render(request, "calibration/drift.html", watched=shown)


def _chart(chart: Chart | None, label: str, ends: tuple[str, str]) -> Markup | None:
    return None if chart is None else control_svg(chart, label, ends)


@router.get("/calibration/{session_id}")
def session_page(
    request: Request,
    session_id: Id,
    user: Expert,
    here: Here,
    lead: Annotated[bool, Query()] = False,
) -> Response:
    """The way in, the fruits to grade, how many have finished, or what came of it.

    Parameters
    ----------
    lead : just watch, as who leads the session without grading
    """
    with here.database.read() as session:
        found = session_or_404(session, session_id)
        is_over = found.revealed_at is not None
        has_joined = calibration.has_joined(session, session_id, user.id)
        is_grading = has_joined and not is_over and not lead
        waiting = sessions.waiting_fruits(session, found, user) if is_grading else []
        turns = teaching.pictures_turn(session)
        shown = [(fruit, fruit_view(fruit.specimen, turns)) for fruit in waiting]
        progress = calibration.progress(session, session_id)
        total = len(calibration.fruits_of(session, session_id))
        is_graded = bool(calibration.grades_of(session, session_id))
    grades = GradingStandard.from_dict(found.standard.content).grades
    if is_over:
        return RedirectResponse(f"/calibration/{session_id}/reveal", 303)
    page = "grade" if shown else "waiting" if has_joined or lead else "start"
    return here.pages.render(
        request,
        f"calibration/{page}.html",
        found=found,
        shown=shown,
        opening=opening_of(found),
        total=total,
        progress=progress,
        grades=grades,
        lead=lead,
        is_graded=is_graded,
        leads=page == "waiting" and may_lead(user, found),
        is_swapped=False,
        may_reveal=may_lead(user, found),
        may_cancel=may_lead(user, found) and not is_graded,
    )


@router.post("/calibration/{session_id}/join")
def join(session_id: Id, user: Expert, here: Here) -> Response:
    """Take part: from now on the others wait for this grader."""
    with here.database.write() as session:
        if session_or_404(session, session_id).revealed_at is None:
            calibration.join(session, session_id, user.id)
    return RedirectResponse(f"/calibration/{session_id}", 303)


@router.post("/calibration/{session_id}/cancel")
def cancel(session_id: Id, user: Expert, here: Here) -> Response:
    """Take back a session that nobody has graded in; by who opened it, or an administrator."""
    with here.database.write() as session:
        found = session_or_404(session, session_id)
        if not may_lead(user, found):
            raise Refusal("not leader")
        calibration.cancel(session, found)
        audit.record(session, user, "calibration cancelled", str(session_id))
    return RedirectResponse(CANCELLED, 303)


@router.get("/calibration/{session_id}/count")
def count(
    request: Request,
    session_id: Id,
    user: Expert,
    here: Here,
    lead: Annotated[bool, Query()] = False,
) -> Response:
    """How many have finished; goes on to the reveal when it is there, or from a cancelled session.

    Parameters
    ----------
    lead : the page has the button of the reveal, which stays off until somebody has graded
    """
    with here.database.read() as session:
        found = calibration.get_session(session, session_id)
        progress = calibration.progress(session, session_id)
        is_graded = bool(calibration.grades_of(session, session_id))
    if found is None:
        return Response(status_code=204, headers={"hx-redirect": CANCELLED})
    if found.revealed_at is not None:
        goal = f"/calibration/{session_id}/reveal"
        return Response(status_code=204, headers={"hx-redirect": goal})
    return here.pages.render(
        request,
        "calibration/_count.html",
        session_id=session_id,
        progress=progress,
        is_graded=is_graded,
        leads=lead and may_lead(user, found),
        is_swapped=True,
    )


@router.post("/calibration/{session_id}/fruits/{fruit_id}")
def give_grade(
    request: Request,
    session_id: Id,
    fruit_id: Id,
    user: Expert,
    here: Here,
    grade: Annotated[str, Form(max_length=64)],
    waited: Waited = 0.0,
    key: Key = "",
    opening: Annotated[str, Form(max_length=32)] = "",
) -> Response:
    """Keep a blind grade; one that is sent again gets the same reply.

    Parameters
    ----------
    opening : `opening_of` the session whose page it was given on; SQLite gives the numbers of a
        session that was cancelled to the next one, which asks for other fruits
    """
    with here.database.write() as session:
        found = calibration.get_session(session, session_id)
        if found is None or opening not in ("", opening_of(found)):
            raise Refusal("other session")
        fruit = fruit_or_404(session, session_id, fruit_id)
        grades = GradingStandard.from_dict(found.standard.content).grades
        if grade not in grades:
            raise MezoroiError(f"unknown grade `{grade}`: the standard has {', '.join(grades)}")
        calibration.give_grade(session, found, fruit, user.id, grade, waited, key)
    goal = f"/calibration/{session_id}"
    if wants_json(request):
        return JSONResponse({"location": goal}, 200)
    return RedirectResponse(goal, 303)


def session_or_404(session: Session, session_id: int) -> CalibrationSession:
    """A session; the page is missing where there is none."""
    found = calibration.get_session(session, session_id)
    if found is None:
        raise HTTPException(404)
    return found


def fruit_or_404(session: Session, session_id: int, fruit_id: int) -> CalibrationFruit:
    """A fruit of a session; the page is missing where there is none."""
    found = calibration.get_fruit(session, session_id, fruit_id)
    if found is None:
        raise HTTPException(404)
    return found


def opening_of(found: CalibrationSession) -> str:
    """What tells a session from one that had its number before: microseconds of its opening."""
    return str(round(found.opened_at.timestamp() * 1e6))


def may_lead(user: User, found: CalibrationSession) -> bool:
    """Whether a user may end a session: who opened it, or an administrator."""
    return user.id == found.leader_id or Role(user.role).covers(Role.ADMIN)
