"""Grading one fruit: sending it, waiting for it, seeing the result."""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, HTTPException, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, RedirectResponse, Response
from sqlalchemy.orm import Session
from starlette.datastructures import UploadFile

from mezoroi.app import intake
from mezoroi.app.access import Forbidden, Newcomer, newcomer
from mezoroi.app.answers import wants_json
from mezoroi.app.expert_tools import expert_tools
from mezoroi.app.hiding import secret_fruits, shown_neighbours
from mezoroi.app.ids import Id
from mezoroi.app.pages import language_of
from mezoroi.app.problems import PROBLEMS, BadNumber, UploadProblem
from mezoroi.app.roles import Role
from mezoroi.app.services import Here, Services
from mezoroi.app.store import fruits, jobs, lots, runs, silhouettes, verdicts
from mezoroi.app.store.fruits import Details
from mezoroi.app.tables import Job, User, now
from mezoroi.app.views import asks_blind, result_view
from mezoroi.app.watching import Watcher
from mezoroi.standard import GradingStandard

router = APIRouter(include_in_schema=False)
UploadKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=64,
        pattern=r"^[A-Za-z0-9._:-]+$",
        description=(
            "Your own name for this upload, such as a UUID. Send the same again when no answer "
            "came: the fruit is then kept once, and answered with 200 instead of 201."
        ),
    ),
]
_FIELDS = 20
_FORM_BYTES = 1 << 16  # of an upload, beside its file
NUMBERS = ("weight", "diameter", "brix")
_THOUSANDS = re.compile(r"[1-9]\d{0,2}(,\d{3})+(\.\d+)?")  # a comma elsewhere is a decimal one
_HOLD_SECONDS = 1.0
_LOOK_SECONDS = 0.05  # between two looks at a job of the last seconds; an older one is less urgent


@router.get("/")
def grade_page(request: Request, user: Newcomer, here: Here) -> Response:
    """Where a photo or video is taken or dropped."""
    with here.database.read() as session:
        run = runs.active_run(session)
        open_lots = lots.open_lots(session)
        last_lot = lots.last_lot(session, user.id)
        recent = _recent(request, user, session)
    return here.pages.render(
        request,
        "grade/start.html",
        most_bytes=here.settings.limits.upload_bytes - _FORM_BYTES,
        takes_video=run is not None and run.input_kind == "surface",
        standard=None if run is None else GradingStandard.from_dict(run.standard.content),
        lots=open_lots,
        lot=last_lot.name if last_lot is not None else "",
        **recent,
    )


@router.get("/recent")
def recent_fruits(
    request: Request,
    user: Newcomer,
    here: Here,
    known: Annotated[str, Query(max_length=64)] = "",
) -> Response:
    """The part of the start page that lists the last fruits; nothing where it is as `known`.

    Else a fruit could be exchanged under the finger that is about to open it.
    """
    with here.database.read() as session:
        view = _recent(request, user, session)
    if view["stage"] == known:
        return Response(status_code=204)
    return here.pages.render(request, "grade/_recent.html", **view)


def _recent(request: Request, user: User, session: Session) -> dict[str, Any]:
    """The last fruits, and the files that the watched folder's watcher refused."""
    watcher: Watcher | None = request.app.state.watcher
    recent = fruits.list_fruits(session, 0, 6)
    seen = verdicts.answered(session, [r.grading.id for r in recent if r.grading], user.id)
    hidden = hidden_ids(user, recent, seen) | secret_fruits(session, user)
    refused = [] if watcher is None else list(watcher.refused)
    return {
        "recent": recent,
        "hidden": hidden,
        "refused": refused,
        "is_watched": watcher is not None,
        "stage": stage_of(recent, hidden, refused),
        "problems": PROBLEMS,
    }


def stage_of(listed: Sequence[fruits.Listed], hidden: Iterable[int], *more: object) -> str:
    """What a list shows, in short: whoever knows it already needs no other."""
    shown = [
        (item.fruit.id, item.grading and item.grading.id, item.job and item.job.state)
        for item in listed
    ]
    return hashlib.sha256(repr((shown, sorted(hidden), *more)).encode()).hexdigest()


