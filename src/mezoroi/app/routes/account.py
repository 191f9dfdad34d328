"""Logging in and out, language, and a user's own settings."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from mezoroi.app.access import SESSION_COOKIE, Anyone, Newcomer
from mezoroi.app.answers import safe_path
from mezoroi.app.i18n import LANGUAGES
from mezoroi.app.pages import LANGUAGE_COOKIE
from mezoroi.app.passwords import is_password
from mezoroi.app.problems import N_
from mezoroi.app.services import Here
from mezoroi.app.store import audit, users
from mezoroi.errors import MezoroiError

router = APIRouter(include_in_schema=False)
_YEAR = 365 * 24 * 3600
Text = Annotated[str, Form(max_length=200)]
Address = Annotated[str, Form()]
"""Where to go on: an address with a filter can be long, and is no reason to refuse a login."""

_WRONG = N_("The name or the password is not right.")
_LOCKED = N_("Too many attempts. Please wait a little, then try again.")
_OLD_WRONG = N_("The present password is not right.")
_UNFIT = N_("The new password needs 10 to 200 characters.")


@router.get("/login")
def login_page(request: Request, user: Anyone, here: Here, next: str = "/") -> Response:
    """The form."""
    if user is not None:
        return RedirectResponse(safe_path(next), 303)
    return here.pages.render(
        request, "account/login.html", next=safe_path(next), name="", problem=None
    )


@router.post("/login")
def log_in(
    request: Request, _: Anyone, here: Here, name: Text, password: Text, next: Address = "/"
) -> Response:
    """Check name and password; the answer takes as long for a name that nobody has."""
    with here.database.read() as session:
        locked = users.seconds_locked(session, name)
        user = users.find_user(session, name)
    known = user.password_hash if user is not None and user.active else None
    right = is_password(password, known) and user is not None and not locked
    if not right or user is None:
        with here.database.write() as session:
            if not locked:
                users.note_failure(session, name)
            audit.record(session, None, "login refused", name[:64])
        return here.pages.render(
            request,
            "account/login.html",
            429 if locked else 401,
            next=safe_path(next),
            name=name,
            problem=_LOCKED if locked else _WRONG,
        )
    with here.database.write() as session:
        key = users.start_login(session, user)
        audit.record(session, user, "login")
    response = RedirectResponse(safe_path(next), 303)
    response.set_cookie(
        SESSION_COOKIE,
        key,
        max_age=int(users.OLDEST.total_seconds()),
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )
    return response


@router.post("/logout")
def log_out(request: Request, _: Anyone, here: Here) -> Response:
    """End the login."""
    key = request.cookies.get(SESSION_COOKIE)
    if key:
        with here.database.write() as session:
            users.end_login(session, key)
    response = RedirectResponse("/login", 303)
    response.delete_cookie(SESSION_COOKIE)
    return response


@router.post("/language")
def choose_language(
    request: Request, user: Anyone, here: Here, language: Text, next: Address = "/"
) -> Response:
    """Keep the language, for the user or, before login, in a cookie."""
    response = RedirectResponse(_as_it_stood(request, safe_path(next)), 303)
    if language in LANGUAGES:
        if user is not None:
            with here.database.write() as session:
                found = users.get_user(session, user.id)
                if found is not None:
                    found.language = language
        response.set_cookie(LANGUAGE_COOKIE, language, max_age=_YEAR, httponly=True, samesite="lax")
    return response


@router.get("/account")
def account_page(request: Request, user: Newcomer, here: Here, saved: bool = False) -> Response:
    """A user's own settings."""
    return here.pages.render(request, "account/account.html", saved=saved, problem=None)


@router.post("/account")
def save_account(
    request: Request,
    user: Newcomer,
    here: Here,
    blind: Annotated[bool, Form()] = False,
    old_password: Text = "",
    new_password: Text = "",
) -> Response:
    """Save blind mode, or a new password, after which one logs in again.

    Keys end with the old password. Those made while a one-time password was due stay: whoever gave
    it ended all that were before.
    """

    def refuse(problem: str) -> Response:
        return here.pages.render(request, "account/account.html", 422, saved=False, problem=problem)

    if not new_password:
        with here.database.write() as session:
            found = users.get_user(session, user.id)
            if found is not None:
                found.blind = blind
        return RedirectResponse("/account?saved=true", 303)
    if not is_password(old_password, user.password_hash):
        return refuse(_OLD_WRONG)
    try:
        with here.database.write() as session:
            found = users.get_user(session, user.id)
            if found is not None:
                if not found.must_change_password:
                    users.revoke_tokens(session, found)
                users.set_password(session, found, new_password)
                audit.record(session, user, "password changed")
    except MezoroiError:
        return refuse(_UNFIT)
    return RedirectResponse("/login", 303)


def _as_it_stood(request: Request, path: str) -> str:
    """A page with what its address asked for, such as a filter, where the browser comes from it."""
    try:
        came = urlsplit(request.headers.get("referer", ""))
    except ValueError:
        return path
    return f"{path}?{came.query}" if came.path == path and came.query else path
