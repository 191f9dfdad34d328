"""A Jinja environment per language: what a template says is translated when it is compiled."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path

from babel import Locale
from babel.dates import format_date, format_datetime
from jinja2 import Environment, FileSystemLoader, StrictUndefined, nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.visitor import NodeTransformer
from markupsafe import Markup

import mezoroi
from mezoroi.app.assets import versioned_address
from mezoroi.app.i18n import LANGUAGES, catalogue

TEMPLATES = Path(__file__).with_name("templates")


def make_environment(language: str) -> Environment:
    """The environment of the pages in a language; a changed template is seen after a new start."""
    words = catalogue(language)
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
        auto_reload=False,
        cache_size=-1,
    )
    environment.code_generator_class = _TranslatingGenerator
    install = environment.install_gettext_callables  # type: ignore[attr-defined]
    install(words.gettext, words.ngettext, newstyle=True, pgettext=words.pgettext)
    environment.filters |= {
        "when": _when(language),
        "note": words.note,
        "day": _day(language),
        "figure": figure,
        "number": number,
    }
    environment.globals |= {
        "language": language,
        "languages": LANGUAGES,
        "version": mezoroi.__version__,
        "static": versioned_address(),
    }
    return environment


class _TranslatingGenerator(CodeGenerator):
    """Most texts are fixed, and a page has dozens: they cost nothing where it is rendered."""

    def visit_Template(self, node: nodes.Template, frame: Frame | None = None) -> None:  # noqa: N802
        translator = _Translator(catalogue(str(self.environment.globals["language"])).gettext)
        super().visit_Template(translator.visit(node), frame)


class _Translator(NodeTransformer):
    """Puts translations in the place of calls of ``_`` with nothing but a text."""

    def __init__(self, gettext: Callable[[str], str]) -> None:
        self._gettext = gettext

    def visit_Call(self, node: nodes.Call) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        match node:
            case nodes.Call(
                node=nodes.Name(name="_"), args=[nodes.Const(value=str(text))], kwargs=[]
            ):
                # As Jinja does it at run time, where `%%` stands for one sign.
                translated = Markup(self._gettext(text)) % {}
                return nodes.Const(translated, lineno=node.lineno)
        return node


def figure(value: float | None, digits: int = 2) -> str:
    """A number with a fixed number of digits; a dash where there is none."""
    if value is None or math.isnan(value):
        return "–"
    return f"{value:.{digits}f}".replace("-", "−")


def number(value: float | None) -> str:
    """A number as short as it can be; nothing where there is none."""
    return "" if value is None else f"{value:g}"


def _when(language: str) -> Callable[[datetime], str]:
    """A moment in the house's own time zone."""
    locale = Locale.parse(language)
    return lambda moment: format_datetime(moment.astimezone(), "short", locale=locale)


def _day(language: str) -> Callable[[date], str]:
    """A day with its day of the week."""
    locale = Locale.parse(language)
    return lambda day: format_date(day, "full", locale=locale)


def day_of(moment: datetime | None, language: str) -> str:
    """The day of a moment in the house's own time zone, in short; nothing where there is none."""
    if moment is None:
        return ""
    return format_date(moment.astimezone(), "medium", locale=Locale.parse(language))
