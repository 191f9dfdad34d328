"""Reference fruits added from photos, folders of grades and manifests."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import mezoroi as mz
from mezoroi.new_grade import add_grade
from mezoroi.new_references import find_new
from mezoroi.references import (
    add_references,
    gallery_of,
    with_gallery,
)
from mezoroi.retrieval import faiss_index, local


def test_adding_photos_and_a_folder_of_grades(run: Path, photos: Path) -> None:
    grader = mz.Grader.load(run)
    gallery = gallery_of(grader)
    before = len(gallery.index)
    (photos / "broken.png").write_bytes(b"no picture")
    fruits = find_new(grader, [photos], {"grade": "B", "date": "2026-07-01", "orchard": "北"})
    failures = add_references(grader, fruits)
    assert [Path(item.source).name for item in failures] == ["broken.png"]
    assert len(gallery.index) == before + 5
    (added,) = gallery.index.references(["new/n2.png"])
    assert (added.grade, added.date, added.orchard) == ("B", "2026-07-01", "北")
    again = add_references(grader, find_new(grader, [photos], {}))
    assert len(again) == 6
    assert "already" in again[0].error

    sorted_photos = photos.parent / "sorted"
    for grade in "AD":
        (sorted_photos / grade).mkdir(parents=True)
        shutil.copy(photos / "n1.png", sorted_photos / grade / f"{grade}.png")
    assert not add_references(grader, find_new(grader, [sorted_photos], {}))
    grades = {item.id: item.grade for item in gallery.index.references()}
    assert (grades["A/A.png"], grades["D/D.png"]) == ("A", "D")
    with pytest.raises(mz.MezoroiError, match="unknown grade `Z`"):
        find_new(grader, [photos], {"grade": "Z"})


def test_adding_to_many_makes_their_lists_and_tells_how_far_it_is(
    run: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faiss_index, "EXACT_UP_TO", 10)
    monkeypatch.setattr(local, "_STALE_COUNT", 0)  # few are kept in memory alone
    grader = mz.Grader.load(run)
    before = len(gallery_of(grader).index)
    (run / "references.faiss").unlink()
    told: list[tuple[str, int, int]] = []
    fruits = find_new(grader, [photos], {})
    assert add_references(grader, fruits, lambda *what: told.append(what)) == []
    count = before + len(fruits)
    assert told[-1] == ("indexing", count, count)
    statement = faiss_index.read_statement(run / "references.faiss")
    assert statement is not None and statement.kind == "ivf"


def manifest(folder: Path, *rows: str, header: str = "image,grade,date,orchard") -> Path:
    (folder / "manifest.csv").write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    return folder / "manifest.csv"


def test_an_id_given_twice_is_a_failure(run: Path, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    other = Path(shutil.copy(photos / "n2.png", tmp_path / "elsewhere" / "n1.png"))
    grader = mz.Grader.load(run)
    before = len(gallery_of(grader).index)
    fruits = find_new(grader, [photos / "n1.png", other, photos / "n1.png"], {"grade": "A"})
    failures = add_references(grader, fruits)
    assert [item.source for item in failures] == [str(other), str(photos / "n1.png")]
    assert all("`n1.png` is given twice" in item.error for item in failures)
    assert len(gallery_of(grader).index) == before + 1
    found = grader.grade(photos / "n1.png").neighbours[0]
    assert (found.id, found.similarity) == ("n1.png", pytest.approx(1, abs=1e-4))
    with pytest.raises(mz.MezoroiError, match="two examples are called `n1"):
        add_grade(grader, run, "E", [photos / "n1.png", other])
    assert len(gallery_of(grader).index) == before + 1
    assert mz.Grader.load(run).standard.grades == ("A", "B", "C", "D")


def test_the_folder_that_one_is_in_has_its_name(
    grader: mz.Grader, photos: Path, melons: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos)
    assert [one.id for one in find_new(grader, ["."], {})][:2] == ["new/n1.png", "new/n2.png"]
    monkeypatch.chdir(sorted(melons.glob("captures/*"))[0])
    assert [one.id for one in find_new(grader, ["."], {})] == ["melon-0001"]


def test_a_manifest_of_one_grade_with_faulty_rows(run: Path, photos: Path) -> None:
    (photos / "n4.png").write_bytes(b"no picture")
    manifest(
        photos,
        "n1.png,B,2026/7/5,北",
        "n2.png,B,,",
        "n3.png,B,soon,",
        "n4.png,B,,",
        "n5.png,Z,,",
        "n2.png,D,,",
        "gone.png,B,,",
    )
    grader = mz.Grader.load(run)
    for source in (photos, photos / "manifest.csv"):
        failures = add_references(grader, find_new(grader, [source], {}))
        reasons = {Path(item.source).name: item.error for item in failures}
        if source == photos:
            (added,) = gallery_of(grader).index.references(["n1.png", "n2.png"])
            assert (added.id, added.grade, added.date, added.orchard) == (
                "n1.png",
                "B",
                "2026-07-05",
                "北",
            )
        else:
            assert "already" in reasons.pop("n1.png")
        assert reasons.keys() == {source.name, "n3.png", "n4.png", "n5.png", "gone.png"}
        assert "listed with grade B and D" in reasons[source.name]
        assert "manifest.csv row 4: `soon` is no date" in reasons["n3.png"]
        assert "unknown grade `Z`" in reasons["n5.png"]


def test_a_folder_of_one_grade_with_a_broken_photo(run: Path, photos: Path) -> None:
    graded = photos.parent / "graded" / "D"
    graded.parent.mkdir()
    photos.rename(graded)
    (graded / "n2.png").write_bytes(b"no picture")
    grader = mz.Grader.load(run)
    failures = add_references(grader, find_new(grader, [graded.parent], {"orchard": "north"}))
    assert [Path(item.source).name for item in failures] == ["n2.png"]
    added = gallery_of(grader).index.references([f"D/n{number}.png" for number in range(1, 6)])
    assert [item.id for item in added] == [f"D/n{number}.png" for number in (1, 3, 4, 5)]
    assert {(item.grade, item.orchard) for item in added} == {("D", "north")}


def test_the_outline_that_a_manifest_names_is_part_of_the_embedding(
    run: Path, melons: Path, tmp_path: Path
) -> None:
    """As it is in training."""
    first, other = (melons / f"captures/melon-{number:04d}" for number in (1, 2))
    shutil.copy(first / "surface.png", tmp_path / "photo.png")
    shutil.copy(other / "outline.json", tmp_path / "shape.json")
    path = manifest(tmp_path, "photo.png,A,shape.json", header="image,grade,outline")
    whole = tmp_path / "whole"
    shutil.copytree(first, whole)
    shutil.copy(other / "outline.json", whole / "outline.json")
    grader = mz.Grader.load(run)
    assert not add_references(grader, find_new(grader, [path], {}))
    found = grader.grade(whole).neighbours[0]
    assert (found.id, found.similarity) == ("photo.png", pytest.approx(1, abs=1e-5))
    (kept,) = gallery_of(grader).index.references(["photo.png"])
    assert kept.more["outline"] == json.loads((other / "outline.json").read_text("utf-8"))


def test_an_outline_that_lacks_what_was_learned_fails_alone(
    run: Path, melons: Path, tmp_path: Path
) -> None:
    faulty, whole = tmp_path / "in/faulty", tmp_path / "in/whole"
    for number, folder in enumerate((faulty, whole), 1):
        shutil.copytree(melons / f"captures/melon-{number:04d}", folder)
    (faulty / "outline.json").write_text('{"circumference": 1.0}', "utf-8")
    grader = mz.Grader.load(run)
    (failure,) = add_references(grader, find_new(grader, [tmp_path / "in"], {}))
    assert "the outline has no" in failure.error
    assert gallery_of(grader).index.references(["in/whole"])


def test_references_elsewhere(run: Path, photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("milvus_lite", reason="the extra `milvus` is not installed")
    (run / "references.sqlite").unlink()
    place = str(tmp_path / "all.db")
    grader = with_gallery(mz.Grader.load(run), run, place)
    add_references(grader, find_new(grader, [photos], {"grade": "A"}))
    gallery_of(grader).index.close()
    opened = mz.Grader.load(run, references=place)
    neighbours = opened.grade(photos / "n3.png").neighbours
    assert (neighbours[0].id, len(neighbours)) == ("new/n3.png", 5)
    gallery_of(opened).index.close()
