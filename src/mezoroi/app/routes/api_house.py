"""The API's references, jobs and graders."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, HTTPException, Query
from pydantic import BaseModel, Field

from mezoroi.app import hiding
from mezoroi.app.access import Admin, Expert, Newcomer
from mezoroi.app.ids import FieldId, Id
from mezoroi.app.routes.api import v1
from mezoroi.app.services import Here
from mezoroi.app.store import audit, fruits, jobs, references, runs
from mezoroi.app.tables import Job

router = APIRouter(prefix="/api/v1", responses=v1.responses)
Kind = Literal["grade", "add-reference", "remove-reference", "index-references", "train", "prepare"]
KINDS: tuple[Kind, ...] = (
    "grade",
    "add-reference",
    "remove-reference",
    "index-references",
    "train",
    "prepare",
)


class JobOut(BaseModel):
    """Work in the background."""

    id: int
    kind: str
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    step: str
    done: int
    total: int
    error: str | None = Field(description="Code of what went wrong.")
    created_at: datetime
    finished_at: datetime | None


class ReferenceIn(BaseModel):
    """A graded fruit that becomes a reference."""

    fruit_id: FieldId
    grade: str = Field(max_length=64)


class ReferenceOut(BaseModel):
    """A reference fruit of the grader in use."""

    id: int
    name: str
    grade: str | None
    picture: str | None = Field(description="Name of its picture, for `/pictures/NAME`.")
    fruit_id: int | None


class GraderOut(BaseModel):
    """A trained grader."""

    id: int
    active: bool
    input_kind: str
    standard_id: int
    created_at: datetime


@router.get("/jobs")
def list_jobs(
    user: Newcomer,
    here: Here,
    kind: Annotated[Kind | None, Query()] = None,
    most: Annotated[int, Query(ge=1, le=200)] = 50,
) -> list[JobOut]:
    """Jobs, newest first."""
    with here.database.read() as session:
        found = jobs.recent_jobs(session, KINDS if kind is None else [kind], most)
    return [_job(job) for job in found]


@router.get("/jobs/{job_id}")
def get_job(job_id: Id, user: Newcomer, here: Here) -> JobOut:
    """How far a job is."""
    with here.database.read() as session:
        job = jobs.get_job(session, job_id)
    if job is None:
        raise HTTPException(404)
    return _job(job)


@router.get("/references")
def list_references(
    user: Expert,
    here: Here,
    grade: Annotated[str | None, Query(max_length=64)] = None,
    first: Annotated[int, Query(ge=0, le=10**9)] = 0,
    most: Annotated[int, Query(ge=1, le=200)] = 50,
) -> list[ReferenceOut]:
    """Reference fruits of the grader in use, newest first."""
    with here.database.read() as session:
        run = runs.active_run(session)
        if run is None:
            return []
        awaited = hiding.awaited_references(session, user)
        found = references.list_references(session, run.id, grade, first, most, awaited)
    return [ReferenceOut.model_validate(item, from_attributes=True) for item in found]


@router.post("/references", status_code=202)
def add_reference(reference: ReferenceIn, user: Expert, here: Here) -> JobOut:
    """Make a graded fruit a reference; the job says when it is one."""
    with here.database.write() as session:
        grading = fruits.newest_grading(session, reference.fruit_id)
        if grading is None:
            raise HTTPException(404)
        if reference.grade not in grading.standard.content["grades"]:
            raise HTTPException(422)
        payload = reference.model_dump()
        job = jobs.add_job(session, jobs.ADD_REFERENCE, user_id=user.id, payload=payload)
        subject = str(reference.fruit_id)
        audit.record(session, user, "reference added", subject, grade=reference.grade)
    here.supervisor.wake()
    return _job(job)


@router.delete("/references/{reference_id}", status_code=202)
def remove_reference(
    reference_id: Id,
    user: Expert,
    here: Here,
    name: Annotated[
        str | None,
        Query(description="Its name: the id of one that has gone may be that of a later one."),
    ] = None,
) -> JobOut:
    """Take a fruit out of the references; the job says when it is gone."""
    with here.database.write() as session:
        found = references.get_reference(session, reference_id)
        if found is None or name not in (None, found.name):
            raise HTTPException(404)
        payload = {"run_id": found.run_id, "name": found.name}
        job = jobs.add_job(session, jobs.REMOVE_REFERENCE, user_id=user.id, payload=payload)
        audit.record(session, user, "reference removed", found.name[:255])
    here.supervisor.wake()
    return _job(job)


@router.get("/graders")
def list_graders(user: Admin, here: Here) -> list[GraderOut]:
    """Trained graders, newest first."""
    with here.database.read() as session:
        found = runs.list_runs(session)
    return [GraderOut.model_validate(run, from_attributes=True) for run in found]


def _job(job: Job) -> JobOut:
    return JobOut.model_validate(job, from_attributes=True)
