"""Folders of grades, with specimens, splits, captures and masks; odd places are reported."""

from __future__ import annotations

import json
import re
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mezoroi.datasets import DatasetError, load_dataset, write_mask

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def photos(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 12)).save(root / name)
    return root


def problems_of(path: Path) -> tuple[str, ...]:
    with pytest.raises(DatasetError) as error:
        load_dataset(path)
    assert "\n" not in str(error.value)
    return error.value.problems


def test_grades(tmp_path: Path) -> None:
    photos(tmp_path, "B/1.png", "B/2.jpg", "A/1.png", "A/写真.JPG", "A/.hidden.png")
    (tmp_path / "A/notes.txt").write_text("ripe")
    (tmp_path / "A/Thumbs.db").touch()
    dataset = load_dataset(tmp_path)
    assert [o.id for o in dataset] == ["A/1.png", "A/写真.JPG", "B/1.png", "B/2.jpg"]
    assert [o.grade for o in dataset] == ["A", "A", "B", "B"]
    assert dataset.specimens == tuple(o.id for o in dataset)


def test_specimens_keep_their_name_across_grades(tmp_path: Path) -> None:
    photos(tmp_path, "A/f1/a.png", "A/f1/b.png", "A/f2/a.png", "B/f1/c.png", "B/x.png")
    dataset = load_dataset(tmp_path)
    assert dataset.specimens == ("f1", "f1", "f2", "B/x.png", "f1")
    assert [o.grade for o in dataset] == ["A", "A", "A", "B", "B"]


def test_splits(tmp_path: Path) -> None:
    photos(tmp_path, "train/A/1.png", "train/B/f1/1.png", "test/A/2.png", "test/B/f2/1.png")
    dataset = load_dataset(tmp_path)
    assert dataset.splits == ("train", "test")
    assert [o.id for o in dataset.select("test")] == ["test/A/2.png", "test/B/f2/1.png"]


def test_captures(tmp_path: Path) -> None:
    for name in ("A/f1", "A/f2", "B/f3", "B/f4/monday", "B/f4/friday"):
        photos(tmp_path, f"{name}/surface.png", f"{name}/coverage.png")
        (tmp_path / name / "outline.json").write_text(json.dumps({"roundness": 1}))
        write_mask(tmp_path / name / "mask.png", {"A": np.ones((12, 16), bool)})
    dataset = load_dataset(tmp_path)
    assert [o.image.name for o in dataset] == ["surface.png"] * 5
    assert dataset.specimens == ("f1", "f2", "f3", "f4", "f4")
    assert dataset.has_outlines
    assert [o.mask.parent for o in dataset if o.mask] == [o.image.parent for o in dataset]


def test_masks_are_picked_up(tmp_path: Path) -> None:
    photos(tmp_path, *[f"images/{g}/{i}.png" for g in "AB" for i in range(3)])
    write_mask(tmp_path / "masks/A/0.png", {"A": np.ones((12, 16), bool)})
    labelme = {
        "imageHeight": 12,
        "imageWidth": 16,
        "shapes": [{"label": "A", "points": [[0, 0], [8, 8]], "shape_type": "rectangle"}],
    }
    (tmp_path / "images/A/1.json").write_text(json.dumps(labelme))
    coco = {
        "images": [{"id": 1, "file_name": "images/B/0.png", "height": 12, "width": 16}],
        "categories": [{"id": 1, "name": "B"}],
        "annotations": [
            {"image_id": 1, "category_id": 1, "segmentation": [[0, 0, 4, 0, 4, 4, 0, 4]]}
        ],
    }
    (tmp_path / "export.coco.json").write_text(json.dumps(coco))
    dataset = load_dataset(tmp_path)
    areas = {}
    for o in dataset:
        mask = dataset.mask_of(o)
        areas[o.id.removeprefix("images/")] = None if mask is None else int(mask.sum())
    assert areas == {
        "A/0.png": 192, "A/1.png": 64, "A/2.png": None,
        "B/0.png": 16, "B/1.png": None, "B/2.png": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ("A/0.png", {"A/0.png": 16, "B/0.png": None}),  # not of the other 0.png
        ("export/A/1.png", {"A/1.png": 16, "A/0.png": None}),
        ("0.png", "annotations.json lists 0.png, which may be FOLDER/A/0.png or FOLDER/B/0.png: "),
    ],
)
@pytest.mark.parametrize("folder", ["", "images/"])
def test_a_coco_file_means_one_image(
    folder: str, listed: str, expected: dict[str, int | None] | str, tmp_path: Path
) -> None:
    photos(tmp_path, *[f"{folder}{name}.png" for name in ("A/0", "A/1", "B/0", "B/2")])
    coco = {
        "images": [{"id": 1, "file_name": listed, "height": 12, "width": 16}],
        "categories": [{"id": 1, "name": "A"}],
        "annotations": [
            {"image_id": 1, "category_id": 1, "segmentation": [[0, 0, 4, 0, 4, 4, 0, 4]]}
        ],
    }
    (tmp_path / "annotations.json").write_text(json.dumps(coco))
    if isinstance(expected, str):
        with pytest.raises(DatasetError, match=re.escape(expected.replace("FOLDER/", folder))):
            load_dataset(tmp_path)
        return
    dataset = load_dataset(tmp_path)
    found = {o.id.removeprefix(folder): dataset.mask_of(o, "A") for o in dataset}
    for name, area in expected.items():
        assert (None if found[name] is None else found[name].sum()) == area


