"""What is said about a fruit, corrected afterwards: weight, orchard, lot and the like."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Depends, Form, HTTPException, Request
from fastapi.responses import RedirectResponse, Response

from mezoroi.app import intake
from mezoroi.app.access import Newcomer
from mezoroi.app.i18n import catalogue
from mezoroi.app.ids import Id
from mezoroi.app.pages import language_of
from mezoroi.app.problems import BadNumber
from mezoroi.app.routes.grade import details_of
from mezoroi.app.services import Here, Services
from mezoroi.app.store import audit, fruits, lots

router = APIRouter(include_in_schema=False)
Text = Annotated[str, Form(max_length=128)]
Note = Annotated[str, Form(max_length=2000)]


def _shown(
    shown_weight: Text = "",
    shown_diameter: Text = "",
    shown_brix: Text = "",
    shown_orchard: Text = "",
    shown_lot: Text = "",
    shown_note: Note = "",
) -> dict[str, str]:
    """What the fields held when their page was opened."""
    numbers = {"weight": shown_weight, "diameter": shown_diameter, "brix": shown_brix}
    return numbers | {"orchard": shown_orchard, "lot": shown_lot, "note": shown_note}


def is_changed(said: str, shown: str) -> bool:
    """Whether a field says something else than its page showed; browsers drop its line breaks."""
    return "".join(said.splitlines()).strip() != "".join(shown.splitlines()).strip()


@router.post("/fruits/{fruit_id}/details")
def correct(
    request: Request,
    fruit_id: Id,
    user: Newcomer,
    here: Here,
    shown: Annotated[dict[str, str], Depends(_shown)],
    weight: Text = "",
    diameter: Text = "",
    brix: Text = "",
    orchard: Text = "",
    lot: Text = "",
    note: Note = "",
) -> Response:
    """Correct what is said about a fruit; the audit log keeps what stood there before.

    Parameters
    ----------
    shown : what is still said in its field stays as it is by now: another may have corrected it
    """
    said = {"weight": weight, "diameter": diameter, "brix": brix}
    said |= {"orchard": orchard, "lot": lot, "note": note}
    try:
        details = details_of(said)
        intake.check_details(details)
    except BadNumber as problem:
        return _to_correct(request, here, fruit_id, said, shown, problem)
    with here.database.write() as session:
        fruit = fruits.get_fruit(session, fruit_id)
        if fruit is None:
            raise HTTPException(404)
        own = {name: getattr(details, name) for name in said if is_changed(said[name], shown[name])}
        changed = fruits.set_details(session, fruit, replace(fruits.get_details(fruit), **own))
        if changed:
            audit.record(session, user, "fruit corrected", str(fruit_id), before=changed)
    return RedirectResponse(f"/fruits/{fruit_id}?saved=true", 303)


def _to_correct(
    request: Request,
    here: Services,
    fruit_id: int,
    said: dict[str, str],
    shown: dict[str, str],
    problem: BadNumber,
) -> Response:
    """The form as it was filled in, and what is wrong with it."""
    with here.database.read() as session:
        fruit = fruits.get_fruit(session, fruit_id)
        open_lots = lots.open_lots(session)
    if fruit is None:
        raise HTTPException(404)
    return here.pages.render(
        request,
        "fruits/details.html",
        problem.status,
        fruit=fruit,
        said=said,
        shown=shown,
        wrong=problem.field,
        problem=problem.told(catalogue(language_of(request))),
        lots=open_lots,
    )