@router.post("/fruits")
async def upload(
    request: Request,
    user: Annotated[User, Depends(newcomer)],
    here: Here,
    key: UploadKey = None,
) -> Response:
    """Take an upload; the body is read only now that the user is known."""
    accepted = await take_upload(request, user, here, key)
    location = f"/fruits/{accepted.fruit_id}"
    if wants_json(request):
        status = 201 if accepted.is_new else 200
        return JSONResponse({"location": location}, status, {"location": location})
    return RedirectResponse(location, 303)


async def take_upload(
    request: Request, user: User, here: Services, key: str | None
) -> intake.Accepted:
    """Read a form with a ``file`` and details, keep the file and queue it.

    Raises
    ------
    UploadProblem
        As `intake.accept`, and where there is no file.
    """
    limits = here.settings.limits
    if await run_in_threadpool(intake.is_full, here.database, limits, user, key):
        async for _ in request.stream():
            pass  # not taken apart, but read to its end: else the sender does not hear the answer
        raise UploadProblem("queue full", 503)
    async with request.form(max_files=1, max_fields=_FIELDS) as form:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise UploadProblem("empty", 422)
        accepted = await run_in_threadpool(
            intake.accept,
            file.file,
            file.filename or "",
            details_of({name: str(value) for name, value in form.items()}),
            user,
            database=here.database,
            blobs=here.blobs,
            limits=limits,
            key=key,
        )
    here.metrics.uploads.labels("accepted" if accepted.is_new else "sent again").inc()
    await run_in_threadpool(here.supervisor.wake)
    return accepted


@router.get("/fruits/{fruit_id}")
def fruit_page(
    request: Request,
    fruit_id: Id,
    user: Newcomer,
    here: Here,
    change: Annotated[bool, Query()] = False,
    saved: Annotated[bool, Query()] = False,
    referenced: Annotated[bool, Query()] = False,
) -> Response:
    """The result, or how far it is, or why there is none; blind graders are asked first."""
    with here.database.read() as session:
        fruit = fruits.get_fruit(session, fruit_id)
        if fruit is None:
            raise HTTPException(404)
        grading = fruits.newest_grading(session, fruit_id)
        job = jobs.newest_job(session, fruit_id)
        place = jobs.queue_place(session, job) if job is not None else 0
        own = None if grading is None else verdicts.current_verdict(session, grading.id, user.id)
        past = [] if grading is None else verdicts.history(session, grading.id)
        expert = None
        if grading is not None and Role(user.role).covers(Role.EXPERT):
            expert = expert_tools(session, grading, user, own)
        painted = grading is not None and bool(verdicts.painted(session, grading.id))
        near = [] if grading is None else shown_neighbours(session, user, [grading])[grading.id]
        open_lots = lots.open_lots(session)
        is_secret = fruit_id in secret_fruits(session, user)
        typical = None
        if grading is not None and grading.result["silhouette"] is not None:
            typical = silhouettes.mean_silhouette(session, grading.grade)
    common: dict[str, Any] = {"fruit": fruit, "job": job, "place": place, "problems": PROBLEMS}
    trouble = bool(here.supervisor.trouble)
    common |= {"lots": open_lots, "saved": saved, "stage": _stage_name(job, place, trouble)}
    common["trouble"] = trouble
    if grading is None:
        return here.pages.render(request, "grade/waiting.html", **common)
    view = result_view(grading, language_of(request), typical, near)
    if is_secret or asks_blind(user, own):
        page = "grade/secret.html" if is_secret else "grade/blind.html"
        hidden = replace(view, maps=[], neighbours=[])
        return here.pages.render(request, page, result=hidden, **common)
    return here.pages.render(
        request,
        "grade/result.html",
        result=view,
        verdict=own,
        history=past,
        change=change,
        can_judge=Role(user.role).covers(Role.EXPERT),
        expert=expert,
        painted=painted,
        referenced=referenced,
        is_at_work=job is not None and job.state in jobs.OPEN,
        **common,
    )


