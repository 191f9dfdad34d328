"""A user's own keys to the API."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse, Response

from mezoroi.app.access import Newcomer
from mezoroi.app.ids import Id
from mezoroi.app.services import Here
from mezoroi.app.store import audit, users
from mezoroi.app.told_once import NewSecret

router = APIRouter(include_in_schema=False)


@router.get("/account/tokens")
def tokens(
    request: Request,
    user: Newcomer,
    here: Here,
    told: Annotated[str, Query(max_length=64)] = "",
) -> Response:
    """The keys that are in force; and, this once, the one that was just made."""
    secret = here.told_once.take(user.id, told)
    with here.database.read() as session:
        listed = users.list_tokens(session, user.id)
    return here.pages.render(
        request,
        "account/tokens.html",
        tokens=listed,
        secret=secret,
        was_told=bool(told) and secret is None,
    )


@router.post("/account/tokens")
def add(
    user: Newcomer,
    here: Here,
    name: Annotated[str, Form(min_length=1, max_length=64)],
) -> Response:
    """Make a key; the page that follows shows it, and loaded again makes no other."""
    with here.database.write() as session:
        secret = users.add_token(session, user, name.strip())
        audit.record(session, user, "token made", name[:64])
    told = here.told_once.keep(user.id, NewSecret(secret, name.strip()))
    return RedirectResponse(f"/account/tokens?told={told}", 303)


@router.post("/account/tokens/{token_id}/revoke")
def revoke(token_id: Id, user: Newcomer, here: Here) -> Response:
    """Take a key out of force."""
    with here.database.write() as session:
        users.revoke_token(session, user.id, token_id)
        audit.record(session, user, "token revoked", str(token_id))
    return RedirectResponse("/account/tokens", 303)
