"""The radar of similarities: SVG first, PNG and an equal table from it."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import resvg_py
from jinja2 import Environment, PackageLoader, StrictUndefined

from mezoroi.errors import MezoroiError
from mezoroi.report.colours import grade_colour, ink_on
from mezoroi.report.fonts import FONT_NAME, FONT_STACK, font_path
from mezoroi.standard import GradingStandard

CENTRE = -0.5  # similarity at the centre of the radar; what lies below is drawn at the centre
RINGS = (0.0, 0.5, 1.0)
LONGEST_NAME = 5.8  # em of a grade name beside its axis
LINE_HEIGHT = 1.36  # em

Anchor = Literal["start", "middle", "end"]

TEXTS = {
    "ja": {
        "title": "各等級との類似度",
        "decided": "判定",
        "not judged": "判定対象外",
        "grade": "等級",
        "similarity": "類似度",
        "threshold": "目安",
        "likeness": "似ているか",
        "resembles": "似ている",
        "differs": "似ていない",
    },
    "en": {
        "title": "Similarity to each grade",
        "decided": "decided",
        "not judged": "not judged",
        "grade": "Grade",
        "similarity": "Similarity",
        "threshold": "threshold",
        "likeness": "Likeness",
        "resembles": "resembles",
        "differs": "does not",
    },
}

environment = Environment(
    loader=PackageLoader("mezoroi.report"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


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


def radar_svg(
    similarity: Mapping[str, float],
    thresholds: Mapping[str, float] | None,
    standard: GradingStandard,
    *,
    grade: str | None,
    language: str = "ja",
    size: int = 420,
) -> str:
    """Draw the similarity to each grade (melon paper, figure 7).

    The first grade points up, the others follow clockwise. Along an axis the centre is -0.5 and the
    rings are 0 (solid, the reference: below it a fruit is more unlike than like), 0.5 and 1; a
    similarity below -0.5 is drawn at the centre and its number tells. A mark is filled where the
    fruit resembles the grade (similarity at least the threshold) and hollow where it does not.

    Parameters
    ----------
    similarity : S_g in [-1, 1] by grade; NaN or a missing grade is drawn as not judged
    thresholds : likeness threshold by grade, or None to draw no ticks
    standard : its grades are the axes, 2 to 20
    grade : the decided grade, drawn boxed and bold; None if there is none
    language : ``ja`` or ``en``
    size : width and height in pixels, at least 200

    Returns
    -------
    str, a complete ``<svg>`` element that is well-formed XML and refers to nothing outside itself

    Raises
    ------
    MezoroiError
        If a grade is not in the standard, a similarity is out of range, or an option is unknown.
    """
    if size < 200:
        raise MezoroiError(f"a radar of {size} pixels is not readable: use 200 or more")
    texts = texts_in(language)
    _check(similarity, thresholds, standard, grade)
    labels = {name: _shortened(name) for name in standard.grades}
    layout = _layout(len(standard.grades), max(map(_width, labels.values())), size)
    axes = _axes(similarity, thresholds or {}, standard, grade, layout, labels)
    return environment.get_template("radar.svg.j2").render(
        axes=axes,
        outline=_outline(axes),
        rings=_rings(len(axes), layout),
        layout=layout,
        size=size,
        texts=texts,
        has_thresholds=bool(thresholds),
        language=language,
        font_stack=FONT_STACK,
        description=_description(axes, texts),
    )


def radar_png(svg: str, scale: float = 2) -> bytes:
    """Draw an SVG of `radar_svg` as a PNG on white, `scale` times as large, with the same font
    everywhere: system fonts are not consulted."""
    try:
        return bytes(
            resvg_py.svg_to_bytes(
                svg_string=svg,
                background="#ffffff",
                zoom=scale,
                skip_system_fonts=True,
                font_files=[str(font_path())],
                font_family=FONT_NAME,
                sans_serif_family=FONT_NAME,
            )
        )
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise MezoroiError(f"the chart cannot be drawn ({reason}): give an SVG") from error


def similarity_table_html(
    similarity: Mapping[str, float],
    thresholds: Mapping[str, float] | None,
    standard: GradingStandard,
    *,
    grade: str | None,
    language: str = "ja",
) -> str:
    """The radar's content as an HTML ``<table>``, for screen readers and for exact figures.

    Parameters and errors are those of `radar_svg`.
    """
    texts = texts_in(language)
    _check(similarity, thresholds, standard, grade)
    axes = _axes(similarity, thresholds or {}, standard, grade, _layout(2, 1, 420), {})
    return environment.get_template("similarity_table.html.j2").render(
        axes=axes, texts=texts, has_thresholds=bool(thresholds), language=language
    )


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


def texts_in(language: str) -> Mapping[str, str]:
    """The chart's words in one language."""
    if language not in TEXTS:
        raise MezoroiError(f"unknown language `{language}`: use {' or '.join(TEXTS)}")
    return TEXTS[language]


