"""A run's reference fruits: filled by training, named by gradings, kept with their pictures."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
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
from mezoroi.retrieval import Gallery, ReferenceIndex
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
