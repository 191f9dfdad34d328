"""The one line that says what to look at."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mezoroi.errors import MezoroiError
from mezoroi.practice.hints import position_in_words, what_to_look_at
from mezoroi.standard import GradingStandard

MELON = GradingStandard.melon()


def spot(y: float, x: float, side: float = 0.12, shape: tuple[int, int] = (40, 80)) -> np.ndarray:
    rows, columns = np.indices(shape)
    gap = np.hypot((rows + 0.5) / shape[0] - y, (columns + 0.5) / shape[1] - x)
    return np.exp(-((gap / side) ** 2))


@pytest.mark.parametrize(
    ("y", "x", "english", "japanese"),
    [
        (0.15, 0.15, "upper left", "左上"),
        (0.15, 0.5, "top", "上側"),
        (0.5, 0.85, "right", "右側"),
        (0.5, 0.5, "middle", "中央"),
        (0.85, 0.85, "lower right", "右下"),
        (0.85, 0.5, "bottom", "下側"),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_a_spot_is_where_it_is(
    y: float, x: float, english: str, japanese: str, turned: bool
) -> None:
    plane = spot(y, x)
    assert position_in_words(plane, language="en", turned=turned) == english
    assert position_in_words(plane, language="ja", turned=turned) == japanese


def test_an_unrolled_surface_has_no_edge_at_left_and_right() -> None:
    plane = spot(0.5, 0.08) + spot(0.5, 1.0)
    assert position_in_words(np.roll(plane, -8, axis=1), language="en", turned=True) == "right"
    both_ends = spot(0.5, 0.0) + spot(0.5, 1.0)
    assert position_in_words(both_ends, language="en", turned=True) in ("left", "right")


@pytest.mark.parametrize("turned", [False, True])
def test_a_spot_smaller_than_a_twentieth_is_not_the_even_rest_around_it(turned: bool) -> None:
    """As a bruise on a map of 0 to 255, or one cell of seven by seven; others may lie lower."""
    small = np.zeros((64, 128), np.uint8)
    small[4:12, 8:20] = 200
    cell = np.full((7, 7), 0.25)
    cell[0, 0], cell[5, 2:5] = 0.9, 0.1
    for plane in (small, cell):
        assert position_in_words(plane, language="en", turned=turned) == "upper left"
    plateau = np.zeros((10, 10))
    plateau[:, 6:] = 1
    assert position_in_words(plateau, language="en") == "right"


def test_what_is_everywhere() -> None:
    noise = np.random.default_rng(0).random((40, 80))
    assert position_in_words(noise, language="en") == "all around"
    assert position_in_words(noise, language="ja", turned=True) == "全体"
    ring = np.zeros((40, 80))
    ring[3:5] = 1
    assert position_in_words(ring, language="en", turned=True) == "top, all around"
    assert position_in_words(ring, language="en") == "top"
    assert position_in_words(np.ones((4, 4))) is None


@given(st.integers(0, 79))
def test_turning_the_fruit_never_changes_the_height(columns: int) -> None:
    plane = np.roll(spot(0.15, 0.5), columns, axis=1)
    words = position_in_words(plane, language="en", turned=True)
    assert words in ("upper left", "top", "upper right")


def test_what_was_not_seen_is_not_pointed_at() -> None:
    plane = spot(0.15, 0.15) * 2 + spot(0.85, 0.85)
    coverage = np.ones(plane.shape, bool)
    coverage[:20] = False
    assert position_in_words(plane, language="en", coverage=coverage) == "lower right"


def test_the_line_in_both_languages() -> None:
    plane = spot(0.15, 0.15)
    assert what_to_look_at(MELON, "B", plane, language="en") == (
        "The net is visibly disordered, but the fruit is true in shape. Look: upper left."
    )
    assert what_to_look_at(MELON, "B", plane) == (
        "網目の乱れが目立つが、果実の形に歪みがない。図の左上を見てください。"
    )
    outline = what_to_look_at(MELON, "C", plane, language="en")
    assert outline.endswith("Look at the whole outline.")
    assert what_to_look_at(MELON, "C", plane).endswith("。輪郭全体を見てください。")
    bare = GradingStandard.from_grades("AB")
    assert what_to_look_at(bare, "A", language="en") == "A"


def test_bad_input() -> None:
    with pytest.raises(MezoroiError, match="unknown language `fr`"):
        what_to_look_at(MELON, "A", language="fr")
    with pytest.raises(MezoroiError, match="unknown grade `E`"):
        what_to_look_at(MELON, "E")
    with pytest.raises(ValueError, match="coverage"):
        position_in_words(np.eye(4), coverage=np.ones((2, 2), bool))
