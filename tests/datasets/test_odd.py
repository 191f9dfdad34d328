"""Images unlike the rest are named, since they decide how all of a dataset is trained."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

import mezoroi as mz


@pytest.fixture
def copied(melons: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "melons"
    shutil.copytree(melons, folder)
    return folder


def outline_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("outline.json"))


def test_a_dataset_of_one_kind_says_nothing(melons: Path, tmp_path: Path) -> None:
    assert mz.load_dataset(melons).notes == ()
    for name in ("A/1.png", "A/2.png", "B/3.png", "B/4.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (40, 40), (ord(name[-5]), 0, 0)).save(path)
    standard = mz.GradingStandard.from_grades("AB")
    assert mz.load_dataset(tmp_path, standard).notes == ()  # no outline, no panorama


def test_missing_outlines_are_counted(copied: Path) -> None:
    for file in outline_files(copied)[:2]:
        file.unlink()
    made = mz.load_dataset(bare_manifest(copied))
    first = next(item.id for item in made if item.outline is None)
    (note,) = made.notes
    assert note.startswith(f"2 of 28 images have no outline, the first {first}: no outline is used")
    assert not made.has_outlines


def test_other_statistics_are_counted(copied: Path) -> None:
    file = outline_files(copied)[0]
    content = json.loads(file.read_text())
    content.pop(next(iter(content)))
    file.write_text(json.dumps(content))
    made = mz.load_dataset(copied)
    (note,) = made.notes
    assert note.startswith("1 of 28 outlines hold other statistics, the first of ")
    assert not made.has_outlines


def test_images_that_are_no_panorama_are_counted(copied: Path) -> None:
    first = mz.load_dataset(copied).observations[3]
    Image.new("RGB", (64, 64), "green").save(first.image)
    made = mz.load_dataset(bare_manifest(copied, ("image", "grade", "specimen", "outline")))
    (note,) = made.notes
    assert note.startswith(
        f"1 of 28 images are no panorama, the first {first.id}: all are taken as"
    )
    assert not made.is_panorama
    assert mz.load_dataset(copied / "manifest.csv", trainable=False).notes == ()


def test_a_wide_picture_among_photos_is_nothing_odd(copied: Path) -> None:
    others = mz.load_dataset(copied).observations[1:]
    for item in others:
        Image.new("RGB", (64, 64), "green").save(item.image)
    made = mz.load_dataset(bare_manifest(copied, ("image", "grade", "specimen", "outline")))
    assert not any("panorama" in note for note in made.notes)


def bare_manifest(folder: Path, names: tuple[str, ...] = ("image", "grade", "specimen")) -> Path:
    """The folder's manifest without the columns that name masks, and missing outlines."""
    path = folder / "manifest.csv"
    with path.open(newline="", encoding="utf-8") as stream:
        rows = [{name: row[name] for name in names} for row in csv.DictReader(stream)]
    for mask in folder.rglob("mask.png"):
        mask.unlink()
    with path.open("w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, names)
        table.writeheader()
        table.writerows(rows)
    return path
