"""The queue of work for other processes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import Session

from mezoroi.app.tables import Job, now

GRADE = "grade"
ADD_REFERENCE = "add-reference"
"""Payload: ``fruit_id`` and ``grade``."""
REMOVE_REFERENCE = "remove-reference"
"""Payload: ``run_id`` and ``name`` of a `ReferenceFruit`, or the ``fruit_id`` it was made from."""
INDEX_REFERENCES = "index-references"
"""Makes the active run's index anew."""
REFERENCE_KINDS = (ADD_REFERENCE, REMOVE_REFERENCE, INDEX_REFERENCES)
TRAIN = "train"
"""Payload: ``run_id`` of the grader that the new one is to be better than."""
PREPARE = "prepare"
"""No payload: prepares fruits for practice and calibration, a few at a time."""
TOGETHER = "together"
"""Step of fruits that are graded in one pass, also after the worker ended amid it."""
OPEN = ("queued", "running")
_LONGEST_LOG = 20_000
_CRASHED = {GRADE: "crashed", TRAIN: "training"}
_OPEN_OF_KIND = select(func.count()).where(Job.kind == bindparam("kind"), Job.state.in_(OPEN))
_BEFORE = _OPEN_OF_KIND.where(Job.id < bindparam("job_id"))
_NEWEST = (
    select(Job)
    .where(Job.fruit_id == bindparam("fruit_id"), Job.kind == GRADE)
    .order_by(Job.id.desc())
    .limit(1)
)
_RECENT = (
    select(Job)
    .where(Job.kind.in_(bindparam("kinds", expanding=True)))
    .order_by(Job.id.desc())
    .limit(bindparam("most"))
)


def add_job(
    session: Session,
    kind: str,
    *,
    fruit_id: int | None = None,
    user_id: int | None = None,
    payload: Mapping[str, Any] | None = None,
) -> Job:
    """Queue a job."""
    job = Job(kind=kind, fruit_id=fruit_id, user_id=user_id, payload=dict(payload or {}))
    session.add(job)
    session.flush()
    return job


def get_job(session: Session, job_id: int) -> Job | None:
    """The job of an id, or None."""
    return session.get(Job, job_id)


def count_open(session: Session, kind: str) -> int:
    """Jobs of a kind that wait or run."""
    return session.scalar(_OPEN_OF_KIND, {"kind": kind}) or 0


def newest_job(session: Session, fruit_id: int) -> Job | None:
    """The newest grading of a fruit that was asked for, or None."""
    return session.scalar(_NEWEST, {"fruit_id": fruit_id})


def queue_place(session: Session, job: Job) -> int:
    """How many jobs of its kind are before it."""
    return session.scalar(_BEFORE, {"kind": job.kind, "job_id": job.id}) or 0


def claim(
    session: Session, kind: str, worker: str, most: int, seconds_each: float
) -> Sequence[Job]:
    """Take the oldest waiting jobs for a worker; one whose worker ended is taken alone."""
    query = (
        select(Job)
        .where(Job.kind == kind, Job.state == "queued")
        .order_by(Job.id)
        .limit(most)
        .with_for_update(skip_locked=True)
    )
    found = list(session.scalars(query))
    if found and _is_doubtful(found[0]):
        found = found[:1]
    found = [job for job in found if not _is_doubtful(job) or job is found[0]]
    until = now() + timedelta(seconds=seconds_each * len(found))
    for job in found:
        job.state, job.worker, job.lease_until = "running", worker, until
        job.started_at, job.attempts = now(), job.attempts + 1
    return found


def _is_doubtful(job: Job) -> bool:
    """Whether a worker may have ended because of it."""
    return bool(job.attempts) or job.step == TOGETHER


def begin(session: Session, job_id: int, worker: str, step: str, seconds: float) -> bool:
    """A worker turns to a job that it has claimed; from now on its time counts.

    Returns
    -------
    False where the job is no longer this worker's: its server was killed, and another has it
    """
    job = session.get_one(Job, job_id)
    if not is_held(job, worker):
        return False
    job.step, job.lease_until = step, now() + timedelta(seconds=seconds)
    return True


def set_aside(session: Session, job_id: int, worker: str, seconds: float) -> None:
    """A job waits for the others of its batch: what these do meanwhile is not its fault."""
    job = session.get_one(Job, job_id)
    if is_held(job, worker):
        job.step, job.lease_until = "", now() + timedelta(seconds=seconds)


