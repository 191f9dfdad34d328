"""Rendering of the templates: words, dates and figures in the user's language."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from babel.dates import format_date, format_datetime
from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from starlette.routing import Match

import mezoroi
from mezoroi.app.assets import versioned_address
from mezoroi.app.i18n import LANGUAGES, catalogue, choose_language
from mezoroi.app.roles import Role
from mezoroi.app.tables import User

LANGUAGE_COOKIE = "mezoroi_language"
TEMPLATES = Path(__file__).with_name("templates")


@dataclass(frozen=True)
class NavItem:
    """A page in the navigation.

    Attributes
    ----------
    label : English text, translated where it is shown
    path : where it leads
    role : who sees it
    """

    label: str
    path: str
    role: Role = Role.NEWCOMER


class Pages:
    """Renders pages.

    Parameters
    ----------
    navigation : in order
    """

    def __init__(self, navigation: Sequence[NavItem]) -> None:
        self.navigation = tuple(navigation)
        self.environment = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=["jinja2.ext.i18n"],
        )
        install = self.environment.install_gettext_callables  # type: ignore[attr-defined]
        install(_gettext, _ngettext, newstyle=True, pgettext=_pgettext)
        self.environment.filters |= {
            "when": _when,
            "note": _note,
            "day": _day,
            "figure": figure,
            "number": number,
        }
        self.environment.globals |= {
            "languages": LANGUAGES,
            "version": mezoroi.__version__,
            "static": versioned_address(),
        }

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
        return self.environment.get_template(template).render(
            user=user,
            language=language,
            navigation=shown,
            path=request.url.path,
            own_address=_address(request),
            **content,
        )


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


def figure(value: float | None, digits: int = 2) -> str:
    """A number with a fixed number of digits; a dash where there is none."""
    if value is None or math.isnan(value):
        return "–"
    return f"{value:.{digits}f}".replace("-", "−")


def number(value: float | None) -> str:
    """A number as short as it can be; nothing where there is none."""
    return "" if value is None else f"{value:g}"


@pass_context
def _gettext(context: Context, text: str) -> str:
    return catalogue(context["language"]).gettext(text)


@pass_context
def _ngettext(context: Context, singular: str, plural: str, count: int) -> str:
    return catalogue(context["language"]).ngettext(singular, plural, count)


@pass_context
def _pgettext(context: Context, meaning: str, text: str) -> str:
    return catalogue(context["language"]).pgettext(meaning, text)


@pass_context
def _note(context: Context, text: str) -> str:
    """A line of another room in the user's language."""
    return catalogue(context["language"]).note(text)


@pass_context
def _when(context: Context, moment: datetime) -> str:
    """A moment in the house's own time zone."""
    return format_datetime(moment.astimezone(), "short", tzinfo=None, locale=context["language"])


@pass_context
def _day(context: Context, day: date) -> str:
    """A day with its day of the week."""
    return format_date(day, "full", locale=context["language"])
