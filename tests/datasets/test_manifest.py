"""Manifests: what is read, and that every problem is listed at once."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from mezoroi.datasets import (
    DatasetError,
    load_dataset,
    without_same_pictures,
    write_mask,
)
from mezoroi.errors import MezoroiError
from mezoroi.standard import GradingStandard
from tests.datasets.manifests import photo, problems_of, two_each, write_manifest

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def test_all_columns(root: Path) -> None:
    (root / "o.json").write_text(json.dumps({"width": 2, "height": 1.5}))
    write_mask(root / "m.png", {"A": np.ones((12, 16), bool)})
    write_manifest(
        root,
        *[
            f"photos/{i}.png,{'AB'[i % 2]},fruit{i // 4},train,m.png,July,o.json,畑{i}"
            for i in range(8)
        ],
        header="image,grade,specimen,split,mask,session,outline,畑",
        encoding="utf-8-sig",
    )
    dataset = load_dataset(root)
    assert len(dataset) == 8 and dataset.standard.grades == ("A", "B")
    first = dataset.observations[0]
    assert (first.id, first.grade, first.specimen) == ("photos/0.png", "A", "fruit0")
    assert (first.split, first.session, first.extra) == ("train", "July", {"畑": "畑0"})
    assert first.outline == {"width": 2.0, "height": 1.5}
    mask = dataset.mask_of(first)
    assert mask is not None and mask.shape == (12, 16) and mask.all()
    assert dataset.mask_of(first, "B") is None
    np.testing.assert_array_equal(dataset.labels, [0, 1] * 4)
    assert dataset.labels.dtype == np.int64
    assert dataset.specimens == ("fruit0",) * 4 + ("fruit1",) * 4
    assert dataset.has_outlines and dataset.outline_names == ("height", "width")
    np.testing.assert_array_equal(dataset.outline_matrix(), [[1.5, 2.0]] * 8)
    assert dataset.outline_matrix().dtype == np.float32
    assert dataset.counts() == {"A": 4, "B": 4}


def test_defaults(root: Path) -> None:
    dataset = load_dataset(write_manifest(root, *two_each()))
    assert dataset.specimens == tuple(o.id for o in dataset)
    assert all(o.split is o.mask is o.session is o.outline is None for o in dataset)
    assert not dataset.has_outlines and dataset.outline_names == ()
    with pytest.raises(MezoroiError, match=r"photos/0\.png has no outline"):
        dataset.outline_matrix()


def test_numbers_and_na_are_names_in_natural_order(root: Path) -> None:
    grades = ["10", "2", "1", "NaN"]
    rows = [f"photos/{i}.png,{grades[i % 4]}" for i in range(8)]
    assert load_dataset(write_manifest(root, *rows)).standard.grades == ("1", "2", "10", "NaN")


def test_a_capture_folder_is_an_image(root: Path) -> None:
    for i in range(4):
        photo(root / f"capture{i}" / "surface.png", (32, 16))
        (root / f"capture{i}" / "outline.json").write_text(json.dumps({"roundness": i}))
    dataset = load_dataset(write_manifest(root, *[f"capture{i},{'AB'[i % 2]}" for i in range(4)]))
    assert dataset.observations[2].id == "capture2/surface.png"
    np.testing.assert_array_equal(dataset.outline_matrix(), [[0], [1], [2], [3]])
    assert dataset.is_panorama


def test_standard_beside_the_manifest(root: Path) -> None:
    GradingStandard.from_grades("BA").to_yaml(root / "standard.yaml")
    path = write_manifest(root, *two_each())
    assert load_dataset(path).standard.grades == ("B", "A")
    assert load_dataset(path, GradingStandard.from_grades("AB")).standard.grades == ("A", "B")


def test_all_problems_are_listed_at_once(root: Path) -> None:
    (root / "photos/text.png").write_text("hello")
    whole = (root / "photos/6.png").read_bytes()
    (root / "photos/6.png").write_bytes(whole[: len(whole) // 2])
    write_mask(root / "small.png", {"A": np.ones((12, 15), bool)})
    (root / "bad.json").write_text("{}")
    write_manifest(
        root,
        "photos/0.png,A,x,train,,",
        "photos/1.png,B,x,test,,",
        "photos/none.png,A,,,,",
        "photos/2.png,Q,,,,",
        "photos/text.png,B,,,,",
        "photos/6.png,B,,,,",
        "photos/0.png,A,x,train,,",
        "photos/3.png,A,,holdout,,",
        "photos/4.png,,,,,",
        "photos/5.png,A,,,small.png,",
        "photos/7.png,A,,,,bad.json",
        ",A,,,,",
        header="image,grade,specimen,split,mask,outline",
    )
    found = problems_of(root, standard=GradingStandard.from_grades("ABC"))
    expected = [
        ("row 13", "names no image"),
        ("row 4", "does not exist"),
        ("row 5", "unknown grade `Q`"),
        ("row 6", "text.png"),
        ("row 7", "truncated"),
        ("row 9", "unknown split `holdout`"),
        ("row 10", "no grade"),
        ("row 11", "mask of 15 x 12 pixels for an image of 16 x 12"),
        ("row 12", "bad.json"),
        ("specimen `x`", "train and test"),
        ("grade `C`", "0 specimens"),
    ]
    assert len(found) == len(expected), found
    for problem, words in zip(found, expected, strict=True):
        assert all(word in problem for word in words), (problem, words)


def test_the_summary_is_one_line_and_survives_pickling(root: Path) -> None:
    write_manifest(root, *two_each("photos/none.png,A", "photos/4.png,"))
    with pytest.raises(DatasetError) as caught:
        load_dataset(root)
    assert str(caught.value).startswith(
        "manifest.csv has 2 problems, the first: manifest.csv row 6"
    )
    assert str(caught.value).endswith("(and 1 more): correct them and run again")
    copy = pickle.loads(pickle.dumps(caught.value))
    assert str(copy) == str(caught.value) and copy.problems == caught.value.problems


@pytest.mark.parametrize(
    ("rows", "header", "words"),
    [
        (["x,A"], "file,class", "lacks the columns `image` and `grade` (it has file, class)"),
        (["x,A"], "image,image", "two columns `image`"),
        ([], "image,grade", "no rows"),
        (["photos/0.png,A,B"], "image,grade", "3 cells under 2 columns"),
        (["photos/0.png,A", "photos/1.png,A"], "image,grade", "only one grade (`A`)"),
        (["photos/0.png,A", "photos/1.png,B"], "image,grade", "`A` has 1 specimen: at least 4"),
        (["photos/0.png,", "photos/1.png,"], "image,grade", "no grade"),
    ],
)
def test_unusable_manifests(root: Path, rows: list[str], header: str, words: str) -> None:
    assert any(
        words in problem for problem in problems_of(write_manifest(root, *rows, header=header))
    )


def test_not_a_manifest(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").touch()
    assert "empty" in problems_of(tmp_path)[0]
    (tmp_path / "manifest.csv").write_bytes(b"\x00\xff\xfe\x81")
    assert "save the CSV as UTF-8" in problems_of(tmp_path)[0]
    (tmp_path / "notes.txt").touch()
    assert "is no dataset" in problems_of(tmp_path / "notes.txt")[0]
    assert "does not exist" in problems_of(tmp_path / "none.csv")[0]


def test_what_is_only_graded_may_lack_grades(root: Path) -> None:
    path = write_manifest(root, "photos/0.png,A")
    dataset = load_dataset(path, GradingStandard.from_grades("AB"), trainable=False)
    assert dataset.counts() == {"A": 1, "B": 0}


def test_verify_decodes_every_image(root: Path) -> None:
    broken = bytearray((root / "photos/0.png").read_bytes())
    middle = len(broken) // 2
    broken[middle : middle + 40] = bytes(40)
    (root / "photos/0.png").write_bytes(bytes(broken))
    path = write_manifest(root, *two_each())
    assert len(load_dataset(path)) == 4
    assert "0.png" in problems_of(path, verify=True)[0]


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ("優 可 良 特秀 秀", "特秀 秀 優 良 可"),
        ("優 秀 良", "秀 優 良"),
        ("bad Good", "Good bad"),
        ("bad good medium", "bad good medium"),
        ("B a C", "a B C"),
        ("10 2 1", "1 2 10"),
        ("優 B", "B 優"),
    ],
)
def test_the_order_of_grades_without_a_standard_is_told(
    root: Path, named: str, expected: str
) -> None:
    path = write_manifest(
        root,
        *[f"photos/{2 * i + k}.png,{g}" for i, g in enumerate(named.split()) for k in (0, 1)],
    )
    for number in range(12):
        photo(root / "photos" / f"{number}.png", seed=number)
    dataset = load_dataset(path)
    assert " ".join(dataset.standard.grades) == expected
    order = expected.replace(" ", " > ")
    assert dataset.notes == (
        f"grades from best to worst are taken as {order}: write standard.yaml if that is not so",
    )
    assert load_dataset(path, trainable=False).notes == ()
    dataset.standard.to_yaml(root / "standard.yaml")
    assert load_dataset(path).notes == ()


def test_tomatoes() -> None:
    path = SHARED / "fgrade4" / "manifest.csv"
    if not path.is_file():
        pytest.skip("the tomato photos (fgrade4) are not beside the repository")
    dataset = load_dataset(path)
    # One photo is listed with two grades there, and one under two tomatoes.
    assert len(dataset) == 2291 and len(dataset.notes) == 3
    assert "059_041.jpg" in dataset.notes[1]
    assert "tomato029 and tomato051, in test and train" in dataset.notes[2]
    assert len(without_same_pictures(dataset)) == 2289
    assert dataset.splits == ("train", "val", "test")
    assert dataset.standard.grades == tuple("ABCD")
    assert len(set(dataset.specimens)) == 82
    assert not dataset.is_panorama


@pytest.mark.parametrize("listed", ["captures/{}", "captures/{}/surface.png"])
@pytest.mark.parametrize("graded", ["captures/{}", "captures/{}/surface.png"])
def test_a_capture_folder_is_its_surface_image(tmp_path: Path, listed: str, graded: str) -> None:
    names = [f"{grade}{number}" for grade in "AB" for number in range(2)]
    for name in names:
        photo(tmp_path / "captures" / name / "surface.png", seed=names.index(name))
    rows = [listed.format(name) for name in names]
    write_manifest(tmp_path, *rows, header="image")
    labels = [f"{graded.format(name)},sato,{name[0]}" for name in names]
    (tmp_path / "graders.csv").write_text("\n".join(["image,grader,grade", *labels]))
    assert [o.grade for o in load_dataset(tmp_path)] == ["A", "A", "B", "B"]

    write_manifest(tmp_path, *rows, graded.format("A0"), header="image")
    (note,) = [note for note in load_dataset(tmp_path).notes if "listed" in note]
    assert "manifest.csv row 2 and manifest.csv row 6" in note and "counted once" in note
