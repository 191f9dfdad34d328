"""Masks from PNG, COCO and labelme files, against regions drawn by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mezoroi.datasets import read_mask, write_mask
from mezoroi.datasets.shapes import decode_runs, expand_counts, fill_polygon
from mezoroi.errors import MezoroiError
from mezoroi.standard import GradingStandard

MELON = GradingStandard.melon()
SIZE = (40, 60)
SQUARE = np.zeros(SIZE, dtype=bool)
SQUARE[5:15, 10:30] = True  # rows 5-14, columns 10-29


def compress(counts: list[int]) -> str:
    """COCO's run-length text, written from its description (rleToString in maskApi.c)."""
    text = ""
    for i, count in enumerate(counts):
        x = count - counts[i - 2] if i > 2 else count
        more = True
        while more:
            c = x & 0x1F
            x >>= 5
            more = x != -1 if c & 0x10 else x != 0
            text += chr((c | 0x20 if more else c) + 48)
    return text


def write_coco(path: Path, segmentation: object, **image: object) -> Path:
    content = {
        "images": [{"id": 7, "file_name": "a/photo.jpg", "height": 40, "width": 60, **image}],
        "categories": [{"id": 1, "name": "B"}, {"id": 2, "name": "D"}],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 2, "segmentation": segmentation}],
    }
    path.write_text(json.dumps(content))
    return path


