"""Charts of practice, by what stands in their SVG."""

from __future__ import annotations

import re

import pytest

from mezoroi.app.learning_charts import control_svg, curve_svg, seconds_svg
from mezoroi.calibrating.drift import control_chart
from mezoroi.metrics.intervals import Interval
from mezoroi.practice.progress import CurvePoint


@pytest.mark.parametrize("blocks", [1, 8, 9, 12, 60])
def test_labels_of_blocks_do_not_run_into_each_other(blocks: int) -> None:
    points = [
        CurvePoint(20 * n + 1, 20 * n + 20, Interval(0.5, 0.3, 0.7), 3.0) for n in range(blocks)
    ]
    svg = str(curve_svg(points, "share"))
    labels = re.findall(r'<text x="([\d.]+)"[^>]*text-anchor="middle">(\d+-\d+)<', svg)
    assert labels[0][1] == "1-20" and svg.count("<circle") == blocks
    places = [float(x) for x, _ in labels]
    for left, right, (_, text) in zip(places, places[1:], labels, strict=False):
        assert right - left >= 9 * len(text), "a digit is 8 units wide at most"


def test_seconds_of_later_blocks_are_drawn_below_the_curve() -> None:
    points = [
        CurvePoint(20 * n + 1, 20 * n + 20, Interval(0.5, 0.3, 0.7), seconds)
        for n, seconds in enumerate((8.0, 4.0, 2.0))
    ]
    svg = str(seconds_svg(points, "seconds"))
    dots = [float(y) for y in re.findall(r'<circle class="dot" cx="[^"]+" cy="([^"]+)"', svg)]
    assert dots == sorted(dots) and len(set(dots)) == 3, "faster is lower"
    assert ">8<" in svg and ">4<" in svg and ">0<" in svg and ">1-20<" in svg


def test_a_control_chart_says_from_when_to_when() -> None:
    svg = str(control_svg(control_chart([0.0] * 25), "change", ("1 Jan 2026", "9 Feb 2026")))
    assert re.findall(r'y="228.0" text-anchor="(start|end)">([^<]+)<', svg) == [
        ("start", "1 Jan 2026"),
        ("end", "9 Feb 2026"),
    ]
