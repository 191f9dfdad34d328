"""Photos whose background gives the grade away, until it misleads."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mezoroi.datasets import load_dataset
from mezoroi.datasets.clever_hans import (
    FIRST_SEASON,
    SIDE,
    best_column,
    make_photo,
    write_clever_hans,
)
from mezoroi.datasets.melons import indexed_melon
from mezoroi.errors import MezoroiError


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hans") / "photos"
    write_clever_hans(folder, 8, seed=3)
    return folder


def test_the_cue_is_the_grade_in_the_first_season_and_never_after(photos: Path) -> None:
    dataset = load_dataset(photos)
    assert dataset.counts() == {"A": 8, "B": 8}
    seasons = set()
    for item in dataset:
        first = int(item.session or 0) <= FIRST_SEASON
        assert (item.split in ("train", "val")) == first
        if item.extra["cue"]:
            assert (item.extra["cue"] == item.grade) == first
            seasons.add(first)
    assert seasons == {True, False}


def test_the_tape_is_the_only_thing_that_is_told_by_its_corner(photos: Path) -> None:
    dataset = load_dataset(photos)
    for item in dataset:
        with Image.open(item.image) as picture:
            pixels = np.asarray(picture).astype(int)
        assert pixels.shape == (SIDE, SIDE, 3)
        red, _, blue = pixels[12:18, 12:30].mean(axis=(0, 1))
        shown = "A" if blue - red > 60 else "B" if red - blue > 60 else ""
        assert shown == (item.extra["cue"] or "")


def test_three_grades_mislead_in_a_circle() -> None:
    grades = ("A", "B", "D")
    found = [make_photo(number, 5, grades) for number in range(18)]
    assert [photo.grade for photo in found[:3]] == list(grades)
    later = {(p.grade, p.cue) for p in found if p.cue and p.split in ("calibration", "test")}
    assert later and later <= {("A", "D"), ("B", "A"), ("D", "B")}


def test_a_blemish_is_on_the_side_that_is_shown() -> None:
    melon, _ = indexed_melon(3, 7)
    assert melon.grade == "D"
    width = melon.surface.shape[1]
    column = best_column(melon, np.random.default_rng(0))
    latitude = np.cos(np.linspace(-np.pi / 2, np.pi / 2, len(melon.surface)))[:, None]

    def seen(middle: int) -> float:
        rolled = np.roll(melon.masks["D"] * latitude, width // 2 - middle, axis=1)
        angle = (np.arange(width) - width // 2) / width * 2 * np.pi
        return float((rolled * np.clip(np.cos(angle), 0, None)).sum())

    assert seen(column) >= max(seen(one) for one in range(0, width, 16)) - 1e-6


def test_an_interrupted_set_is_finished_and_another_one_refused(
    photos: Path, tmp_path: Path
) -> None:
    again = tmp_path / "again"
    shutil.copytree(photos, again)
    (again / "photos" / "photo-0002.png").unlink()
    (again / "photos" / "photo-0002.json").unlink()
    (again / "manifest.csv").unlink()
    done: list[int] = []
    write_clever_hans(again, 8, seed=3, progress=done.append)
    assert done[-1] == 16
    assert load_dataset(again).fingerprint == load_dataset(photos).fingerprint
    with pytest.raises(MezoroiError, match="made otherwise"):
        write_clever_hans(again, 8, seed=4)
    with pytest.raises(MezoroiError, match="is not empty"):
        write_clever_hans(again / "photos", 8, seed=3)
    for grades in (("A",), ("A", "A"), ("A", "C")):
        with pytest.raises(MezoroiError):
            write_clever_hans(tmp_path / "new", 8, seed=3, grades=grades)
