"""A dataset's fingerprint changes with its content and with nothing else."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mezoroi.datasets import Dataset, load_dataset, write_mask
from mezoroi.errors import MezoroiError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "fruits"
    for i, name in enumerate(["A/1.png", "A/2.png", "B/3.png", "B/4.png"]):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 16), (i, 0, 0)).save(root / name)
    (root / "masks/A").mkdir(parents=True)
    write_mask(root / "masks/A/1.png", {"A": np.zeros((16, 32), bool)})
    return root


def test_order_and_place_do_not_matter(root: Path, tmp_path: Path) -> None:
    dataset = load_dataset(root)
    assert len(dataset.fingerprint) == 64
    assert dataset.subset([2, 0, 3, 1]).fingerprint == dataset.fingerprint
    shutil.copytree(root, tmp_path / "elsewhere")
    assert load_dataset(tmp_path / "elsewhere").fingerprint == dataset.fingerprint


def test_every_content_matters(root: Path) -> None:
    dataset = load_dataset(root)
    first, *others = dataset.observations
    variants = [
        replace(first, grade="B"),
        replace(first, split="test"),
        replace(first, id="A/9.png"),
        replace(first, mask=None),
        replace(first, outline={"roundness": 1.0}),
        replace(first, outline={"roundness": 1.5}),
        replace(first, image=others[0].image),
    ]
    seen = {dataset.fingerprint, dataset.subset([1, 2, 3]).fingerprint}
    for variant in variants:
        seen.add(replace(dataset, observations=(variant, *others)).fingerprint)
    Image.new("RGB", (32, 16), (9, 9, 9)).save(root / "A/2.png")
    seen.add(load_dataset(root).fingerprint)
    write_mask(root / "masks/A/1.png", {"A": np.ones((16, 32), bool)})
    seen.add(load_dataset(root).fingerprint)
    assert len(seen) == len(variants) + 4


def test_a_lost_file_is_one_line(root: Path) -> None:
    dataset = load_dataset(root)
    (root / "A/1.png").unlink()
    with pytest.raises(MezoroiError, match=r"1\.png cannot be read"):
        _ = dataset.fingerprint


def test_dataset_operations(root: Path) -> None:
    dataset = load_dataset(root)
    split = dataset.with_splits({"A/1.png": "train", "B/3.png": "val"})
    assert [o.split for o in split] == ["train", None, "val", None]
    assert split.splits == ("train", "val")
    assert [o.id for o in split.select("val")] == ["B/3.png"]
    with pytest.raises(MezoroiError, match="no split `test`: it has train, val"):
        split.select("test")
    with pytest.raises(MezoroiError, match="assign splits first"):
        dataset.select("train")
    with pytest.raises(MezoroiError, match="unknown split `holdout`"):
        dataset.with_splits({"A/1.png": "holdout"})
    with pytest.raises(MezoroiError, match="no observation has the id `x`"):
        dataset.with_splits({"x": "train"})
    assert [o.id for o in dataset.subset(dataset.labels == 1)] == ["B/3.png", "B/4.png"]
    with pytest.raises(MezoroiError, match="one value per observation"):
        dataset.subset(np.array([True]))
    with pytest.raises(MezoroiError, match="listed twice"):
        dataset.subset([0, 0])
    with pytest.raises(MezoroiError, match="unknown grade `Z`"):
        Dataset((replace(dataset.observations[0], grade="Z"),), dataset.standard, root)


def test_panorama(root: Path) -> None:
    assert load_dataset(root).is_panorama
    for size, expected in (((204, 100), True), ((205, 100), False), ((50, 100), False)):
        Image.new("RGB", size).save(root / "B/3.png")
        assert load_dataset(root).is_panorama is expected
