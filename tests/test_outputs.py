"""What the verbs write across rooms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mezoroi as mz
from mezoroi import demo, outputs, workflow
from mezoroi.config import Config
from mezoroi.cross_validation import cross_validate
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
    monkeypatch.setattr(demo, "write_melons", lambda *_, **__: None)
    monkeypatch.setattr(mz.Grader, "grade_many", lambda _, paths, *__: [noted] * len(paths))
    outcome = demo.run_demo(tmp_path, 7, in_japanese=lambda text: f"和：{text}")
    page = Path(outcome["report"]).read_text(encoding="utf-8")
    assert "和：look at it" in page and 0 <= outcome["accuracy"] <= 1


@pytest.mark.parametrize(("folds", "group"), [(3, "specimen"), (2, "session")])
def test_a_cross_validation_of_other_folds_is_named(
    dataset: mz.Dataset,
    tiny: Callable[..., Config],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    folds: int,
    group: str,
) -> None:
    def stop(*_: object) -> None:
        raise InterruptedError

    monkeypatch.setattr(workflow, "fit", stop)
    of_grade: Counter[str] = Counter()
    rows = []
    for item in dataset:
        of_grade[item.grade] += 1
        rows.append(replace(item, session=f"day {of_grade[item.grade]}"))
    days = replace(dataset, observations=tuple(rows))
    with pytest.raises(mz.MezoroiError, match="resnet99"):  # what was refused binds nobody
        cross_validate(days, tiny("model.backbone=resnet99"), tmp_path, folds, group)
    with pytest.raises(InterruptedError):
        cross_validate(days, tiny(), tmp_path, 2)
    with pytest.raises(mz.MezoroiError, match="was started with --folds 2 --group specimen: use"):
        cross_validate(days, tiny(), tmp_path, folds, group)
    with pytest.raises(mz.MezoroiError, match="the settings differ from those"):
        cross_validate(days, tiny("train.lr=0.5"), tmp_path, 2)


def test_folds_that_leave_too_little_are_refused_before_the_first_is_trained(
    dataset: mz.Dataset,
    tiny: Callable[..., Config],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Four days, of which two have several fruits of a grade and two have one."""

    def begun(*_: object) -> None:
        raise InterruptedError

    monkeypatch.setattr(workflow, "fit", begun)
    days = ["a", "a", "b", "b", "b", "c", "d"]
    of_grade: Counter[str] = Counter()
    rows = []
    for item in dataset:
        rows.append(replace(item, session=days[of_grade[item.grade]]))
        of_grade[item.grade] += 1
    harvest = replace(dataset, observations=tuple(rows))
    told = []
    for seed in range(8):
        out = tmp_path / str(seed)
        with pytest.raises((mz.MezoroiError, InterruptedError)) as caught:
            cross_validate(harvest, tiny(f"split.seed={seed}"), out, 2, "session")
        told.append(str(caught.value)[:36])
        assert out.exists() == (caught.type is InterruptedError)
    assert {"", "without fold-1, grade `A` has fewer "} <= set(told)


def _assert_same(one: Any, other: Any) -> None:
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])
    else:
        assert one is other or one == other
