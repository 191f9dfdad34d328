"""The history of fruits: found by what they are, and taken along as a table or a file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import FileResponse, Response, StreamingResponse
from sqlalchemy.orm import Session

from mezoroi.app import exporting, intake
from mezoroi.app.access import Admin, Expert, Newcomer, newcomer
from mezoroi.app.answers import is_fragment
from mezoroi.app.hiding import secret_fruits
from mezoroi.app.ids import Id
from mezoroi.app.pages import fit_page
from mezoroi.app.routes.grade import hidden_ids, stage_of
from mezoroi.app.services import Here, Services
from mezoroi.app.store import audit, finding, fruits, jobs, lots, runs, verdicts
from mezoroi.app.store.finding import RELIABILITIES, VERDICTS, Filter
from mezoroi.app.tables import User
from mezoroi.app.views import is_blind
from mezoroi.errors import MezoroiError

router = APIRouter(include_in_schema=False)
PAGE = 30
Short = Annotated[str, Query(max_length=64)]


@dataclass(frozen=True)
class Asked:
    """A filter as it stands in an address.

    Attributes
    ----------
    query : what stands there
    """

    filter: Filter
    query: str

    def of(self, session: Session, user: User) -> Filter:
        """The filter for a user, to whom it must not tell the grades that they are asked for."""
        blind_for = user.id if is_blind(user) else None
        return replace(self.filter, blind_for=blind_for, secret=secret_fruits(session, user))


async def _asked(
    _: Annotated[User, Depends(newcomer)],
    start: Short = "",
    end: Short = "",
    grade: Short = "",
    verdict: Short = "",
    reliability: Short = "",
    lot: Short = "",
) -> Asked:
    """What an address asks for.

    Parameters
    ----------
    start, end : first and last day, YYYY-MM-DD
    grade, verdict, reliability, lot : as in `Filter`; empty for any

    Raises
    ------
    MezoroiError
        If one of them makes no sense.
    """
    _check("verdict", verdict, VERDICTS)
    _check("reliability", reliability, RELIABILITIES)
    given = {
        "start": start,
        "end": end,
        "grade": grade,
        "verdict": verdict,
        "reliability": reliability,
        "lot": lot,
    }
    chosen = Filter(
        start=as_day(start),
        end=as_day(end),
        grade=grade or None,
        verdict=verdict or None,
        reliability=reliability or None,
        lot=as_id(lot),
    )
    return Asked(chosen, urlencode({name: value for name, value in given.items() if value}))


def as_day(text: str) -> date | None:
    """A day of an address; None for nothing.

    Raises
    ------
    MezoroiError
        If it is none.
    """
    if not text:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise MezoroiError(f"`{text}` is no day: write YYYY-MM-DD") from error
    if not 1970 <= day.year < 9999:
        raise MezoroiError(f"{text} lies too far away: give a day from 1970 on")
    return day


def as_id(text: str) -> int | None:
    """A number of an address; None for nothing.

    Raises
    ------
    MezoroiError
        If it is none.
    """
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise MezoroiError(f"`{text}` is no number: choose from the list")
    return int(text)


def _check(name: str, value: str, known: tuple[str, ...]) -> None:
    if value and value not in known:
        raise MezoroiError(f"{name} is `{value}`: use {', '.join(known)}")


@router.get("/fruits")
def list_page(
    request: Request,
    user: Newcomer,
    here: Here,
    asked: Annotated[Asked, Depends(_asked)],
    page: Annotated[int, Query(ge=1, le=10**6)] = 1,
    known: Short = "",
) -> Response:
    """Fruits that the filter lets pass, newest first; htmx gets the list alone.

    It gets nothing where the list is as `known`, since a list that is exchanged under a finger
    hears no tap.
    """
    with here.database.read() as session:
        chosen = asked.of(session, user)
        total = finding.count(session, chosen)
        page, pages = fit_page(page, total, PAGE)
        listed = finding.find(session, chosen, (page - 1) * PAGE, PAGE)
        seen = verdicts.answered(session, [f.grading.id for f in listed if f.grading], user.id)
        run = runs.active_run(session)
        known_lots = lots.lots_to_choose(session, chosen.lot)
    hidden = hidden_ids(user, listed, seen)
    stage = stage_of(listed, hidden | chosen.secret, total)
    if is_fragment(request) and stage == known:
        return Response(status_code=204)
    restores = request.headers.get("hx-history-restore-request") == "true"
    return here.pages.render(
        request,
        "fruits/_found.html" if is_fragment(request) and not restores else "fruits/list.html",
        listed=listed,
        seen=seen,
        hidden=hidden,
        secret=chosen.secret,
        is_at_work=any(item.job is not None and item.job.state in jobs.OPEN for item in listed),
        stage=stage,
        total=total,
        page=page,
        pages=pages,
        chosen=chosen,
        query=asked.query,
        grades=[] if run is None else list(run.standard.content["grades"]),
        lots=known_lots,
    )


@router.get("/exports/fruits.csv")
def export_csv(user: Expert, here: Here, asked: Annotated[Asked, Depends(_asked)]) -> Response:
    """The fruits that the filter lets pass, as CSV."""
    chosen, grades = _chosen(here, user, asked)
    content = exporting.as_csv(finding.pieces(here.database, chosen), grades)
    return _download(content, "fruits.csv", "text/csv; charset=utf-8")


@router.get("/exports/fruits.parquet")
def export_parquet(user: Expert, here: Here, asked: Annotated[Asked, Depends(_asked)]) -> Response:
    """The fruits that the filter lets pass, as Parquet."""
    chosen, grades = _chosen(here, user, asked)
    content = exporting.as_parquet(finding.pieces(here.database, chosen), grades)
    return _download(content, "fruits.parquet", "application/vnd.apache.parquet")


def _download(content: Iterator[bytes], name: str, media: str) -> Response:
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(content, media_type=media, headers=headers)


def _chosen(here: Services, user: User, asked: Asked) -> tuple[Filter, list[str]]:
    """The filter for a user, and the grades of the standard."""
    with here.database.read() as session:
        chosen, run = asked.of(session, user), runs.active_run(session)
    return chosen, [] if run is None else list(run.standard.content["grades"])


@router.get("/fruits/{fruit_id}/picture")
def take_picture(fruit_id: Id, _: Newcomer, here: Here) -> Response:
    """A fruit's picture as a file: what the camera saw, encoded anew and without its data."""
    with here.database.read() as session:
        grading = fruits.newest_grading(session, fruit_id)
    if grading is None:
        raise HTTPException(404)
    pictures = grading.result["pictures"]
    path = here.blobs.picture((pictures["photo"] or pictures["surface"])["name"])
    if not path.is_file():
        raise HTTPException(404)
    return FileResponse(path, filename=f"fruit-{fruit_id}.jpg")


@router.get("/fruits/{fruit_id}/original")
def take_original(fruit_id: Id, user: Admin, here: Here) -> Response:
    """The file as it was sent, with all its data; never shown, only saved."""
    with here.database.read() as session:
        fruit = fruits.get_fruit(session, fruit_id)
    if fruit is None:
        raise HTTPException(404)
    path = here.blobs.original(fruit.content)
    if not path.is_file():
        raise HTTPException(404)
    with here.database.write() as session:
        audit.record(session, user, "original downloaded", str(fruit_id))
    name = f"fruit-{fruit_id}-original.{intake.SUFFIXES[fruit.media]}"
    return FileResponse(path, media_type="application/octet-stream", filename=name)
