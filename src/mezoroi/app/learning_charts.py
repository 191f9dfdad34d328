"""Charts of practice and calibration, as SVG that follows the page's colours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from mezoroi.calibrating.drift import Chart
    from mezoroi.practice.progress import CurvePoint

_WIDTH, _HEIGHT, _LOW = 640, 240, 150
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 16, 14, 34
_LABELS = 8
"""Most labels of blocks below the curve: more would run into each other."""


def curve_svg(points: Sequence[CurvePoint], label: str) -> Markup:
    """Share of right answers by block, each with its interval.

    Parameters
    ----------
    label : what the chart shows, in the reader's language
    """
    parts = [_grid([0.0, 0.25, 0.5, 0.75, 1.0], 0, 1, percent=True)]
    middles = _middles(points)
    for at, point in zip(middles, points, strict=True):
        low, high = _y(point.accuracy.low, 0, 1), _y(point.accuracy.high, 0, 1)
        parts.append(f'<line class="interval" x1="{at:.1f}" x2="{at:.1f}" y1="{low:.1f}" '
                     f'y2="{high:.1f}"/>')  # fmt: skip
    heights = [_y(point.accuracy.value, 0, 1) for point in points]
    return _svg([*parts, _blocks(points, _HEIGHT), _line(middles, heights)], label)


def seconds_svg(points: Sequence[CurvePoint], label: str) -> Markup:
    """Median seconds of an answer by block, below the curve and with its blocks.

    Parameters
    ----------
    label : what the chart shows, in the reader's language
    """
    most = 2 * max(1, *(math.ceil(point.seconds / 2) for point in points))
    heights = [_y(point.seconds, 0, most, _LOW) for point in points]
    parts = [_grid_line(_y(n, 0, most, _LOW), f"{n}") for n in (0, most // 2, most)]
    return _svg([*parts, _blocks(points, _LOW), _line(_middles(points), heights)], label, _LOW)


def _middles(points: Sequence[CurvePoint]) -> list[float]:
    """Where the middle of each block is drawn."""
    last = max(point.last for point in points)
    width = _WIDTH - _LEFT - _RIGHT
    return [_LEFT + width * (point.first + point.last) / 2 / last for point in points]


def _blocks(points: Sequence[CurvePoint], height: int) -> str:
    """The answers of the blocks, below them."""
    every = -(-len(points) // _LABELS)
    named = list(zip(_middles(points), points, strict=True))[::every]
    return "".join(
        _text(at, height - 12, f"{point.first}-{point.last}", "middle") for at, point in named
    )


def _line(across: Sequence[float], heights: Sequence[float]) -> str:
    places = list(zip(across, heights, strict=True))
    line = " ".join(f"{at:.1f},{y:.1f}" for at, y in places)
    dots = "".join(f'<circle class="dot" cx="{at:.1f}" cy="{y:.1f}" r="5"/>' for at, y in places)
    return f'<polyline class="line" points="{line}"/>{dots}'


def control_svg(chart: Chart, label: str, ends: tuple[str, str]) -> Markup:
    """A moving average between its limits; an alert is a ring, so that it does not need colour.

    Parameters
    ----------
    label : what the chart shows, in the reader's language
    ends : days of the first and the last value
    """
    values = [*chart.smoothed.tolist(), chart.low, chart.high]
    reach = max(1e-6, max(values) - min(values))
    low, high = min(values) - 0.1 * reach, max(values) + 0.1 * reach
    count = len(chart.smoothed)

    def x(place: int) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (place + 0.5) / count

    parts = [_grid([chart.low, chart.centre, chart.high], low, high, percent=False)]
    parts += [
        f'<line class="limit" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{_y(value, low, high):.1f}" '
        f'y2="{_y(value, low, high):.1f}"/>'
        for value in (chart.low, chart.high)
    ]
    points = [(x(at), _y(float(value), low, high)) for at, value in enumerate(chart.smoothed)]
    line = " ".join(f"{at:.1f},{y:.1f}" for at, y in points)
    parts.append(f'<polyline class="line" points="{line}"/>')
    for (at, y), alert in zip(points, chart.alerts, strict=True):
        kind, radius = ("alert", 8) if alert else ("dot", 3)
        parts.append(f'<circle class="{kind}" cx="{at:.1f}" cy="{y:.1f}" r="{radius}"/>')
    parts.append(_text(_LEFT, _HEIGHT - 12, ends[0], "start"))
    parts.append(_text(_WIDTH - _RIGHT, _HEIGHT - 12, ends[1], "end"))
    return _svg(parts, label)


def _y(value: float, low: float, high: float, height: int = _HEIGHT) -> float:
    return _TOP + (height - _TOP - _BOTTOM) * (high - value) / (high - low)


def _grid(values: Sequence[float], low: float, high: float, *, percent: bool) -> str:
    parts = []
    for value in values:
        shown = f"{100 * value:.0f} %" if percent else f"{value:.2f}".replace("-", "−")
        parts.append(_grid_line(_y(value, low, high), shown))
    return "".join(parts)


def _grid_line(y: float, shown: str) -> str:
    return (
        f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        + _text(_LEFT - 6, y + 5, shown, "end")
    )


def _text(x: float, y: float, content: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(content)}</text>'


def _svg(parts: Sequence[str], label: str, height: int = _HEIGHT) -> Markup:
    inside = "".join(parts)
    return Markup(
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'aria-label="{escape(label)}">{inside}</svg>'
    )
