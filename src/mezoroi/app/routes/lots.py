"""Lots, what was graded in a day or a lot, and the sheet that goes with a shipment."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Form, HTTPException, Query, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.orm import Session

from mezoroi.app.access import Newcomer
from mezoroi.app.hiding import secret_fruits
from mezoroi.app.ids import Id
from mezoroi.app.pages import fit_page
from mezoroi.app.routes.details import is_changed
from mezoroi.app.routes.fruits import as_day, as_id
from mezoroi.app.services import Here
from mezoroi.app.store import audit, lots, runs, tallies
from mezoroi.app.store.finding import Filter
from mezoroi.app.store.tallies import Tally
from mezoroi.app.tables import Lot, User
from mezoroi.app.views import is_blind
from mezoroi.errors import MezoroiError

router = APIRouter(include_in_schema=False)
PAGE = 50
Text = Annotated[str, Form(max_length=128)]
Note = Annotated[str, Form(max_length=2000)]
Flag = Annotated[bool, Form()]
Asked = Annotated[str, Query(max_length=64)]


@router.get("/lots")
def list_page(
    request: Request,
    _: Newcomer,
    here: Here,
    page: Annotated[int, Query(ge=1, le=10**6)] = 1,
) -> Response:
    """All lots, newest first, and a form for a new one."""
    with here.database.read() as session:
        page, pages = fit_page(page, lots.count_lots(session), PAGE)
        found = lots.list_lots(session, (page - 1) * PAGE, PAGE)
    return here.pages.render(request, "lots/list.html", lots=found, page=page, pages=pages)


@router.post("/lots")
def add(user: Newcomer, here: Here, name: Text, orchard: Text = "", note: Note = "") -> Response:
    """Make a lot; one that is there stays as it is, also closed."""
    with here.database.write() as session:
        lot_id = lots.find_or_add_lot(session, name)
        lot = None if lot_id is None else lots.get_lot(session, lot_id)
        if lot is None:
            raise MezoroiError("a lot needs a name: write one")
        lots.change_lot(
            session,
            lot,
            orchard=orchard or lot.orchard,
            note=note or lot.note,
            closed=lot.closed_at is not None,
        )
        audit.record(session, user, "lot added", lot.name)
    return RedirectResponse(f"/lots/{lot_id}", 303)


@router.get("/lots/{lot_id}")
def lot_page(
    request: Request, lot_id: Id, user: Newcomer, here: Here, saved: bool = False
) -> Response:
    """What is in a lot."""
    with here.database.read() as session:
        lot, content = _tallied(session, user, None, lot_id)
    return here.pages.render(request, "lots/lot.html", lot=lot, saved=saved, **content)


@router.post("/lots/{lot_id}")
def change(
    lot_id: Id,
    user: Newcomer,
    here: Here,
    orchard: Text = "",
    note: Note = "",
    closed: Flag = False,
    shown_orchard: Text = "",
    shown_note: Note = "",
    shown_closed: Flag = False,
) -> Response:
    """Keep what is said about a lot; a closed one is no longer offered.

    Parameters
    ----------
    shown_orchard, shown_note, shown_closed : as the page showed them; what is still said so stays
        as it is by now: another may have changed it
    """
    with here.database.write() as session:
        lot = lots.get_lot(session, lot_id)
        if lot is None:
            raise HTTPException(404)
        is_closed = lot.closed_at is not None
        lots.change_lot(
            session,
            lot,
            orchard=orchard if is_changed(orchard, shown_orchard) else lot.orchard,
            note=note if is_changed(note, shown_note) else lot.note,
            closed=closed if closed != shown_closed else is_closed,
        )
        audit.record(session, user, "lot changed", lot.name, closed=lot.closed_at is not None)
    return RedirectResponse(f"/lots/{lot_id}?saved=true", 303)


@router.get("/summary")
def summary_page(
    request: Request, user: Newcomer, here: Here, day: Asked = "", lot: Asked = ""
) -> Response:
    """What was graded on a day, of a lot or of all."""
    chosen = as_day(day) or date.today()
    with here.database.read() as session:
        found, content = _tallied(session, user, chosen, as_id(lot))
        content["lots"] = lots.lots_to_choose(session, as_id(lot))
    return here.pages.render(
        request,
        "lots/summary.html",
        lot=found,
        before=chosen - timedelta(days=1),
        after=chosen + timedelta(days=1) if chosen < date.today() else None,
        **content,
    )


@router.get("/summary/sheet")
def sheet(
    request: Request, user: Newcomer, here: Here, day: Asked = "", lot: Asked = ""
) -> Response:
    """A shipping sheet to print, of a day, a lot, or a lot on a day."""
    lot_id, chosen = as_id(lot), as_day(day)
    if chosen is None and lot_id is None:
        chosen = date.today()
    with here.database.read() as session:
        found, content = _tallied(session, user, chosen, lot_id)
    return here.pages.render(
        request, "lots/sheet.html", lot=found, printed=datetime.now().astimezone(), **content
    )


def _tallied(
    session: Session, user: User, day: date | None, lot_id: int | None
) -> tuple[Lot | None, dict[str, Any]]:
    """A lot, and what the pages on it or on a day share."""
    blind_for = user.id if is_blind(user) else None
    secret = secret_fruits(session, user)
    chosen = Filter(start=day, end=day, lot=lot_id, blind_for=blind_for, secret=secret)
    lot = None if lot_id is None else lots.get_lot(session, lot_id)
    if lot_id is not None and lot is None:
        raise HTTPException(404)
    run = runs.active_run(session)
    grades = [] if run is None else list(run.standard.content["grades"])
    counted: Tally = tallies.tally(session, chosen, grades)
    given = {"day": day.isoformat() if day is not None else None, "lot": lot_id}
    query = urlencode({name: value for name, value in given.items() if value is not None})
    return lot, {"day": day, "tally": counted, "grades": grades, "query": query}
