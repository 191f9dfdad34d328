"""The part `lift` of `mezoroi bench explain`, with settings for seconds."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.bench.test_explain_bench import _defects

import mezoroi as mz
from mezoroi.bench import explain_lift, explain_lift_page
from mezoroi.bench.cells import Arm
from mezoroi.bench.explain_lift import (
    ABOVE,
    BASE,
    CHANGES,
    OURS,
    TRIVIAL,
    Change,
    by_merit,
    fold_splits,
    lift_settings,
    run_lift,
    shown_at,
)
from mezoroi.bench.explain_lift_page import lift_section
from mezoroi.bench.explain_real import load_defects, real_config
from mezoroi.bench.ledger import Ledger
from mezoroi.bench.tables import MISSING
from mezoroi.config import Config

Tiny = Callable[..., Config]


def test_cells_of_a_lift(tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    both = Change(Arm("two sizes", {}), (64, 96))
    monkeypatch.setattr(explain_lift_page, "CHANGES", (BASE, both))
    monkeypatch.setattr(explain_lift, "CHANGES", (BASE, both))
    for module in (explain_lift, explain_lift_page):
        monkeypatch.setattr(module, "FOLDS", 2)
    _defects(tmp_path / "magnetic_tile")
    config = tiny("train.epochs=1")
    ledger = Ledger(tmp_path / "lift.jsonl")
    run_lift(tmp_path, tmp_path, ledger, config=config)
    assert len(ledger) == 6
    assert len(list(tmp_path.glob("explain-runs/*"))) == 2  # two sizes need no other grader
    for fold, tiles in enumerate(fold_splits(load_defects(tmp_path / "magnetic_tile"))):
        expected = [one.specimen for one in tiles.select("val") if one.grade != "free"]
        for change in (BASE, both):
            cell = ledger.find(lift_settings(change, fold, config))
            assert cell is not None and cell["specimens"] == expected
            # All of the map lies above 0, so that what every grade has is no relevance.
            assert np.mean(cell["maps"][ABOVE]["mass"]) != np.mean(cell["maps"][OURS]["mass"])
    trivial = ledger.find(lift_settings(TRIVIAL, 1, config))
    assert trivial is not None and trivial["maps"]["whole image"]["mass"][0] < 0.1
    page = lift_section(ledger, config)
    assert MISSING not in page and "2 of 2 rows were run" in page and "*centre blob*" in page


def test_no_test_tile_is_looked_at_and_each_tile_once(tmp_path: Path) -> None:
    tiles = load_defects(_defects(tmp_path))
    splits = fold_splits(tiles)
    assert len(splits) == 3
    held_out = [one.specimen for fold in splits for one in fold.select("val")]
    assert sorted(held_out) == sorted(one.specimen for one in tiles.select("train"))
    assert all(set(fold.splits) == {"train", "val"} for fold in splits)


def test_rows_differ_from_the_base_by_what_they_are_named_after() -> None:
    config = real_config()
    keys = [str(sorted(lift_settings(one, 0, config).items())) for one in (*CHANGES, TRIVIAL)]
    assert len(set(keys)) == len(CHANGES) + 1
    assert len({one.name for one in CHANGES}) == len(CHANGES)
    assert lift_settings(BASE, 2, config)["config"]["train"]["seed"] == 2


def test_a_grader_shows_photos_at_another_size(grader: mz.Grader) -> None:
    other = shown_at(grader, 96)
    assert (other.bundle.size.height, other.bundle.size.width) == (96, 96)
    assert other.network is grader.network and grader.bundle.size.height == 64


def _cell(pointing: list[float], mass: float, base_mass: float) -> dict[str, Any]:
    def scores(value: float) -> dict[str, list[float]]:
        return {"pointing": pointing, "mass": [value] * len(pointing), "iou": [0.1] * len(pointing)}

    maps = {OURS: scores(mass), ABOVE: scores(mass), "grad-cam": scores(base_mass)}
    return {"accuracy": 0.5, "specimens": list("abcdefgh"), "maps": maps}


def test_the_page_says_which_rows_reach_the_aims(tmp_path: Path) -> None:
    config = real_config()
    ledger = Ledger(tmp_path / "lift.jsonl")
    cells = {
        BASE.name: _cell([0, 0, 0, 0, 0, 0, 0, 1], 0.1, 0.1),
        CHANGES[1].name: _cell([1, 1, 1, 1, 1, 1, 1, 0], 0.1, 0.1),
        CHANGES[2].name: _cell([0, 0, 0, 0, 0, 0, 1, 1], 0.14, 0.1),
    }
    for change in CHANGES[:3]:
        ledger.compute(lift_settings(change, 0, config), partial(cells.__getitem__, change.name))
    assert by_merit(ledger, config)[0] is CHANGES[1]
    page = lift_section(ledger, config)
    assert page.count(MISSING) == len(CHANGES) - 3 + 1
    assert f"folds of one row: {MISSING}" in page
    assert (
        f"3 of {len(CHANGES)} rows were run. Pointing of 0.8, the aim: {CHANGES[1].name}." in page
    )
    assert f"1.3 times Grad-CAM's mass, the aim: {CHANGES[2].name}. Both: no row." in page
    assert f"more than chance: {CHANGES[1].name} +0.750" in page
    assert f"*{CHANGES[1].name}*, 0.875 over 1 of 3 folds" in page
