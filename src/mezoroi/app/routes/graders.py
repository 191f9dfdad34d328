"""The trained graders: train one from verdicts, compare, switch, roll back."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import RedirectResponse, Response

from mezoroi.app.access import Admin
from mezoroi.app.ids import Id
from mezoroi.app.pages import language_of
from mezoroi.app.problems import PROBLEMS
from mezoroi.app.routes.jobs import log_text, step_text
from mezoroi.app.services import Here
from mezoroi.app.settings import check_run
from mezoroi.app.store import audit, expert_grades, jobs, runs
from mezoroi.app.tables import Run
from mezoroi.errors import MezoroiError
from mezoroi.standard import GradingStandard

router = APIRouter(include_in_schema=False)
LEAST = 5
"""As `mezoroi.app.retraining.LEAST`, which the web process does not load."""


@router.get("/graders")
def graders_page(request: Request, user: Admin, here: Here) -> Response:
    """All graders, what the next one could learn from, and the training that goes on."""
    with here.database.read() as session:
        listed = runs.list_runs(session)
        active, previous = runs.active_run(session), runs.previous_run(session)
        graded = expert_grades.expert_graded(session)
        newest = next(iter(jobs.recent_jobs(session, [jobs.TRAIN], 1)), None)
    if active is None:
        raise HTTPException(404)
    standard = GradingStandard.from_dict(active.standard.content)
    given = Counter(fruit.grade for fruit in graded)
    counts = {grade: given[grade] for grade in standard.grades}
    training = here.training
    is_there = training is not None and training.is_there
    known = training.counts if training is not None and is_there else {}
    together = {grade: counts[grade] + known.get(grade, 0) for grade in standard.grades}
    language = language_of(request)
    return here.pages.render(
        request,
        "graders/list.html",
        listed=listed,
        active=active,
        previous=previous,
        standard=standard,
        counts=counts,
        masks=sum(fruit.mask is not None for fruit in graded),
        training=training,
        is_there=is_there,
        together=together,
        least=LEAST,
        can_train=min(together.values()) >= LEAST,
        job=newest,
        step=step_text(newest, language) if newest is not None else "",
        log=log_text(newest, language) if newest is not None else "",
        is_working=newest is not None and newest.state in jobs.OPEN,
        problems=PROBLEMS,
        trouble=here.supervisor.trouble,
    )


@router.post("/graders/train")
def train(user: Admin, here: Here) -> Response:
    """Queue a training; one at a time."""
    with here.database.write() as session:
        active = runs.active_run(session)
        if active is not None and not jobs.count_open(session, jobs.TRAIN):
            payload = {"run_id": active.id}
            job = jobs.add_job(session, jobs.TRAIN, user_id=user.id, payload=payload)
            audit.record(session, user, "training started", str(job.id))
    return RedirectResponse("/graders", 303)


@router.post("/graders/{run_id}/use")
def use(run_id: Id, user: Admin, here: Here) -> Response:
    """Grade with this run from now on; what was graded before keeps its own."""
    with here.database.write() as session:
        run = runs.get_run(session, run_id)
        if run is None:
            raise HTTPException(404)
        _check(run)
        runs.lock_active(session)
        runs.activate_run(session, run)
        audit.record(session, user, "grader switched", str(run_id))
    here.supervisor.wake()
    return RedirectResponse("/graders", 303)


def _check(run: Run) -> None:
    try:
        check_run(Path(run.folder))
    except MezoroiError as error:
        raise MezoroiError("the grader's folder is gone: restore a backup") from error
    if not runs.is_unchanged(run):
        raise MezoroiError("the grader's folder holds another one by now: restore a backup")
