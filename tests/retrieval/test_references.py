"""A run's reference fruits: filled by training, named by gradings, searched, added to."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import mezoroi as mz
from mezoroi.maps import distance_weights
from mezoroi.new_grade import add_grade
from mezoroi.new_references import find_new
from mezoroi.references import (
    add_references,
    fill_references,
    gallery_of,
    with_gallery,
)
from mezoroi.retrieval import Gallery, ReferenceIndex, faiss_index, local
from mezoroi.searching import Found, search_to_folder
from tests.retrieval.conftest import command


def test_training_fills_the_references(run_dir: Path, dataset: mz.Dataset) -> None:
    grader = mz.Grader.load(run_dir)
    splits = grader.bundle.data["splits"]
    learned = {name for name, split in splits.items() if split == "train"}
    references = gallery_of(grader).index.references()
    assert {item.id for item in references} == learned
    grades = {item.id: item.grade for item in dataset}
    assert all(item.grade == grades[item.id] for item in references)
    for item in references:
        picture = Image.open(run_dir / str(item.thumbnail))
        size = grader.bundle.size
        assert picture.size == (size.width, size.height)


def test_a_grading_names_its_neighbours(
    grader: mz.Grader, dataset: mz.Dataset, tmp_path: Path
) -> None:
    learned = grader.bundle.data["splits"]
    item = next(item for item in dataset if learned[item.id] == "train")
    grading = grader.grade(item.image.parent)
    first = grading.neighbours[0]
    assert (first.id, first.grade) == (item.id, item.grade)
    assert first.similarity == pytest.approx(1, abs=1e-3)
    assert Path(str(first.thumbnail)).is_file()
    similarity = [found.similarity for found in grading.neighbours]
    assert similarity == sorted(similarity, reverse=True)
    assert len(grading.neighbours) == 8
    grading.save(tmp_path)
    written = json.loads((tmp_path / "grading.json").read_text(encoding="utf-8"))
    assert written["neighbours"][0].keys() == {"id", "grade", "similarity", "thumbnail"}


def test_a_run_without_references_still_grades(run: Path, melons: Path) -> None:
    (run / "references.sqlite").unlink()
    grader = mz.Grader.load(run)
    assert grader.grade(melons / "captures/melon-0001").neighbours == []
    with pytest.raises(mz.MezoroiError, match="no references"):
        search_to_folder(grader, [melons / "captures/melon-0001"], run / "out")


def test_where_all_references_were_removed_nothing_is_searched_for(
    run: Path, melons: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gallery = gallery_of(mz.Grader.load(run))
    gallery.remove([one.id for one in gallery.index.references()])
    capture = melons / "captures/melon-0001"
    assert mz.Grader.load(run).grade(capture).neighbours == []
    assert command("search", run, capture, "-o", run / "out") == 2
    said = capsys.readouterr().err
    assert "references.sqlite holds no fruits: add some with" in said and said.count("\n") == 1


def test_a_grader_with_other_references_is_as_reliable(run: Path, tmp_path: Path) -> None:
    grader = mz.Grader.load(run)
    grader.notes = ("a note",)
    other = with_gallery(grader, run, str(tmp_path / "other.sqlite"))
    assert other.reliability is grader.reliability and other.notes == ("a note",)
    assert len(gallery_of(other).index) == 0


def test_references_of_another_model_are_refused(run: Path) -> None:
    index = run / "references.sqlite"
    dim = mz.Grader.load(run).network.embedding_dim
    index.unlink()
    ReferenceIndex.create(index, dim, "another model").close()
    with pytest.raises(mz.MezoroiError, match="of another model"):
        mz.Grader.load(run)


def test_fingerprint_is_of_the_embedding(run: Path, photos: Path) -> None:
    grader = mz.Grader.load(run)
    assert mz.Grader.load(run).bundle.fingerprint == grader.bundle.fingerprint
    grown = add_grade(grader, run, "E", [photos / "n1.png"])
    assert grown.bundle.fingerprint == grader.bundle.fingerprint
    weight = next(grader.network.parameters())
    weight.data[0] += 1
    assert grown.bundle.fingerprint != mz.Grader.load(run).bundle.fingerprint


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


def test_the_command_line_counts_what_was_added(
    run: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    twice = [photos / "n1.png", photos / "n1.png", photos / "n2.png"]
    assert command("references", run, "add", *twice, "--grade", "A", "--json") == 1
    answer = json.loads(capsys.readouterr().out)
    assert (answer["added"], len(answer["failures"])) == (2, 1)


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


def test_names_that_are_no_text(
    run: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stray = os.fsencode(photos) + b"/n\xff.png"
    try:
        shutil.copy(photos / "n1.png", os.fsdecode(stray))
    except OSError:
        pytest.skip("this file system takes names in UTF-8 only")
    assert command("references", run, "add", photos) == 1
    out = capsys.readouterr().out
    assert "is not Unicode text: rename the file" in out
    assert "5 added, 1 failed" in out
    assert command("references", run, "add-grade", "E", os.fsdecode(stray)) == 2
    orchard = os.fsdecode(b"north \xff")
    assert command("references", run, "add", photos / "n1.png", "--orchard", orchard) == 2
    assert "is not Unicode text" in capsys.readouterr().err
    assert mz.Grader.load(run).standard.grades == ("A", "B", "C", "D")


def test_training_fruits_are_kept_whatever_a_table_or_a_file_system_calls_them(
    run: Path, dataset: mz.Dataset, tmp_path: Path
) -> None:
    """Their embeddings are the last step of hours of training, which must not be lost."""
    stray = os.fsdecode(b"n\xff.png")
    extra = {"date": "2026/7/5", "orchard": float("nan")}
    first, second = dataset.observations[:2]
    items = (replace(first, id=stray, specimen=stray, extra=extra), replace(second, extra={}))
    bundle = mz.Grader.load(run).bundle
    embeddings = np.eye(2, bundle.network.embedding_dim)
    gallery = fill_references(bundle, replace(dataset, observations=items), embeddings, tmp_path)
    (kept,) = gallery.index.references(["n\\udcff.png"])
    assert (kept.date, kept.orchard) == ("2026-07-05", None)


def test_listing_a_range_of_days(
    run: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(1, 4):
        day = f"2026-07-0{number}"
        assert command("references", run, "add", photos / f"n{number}.png", "--date", day) == 0
    capsys.readouterr()
    listing = ("references", run, "list", "--json")
    assert command(*listing, "--since", "2026/7/2") == 0
    assert [item["id"] for item in json.loads(capsys.readouterr().out)] == ["n2.png", "n3.png"]
    assert command(*listing, "--since", "2026-07-02", "--until", "2026-07-02") == 0
    assert [item["id"] for item in json.loads(capsys.readouterr().out)] == ["n2.png"]
    assert command(*listing, "--since", "2026-07-02", "--date", "2026-07-02") == 2
    assert command("references", run, "add", photos / "n4.png", "--since", "2026-07-02") == 2


def test_rebuilding_tells_how_far_it_is(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, int, int]] = []

    @contextmanager
    def progress(_console: Any) -> Iterator[Any]:
        yield lambda *step: told.append(step)

    monkeypatch.setattr("mezoroi.console.Console.progress", progress)
    assert command("references", run, "rebuild") == 0
    count = len(gallery_of(mz.Grader.load(run)).index)
    assert told == [("indexing", count, count)]


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


@pytest.mark.parametrize("name", ["all.sqlite", "all.db"])
def test_adding_elsewhere_leaves_the_run_as_it_is(
    run: Path, photos: Path, tmp_path: Path, name: str
) -> None:
    if name.endswith(".db"):
        pytest.importorskip("milvus_lite", reason="the extra `milvus` is not installed")
    place, own = tmp_path / name, mz.Grader.load(run).gallery
    assert own is not None
    before = len(own.index)
    for photo in ("n1.png", "n2.png"):  # the first one makes the index
        assert command("references", run, "add", photos / photo, "--index", place) == 0
    with ReferenceIndex.open(place) as index:
        assert [item.id for item in index.references()] == ["n1.png", "n2.png"]
    assert len(own.index) == before
    other = tmp_path / f"other-{name}"
    ReferenceIndex.create(other, own.index.dim, "another model").close()
    assert command("references", run, "add", photos / "n1.png", "--index", other) == 2
    with ReferenceIndex.open(other) as index:
        assert len(index) == 0


def test_indexes_with_the_same_ids_keep_their_own_pictures(
    run: Path, photos: Path, tmp_path: Path
) -> None:
    place, elsewhere = tmp_path / "other.sqlite", tmp_path / "elsewhere"
    elsewhere.mkdir()
    Image.new("RGB", (64, 64), "red").save(elsewhere / "n1.png")
    assert command("references", run, "add", photos / "n1.png") == 0
    (kept,) = gallery_of(mz.Grader.load(run)).index.references(["n1.png"])
    assert kept.thumbnail is not None
    picture = (run / kept.thumbnail).read_bytes()
    assert command("references", run, "add", elsewhere / "n1.png", "--index", place) == 0
    with ReferenceIndex.open(place) as index:
        (other,) = index.references(["n1.png"])
    assert other.thumbnail is not None and (run / other.thumbnail).is_file()
    assert command("references", run, "remove", "n1.png", "--index", place) == 0
    assert not (run / other.thumbnail).exists()
    assert (run / kept.thumbnail).read_bytes() == picture


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("rebuild", "foo"), "`rebuild` takes no `foo`"),
        (("rebuild", "--grade", "B"), "`rebuild` takes no --grade"),
        (("list", "nonsense"), "`list` takes no `nonsense`"),
        (("remove", "n1.png", "--grade", "B"), "`remove` takes no --grade"),
        (("remove", "n1.png", "--date", "2026-07-01"), "`remove` takes no --date"),
        (("add", "n1.png", "--since", "2026-07-01"), "`add` takes no --since"),
        (("add-grade", "E", "n1.png", "--grade", "B"), "`add-grade` takes no --grade"),
        (("list", "--until", "2026-07-01", "--date", "2026-07-01"), "give one of them"),
    ],
)
def test_what_an_action_does_not_use_is_refused(
    run_dir: Path, words: tuple[str, ...], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    action, *rest = words
    assert command("references", run_dir, action, *rest) == 2
    assert reason in capsys.readouterr().err


def test_search_draws_a_sheet(grader: mz.Grader, photos: Path, tmp_path: Path) -> None:
    (photos / "broken.png").write_bytes(b"no picture")
    _, failed = search_to_folder(
        grader, [photos / "n1.png", photos / "broken.png"], tmp_path / "out", k=3
    )
    assert "broken.png" in failed.source
    sheet = np.asarray(Image.open(tmp_path / "out" / "n1.png").convert("RGB"))
    assert sheet.std() > 10
    content = json.loads((tmp_path / "out" / "search.json").read_text(encoding="utf-8"))
    assert len(content[0]["neighbours"]) == 3
    assert content[1].keys() == {"source", "error"}
    only = search_to_folder(grader, [photos / "n1.png"], tmp_path, k=50, where={"grade": "D"})[0]
    assert {item.grade for item in only.neighbours} == {"D"}  # type: ignore[union-attr]
    for where, words in (
        ({"orchard": "none"}, "orchard none"),
        ({"grade": "A", "date": ("2001-07-01", None)}, "grade A and date from 2001-07-01"),
    ):
        with pytest.raises(mz.MezoroiError) as caught:
            search_to_folder(grader, [photos / "n1.png"], tmp_path, where=where)
        remedy = "`mezoroi references RUN list` shows what there is"
        assert str(caught.value) == f"no reference fruit has {words}: {remedy}"


def test_a_search_draws_over_no_photo(grader: mz.Grader, photos: Path, tmp_path: Path) -> None:
    before = (photos / "n1.png").read_bytes()
    with pytest.raises(mz.MezoroiError, match=r"n1\.png is no sheet of an earlier search"):
        search_to_folder(grader, [photos / "n1.png"], photos)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/n1.png").write_bytes(before)  # another's, of the same name
    with pytest.raises(mz.MezoroiError, match="give another folder with -o"):
        search_to_folder(grader, [photos / "n1.png"], tmp_path / "out")
    assert {(photos / "n1.png").read_bytes(), (tmp_path / "out/n1.png").read_bytes()} == {before}
    assert not (photos / "search.json").exists()

    def stop(_: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    for stopped in (True, False):  # sheets of a search that was stopped are drawn again
        with pytest.raises(KeyboardInterrupt) if stopped else nullcontext():
            options = {"progress": stop} if stopped else {}
            search_to_folder(grader, [photos / "n1.png"], tmp_path / "sheets", k=1, **options)
        assert (tmp_path / "sheets/n1.png").is_file()


@pytest.mark.parametrize("harm", [lambda path: path.unlink(), lambda path: path.write_bytes(b"x")])
def test_a_fruit_is_found_without_its_picture(
    run: Path, photos: Path, tmp_path: Path, harm: Callable[[Path], Any]
) -> None:
    add_references(mz.Grader.load(run), find_new(mz.Grader.load(run), [photos], {"grade": "A"}))
    grader = mz.Grader.load(run)
    (reference,) = gallery_of(grader).index.references(["new/n1.png"])
    harm(run / str(reference.thumbnail))
    (found,) = search_to_folder(grader, [photos / "n1.png"], tmp_path / "out", k=3)
    assert isinstance(found, Found)
    assert found.neighbours[0].id == "new/n1.png"
    is_there = (run / str(reference.thumbnail)).exists()
    assert (found.neighbours[0].thumbnail is not None) == is_there


def test_removing_leaves_a_users_own_files_alone(tmp_path: Path) -> None:
    run, picture = tmp_path / "run", np.zeros((8, 8, 3), dtype=np.uint8)
    gallery = Gallery.create(run, 2, "model")
    own = [tmp_path / "own.jpg", run / "chart.png", run / "reference-thumbnails"]
    for path in own[:2]:
        path.write_bytes(b"mine")
    named = [str(own[0]), "../own.jpg", "reference-thumbnails/../chart.png", str(own[2])]
    ids = [str(number) for number in range(len(named))]
    gallery.index.add(ids, np.eye(4, 2) + 1, [{"thumbnail": name} for name in named])
    gallery.add(["a"], np.ones((1, 2)), [picture], [{}])
    kept = run / gallery.thumbnail_of("a")
    assert kept.is_file()
    gallery.remove(["a", *ids])
    assert all(path.exists() for path in own)
    assert not kept.exists()


def test_a_picture_appears_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery = Gallery.create(tmp_path, 2, "model")

    def write_half(path: Path, content: bytes) -> int:
        path.open("wb").write(content[: len(content) // 2])
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write_half)
    with pytest.raises(mz.MezoroiError, match="No space left"):
        gallery.add(["a"], np.ones((1, 2)), [np.zeros((8, 8, 3), dtype=np.uint8)], [{}])
    assert not list((tmp_path / "reference-thumbnails").iterdir())
    assert len(gallery.index) == 0


def test_shared_maps_weigh_what_two_fruits_have_in_common() -> None:
    import torch

    pooled, other = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.5, 0.1]])
    np.testing.assert_allclose(distance_weights(pooled, other)[0, 0], [1 / 6, 5 / 6], rtol=1e-5)


def test_the_command_line(
    run: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "n5.png").unlink()
    assert command("references", run, "add", photos, "--grade", "B", "--json") == 0
    assert json.loads(capsys.readouterr().out)["added"] == 4
    assert command("references", run, "add", photos) == 2
    capsys.readouterr()
    assert command("references", run, "list", "--grade", "B", "--json") == 0
    listed = {item["id"] for item in json.loads(capsys.readouterr().out)}
    assert {f"new/n{number}.png" for number in range(1, 5)} <= listed
    assert command("references", run, "remove", "new/n1.png", "new/n2.png") == 0
    assert command("references", run, "remove", "new/n1.png") == 2
    assert command("references", run, "rebuild") == 0
    assert command("references", run, "add-grade", "E", photos) == 0
    assert "E" in capsys.readouterr().out
    for k in ("8", "1000"):  # more than a sheet takes, and than there are
        assert command("search", run, photos / "n1.png", "-k", k, "-o", tmp_path / "out") == 0
    assert (tmp_path / "out" / "n1.png").is_file()
    for words in (
        ("references", run, "add"),
        ("references", run, "add-grade", "F"),
        ("references", run, "burn"),
        ("references", tmp_path, "list"),
        ("search", run, photos / "n1.png", "-o", tmp_path, "--since", "soon"),
        ("search", run, photos / "n1.png", "-o", tmp_path, "-k", "0"),
    ):
        capsys.readouterr()
        assert command(*words) == 2
        assert capsys.readouterr().err.startswith("error: ")
