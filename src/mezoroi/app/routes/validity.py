"""Whether experts find the gradings valid."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal
from typing import Annotated

from fastapi import APIRouter, Form, HTTPException, Query, Request
from fastapi.responses import RedirectResponse, Response

from mezoroi.app.access import Admin, Expert
from mezoroi.app.hiding import secret_fruits
from mezoroi.app.judging import EARLIER_ACCEPTANCE, PAPERS_CHARTS, validity
from mezoroi.app.roles import Role
from mezoroi.app.routes.fruits import as_day, as_id
from mezoroi.app.services import Here
from mezoroi.app.store import audit, house
from mezoroi.app.store import validity as store
from mezoroi.app.store.finding import Filter
from mezoroi.app.views import is_blind
from mezoroi.errors import MezoroiError
from mezoroi.standard import GradingStandard

router = APIRouter(include_in_schema=False)
COSTS = "grading costs"
_MOST_COST = 1e9
Asked = Annotated[str, Query(max_length=64)]


@router.get("/validity")
def page(
    request: Request,
    user: Expert,
    here: Here,
    run: Asked = "",
    start: Asked = "",
    end: Asked = "",
    charts: Asked = "all",
    saved: bool = False,
) -> Response:
    """Table 2 of the melon paper from real verdicts, acceptance, and what errors cost."""
    asked = Filter(start=as_day(start), end=as_day(end))
    run_id = as_id(run)
    with here.database.read() as session:
        runs = store.all_runs(session)
        found = next((each for each in runs if run_id in (None, each.id)), None)
        if run_id is None:
            found = next((each for each in runs if each.active), found)
        elif found is None:
            raise HTTPException(404)
        chosen = replace(
            asked,
            blind_for=user.id if is_blind(user) else None,
            secret=secret_fruits(session, user),
        )
        judged = [] if found is None else store.judged(session, chosen, found.id)
        graded = {} if found is None else store.graded_counts(session, chosen, found.id)
        hidden = 0 if found is None else store.hidden_count(session, chosen, found.id)
        is_admin = Role(user.role).covers(Role.ADMIN)
        ids = {each.expert_id for each in judged}
        names = store.experts(session, sorted(ids if is_admin else ids & {user.id}))
        costs = house.get_setting(session, COSTS)
    over, under = float(costs.get("over", 1.0)), float(costs.get("under", 1.0))
    content = None
    if found is not None:
        standard = GradingStandard.from_dict(found.standard.content)
        content = validity(
            judged,
            graded,
            names,
            standard.grades,
            is_ordered=standard.ordered,
            several_only=charts == "several",
            costs=(over, under),
        )
    return here.pages.render(
        request,
        "validity/page.html",
        validity=content,
        runs=runs,
        run=found,
        chosen=chosen,
        tally={"hidden": hidden},
        charts=charts,
        costs=(over, under),
        digits=max(_decimals(over), _decimals(under)),
        is_admin=is_admin,
        saved=saved,
        earlier=EARLIER_ACCEPTANCE,
        papers=PAPERS_CHARTS,
    )


def _decimals(cost: float) -> int:
    """How many decimals a cost is shown with: so many its sums need."""
    return max(0, -int(Decimal(f"{cost:g}").as_tuple().exponent))


@router.post("/validity/costs")
def set_costs(
    user: Admin, here: Here, over: Annotated[float, Form()], under: Annotated[float, Form()]
) -> Response:
    """Keep what one grade too good, and one too bad, cost the house."""
    for cost in (over, under):
        if not (math.isfinite(cost) and 0 <= cost <= _MOST_COST):
            raise MezoroiError(f"a cost is {cost:g}: give 0 to {_MOST_COST:g}")
    with here.database.write() as session:
        before = house.get_setting(session, COSTS)
        house.set_setting(session, COSTS, {"over": over, "under": under})
        audit.record(session, user, "grading costs", before=before, over=over, under=under)
    return RedirectResponse("/validity?saved=true", 303)