@router.get("/fruits/{fruit_id}/progress")
async def progress(
    request: Request,
    fruit_id: Id,
    user: Newcomer,
    here: Here,
    known: Annotated[str | None, Query(max_length=64)] = None,
) -> Response:
    """The part of the waiting page that says how far it is; reloads the page when it is over.

    Held until it is over or, where the sender says what it knows, something else; or for a moment.
    """
    until = time.monotonic() + _HOLD_SECONDS
    while True:
        job, place = await run_in_threadpool(_stage, here, fruit_id)
        if job is None:
            raise HTTPException(404)
        if job.state not in jobs.OPEN:
            return Response(status_code=204, headers={"hx-refresh": "true"})
        trouble = bool(here.supervisor.trouble)
        stage = _stage_name(job, place, trouble)
        is_news = known is not None and known != stage
        if is_news or time.monotonic() > until or await request.is_disconnected():
            break
        waited = (now() - job.created_at).total_seconds()
        await asyncio.sleep(min(max(waited / 40, _LOOK_SECONDS), _HOLD_SECONDS / 2))
    return here.pages.render(
        request,
        "grade/_progress.html",
        job=job,
        place=place,
        fruit_id=fruit_id,
        stage=stage,
        trouble=trouble,
    )


def _stage(here: Services, fruit_id: int) -> tuple[Job | None, int]:
    """The newest job about a fruit, and how many are before it."""
    with here.database.read() as session:
        job = jobs.newest_job(session, fruit_id)
        return job, jobs.queue_place(session, job) if job is not None else 0


def _stage_name(job: Job | None, place: int, trouble: bool) -> str:
    return "" if job is None else f"{job.state}.{job.step}.{place}" + ".trouble" * trouble


@router.post("/fruits/{fruit_id}/again")
def again(fruit_id: Id, user: Newcomer, here: Here) -> Response:
    """Queue a fruit that failed, or that another grader graded, once more; any, for experts."""
    with here.database.write() as session:
        if fruits.get_fruit(session, fruit_id) is None:
            raise HTTPException(404)
        grading, run = fruits.newest_grading(session, fruit_id), runs.active_run(session)
        is_done = grading is not None and run is not None and grading.run_id == run.id
        if is_done and not Role(user.role).covers(Role.EXPERT):
            raise Forbidden
        if jobs.count_open(session, jobs.GRADE) >= here.settings.limits.queue:
            raise UploadProblem("queue full", 503)
        last = jobs.newest_job(session, fruit_id)
        if last is None or last.state not in jobs.OPEN:
            jobs.add_job(session, jobs.GRADE, fruit_id=fruit_id, user_id=user.id)
    here.supervisor.wake()
    return RedirectResponse(f"/fruits/{fruit_id}", 303)


def hidden_ids(user: User, listed: list[fruits.Listed], seen: Any) -> set[int]:
    """Fruits in a list whose grade a blind grader has yet to give."""
    return {
        item.fruit.id
        for item in listed
        if item.grading is not None and asks_blind(user, seen.get(item.grading.id))
    }


def details_of(form: Mapping[str, str]) -> Details:
    """What a form says about a fruit.

    Raises
    ------
    BadNumber
        If a number is none.
    """
    numbers = {name: _number(name, form.get(name, "")) for name in NUMBERS}
    texts = {name: form.get(name, "").strip() for name in ("orchard", "note", "lot")}
    return Details(**numbers, **texts)  # type: ignore[arg-type]


def _number(name: str, text: str) -> float | None:
    """A number as people write it, also full-width or with thousands apart; None for nothing."""
    clean = unicodedata.normalize("NFKC", text).strip()
    clean = clean.replace(",", "" if _THOUSANDS.fullmatch(clean) else ".")
    if not clean:
        return None
    try:
        return float(clean)
    except ValueError as error:
        raise BadNumber(name, text.strip()) from error
