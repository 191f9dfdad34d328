"""The API for programs: `/api/v1`, with a bearer token or from our own pages."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field

import mezoroi
from mezoroi.app.access import Expert, Newcomer, newcomer
from mezoroi.app.hiding import Neighbours, secret_fruits, shown_neighbours
from mezoroi.app.ids import Id
from mezoroi.app.problems import Refusal
from mezoroi.app.routes.grade import NUMBERS, UploadKey, take_upload
from mezoroi.app.services import Here, Services
from mezoroi.app.store import fruits, jobs, verdicts
from mezoroi.app.store.fruits import Listed
from mezoroi.app.tables import User, Verdict
from mezoroi.app.views import asks_blind

router = APIRouter()
_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        **{name: {"type": "string"} for name in (*NUMBERS, "orchard", "note")},
                        "lot": {"type": "string"},
                    },
                }
            }
        },
    }
}


class Problem(BaseModel):
    """Why a request was refused."""

    error: str
    detail: str = ""
    field: str = Field("", description="What was sent under this name is to blame.")


class FruitOut(BaseModel):
    """A fruit and, once it is graded, its grading."""

    id: int
    name: str
    media: str
    created_at: datetime
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    error: str | None = Field(None, description="Code of what went wrong.")
    grading_id: int | None = None
    grading: dict[str, Any] | None = Field(
        None,
        description=(
            "As `Grading.to_dict` gives it; hidden until a blind grader has graded, and while the "
            "fruit is in a test or an open session that asks the reader for its grade. Newcomers "
            "get no `neighbours` that are in a test or an open session, or disputed."
        ),
    )


class VerdictIn(BaseModel):
    """A user's answer to a grading."""

    answer: Literal["agree", "plausible", "wrong"] | None
    own_grade: str | None = Field(None, max_length=64)
    note: str | None = Field(
        None, max_length=2000, description="Left out, the note stays; empty, it is deleted."
    )


class VerdictOut(VerdictIn):
    """A verdict as it is kept."""

    note: str
    revision: int


_REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem} for status in (401, 403, 404, 413, 415, 422, 503)
}
_SENT_BEFORE: dict[int | str, dict[str, Any]] = {
    200: {"model": FruitOut, "description": "You sent this before, with the same key."}
}
v1 = APIRouter(prefix="/api/v1", responses=_REFUSALS)


@v1.post("/fruits", status_code=201, responses=_SENT_BEFORE, openapi_extra=_FORM)
async def send_fruit(
    request: Request,
    response: Response,
    user: Annotated[User, Depends(newcomer)],
    here: Here,
    key: UploadKey = None,
) -> FruitOut:
    """Send a photo or video; it is on disk and queued when this answers."""
    accepted = await take_upload(request, user, here, key)
    if not accepted.is_new:
        response.status_code = 200
    return _read(accepted.fruit_id, user, here)


@v1.get("/fruits")
def list_fruits(
    user: Newcomer,
    here: Here,
    first: Annotated[int, Query(ge=0, le=10**9)] = 0,
    most: Annotated[int, Query(ge=1, le=200)] = 50,
) -> list[FruitOut]:
    """Fruits, newest first."""
    with here.database.read() as session:
        found = fruits.list_fruits(session, first, most)
        ids = [item.grading.id for item in found if item.grading]
        own = verdicts.answered(session, ids, user.id)
        near = shown_neighbours(session, user, [item.grading for item in found if item.grading])
        secret = secret_fruits(session, user)
    return [_fruit(item, user, own, near, item.fruit.id in secret) for item in found]


@v1.get("/fruits/{fruit_id}")
def get_fruit(fruit_id: Id, user: Newcomer, here: Here) -> FruitOut:
    """One fruit with its newest grading."""
    return _read(fruit_id, user, here)


@v1.post("/fruits/{fruit_id}/verdict")
def send_verdict(fruit_id: Id, verdict: VerdictIn, user: Expert, here: Here) -> VerdictOut:
    """Add a revision to one's verdict on the newest grading."""
    with here.database.write() as session:
        grading = fruits.newest_grading(session, fruit_id)
        if grading is None:
            raise HTTPException(404)
        if fruit_id in secret_fruits(session, user):
            raise Refusal("grade first")
        given = verdicts.give_verdict(
            session,
            grading,
            user.id,
            verdict.answer,
            own_grade=verdict.own_grade,
            note=verdict.note,
        )
        return VerdictOut(
            answer=verdict.answer,
            own_grade=given.own_grade,
            note=given.note,
            revision=given.revision,
        )


@router.get("/api/v1/openapi.json", include_in_schema=False)
def openapi(request: Request, user: Newcomer) -> JSONResponse:
    """The API's description."""
    routes = [route for route in request.app.routes if getattr(route, "include_in_schema", False)]
    content = get_openapi(title="Mezoroi", version=mezoroi.__version__, routes=routes)
    scheme = {"type": "http", "scheme": "bearer"}
    content.setdefault("components", {})["securitySchemes"] = {"token": scheme}
    content["security"] = [{"token": []}]
    return JSONResponse(content)


@router.get("/api", include_in_schema=False)
def docs(request: Request, user: Newcomer, here: Here) -> Response:
    """The API's description for people."""
    return here.pages.render(request, "api.html")


def _read(fruit_id: int, user: User, here: Services) -> FruitOut:
    with here.database.read() as session:
        fruit = fruits.get_fruit(session, fruit_id)
        if fruit is None:
            raise HTTPException(404)
        grading = fruits.newest_grading(session, fruit_id)
        rows = [] if grading is None else [grading]
        own = verdicts.answered(session, [row.id for row in rows], user.id)
        near = shown_neighbours(session, user, rows)
        item = Listed(fruit, grading, jobs.newest_job(session, fruit_id))
        is_secret = fruit_id in secret_fruits(session, user)
    return _fruit(item, user, own, near, is_secret)


def _fruit(
    item: Listed,
    user: User,
    own: dict[int, Verdict],
    near: dict[int, Neighbours],
    is_secret: bool,
) -> FruitOut:
    grading = item.grading
    result = None
    if grading is not None and not is_secret and not asks_blind(user, own.get(grading.id)):
        result = {**grading.result, "neighbours": near[grading.id]}
    state = item.job.state if item.job is not None else "done"
    return FruitOut(
        id=item.fruit.id,
        name=item.fruit.name,
        media=item.fruit.media,
        created_at=item.fruit.created_at,
        state=state,
        error=item.job.error if item.job is not None else None,
        grading_id=grading.id if grading is not None else None,
        grading=result,
    )
