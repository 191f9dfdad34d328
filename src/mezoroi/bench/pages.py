"""Pages of results, written from ledgers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from mezoroi.bench.ledger import Ledger, code_version
from mezoroi.bench.tables import MISSING
from mezoroi.files import write_text

_HEADING = re.compile(r"(?m)^(?=## )")
_MADE = re.compile(r"(?m)^Date (?P<date>[-\d]+), code (?P<code>[^,\n]+)")


def write_page(page: Path, text: str) -> None:
    """Write a bench's page; what only the one that stands there knows stays (`kept_sections`)."""
    if page.exists():
        text = kept_sections(text, page.read_text(encoding="utf-8"))
    write_text(page, text)


def page_of(render: Callable[[dict[str, Ledger]], str], ledgers: Mapping[str, Ledger]) -> str:
    """A bench's page from its cells of any code; the codes are named where the page says ``code``.

    A change of the code makes a bench compute anew, but does not take from the page what it has
    not computed yet.

    Parameters
    ----------
    render : of the page, which writes ``code`` and `code_version` once
    """
    shown = {name: Ledger(ledger.path, any_code=True) for name, ledger in ledgers.items()}
    text = render(shown)
    codes = sorted({code for ledger in shown.values() for code in ledger.codes})
    return text.replace(f"code {code_version()}", f"code {' and '.join(codes or ['none'])}", 1)


def kept_sections(text: str, earlier: str) -> str:
    """A page in which each section that lacks more than it did before is as it was before.

    A ledger may be lost, or belong to another machine; what it said is then still true of its
    code. Such a section names its date and code.

    Parameters
    ----------
    text : the page as the ledgers have it
    earlier : the page that it replaces; sections begin with ``## ``
    """
    made = _MADE.search(earlier)
    before = {_title(section): section for section in _HEADING.split(earlier)[1:]}
    head, *sections = _HEADING.split(text)
    for number, section in enumerate(sections):
        known = before.get(_title(section))
        if known is not None and known.count(MISSING) < section.count(MISSING):
            sections[number] = _dated(known, made).rstrip("\n") + "\n\n"
    return "".join([head, *sections]).rstrip("\n") + "\n"


def _title(section: str) -> str:
    return section.split("\n", 1)[0]


def _dated(section: str, made: re.Match[str] | None) -> str:
    title, rest = section.split("\n", 1)
    if made is None or rest.lstrip().startswith("*Measured on "):
        return section
    note = f"*Measured on {made['date']} or before, with code {made['code']}.*"
    return f"{title}\n\n{note}\n{rest}"