def one_region(grade: str, **rest: object) -> dict:
    points = [[0, 0], [4, 4]]
    return {"shapes": [{"label": grade, "points": points, "shape_type": "rectangle"}], **rest}


def coco_of(*names: str) -> str:
    """COCO text with one region of 16 pixels of grade A on each image."""
    region = {"category_id": 1, "segmentation": [[0, 0, 4, 0, 4, 4, 0, 4]]}
    return json.dumps(
        {
            "images": [{"id": n, "file_name": name} for n, name in enumerate(names)],
            "categories": [{"id": 1, "name": "A"}],
            "annotations": [{"image_id": n, **region} for n in range(len(names))],
        }
    )


def test_a_mask_is_of_one_image(tmp_path: Path) -> None:
    photos(
        tmp_path,
        *[f"{grade}/{n}.{kind}" for grade in "AB" for n in "12" for kind in ("jpg", "png")],
    )
    write_mask(tmp_path / "masks/A/1.png", {"A": np.ones((12, 16), bool)})
    (tmp_path / "A/2.json").write_text(json.dumps(one_region("A")))
    (tmp_path / "B/1.json").write_text(json.dumps(one_region("B", imagePath="..\\B\\1.png")))
    assert [problem.replace(f"{tmp_path}/", "") for problem in problems_of(tmp_path)] == [
        "masks/A/1.png may mark A/1.jpg or A/1.png: give all but one of them another name",
        "A/2.json may mark A/2.jpg or A/2.png: give all but one of them another name",
    ]
    (tmp_path / "A/1.jpg").rename(tmp_path / "A/3.jpg")
    (tmp_path / "A/2.jpg").rename(tmp_path / "A/4.jpg")
    marked = [o.id for o in load_dataset(tmp_path) if o.mask is not None]
    assert marked == ["A/1.png", "A/2.png", "B/1.png"]


def test_one_mask_may_be_named_for_two_images(tmp_path: Path) -> None:
    photos(tmp_path, "A/1.jpg", "A/1.png", "B/1.png", "B/2.png")
    write_mask(tmp_path / "masks/A/1.png", {"A": np.ones((12, 16), bool)})
    rows = ["A/1.jpg,A,masks/A/1.png", "A/1.png,A,masks/A/1.png", "B/1.png,B,", "B/2.png,B,"]
    (tmp_path / "manifest.csv").write_text("\n".join(["image,grade,mask", *rows]))
    assert [o.mask is not None for o in load_dataset(tmp_path)] == [True, True, False, False]


def test_masks_of_no_image_are_noted(tmp_path: Path) -> None:
    photos(tmp_path, *[f"{grade}/{n}.png" for grade in "AB" for n in "12"])
    photos(tmp_path, "masks/A/1.png", "masks/A/2.PNG", "masks/A/1_mask.png", "masks/B/.1.png")
    (tmp_path / "annotations.json").write_text(coco_of("B/1.png", "B/2.jpg", "B/3.jpg"))
    dataset = load_dataset(tmp_path)
    assert [o.id for o in dataset if o.mask is not None] == ["A/1.png", "B/1.png"]
    assert dataset.notes[-2:] == (
        "masks/ holds masks of no image here (2, the first masks/A/1_mask.png): "
        "call a mask as its image, with the suffix .png",
        "annotations.json marks images that are not here (2, the first B/2.jpg): "
        "name images by their paths in the folder",
    )


