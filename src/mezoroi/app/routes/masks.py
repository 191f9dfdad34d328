"""Experts' masks: painted on the surface image, kept with the verdict, shown over the fruit."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from pydantic import BaseModel, Field
from sqlalchemy.orm import Session

from mezoroi.app.access import Expert, Newcomer
from mezoroi.app.hiding import is_kept_from
from mezoroi.app.ids import FieldId, Id
from mezoroi.app.pages import language_of
from mezoroi.app.painting import mask_of_runs, mask_png, read_painted, runs_of_mask
from mezoroi.app.services import Here, Services
from mezoroi.app.store import fruits, verdicts
from mezoroi.app.tables import GradingRow
from mezoroi.app.views import result_view
from mezoroi.errors import MezoroiError
from mezoroi.standard import GradingStandard

router = APIRouter(include_in_schema=False)
Runs = Annotated[list[Annotated[int, Field(ge=0, le=2**40)]], Field(max_length=200_000)]


class Painted(BaseModel):
    """What the browser sends: runs of painted pixels by grade."""

    grading_id: FieldId
    masks: Annotated[dict[str, Runs], Field(max_length=20)]


@router.get("/fruits/{fruit_id}/mask")
def paint_page(request: Request, fruit_id: Id, user: Expert, here: Here) -> Response:
    """Where a mask is painted; who is asked for the grade gives it first."""
    with here.database.read() as session:
        fruit = fruits.get_fruit(session, fruit_id)
        grading = fruits.newest_grading(session, fruit_id)
        if fruit is None or grading is None:
            raise HTTPException(404)
        own = verdicts.current_verdict(session, grading.id, user.id)
        is_kept = is_kept_from(session, user, grading)
    if is_kept:
        return RedirectResponse(f"/fruits/{fruit_id}", 303)
    standard = GradingStandard.from_dict(grading.standard.content)
    result = result_view(grading, language_of(request))
    wanted = (own.grade if own is not None else None) or grading.grade
    first = wanted if wanted in standard.surface_grades else standard.surface_grades[0]
    return here.pages.render(
        request,
        "grade/paint.html",
        fruit=fruit,
        result=result,
        paintable=standard.surface_grades,
        first=first,
        masks=_runs(here, own.mask if own is not None else None),
    )


@router.get("/fruits/{fruit_id}/masks.json")
def masks(fruit_id: Id, user: Newcomer, here: Here) -> JSONResponse:
    """The painted masks of the newest grading, by expert; none to who is asked for its grade."""
    with here.database.read() as session:
        grading = fruits.newest_grading(session, fruit_id)
        if grading is None:
            raise HTTPException(404)
        found = verdicts.painted(session, grading.id)
        is_kept = is_kept_from(session, user, grading)
    if is_kept:
        return JSONResponse([])
    return JSONResponse(
        [
            {"user": each.user.full_name or each.user.name, "masks": _runs(here, each.mask)}
            for each in found.values()
        ]
    )


@router.post("/fruits/{fruit_id}/mask")
def keep_mask(fruit_id: Id, painted: Painted, user: Expert, here: Here) -> JSONResponse:
    """Keep what was painted as a new revision of the user's verdict; nothing takes it back."""
    with here.database.read() as session:
        grading = _grading(session, fruit_id, painted.grading_id)
        is_kept = is_kept_from(session, user, grading)
    if is_kept:
        raise HTTPException(403)
    standard = GradingStandard.from_dict(grading.standard.content)
    unknown = set(painted.masks) - set(standard.surface_grades)
    if unknown:
        raise MezoroiError(f"`{min(unknown)}` is not judged on the surface: paint another grade")
    surface = grading.result["pictures"]["surface"]
    regions = {
        grade: mask_of_runs(painted.masks[grade], surface["height"], surface["width"])
        for grade in standard.surface_grades
        if painted.masks.get(grade)
    }
    name = here.blobs.keep_picture(mask_png(regions), "png", durable=True) if regions else ""
    with here.database.write() as session:
        verdicts.keep_mask(session, grading, user.id, name)
    return JSONResponse({"location": f"/fruits/{fruit_id}"})


def _runs(here: Services, name: str | None) -> dict[str, list[int]]:
    if not name:
        return {}
    found = read_painted(here.blobs.picture(name))
    return {grade: runs_of_mask(mask) for grade, mask in found.items()}


def _grading(session: Session, fruit_id: int, grading_id: int) -> GradingRow:
    grading = session.get(GradingRow, grading_id)
    if grading is None or grading.fruit_id != fruit_id:
        raise HTTPException(404)
    return grading