def _check(
    similarity: Mapping[str, float],
    thresholds: Mapping[str, float] | None,
    standard: GradingStandard,
    grade: str | None,
) -> None:
    named = {*similarity, *(thresholds or {}), *([] if grade is None else [grade])}
    for name in sorted(named - set(standard.grades)):
        raise MezoroiError(f"unknown grade `{name}`: the standard has {', '.join(standard.grades)}")
    for name, value in similarity.items():
        if abs(value) > 1 + 1e-3:
            raise MezoroiError(
                f"similarity to `{name}` is {value}: a cosine lies in -1 to 1, or NaN if not judged"
            )


def _layout(count: int, longest: float, size: int) -> Layout:
    """`longest` is the width of the longest name in em."""
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


def _axes(
    similarity: Mapping[str, float],
    thresholds: Mapping[str, float],
    standard: GradingStandard,
    decided: str | None,
    layout: Layout,
    labels: Mapping[str, str],
) -> list[Axis]:
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
    width = max(map(_width, lines)) * font
    left = x - {"start": 0.0, "middle": width / 2, "end": width}[anchor]
    box = (left - 0.35 * font, y - height / 2, width + 0.7 * font, height)
    baseline = y - height / 2 + 1.02 * font
    return (
        (round(x, 2), round(baseline, 2)),
        anchor,
        (round(box[0], 2), round(box[1], 2), round(box[2], 2), round(box[3], 2)),
    )


def _rings(count: int, layout: Layout) -> list[dict[str, float | str]]:
    """Radius, figure and figure's place per ring, between the axes nearest to 60 degrees."""
    between = min((k + 0.5 for k in range(count)), key=lambda k: abs(k / count - 60 / 360))
    rings: list[dict[str, float | str]] = []
    for value in RINGS:
        x, y = position(between, count, value, layout.centre, layout.radius)
        radius = round(layout.radius * (value - CENTRE) / (1 - CENTRE), 2)
        rings.append({"value": value, "text": f"{value:g}", "radius": radius, "x": x, "y": y})
    return rings


def _outline(axes: list[Axis]) -> str:
    """Path through the marks of neighbouring judged axes; closed where all are judged."""
    if all(axis.is_judged for axis in axes):
        return "M" + "L".join(f"{axis.mark[0]} {axis.mark[1]}" for axis in axes) + "Z"
    pairs = zip(axes, axes[1:] + axes[:1], strict=True)
    return "".join(
        f"M{a.mark[0]} {a.mark[1]}L{b.mark[0]} {b.mark[1]}"
        for a, b in pairs
        if a.is_judged and b.is_judged
    )


def _description(axes: list[Axis], texts: Mapping[str, str]) -> str:
    parts = []
    for axis in axes:
        number = axis.number if axis.is_judged else texts["not judged"]
        parts.append(
            f"{axis.grade} {number}" + (f" ({texts['decided']})" if axis.is_decided else "")
        )
    return ", ".join(parts)


def _width(text: str) -> float:
    """Width of a text in em, roughly."""
    return sum(1.0 if unicodedata.east_asian_width(c) in "WFA" else 0.58 for c in text)


def _shortened(name: str) -> str:
    """A name that fits beside its axis; the full one is in the description and the table."""
    if _width(name) <= LONGEST_NAME:
        return name
    head, tail = name, name[-3:]  # what tells long names apart often stands at the end
    while _width(head + "…" + tail) > LONGEST_NAME:
        head = head[:-1]
    return head + "…" + tail