def test_every_coco_file_counts(tmp_path: Path) -> None:
    photos(tmp_path, *[f"{grade}/{n}.png" for grade in "AB" for n in "12"])
    (tmp_path / "a.coco.json").write_text(coco_of("A/1.png", "B/1.png"))
    (tmp_path / "b.coco.json").write_text(coco_of("A/2.png"))
    dataset = load_dataset(tmp_path)
    areas = [0 if (mask := dataset.mask_of(o, "A")) is None else mask.sum() for o in dataset]
    assert areas == [16, 16, 16, 0]
    (tmp_path / "b.coco.json").write_text(coco_of("A/1.png"))
    assert problems_of(tmp_path) == (
        "A/1.png is listed in a.coco.json and b.coco.json: keep it in one of them",
    )


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_masks_of_decomposed_names(tmp_path: Path, form: str) -> None:
    # As an archive from a Mac has them: が in two characters.
    photos(tmp_path, *[unicodedata.normalize(form, name) for name in ("優/が.png", "優/ぎ.png")])
    photos(tmp_path, "秀/1.png", "秀/2.png", unicodedata.normalize("NFD", "masks/優/が.png"))
    content = coco_of(unicodedata.normalize("NFD", "優/ぎ.png")).replace('"A"', '"優"')
    (tmp_path / "annotations.json").write_text(content)
    dataset = load_dataset(tmp_path)
    assert [o.id for o in dataset if o.mask is not None] == ["優/が.png", "優/ぎ.png"]
    assert dataset.mask_of(next(o for o in dataset if "ぎ" in o.id)).sum() == 16


def test_a_list_beside_a_photo_is_no_mask(tmp_path: Path) -> None:
    photos(tmp_path, *[f"{grade}/{n}.png" for grade in "AB" for n in "12"])
    (tmp_path / "A/1.json").write_text('[{"SourceFile": "1.png"}]')  # as exiftool writes it
    assert all(o.mask is None for o in load_dataset(tmp_path))


def test_regions_that_cannot_be_read_are_listed_with_all_else(tmp_path: Path) -> None:
    photos(tmp_path, *[f"{grade}/{grade}{number}.png" for grade in "AB" for number in range(6)])
    shapes = [
        {"label": "A", "points": [[5, 5]], "shape_type": "point"},
        {"label": "A", "points": [[5, 5], [8, 5]]},
        {"label": "A", "points": [[5, 5], [float("nan"), 5]], "shape_type": "circle"},
        {"label": "stem", "points": [[5, 5]], "shape_type": "point"},  # no grade
    ]
    for number, shape in enumerate(shapes):
        good = {"label": "B", "points": [[0, 0], [8, 8]], "shape_type": "rectangle"}
        (tmp_path / f"A/A{number}.json").write_text(json.dumps({"shapes": [good, shape]}))
    segmentations = [[], {"size": [12, 16], "counts": [100]}, [[1, 2, 3, 4]], [[1, 2] * 4]]
    coco = {
        "images": [{"id": n, "file_name": f"B/B{n}.png"} for n in range(5)],
        "categories": [{"id": 1, "name": "B"}],
        "annotations": [
            {"image_id": number, "category_id": 1, "segmentation": segmentation}
            for number, segmentation in enumerate(segmentations)
        ],
    }
    coco["images"].append({"id": 5, "file_name": "B/B5.png", "height": float("inf"), "width": 16})
    (tmp_path / "annotations.json").write_text(json.dumps(coco))
    found = [problem.replace(str(tmp_path), "") for problem in problems_of(tmp_path)]
    expected = {
        "A/A0.png": "/A/A0.json: shape `point` marks no region",
        "A/A1.png": "/A/A1.json: a polygon has fewer than 3 corners",
        "A/A2.png": "/A/A2.json: a circle is not a centre and a point of its edge",
        "B/B0.png": "/annotations.json: an annotation has a box and no region",
        "B/B1.png": "/annotations.json: run lengths do not add up",
        "B/B2.png": "/annotations.json: a polygon has fewer than 3 corners",
        "B/B5.png": "/annotations.json is not as COCO or labelme describe it",
    }
    assert len(found) == len(expected)
    for problem, (image, words) in zip(found, expected.items(), strict=True):
        assert problem.startswith(f"{image}: {words}")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], ["it holds no photos"]),
        (["1.png", "2.png"], ["1.png and 1 more lie outside the grade folders"]),
        (["A/1.png", "A/2.png"], ["only one grade (`A`)"]),
        (["A/1.png", "A/2.png", "B/1.png"], ["grade `B` has 1 specimen"]),
        (["A/f/1.png", "A/f/2.png", "B/1.png", "B/2.png"], ["grade `A` has 1 specimen"]),
        (
            ["A/1.png", "A/2.png", "B/1.png", "B/2.png", "B/f/x/3.png", "4.png"],
            ["4.png lies outside", "B/f/x/ lies too deep"],
        ),
        (
            ["train/A/1.png", "train/B/1.png", "test/A/1.png", "test/B/1.png", "more/1.png"],
            ["more/ lies beside split folders"],
        ),
        (
            ["train/A/f/1.png", "train/B/1.png", "test/B/f/1.png", "test/A/1.png"],
            ["specimen `f` is in train and test"],
        ),
    ],
)
def test_odd_folders(tmp_path: Path, names: list[str], expected: list[str]) -> None:
    found = problems_of(photos(tmp_path, *names))
    assert len(found) == len(expected), found
    for problem, words in zip(found, expected, strict=True):
        assert words in problem


