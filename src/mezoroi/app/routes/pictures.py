"""Pictures of fruits, and the grades' colours."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException
from fastapi.responses import FileResponse, Response

from mezoroi.app.access import Anyone, Newcomer
from mezoroi.app.services import Here
from mezoroi.report.colours import GRADE_COLOURS, ink_on

router = APIRouter(include_in_schema=False)
_FOREVER = "private, max-age=31536000, immutable"


@router.get("/pictures/{name}")
def picture(name: str, _: Newcomer, here: Here) -> FileResponse:
    """A picture by its content; originals are not among them."""
    try:
        path = here.blobs.picture(name)
    except ValueError as error:
        raise HTTPException(404) from error
    if not path.is_file():
        raise HTTPException(404)
    return FileResponse(path, headers={"cache-control": _FOREVER})


@router.get("/grades.css")
def grade_colours(_: Anyone) -> Response:
    """The classes ``grade-1`` to ``grade-20``: the colour of a grade by its place."""
    rules = [
        f".grade-{place} {{ --grade: {colour}; --grade-ink: {ink_on(colour)}; }}"
        for place, colour in enumerate(GRADE_COLOURS, start=1)
    ]
    text = "\n".join(rules) + "\n"
    return Response(text, media_type="text/css", headers={"cache-control": "max-age=3600"})
