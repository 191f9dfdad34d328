"""`mezoroi references` and `mezoroi search`, as they are typed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import mezoroi as mz
from mezoroi.capture.sources import find_sources
from mezoroi.references import (
    gallery_of,
)
from mezoroi.retrieval import ReferenceIndex
from mezoroi.searching import search_to_folder
from tests.retrieval.conftest import command


def test_the_command_line_counts_what_was_added(
    run: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    twice = [photos / "n1.png", photos / "n1.png", photos / "n2.png"]
    assert command("references", run, "add", *twice, "--grade", "A", "--json") == 1
    answer = json.loads(capsys.readouterr().out)
    assert (answer["added"], len(answer["failures"])) == (2, 1)


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
        with pytest.raises(mz.MezoroiError, match="holds no photo and no capture"):  # but a sheet
            find_sources([tmp_path / "sheets"])


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
