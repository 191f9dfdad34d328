"""Outlines that are drawn from measurements alone."""

from __future__ import annotations

import re

import numpy as np
import pytest

from mezoroi.capture.outline import outline_features
from mezoroi.report.sketching import SEEN, bump_height, sketch, sketch_of

BUMPED = {"height_width": 1.01, "bumpiness": 0.005, "bumpiness_variation": 0.002}
SMOOTH = {"height_width": 1.01, "bumpiness": 0.0021, "bumpiness_variation": 0.0007}


def measured(path: str) -> dict[str, float]:
    points = re.findall(r"(-?[\d.]+) (-?[\d.]+)", path)
    return outline_features([np.array(points, dtype=float) * (1, -1)])


@pytest.mark.parametrize("height_width", [0.8, 1.0, 1.3])
@pytest.mark.parametrize("bumpiness", [0.008, 0.015])
def test_an_outline_is_drawn_with_the_bumpiness_that_was_measured(
    height_width: float, bumpiness: float
) -> None:
    height = bump_height({"height_width": height_width, "bumpiness": bumpiness})
    found = measured(sketch(height_width, height))
    assert found["bumpiness"] == pytest.approx(bumpiness, rel=0.35)


@pytest.mark.parametrize("height_width", [0.7, 1.0, 1.4])
def test_an_ellipse_has_no_bump(height_width: float) -> None:
    found = measured(sketch(height_width))
    assert found["height_width"] == pytest.approx(height_width, rel=0.01)
    assert bump_height(found) < SEEN / 3
    assert bump_height({"height_width": height_width}) == 0


def test_a_bump_is_drawn_where_it_is_seen() -> None:
    drawn, is_bumped = sketch_of(BUMPED)
    assert is_bumped and drawn == sketch(1.01, bump_height(BUMPED))
    assert sketch_of(SMOOTH) == (sketch(1.01), False)
    odd = [{**BUMPED, "height_width": value} for value in (0.0, -1.0, 9.0, float("nan"))]
    for unknown in (None, {}, {"bumpiness": 0.01}, *odd):
        assert sketch_of(unknown) == (None, False)
