"""A grade added from a few examples, without training."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mezoroi as mz
from mezoroi.capture.sources import read_fruit
from mezoroi.explaining import explain_to_folder
from mezoroi.new_grade import add_grade
from mezoroi.references import gallery_of
from tests.retrieval.conftest import command


@pytest.mark.parametrize("count", [1, 3])
def test_a_grade_from_a_few_examples(run: Path, photos: Path, melons: Path, count: int) -> None:
    grader = mz.Grader.load(run)
    examples = sorted(photos.iterdir())[:count]
    grown = add_grade(grader, run, "E", examples)
    loaded = mz.Grader.load(run)
    for each in (grown, loaded):
        assert each.standard.grades == ("A", "B", "C", "D", "E")
        assert each.standard.precedence[0] == "E"
        assert each.bundle.trained_standard.grades == ("A", "B", "C", "D")
        grading = each.grade(melons / "captures/melon-0001")
        assert set(grading.similarity) == set("ABCDE")
        assert set(grading.activation_maps) == set("ABD")
        thresholds = [grading.thresholds[grade] for grade in "ABCD"]
        assert min(thresholds) <= grading.thresholds["E"] <= np.median(thresholds) + 1e-6
    # The example itself, looked at as it was given: a photo without an outline.
    alone = loaded.grade(examples[0])
    if count == 1:
        assert alone.grade == "E"
        assert alone.similarity["E"] == pytest.approx(1, abs=1e-4)
    assert alone.neighbours[0].grade == "E"
    assert "E" in alone.resembles
    with pytest.raises(mz.MezoroiError, match="`E` was added without training"):
        explain_to_folder(loaded, examples, run.with_name("explained"), {}, grade="E")


def test_an_interrupted_add_grade_can_be_repeated(
    run: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mezoroi import bundle

    def stop(*_arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(bundle, "write_json", stop)
        with pytest.raises(KeyboardInterrupt):
            add_grade(mz.Grader.load(run), run, "E", [photos / "n1.png"])
    between = mz.Grader.load(run)
    assert between.standard.grades == ("A", "B", "C", "D")
    add_grade(between, run, "E", [photos / "n1.png"])
    assert mz.Grader.load(run).standard.grades[-1] == "E"


def test_no_grade_is_lost_to_another_that_is_added_beside_it(run: Path, photos: Path) -> None:
    """Both commands read the run before either wrote it."""
    late = mz.Grader.load(run)
    add_grade(mz.Grader.load(run), run, "E", [photos / "n1.png"])
    with pytest.raises(mz.MezoroiError, match="another grade by now: run the command again"):
        add_grade(late, run, "F", [photos / "n2.png"])
    assert mz.Grader.load(run).standard.grades == ("A", "B", "C", "D", "E")
    add_grade(mz.Grader.load(run), run, "F", [photos / "n2.png"])
    assert mz.Grader.load(run).standard.grades == ("A", "B", "C", "D", "E", "F")


def test_leftovers_that_show_the_same_are_told_apart_by_their_ids(run: Path, photos: Path) -> None:
    """Two examples of one picture were added before an interruption, and one is given again."""
    grader = mz.Grader.load(run)
    vector = embedded(grader, photos / "n1.png")
    known = [{"grade": "E"}] * 2
    gallery_of(grader).index.add(["E/copy.png", "E/n1.png"], np.repeat(vector, 2, axis=0), known)
    assert add_grade(grader, run, "E", [photos / "n1.png"]).standard.grades[-1] == "E"


@pytest.mark.parametrize("grade", ["A", None, "E"])
def test_no_grade_without_its_reference_fruits(run: Path, photos: Path, grade: str | None) -> None:
    """Another fruit has the id that an example would get."""
    grader = mz.Grader.load(run)
    known = {} if grade is None else {"grade": grade}
    gallery = gallery_of(grader)
    gallery.index.add(["E/n1.png"], embedded(grader, photos / "n2.png"), [known])
    before = len(gallery.index)
    for sources in ([photos / "n1.png"], [photos / "n1.png", photos / "n3.png"]):
        with pytest.raises(mz.MezoroiError, match=r"`E/n1\.png` is in the references"):
            add_grade(grader, run, "E", sources)
    assert len(gallery.index) == before
    assert mz.Grader.load(run).standard.grades == ("A", "B", "C", "D")


def embedded(grader: mz.Grader, photo: Path) -> np.ndarray:
    fruit = read_fruit(photo, grader.bundle.input_kind)
    return np.asarray(grader.embed([fruit]).embeddings)


def test_a_new_grades_examples_keep_day_and_orchard(run: Path, photos: Path) -> None:
    words = ("references", run, "add-grade", "E", photos / "n1.png")
    assert command(*words, "--date", "soon") == 2
    assert mz.Grader.load(run).standard.grades == ("A", "B", "C", "D")
    assert command(*words, "--date", "2026/7/9", "--orchard", "北") == 0
    (kept,) = gallery_of(mz.Grader.load(run)).index.references(["E/n1.png"])
    assert (kept.grade, kept.date, kept.orchard) == ("E", "2026-07-09", "北")


def test_a_new_grades_name_is_as_tables_give_it(run: Path, photos: Path) -> None:
    grader = add_grade(mz.Grader.load(run), run, " 等 外 ", [photos / "n1.png"])
    assert grader.standard.grades[-1] == "等 外"
    (kept,) = gallery_of(grader).index.references(where={"grade": "等 外"})
    assert kept.id == "等 外/n1.png"


def test_bad_new_grades(run: Path, photos: Path) -> None:
    grader = mz.Grader.load(run)
    shutil.copy(photos / "n1.png", photos / "n6.png")
    for name, sources, reason in (
        ("A", [photos / "n1.png"], "in the standard already"),
        ("E", [photos], "6 examples"),
        (" A\u3000", [photos / "n1.png"], "in the standard already"),
        ("E\nF", [photos / "n1.png"], "a name of one line"),
        (" ", [photos / "n1.png"], "no name"),
        ("E", [photos / "none.png"], "none.png"),
    ):
        with pytest.raises(mz.MezoroiError, match=reason):
            add_grade(grader, run, name, sources)
    assert mz.Grader.load(run).standard.grades == ("A", "B", "C", "D")
