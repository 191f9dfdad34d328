from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from mezoroi.report.neighbours import _TEXTS, NeighbourView, neighbours_png

PHOTO = np.random.default_rng(0).integers(0, 256, (64, 128, 3), dtype=np.uint8)
MAP = np.linspace(-1, 5, 8 * 16, dtype=np.float32).reshape(8, 16)


def size_of(png: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(png)) as picture:
        return picture.size


@pytest.mark.parametrize("language", ["ja", "en"])
def test_a_sheet_shows_every_neighbour(language: str) -> None:
    views = [NeighbourView(f"果実 {n}", "A", 0.9, PHOTO, MAP, MAP) for n in range(6)]
    four = size_of(neighbours_png("fruit.jpg", "A", PHOTO, views[:4], language))
    six = size_of(neighbours_png("fruit.jpg", "A", PHOTO, views, language))
    assert six[0] == four[0]
    assert six[1] > four[1]


def test_neighbours_without_picture_grade_or_map() -> None:
    views = [
        NeighbourView("a" * 200, None, -0.2),
        NeighbourView("b", "B", 0.1, PHOTO),
        NeighbourView("c", "C", 0.0, PHOTO[:, :64], np.zeros_like(MAP), np.zeros_like(MAP)),
    ]
    assert size_of(neighbours_png("", "D", PHOTO, views))[0] > 1000
    assert size_of(neighbours_png("fruit.jpg", "D", PHOTO, []))[0] > 400


def test_a_pair_whose_map_points_nowhere_says_so_instead_of_being_black() -> None:
    def sheet(level: float) -> np.ndarray:
        values = np.full(PHOTO.shape[:2], level, np.float32)
        found = NeighbourView("id", "A", 0.7, PHOTO, values, values)
        return np.asarray(Image.open(io.BytesIO(neighbours_png("fruit.jpg", "A", PHOTO, [found]))))

    shown, dark, black = sheet(2.0), sheet(-1.0), sheet(0.0)
    np.testing.assert_array_equal(dark, black)
    assert len(dark) < len(shown)


def test_a_reference_fruit_has_one_word_in_japanese() -> None:
    """見本 are the pictures that are learned from, as in the app and the guide."""
    words = "".join(_TEXTS["ja"].values())
    assert "参考玉" in words and "見本" not in words
