"""The radar of similarities: SVG first, PNG and an equal table from it."""

from __future__ import annotations

from collections.abc import Mapping

import resvg_py
from jinja2 import Environment, PackageLoader, StrictUndefined

from mezoroi.errors import MezoroiError
from mezoroi.report.fonts import FONT_NAME, FONT_STACK, font_path
from mezoroi.report.radar_axes import Axis, axes_of, lay_out, rings_of, shortened, text_width
from mezoroi.standard import GradingStandard

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
    labels = {name: shortened(name) for name in standard.grades}
    layout = lay_out(len(standard.grades), max(map(text_width, labels.values())), size)
    axes = axes_of(similarity, thresholds or {}, standard, grade, layout, labels)
    return environment.get_template("radar.svg.j2").render(
        axes=axes,
        outline=_outline(axes),
        rings=rings_of(len(axes), layout),
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
    axes = axes_of(similarity, thresholds or {}, standard, grade, lay_out(2, 1, 420), {})
    return environment.get_template("similarity_table.html.j2").render(
        axes=axes, texts=texts, has_thresholds=bool(thresholds), language=language
    )


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
