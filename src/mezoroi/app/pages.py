"""Pages for the user who asks, in their language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from starlette.routing import Match

from mezoroi.app.i18n import LANGUAGES, choose_language
from mezoroi.app.roles import Role
from mezoroi.app.tables import User
from mezoroi.app.templating import make_environment

LANGUAGE_COOKIE = "mezoroi_language"


@dataclass(frozen=True)
class NavItem:
    """A page in the navigation.

    Attributes
    ----------
    label : English text, translated where it is shown
    path : where it leads
    role : who sees it
    also : other paths whose pages are reached from this one
    """

    label: str
    path: str
    role: Role = Role.NEWCOMER
    also: tuple[str, ...] = ()

    def holds(self, path: str) -> bool:
        """Whether the page at a path is this one or belongs to it."""
        return any(path == own or path.startswith(f"{own}/") for own in (self.path, *self.also))


class Pages:
    """Renders pages.

    Parameters
    ----------
    navigation : in order
    """

    def __init__(self, navigation: Sequence[NavItem]) -> None:
        self.navigation = tuple(navigation)
        self._environments = {language: make_environment(language) for language in LANGUAGES}

    def render(
        self, request: Request, template: str, status: int = 200, **content: Any
    ) -> HTMLResponse:
        """A page as a response, for the user and in the language of the request."""
        return HTMLResponse(self.text(request, template, language_of(request), content), status)

    def text(
        self, request: Request, template: str, language: str, content: Mapping[str, Any]
    ) -> str:
        """A page as text."""
        user = getattr(request.state, "user", None)
        shown = [item for item in self.navigation if user and Role(user.role).covers(item.role)]
        page = self._environments[language].get_template(template)
        return page.render(
            user=user,
            navigation=shown,
            path=request.url.path,
            own_address=_address(request),
            **content,
        )


def fit_page(page: int, count: int, size: int) -> tuple[int, int]:
    """The page of a list to show, the last one where it has fewer by now; and how many it has."""
    pages = max(1, -(-count // size))
    return min(page, pages), pages


def _address(request: Request) -> str:
    """Path of this page; of the nearest one above it, where this one only answers a form."""
    path = request.url.path
    while request.method == "POST" and path != "/" and not _is_page(request, path):
        path = path.rpartition("/")[0] or "/"
    return path


def _is_page(request: Request, path: str) -> bool:
    asked = {**request.scope, "method": "GET", "path": path}
    return any(route.matches(asked)[0] is Match.FULL for route in request.app.routes)


def language_of(request: Request) -> str:
    """The language to answer in: the user's, the cookie's, the house's or the browser's."""
    user: User | None = getattr(request.state, "user", None)
    return choose_language(
        user.language if user is not None else None,
        request.cookies.get(LANGUAGE_COOKIE) or request.app.state.house_language,
        request.headers.get("accept-language", ""),
    )
