"""Who is asking, and whether they may: every route states the role it needs."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from mezoroi.app.roles import Role
from mezoroi.app.services import services_of
from mezoroi.app.store import users
from mezoroi.app.tables import User

SESSION_COOKIE = "mezoroi_session"
USER_HEADER = "x-mezoroi-user"
"""By this a tablet says whose it is what it kept: somebody else may have logged in meanwhile."""
ACCOUNT_PATH = "/account"
_ALWAYS_ALLOWED = (ACCOUNT_PATH, "/logout", "/language")


class NotLoggedIn(Exception):  # noqa: N818
    """The route needs a user and there is none."""


class Forbidden(Exception):  # noqa: N818
    """The user's role does not reach, or what is sent is somebody else's."""


class PasswordDue(Exception):  # noqa: N818
    """The user has a one-time password and must change it first."""


class Access:
    """A dependency that lets a request pass for users of a role and above.

    Parameters
    ----------
    role : the least role
    """

    def __init__(self, role: Role) -> None:
        self.role = role

    def __call__(self, request: Request) -> User:
        """The user who asks.

        Raises
        ------
        NotLoggedIn, Forbidden, PasswordDue
        """
        user = identify(request)
        if user is None:
            raise NotLoggedIn
        if request.headers.get(USER_HEADER, str(user.id)) != str(user.id):
            raise Forbidden
        if user.must_change_password and request.url.path not in _ALWAYS_ALLOWED:
            raise PasswordDue
        if not Role(user.role).covers(self.role):
            raise Forbidden
        return user


def anyone(request: Request) -> User | None:
    """The user who asks, or None: a route with this dependency is open to all."""
    return identify(request)


def identify(request: Request) -> User | None:
    """The user of the request's API token or cookie; noted in ``request.state``."""
    if hasattr(request.state, "user"):
        known: User | None = request.state.user
        return known
    user = _by_token(request) if bearer(request) else _by_cookie(request)
    request.state.user = user
    return user


def bearer(request: Request) -> str | None:
    """The key in the header ``Authorization: Bearer KEY``, or None."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() or None if scheme.lower() == "bearer" else None


def _by_token(request: Request) -> User | None:
    with services_of(request).database.read() as session:
        return users.user_of_token(session, bearer(request) or "")


def _by_cookie(request: Request) -> User | None:
    key = request.cookies.get(SESSION_COOKIE)
    if not key:
        return None
    database = services_of(request).database
    with database.read() as session:
        login = users.login_of(session, key)
    if login is None:
        return None
    if users.is_stale(login):
        with database.write() as session:
            users.touch_login(session, key)
    return login.user


newcomer, expert, admin = Access(Role.NEWCOMER), Access(Role.EXPERT), Access(Role.ADMIN)
Anyone = Annotated[User | None, Depends(anyone)]
Newcomer = Annotated[User, Depends(newcomer)]
Expert = Annotated[User, Depends(expert)]
Admin = Annotated[User, Depends(admin)]
