"""Work in the background as it goes on: server-sent events, and cancelling."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response, StreamingResponse

from mezoroi.app.access import Admin, Expert
from mezoroi.app.i18n import catalogue
from mezoroi.app.ids import Id
from mezoroi.app.pages import language_of
from mezoroi.app.problems import N_
from mezoroi.app.services import Here, Services
from mezoroi.app.store import audit, jobs
from mezoroi.app.tables import Job

router = APIRouter(include_in_schema=False)
STEPS = {
    "queued": N_("Waiting …"),
    "preparing": N_("Preparing the fruits …"),
    "training": N_("Learning …"),
    "comparing": N_("Comparing with the grader in use …"),
    "indexing": N_("Reading the reference fruits …"),
}
_LOOK_SECONDS = 1.0
_LONGEST = 3600  # looks; a browser connects again by itself
_UNHELD = {"x-accel-buffering": "no"}  # nginx would keep what is told until there is much of it


@router.get("/jobs/{job_id}/events")
def events(request: Request, job_id: Id, user: Expert, here: Here) -> Response:
    """The state of a job whenever it changes, until it is over."""
    with here.database.read() as session:
        if jobs.get_job(session, job_id) is None:
            raise HTTPException(404)
    stream = _stream(request, job_id, here, language_of(request))
    return StreamingResponse(stream, media_type="text/event-stream", headers=_UNHELD)


@router.post("/jobs/{job_id}/cancel")
def cancel(job_id: Id, user: Admin, here: Here) -> Response:
    """Cancel a training."""
    with here.database.write() as session:
        job = jobs.get_job(session, job_id)
        if job is None or job.kind != jobs.TRAIN:
            raise HTTPException(404)
        jobs.ask_to_cancel(session, job)
        audit.record(session, user, "training cancelled", str(job_id))
    return RedirectResponse("/graders", 303)


def step_text(job: Job, language: str) -> str:
    """What a job is at, in words."""
    key = job.step if job.state == "running" else "queued"
    return catalogue(language).gettext(STEPS.get(key, STEPS["preparing"]))


def log_text(job: Job, language: str) -> str:
    """What a job has told, in words; the time stands before every line."""
    told = (line.partition(" ") for line in job.log.splitlines())
    return "".join(f"{hour} {catalogue(language).note(text)}\n" for hour, _, text in told)


def _state(here: Services, job_id: int, language: str) -> dict[str, Any] | None:
    with here.database.read() as session:
        job = jobs.get_job(session, job_id)
    if job is None:
        return None
    return {
        "done": job.done,
        "total": job.total,
        "log": log_text(job, language),
        "state": job.state,
        "step": step_text(job, language),
        "is_over": job.state not in jobs.OPEN,
    }


async def _stream(
    request: Request, job_id: int, here: Services, language: str
) -> AsyncIterator[str]:
    last = None
    for _ in range(_LONGEST):
        state = await run_in_threadpool(_state, here, job_id, language)
        if state != last:
            last = state
            yield f"event: job\ndata: {json.dumps(state, ensure_ascii=False)}\n\n"
        else:
            yield ": still here\n\n"  # so that a closed connection is noticed
        if state is None or state["is_over"] or await request.is_disconnected():
            return
        await asyncio.sleep(_LOOK_SECONDS)