def test_written_masks_are_read_back_with_overlaps(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    masks = {grade: rng.random(SIZE) < 0.4 for grade in ("A", "B", "D")}
    path = tmp_path / "mask.png"
    write_mask(path, masks)
    for grade, mask in masks.items():
        np.testing.assert_array_equal(read_mask(path, grade, MELON, SIZE), mask)
    assert read_mask(path, "C", MELON, SIZE) is None
    flags = np.asarray(Image.open(path))
    assert flags.dtype == np.uint8
    np.testing.assert_array_equal(flags, masks["A"] + 2 * masks["B"] + 4 * masks["D"])


def test_written_masks_of_many_grades_with_japanese_names(tmp_path: Path) -> None:
    grades = [f"等級{i}" for i in range(12)]
    standard = GradingStandard.from_grades(grades)
    masks = {grade: np.roll(SQUARE, i, axis=1) for i, grade in enumerate(grades)}
    write_mask(tmp_path / "mask.png", masks)
    for grade, mask in masks.items():
        found = read_mask(tmp_path / "mask.png", grade, standard, SIZE)
        np.testing.assert_array_equal(found, mask)


def test_write_mask_refuses(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    for masks, words in (
        ({}, "1 to 16"),
        ({"A": SQUARE, "B": SQUARE[:5]}, "shapes"),
        ({"A,B": SQUARE}, "cannot be named"),
        ({"A": SQUARE.astype(np.uint8)}, "not boolean"),
    ):
        with pytest.raises(MezoroiError, match=words):
            write_mask(path, masks)
    with pytest.raises(MezoroiError, match=r"\.png"):
        write_mask(tmp_path / "mask.jpg", {"A": SQUARE})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("mode", ["L", "1", "RGB", "RGBA", "I;16"])
def test_plain_png_belongs_to_the_own_grade(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "mask.png"
    if mode == "I;16":
        Image.fromarray(SQUARE.astype(np.uint16) * 300).save(path)
    else:
        Image.fromarray(SQUARE.astype(np.uint8) * 255).convert(mode).save(path)
    np.testing.assert_array_equal(read_mask(path, "B", MELON, SIZE), SQUARE)
    assert read_mask(path, "B", MELON, SIZE, own_grade="D") is None


def test_transparent_png_is_ambiguous(tmp_path: Path) -> None:
    Image.new("RGBA", SIZE[::-1], (255, 0, 0, 0)).save(tmp_path / "mask.png")
    with pytest.raises(MezoroiError, match="transparent"):
        read_mask(tmp_path / "mask.png", "A", MELON, SIZE)


@pytest.mark.parametrize("kind", ["polygon", "runs", "compressed"])
def test_coco(tmp_path: Path, kind: str) -> None:
    columns = SQUARE.T.ravel()
    edges = np.flatnonzero(np.diff(columns)) + 1
    counts = np.diff([0, *edges, columns.size]).tolist()
    segmentation = {
        "polygon": [[10, 5, 30, 5, 30, 15, 10, 15]],
        "runs": {"size": SIZE, "counts": counts},
        "compressed": {"size": SIZE, "counts": compress(counts)},
    }[kind]
    path = write_coco(tmp_path / "annotations.json", segmentation)
    np.testing.assert_array_equal(read_mask(path, "D", MELON, SIZE, "a/photo.jpg"), SQUARE)
    np.testing.assert_array_equal(read_mask(path, "D", MELON, SIZE, "photo.jpg"), SQUARE)
    seen_not_found = read_mask(path, "B", MELON, SIZE, "photo.jpg")
    assert seen_not_found is not None and not seen_not_found.any()
    assert read_mask(path, "A", MELON, SIZE, "photo.jpg") is None
    assert read_mask(path, "D", MELON, SIZE, "other.jpg") is None


@given(st.lists(st.integers(0, 100_000), min_size=1, max_size=30))
def test_compressed_run_lengths(counts: list[int]) -> None:
    assert expand_counts(compress(counts)) == counts


def test_compressed_run_lengths_of_the_reference_implementation() -> None:
    # outputs of pycocotools.mask.encode
    small = np.zeros((4, 4), dtype=bool)
    small[1:3, 1:3] = True
    np.testing.assert_array_equal(decode_runs(expand_counts("52203"), (4, 4)), small)
    two_blocks = np.zeros((30, 40), dtype=bool)
    two_blocks[3:20, 5:33] = True
    two_blocks[25:, :9] = True
    text = "i05i00000000ZO<2DN<2DN<2DN<2DN<:" + "0" * 45 + "_6"
    np.testing.assert_array_equal(decode_runs(expand_counts(text), (30, 40)), two_blocks)


@pytest.mark.parametrize(
    ("shape", "area"),
    [
        ({"points": [[10, 5], [30, 5], [30, 15], [10, 15]], "shape_type": "polygon"}, 200),
        ({"points": [[30, 15], [10, 5]], "shape_type": "rectangle"}, 200),
        ({"points": [[20, 20], [30, 20]], "shape_type": "circle"}, np.pi * 100),
    ],
)
def test_labelme(tmp_path: Path, shape: dict, area: float) -> None:
    path = tmp_path / "photo.json"
    content = {"imageHeight": 40, "imageWidth": 60, "shapes": [{"label": "D", **shape}]}
    path.write_text(json.dumps(content))
    mask = read_mask(path, "D", MELON, SIZE)
    assert mask is not None and mask.sum() == pytest.approx(area, rel=0.02)
    if shape["shape_type"] != "circle":
        np.testing.assert_array_equal(mask, SQUARE)
    assert read_mask(path, "A", MELON, SIZE) is None


def test_polygon_area_is_the_shoelace_formula() -> None:
    corners = np.array([[12.3, 8.1], [180.4, 30.9], [150.2, 170.7], [40.6, 140.2]])
    x, y = corners.T
    area = abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2
    assert fill_polygon(corners, (200, 200)).sum() == pytest.approx(area, rel=0.003)


def test_size_must_be_the_image_s(tmp_path: Path) -> None:
    write_mask(tmp_path / "mask.png", {"A": SQUARE})
    coco = write_coco(tmp_path / "annotations.json", [], height=20)
    labelme = tmp_path / "photo.json"
    labelme.write_text(json.dumps({"imageHeight": 40, "imageWidth": 61, "shapes": []}))
    for path, size in ((tmp_path / "mask.png", (40, 61)), (coco, SIZE), (labelme, SIZE)):
        with pytest.raises(
            MezoroiError, match=r"mask of \d+ x \d+ pixels for an image of"
        ) as error:
            read_mask(path, "A", MELON, size, "photo.jpg")
        assert str(path) in str(error.value)


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        "{}",
        '{"images": [], "annotations": 3}',
        '{"shapes": [{"label": "A"}]}',
        '{"shapes": [{"label": "A", "points": [[1, 2]], "shape_type": "point"}]}',
        '{"shapes": [{"label": "A", "points": [[1, 2], [3, 4]]}]}',
        '{"shapes": 5}',
    ],
)
def test_damaged_json_is_one_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "photo.json"
    path.write_text(content)
    if content == '{"images": [], "annotations": 3}':
        assert read_mask(path, "A", MELON, SIZE, "photo.jpg") is None
        return
    with pytest.raises(MezoroiError) as error:
        read_mask(path, "A", MELON, SIZE, "photo.jpg")
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_unknown_grade_and_missing_file(tmp_path: Path) -> None:
    with pytest.raises(MezoroiError, match="unknown grade `Z`"):
        read_mask(tmp_path / "mask.png", "Z", MELON, SIZE)
    for name in ("mask.png", "mask.json"):
        with pytest.raises(MezoroiError, match="does not exist"):
            read_mask(tmp_path / name, "A", MELON, SIZE, "photo.jpg")
