"""The reference fruits of the grader in use, and its prototypes."""

from __future__ import annotations

import math
from typing import Annotated, Any

from fastapi import APIRouter, Form, HTTPException, Query, Request
from fastapi.responses import RedirectResponse, Response
from markupsafe import Markup

from mezoroi.app import hiding
from mezoroi.app.access import Expert
from mezoroi.app.answers import safe_path
from mezoroi.app.ids import FormId, Id
from mezoroi.app.pages import fit_page, language_of
from mezoroi.app.problems import PROBLEMS
from mezoroi.app.routes.jobs import step_text
from mezoroi.app.services import Here
from mezoroi.app.store import audit, fruits, jobs, references, runs
from mezoroi.app.tables import Run
from mezoroi.errors import MezoroiError
from mezoroi.report.radar import radar_svg
from mezoroi.standard import GradingStandard

router = APIRouter(include_in_schema=False)
PAGE = 40
_RADAR_SIZE = 340  # drawn smaller: at a smaller size its legend would overlap


@router.get("/references")
def references_page(
    request: Request,
    user: Expert,
    here: Here,
    grade: Annotated[str, Query(max_length=64)] = "",
    page: Annotated[int, Query(ge=1, le=10**6)] = 1,
) -> Response:
    """Reference fruits, all or of one grade, and how alike the grades are to each other."""
    language = language_of(request)
    with here.database.read() as session:
        run = runs.active_run(session)
        if run is None:
            raise HTTPException(404)
        counts = references.count_by_grade(session, run.id)
        awaited = hiding.awaited_references(session, user)
        known = grade or None
        page, pages = fit_page(page, references.count_listed(session, run.id, known, awaited), PAGE)
        listed = references.list_references(
            session, run.id, known, (page - 1) * PAGE, PAGE, awaited
        )
        recent = jobs.recent_jobs(session, jobs.REFERENCE_KINDS, 5)
    total = counts.get(grade, 0) if grade else sum(counts.values())
    return here.pages.render(
        request,
        "references/list.html",
        run=run,
        standard=GradingStandard.from_dict(run.standard.content),
        counts=counts,
        grade=grade,
        listed=listed,
        total=total,
        page=page,
        pages=pages,
        radars=prototype_radars(run, language),
        similarity=run.metrics.get("prototypes", {}).get("similarity"),
        # The one at hand: following each would take a connection of the few that a browser has.
        working=[(job, step_text(job, language)) for job in recent if job.state in jobs.OPEN][-1:],
        failed=recent[0] if recent and recent[0].state == "failed" else None,
        problems=PROBLEMS,
    )


@router.post("/references/index")
def index(user: Expert, here: Here) -> Response:
    """Make the index anew."""
    with here.database.write() as session:
        jobs.add_job(session, jobs.INDEX_REFERENCES, user_id=user.id)
        audit.record(session, user, "references indexed")
    here.supervisor.wake()
    return RedirectResponse("/references", 303)


@router.post("/references/{reference_id}/remove")
def remove(
    reference_id: Id,
    user: Expert,
    here: Here,
    run_id: FormId,
    name: Annotated[str, Form()],
    next: Annotated[str, Form()] = "/references",
) -> Response:
    """Take a fruit out of the references.

    Parameters
    ----------
    run_id, name : of the reference; SQLite gives the number of one that has gone to the next one
    """
    with here.database.write() as session:
        found = references.get_reference(session, reference_id)
        if found is None or (found.run_id, found.name) != (run_id, name):
            raise HTTPException(404)
        payload = {"run_id": found.run_id, "name": found.name}
        jobs.add_job(session, jobs.REMOVE_REFERENCE, user_id=user.id, payload=payload)
        audit.record(session, user, "reference removed", found.name[:255], grade=found.grade)
    here.supervisor.wake()
    return RedirectResponse(safe_path(next), 303)


@router.post("/fruits/{fruit_id}/reference")
def add(
    fruit_id: Id, user: Expert, here: Here, grade: Annotated[str, Form(max_length=64)]
) -> Response:
    """Make a graded fruit a reference of a grade."""
    with here.database.write() as session:
        grading = fruits.newest_grading(session, fruit_id)
        if grading is None:
            raise HTTPException(404)
        if grade not in grading.standard.content["grades"]:
            raise MezoroiError(f"unknown grade `{grade}`: choose one of the standard")
        payload = {"fruit_id": fruit_id, "grade": grade}
        jobs.add_job(session, jobs.ADD_REFERENCE, user_id=user.id, payload=payload)
        audit.record(session, user, "reference added", str(fruit_id), grade=grade)
    here.supervisor.wake()
    return RedirectResponse(f"/fruits/{fruit_id}?referenced=true", 303)


def prototype_radars(run: Run, language: str) -> dict[str, Markup]:
    """A radar per grade: how like its prototype is to those of the others."""
    found: dict[str, Any] = run.metrics.get("prototypes", {})
    standard = GradingStandard.from_dict(run.standard.content)
    if set(found.get("similarity", {})) != set(standard.grades):
        return {}
    thresholds = {
        grade: math.nan if value is None else value for grade, value in found["thresholds"].items()
    }
    return {
        grade: Markup(
            radar_svg(
                found["similarity"][grade],
                thresholds,
                standard,
                grade=grade,
                language=language,
                size=_RADAR_SIZE,
            )
        )
        for grade in standard.grades
    }
