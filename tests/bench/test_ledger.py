"""The ledger: finished cells are not computed again, and nothing else is trusted."""

from __future__ import annotations

from pathlib import Path

import pytest

from mezoroi.bench import ledger as ledger_module
from mezoroi.bench import pages
from mezoroi.bench.ledger import Ledger, cell_key, open_ledgers
from mezoroi.bench.pages import kept_sections, page_of, write_page
from mezoroi.bench.tables import MISSING
from mezoroi.config import Config
from mezoroi.errors import MezoroiError


def forbidden() -> dict[str, int]:
    raise AssertionError("computed again")


def test_a_finished_cell_is_found_in_a_new_start(tmp_path: Path) -> None:
    path = tmp_path / "cells.jsonl"
    first = Ledger(path)
    assert first.compute({"arm": "a", "seed": 1}, lambda: {"right": 3}) == {"right": 3}
    again = Ledger(path)
    assert again.compute({"seed": 1, "arm": "a"}, forbidden) == {"right": 3}
    assert again.find({"arm": "a", "seed": 2}) is None
    assert len(again) == 1


def test_an_interrupted_cell_leaves_the_finished_ones(tmp_path: Path) -> None:
    cells = Ledger(tmp_path / "cells.jsonl")
    cells.compute({"seed": 1}, lambda: {"right": 1})
    with pytest.raises(AssertionError, match="computed again"):
        cells.compute({"seed": 2}, forbidden)
    assert Ledger(cells.path).find({"seed": 1}) == {"right": 1}
    assert len(Ledger(cells.path)) == 1


def test_other_code_is_another_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = Ledger(tmp_path / "cells.jsonl")
    cells.compute({"seed": 1}, lambda: {"right": 1})
    monkeypatch.setattr(ledger_module, "code_version", lambda: "another")
    assert cells.find({"seed": 1}) is None


def test_a_page_shows_cells_of_earlier_code_and_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = Ledger(tmp_path / "cells.jsonl")
    monkeypatch.setattr(ledger_module, "code_version", lambda: "earlier")
    old = Config().model_dump(mode="json")
    del old["parts"]  # a setting that there was not yet
    cells.compute({"seed": 1, "config": old}, lambda: {"right": 1})
    cells.compute({"seed": 2}, lambda: {"right": 2})
    monkeypatch.setattr(ledger_module, "code_version", lambda: "present")
    monkeypatch.setattr(pages, "code_version", lambda: "present")
    cells.compute({"seed": 2}, lambda: {"right": 3})

    def render(ledgers: dict[str, Ledger]) -> str:
        first = ledgers["a"].find({"seed": 1, "config": Config().model_dump(mode="json")})
        return f"code present: {first} {ledgers['a'].find({'seed': 2})} {ledgers['a'].find({})}"

    expected = "code earlier and present: {'right': 1} {'right': 3} None"
    assert page_of(render, {"a": cells}) == expected


def test_keys_do_not_depend_on_the_order_of_settings() -> None:
    assert cell_key({"a": 1, "b": [1, 2]}) == cell_key({"b": [1, 2], "a": 1})
    assert cell_key({"a": 1}) != cell_key({"a": 2})


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cells.jsonl"
    Ledger(path).compute({"seed": 1}, lambda: {"right": 1})
    path.write_text(path.read_text() + '{"key": "half')
    with pytest.raises(MezoroiError, match="line 2 is damaged"):
        Ledger(path)


def test_ledgers_lie_beside_their_page(tmp_path: Path) -> None:
    page = tmp_path / "results" / "fruit.md"
    ledgers = open_ledgers(page, ("a", "b"))
    ledgers["b"].compute({"seed": 1}, lambda: {"right": 1})
    write_page(page, page_of(lambda shown: f"{len(shown['a'])} and {len(shown['b'])}\n", ledgers))
    assert page.read_text(encoding="utf-8") == "0 and 1\n"
    assert [path.name for path in page.parent.glob("ledger/*")] == ["fruit-b.jsonl"]


EARLIER = f"""# Page

Date 2026-11-22, code aaa and bbb, torch 2.

## First

old first

## Second

{MISSING}, {MISSING}

## Third

old third
"""


def test_a_section_whose_cells_are_lost_stays_with_its_date_and_code() -> None:
    text = f"# Page\n\nDate today, code ccc.\n\n## First\n\n{MISSING}\n\n## Second\n\n{MISSING}\n"
    once = kept_sections(text, EARLIER)
    note = "*Measured on 2026-11-22 or before, with code aaa and bbb.*"
    assert once == (
        f"# Page\n\nDate today, code ccc.\n\n## First\n\n{note}\n\nold first\n\n"
        f"## Second\n\n{MISSING}\n"
    )
    # Written again, later: the section still names when it was measured.
    assert kept_sections(text, once) == once


def test_a_section_with_new_cells_is_new() -> None:
    text = "# Page\n\n## First\n\nnew first\n\n## Third\n\nnew third\n"
    assert kept_sections(text, EARLIER) == text
    assert kept_sections(text, "") == text