def test_videos_foreign_formats_and_an_empty_grade(tmp_path: Path) -> None:
    photos(tmp_path, *[f"{g}/{i}.png" for g in "AB" for i in range(2)])
    (tmp_path / "A/turn.MP4").touch()
    (tmp_path / "A/phone.avif").touch()
    (tmp_path / "C").mkdir()
    found = problems_of(tmp_path)
    assert "A/phone.avif is in a format not read" in found[0]
    assert "A/turn.MP4 is a video" in found[1]
    assert "grade `C` has 0 specimens" in found[2]
    assert len(found) == 3


def test_links_that_lead_nowhere_are_problems(tmp_path: Path) -> None:
    photos(tmp_path, *[f"{g}/{i}.png" for g in "AB" for i in range(2)])
    (tmp_path / "A/melon").mkdir()
    for name in ("C", "A/fruit", "A/melon/surface.png", "B/2.JPG", "B/.hidden.png", "B/notes.txt"):
        (tmp_path / name).symlink_to(tmp_path / "drive" / name)
    (tmp_path / "B/3.png").symlink_to(tmp_path / "B/1.png")
    found = problems_of(tmp_path)
    assert [problem.partition(" is a link to what is not there: ")[0] for problem in found] == [
        "C", "A/fruit", "A/melon/surface.png", "B/2.JPG",
    ]  # fmt: skip


def test_more_grades_than_a_standard_holds(tmp_path: Path) -> None:
    photos(tmp_path, *[f"{g}/{i}.png" for g in range(21) for i in range(2)])
    assert "2 to 20 grades, not 21" in problems_of(tmp_path)[0]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sd_saliency_900", "outside the grade folders"),
        ("sd_saliency_900/labels.csv", "lacks the columns `image` and `grade`"),
        ("grocery_produce20", "iconic/ lies beside split folders"),
    ],
)
def test_layouts_that_need_a_hand(name: str, words: str) -> None:
    if not (SHARED / name).exists():
        pytest.skip(f"{name} is not beside the repository")
    found = problems_of(SHARED / name)
    assert len(found) == 1 and words in found[0]


def test_magnetic_tiles_load_with_their_masks() -> None:
    if not (SHARED / "magnetic_tile").exists():
        pytest.skip("magnetic_tile is not beside the repository")
    dataset = load_dataset(SHARED / "magnetic_tile")
    assert dataset.counts() == {
        "blowhole": 115, "break": 85, "crack": 57, "fray": 32, "free": 238, "uneven": 103
    }  # fmt: skip
    marked = [dataset.mask_of(o) for o in dataset if o.grade in ("break", "free")]
    assert [bool(m is not None and m.any()) for m in marked] == [True] * 85 + [False] * 238
