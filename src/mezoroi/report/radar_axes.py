"""The axes of a radar: where their parts are drawn, and what they say."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from mezoroi.report.colours import grade_colour, ink_on
from mezoroi.standard import GradingStandard

CENTRE = -0.5  # similarity at the centre of the radar; what lies below is drawn at the centre
RINGS = (0.0, 0.5, 1.0)
LONGEST_NAME = 5.8  # em of a grade name beside its axis
LINE_HEIGHT = 1.36  # em

Anchor = Literal["start", "middle", "end"]


@dataclass(frozen=True)
class Axis:
    """One grade on the radar: where its parts are drawn and what they say."""

    grade: str
    number: str
    lines: tuple[str, ...]
    colour: str
    ink: str
    is_judged: bool
    is_decided: bool
    resembles: bool | None
    threshold: str | None
    end: tuple[float, float]
    mark: tuple[float, float]
    tick: tuple[tuple[float, float], tuple[float, float]] | None
    label: tuple[float, float]
    anchor: Anchor
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class Layout:
    """Sizes that depend on how many axes there are, in pixels."""

    centre: tuple[float, float]
    radius: float
    font: float
    mark: float
    two_lines: bool


def position(
    number: float, count: int, value: float, centre: tuple[float, float], radius: float
) -> tuple[float, float]:
    """(x, y) of a similarity on axis `number` of `count`; axis 0 points up, then clockwise."""
    angle = 2 * math.pi * number / count
    share = (min(max(value, CENTRE), 1.0) - CENTRE) / (1.0 - CENTRE)
    return (
        round(centre[0] + radius * share * math.sin(angle), 2),
        round(centre[1] - radius * share * math.cos(angle), 2),
    )


def figure(value: float) -> str:
    """A similarity as it stands at a tip: ``.83``, ``−.12``, ``1.00``, ``–`` for none."""
    if math.isnan(value):
        return "–"
    text = f"{abs(value):.2f}".removeprefix("0") if abs(value) < 0.995 else "1.00"
    return ("−" if value < 0 and text != ".00" else "") + text


def lay_out(count: int, longest: float, size: int) -> Layout:
    """Sizes of a radar of `count` axes, `size` pixels wide and high.

    Parameters
    ----------
    longest : width of the longest name in em
    """
    font = size / 420 * (18 if count <= 6 else 15 if count <= 12 else 13)
    two_lines = count <= 12 and longest > 2
    label_width = (max(longest, 2.8) if two_lines else longest + 3.2) * font
    legend = 25 * size / 420
    free_height = size - legend - 2 * (3.8 if two_lines else 2.6) * font
    sideways = max(abs(math.sin(2 * math.pi * number / count)) for number in range(count))
    by_width = (size / 2 - label_width - 1.4 * font) / max(sideways, 0.1)
    radius = max(min(free_height / 2, by_width), 0.17 * size)
    mark = max(3.5, 6.5 - 0.2 * count) * size / 420
    centre = (size / 2, (size - legend) / 2)
    return Layout(centre, round(radius, 2), round(font, 2), round(mark, 2), two_lines)


def axes_of(
    similarity: Mapping[str, float],
    thresholds: Mapping[str, float],
    standard: GradingStandard,
    decided: str | None,
    layout: Layout,
    labels: Mapping[str, str],
) -> list[Axis]:
    """An axis per grade of the standard, in its order.

    Parameters
    ----------
    similarity, thresholds : by grade; NaN, or a missing grade, where there is none
    decided : the decided grade; None if there is none
    labels : names as they are written, by grade; the grade's own where it is missing
    """
    count = len(standard.grades)
    axes = []
    for number, grade in enumerate(standard.grades):
        value = float(similarity.get(grade, math.nan))
        threshold = float(thresholds.get(grade, math.nan))
        has_threshold, is_judged = not math.isnan(threshold), not math.isnan(value)
        name, text = labels.get(grade, grade), figure(value)
        lines = (name, text) if layout.two_lines else (f"{name} {text}",)
        label, anchor, box = _label_place(number, count, lines, layout)
        colour = grade_colour(standard, grade)
        axes.append(
            Axis(
                grade=grade,
                number=text,
                lines=lines,
                colour=colour,
                ink=ink_on(colour),
                is_judged=is_judged,
                is_decided=grade == decided,
                resembles=value >= threshold if has_threshold and is_judged else None,
                threshold=figure(threshold) if has_threshold else None,
                end=position(number, count, 1.0, layout.centre, layout.radius),
                mark=position(
                    number, count, value if is_judged else CENTRE, layout.centre, layout.radius
                ),
                tick=_tick(number, count, threshold, layout) if has_threshold else None,
                label=label,
                anchor=anchor,
                box=box,
            )
        )
    return axes


def _tick(
    number: int, count: int, threshold: float, layout: Layout
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Ends of the short stroke across an axis."""
    x, y = position(number, count, threshold, layout.centre, layout.radius)
    angle = 2 * math.pi * number / count
    half = 1.7 * layout.mark
    dx, dy = half * math.cos(angle), half * math.sin(angle)
    return (round(x - dx, 2), round(y - dy, 2)), (round(x + dx, 2), round(y + dy, 2))


def _label_place(
    number: int, count: int, lines: tuple[str, ...], layout: Layout
) -> tuple[tuple[float, float], Anchor, tuple[float, float, float, float]]:
    """First baseline, anchor and surrounding box (x, y, width, height) of a tip's label."""
    sine, cosine = (f(2 * math.pi * number / count) for f in (math.sin, math.cos))
    font = layout.font
    is_upright = abs(sine) < 1e-6
    reach = layout.radius + (1.35 if is_upright and count > 6 else 0.85) * font
    x = layout.centre[0] + reach * sine
    y = layout.centre[1] - reach * cosine
    height = LINE_HEIGHT * len(lines) * font
    if is_upright:  # above or below the tip instead of around it
        y -= math.copysign(0.5 * (height - 0.8 * font), cosine)
    anchor: Anchor = "middle" if is_upright else "start" if sine > 0 else "end"
    width = max(map(text_width, lines)) * font
    left = x - {"start": 0.0, "middle": width / 2, "end": width}[anchor]
    box = (left - 0.35 * font, y - height / 2, width + 0.7 * font, height)
    baseline = y - height / 2 + 1.02 * font
    return (
        (round(x, 2), round(baseline, 2)),
        anchor,
        (round(box[0], 2), round(box[1], 2), round(box[2], 2), round(box[3], 2)),
    )


def rings_of(count: int, layout: Layout) -> list[dict[str, float | str]]:
    """Radius, figure and figure's place per ring, between the axes nearest to 60 degrees."""
    between = min((k + 0.5 for k in range(count)), key=lambda k: abs(k / count - 60 / 360))
    rings: list[dict[str, float | str]] = []
    for value in RINGS:
        x, y = position(between, count, value, layout.centre, layout.radius)
        radius = round(layout.radius * (value - CENTRE) / (1 - CENTRE), 2)
        rings.append({"value": value, "text": f"{value:g}", "radius": radius, "x": x, "y": y})
    return rings


def text_width(text: str) -> float:
    """Width of a text in em, roughly."""
    return sum(1.0 if unicodedata.east_asian_width(c) in "WFA" else 0.58 for c in text)


def shortened(name: str) -> str:
    """A name that fits beside its axis; the full one is in the description and the table."""
    if text_width(name) <= LONGEST_NAME:
        return name
    head, tail = name, name[-3:]  # what tells long names apart often stands at the end
    while text_width(head + "…" + tail) > LONGEST_NAME:
        head = head[:-1]
    return head + "…" + tail