def is_held(job: Job, worker: str) -> bool:
    """Whether a job is still a worker's."""
    return job.state == "running" and job.worker == worker


def set_step(session: Session, job_id: int, step: str, done: int = 0, total: int = 0) -> None:
    """Say what a job is doing, and how far it is."""
    job = session.get(Job, job_id)
    if job is not None:
        job.step, job.done, job.total = step, done, total


def finish(session: Session, job_id: int) -> None:
    """A job has done its work."""
    job = session.get_one(Job, job_id)
    job.state, job.finished_at, job.lease_until = "done", now(), None


def fail(session: Session, job_id: int, error: str, detail: str = "") -> None:
    """A job cannot be done; `error` is a code of `mezoroi.app.problems`."""
    job = session.get_one(Job, job_id)
    job.state, job.finished_at, job.lease_until = "failed", now(), None
    job.error, job.detail = error, detail


def put_back(session: Session, job_id: int, worker: str | None = None) -> None:
    """Queue a job again that its worker gives up in good order; this was no attempt.

    Parameters
    ----------
    worker : do so only where it still is this one's
    """
    job = session.get_one(Job, job_id)
    if worker is None or (job.worker == worker and job.state == "running"):
        job.state, job.worker, job.lease_until = "queued", None, None
        job.attempts -= 1


def release(
    session: Session, worker: str | None, attempts: int, *, but: Collection[str] = ()
) -> int:
    """Queue again what a worker (None: any) left behind; what ended workers too often fails.

    Parameters
    ----------
    but : kinds of jobs to leave alone

    Returns
    -------
    how many jobs it held
    """
    query = select(Job).where(Job.state == "running", Job.kind.not_in(but))
    if worker is not None:
        query = query.where(Job.worker == worker)
    lost = list(session.scalars(query))
    for job in lost:
        if job.kind == GRADE and job.step in ("", TOGETHER):
            job.attempts -= 1  # its turn had not come, or it is not known to be the one
        elif job.kind == TRAIN and worker is None:
            job.attempts -= 1  # the whole server ended, for whatever reason
        if job.attempts >= attempts:
            fail(session, job.id, _CRASHED.get(job.kind, "stopped"))
        else:
            job.state, job.worker, job.lease_until = "queued", None, None
            job.step = TOGETHER if job.step == TOGETHER else ""
    return len(lost)


def next_kind(session: Session, kinds: Sequence[str]) -> str | None:
    """The kind of the oldest waiting job of some kinds, or None."""
    query = select(Job.kind).where(Job.kind.in_(kinds), Job.state == "queued")
    return session.scalar(query.order_by(Job.id).limit(1))


def is_overdue(session: Session, worker: str) -> bool:
    """Whether a worker holds a job longer than it may."""
    query = select(func.count()).where(
        Job.state == "running", Job.worker == worker, Job.lease_until < now()
    )
    return bool(session.scalar(query))


def recent_jobs(session: Session, kinds: Sequence[str], most: int) -> Sequence[Job]:
    """The newest jobs of some kinds, newest first."""
    return session.scalars(_RECENT, {"kinds": list(kinds), "most": most}).all()


def add_log(session: Session, job_id: int, line: str) -> None:
    """Add a line to what a job tells."""
    job = session.get_one(Job, job_id)
    job.log = f"{job.log}{line}\n"[-_LONGEST_LOG:]


def ask_to_cancel(session: Session, job: Job) -> None:
    """Cancel a job that waits; ask the process that works on one that runs to stop."""
    if job.state == "queued":
        cancel(session, job.id)
    elif job.state == "running":
        job.cancel = True


def is_cancelled(session: Session, job_id: int) -> bool:
    """Whether someone wants a job to stop."""
    return session.get_one(Job, job_id).cancel


def cancel(session: Session, job_id: int) -> None:
    """A job was stopped by a user."""
    job = session.get_one(Job, job_id)
    job.state, job.finished_at, job.lease_until, job.cancel = "cancelled", now(), None, True


def unwanted(session: Session, worker: str) -> int | None:
    """The job that a worker is at although a user wants it stopped, or None."""
    query = select(Job.id).where(Job.state == "running", Job.worker == worker, Job.cancel)
    return session.scalar(query.limit(1))
