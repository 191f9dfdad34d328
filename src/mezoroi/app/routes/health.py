"""For machines that watch the app."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from mezoroi.app.access import Admin, Anyone
from mezoroi.app.services import Here
from mezoroi.app.store import jobs

router = APIRouter(include_in_schema=False)


@router.get("/healthz")
def healthz(_: Anyone) -> dict[str, str]:
    """The web server answers."""
    return {"status": "ok"}


@router.get("/readyz")
def readyz(_: Anyone, here: Here) -> JSONResponse:
    """The database answers and the worker grades; why it cannot stands on the page of graders."""
    try:
        with here.database.read() as session:
            session.execute(text("SELECT 1"))
        database = True
    except SQLAlchemyError:
        database = False
    ready = database and here.supervisor.is_ready
    return JSONResponse(
        {
            "ready": ready,
            "database": database,
            "worker": here.supervisor.is_ready,
            "trouble": bool(here.supervisor.trouble),
        },
        200 if ready else 503,
    )


@router.get("/metrics")
def metrics(_: Admin, here: Here) -> Response:
    """Prometheus metrics, for an administrator's token."""
    with here.database.read() as session:
        here.metrics.queue.set(jobs.count_open(session, jobs.GRADE))
    return Response(here.metrics.text(), media_type="text/plain; version=0.0.4")
