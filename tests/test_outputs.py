"""What the verbs write across rooms."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mezoroi as mz
from mezoroi import outputs
from mezoroi.report.html import ReportItem


def test_the_report_holds_what_the_grading_says(grader: mz.Grader, dataset: mz.Dataset) -> None:
    """Whatever both have under one name; but for a map's grade, which is told where it differs."""
    grading = grader.grade(dataset.observations[0].image.parent)
    assert grading.outline is not None
    item = outputs._report_item(grading)
    shared = {field.name for field in fields(ReportItem)} & set(dir(grading))
    assert {"grade", "outline", "similarity", "neighbours", "grade_set"} <= shared
    for name in shared - {"map_grade"}:
        _assert_same(getattr(item, name), getattr(grading, name))


def test_the_demos_report_has_its_notes_in_japanese(
    melons: Path, run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With melons and a grader that are there already."""
    for name, folder in (("melons", melons), ("run", run_dir)):
        (tmp_path / name).symlink_to(folder)
    noted = replace(
        mz.Grader.load(run_dir).grade(next(melons.glob("captures/*"))), notes=("look at it",)
    )
    monkeypatch.setattr(outputs, "write_melons", lambda *_, **__: None)
    monkeypatch.setattr(mz.Grader, "grade_many", lambda _, paths, *__: [noted] * len(paths))
    outcome = outputs.run_demo(tmp_path, 7, in_japanese=lambda text: f"和：{text}")
    page = Path(outcome["report"]).read_text(encoding="utf-8")
    assert "和：look at it" in page and 0 <= outcome["accuracy"] <= 1


def _assert_same(one: Any, other: Any) -> None:
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])
    else:
        assert one is other or one == other
