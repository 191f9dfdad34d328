"""The grading standard to read: its words and examples, as they are and as they were."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import Response

from mezoroi.app.access import Expert
from mezoroi.app.hiding import is_kept_from
from mezoroi.app.services import Here
from mezoroi.app.store import house, runs
from mezoroi.standard import GradingStandard

router = APIRouter(include_in_schema=False)


@router.get("/standard")
def standard_page(
    request: Request,
    user: Expert,
    here: Here,
    version: Annotated[int | None, Query(ge=1, le=10**9)] = None,
) -> Response:
    """One version, by default the one in use; no example whose grade the reader is asked for."""
    with here.database.read() as session:
        run = runs.active_run(session)
        if run is None:
            raise HTTPException(404)
        versions = house.list_standards(session)
        wanted = run.standard.version if version is None else version
        found = next((each for each in versions if each.version == wanted), None)
        if found is None:
            raise HTTPException(404)
        pictures = house.example_pictures(
            session, found.id, lambda grading: is_kept_from(session, user, grading)
        )
    return here.pages.render(
        request,
        "references/standard.html",
        found=found,
        standard=GradingStandard.from_dict(found.content),
        versions=versions,
        in_use=run.standard.version,
        pictures=pictures,
    )
