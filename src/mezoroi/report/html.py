"""A batch of gradings as one HTML file that needs nothing outside itself."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mezoroi.errors import MezoroiError
from mezoroi.report.colours import grade_colour, ink_on
from mezoroi.report.fonts import font_subset
from mezoroi.report.overlay import legend_strip, overlay, overlay_layer
from mezoroi.report.radar import (
    TEXTS,
    environment,
    radar_svg,
    similarity_table_html,
    texts_in,
)
from mezoroi.report.radar_axes import figure
from mezoroi.report.sketching import BUMPS, sketch_of
from mezoroi.report.sureness import sureness
from mezoroi.retrieval.reference import Neighbour
from mezoroi.standard import MAX_GRADES, GradingStandard

_FONT_PLACE = "/* embedded font */"
CLEAR_GAP = 0.1  # cosine between the two best grades from which a decision is called clear
PHOTO_WIDTH, LAYER_WIDTH = 1024, 512  # pixels; larger images are scaled down to keep the file small
NEIGHBOURS_SHOWN = 4


@dataclass(frozen=True)
class ReportItem:
    """One grading of a batch, as the report shows it.

    Attributes
    ----------
    name : of the capture, shown as it is
    image : (H, W, 3) uint8 RGB, or None where there is none to show
    grade : the decided grade, or None
    similarity, thresholds : by grade, see `radar_svg`
    activation_maps : (h, w) in [0, 1] by surface grade
    resembles : the grades the fruit resembles
    is_unlike_all : True if it resembles none
    outline : shape statistics by name, or None
    map_grade : the grade the activation maps point at, or None
    reliability : in [0, 1], or None if unknown
    reliability_interval : its 95 % interval, or None
    reliability_cases : fruits it was counted on, or None
    reliability_reason : a sentence in ``ja`` and ``en`` where an expert should be asked, else None
    cluster_map : (h, w) in [0, 1], mean map of the fruits judged by the same places, or None
    adjusted_from : the grade before an adjustment, or None
    grade_set, grade_set_coverage : grades that cannot be excluded, and in what share of cases they
        hold the expert's
    error : one line in English if the grading failed; the item is then listed with it
    neighbours : the reference fruits most like it, the first of which are shown
    notices : further lines, in English
    """

    name: str
    image: NDArray[np.uint8] | None = None
    grade: str | None = None
    similarity: Mapping[str, float] = field(default_factory=dict)
    thresholds: Mapping[str, float] = field(default_factory=dict)
    activation_maps: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    resembles: Sequence[str] = ()
    is_unlike_all: bool = False
    outline: Mapping[str, float] | None = None
    map_grade: str | None = None
    reliability: float | None = None
    reliability_interval: tuple[float, float] | None = None
    reliability_cases: int | None = None
    reliability_reason: Mapping[str, str] | None = None
    cluster_map: NDArray[Any] | None = None
    adjusted_from: str | None = None
    grade_set: Sequence[str] = ()
    grade_set_coverage: float | None = None
    error: str | None = None
    neighbours: Sequence[Neighbour] = ()
    notices: Sequence[str] = ()


def batch_report(
    items: Sequence[ReportItem],
    standard: GradingStandard,
    *,
    title: str,
    language: str = "ja",
    in_japanese: Callable[[str], str] = str,
) -> str:
    """Write a batch of gradings as one self-contained page in Japanese and English.

    Pictures are embedded; nothing is fetched. Language, activation map and bare photo are switched
    without a script; a small inline one adds the opacity slider and press-and-hold.

    Parameters
    ----------
    items : in the order in which they are listed
    standard : the grading standard they were graded by
    title : heading of the page
    language : shown first, ``ja`` or ``en``
    in_japanese : the Japanese of an item's error or notice, which come in English

    Returns
    -------
    str, the HTML file's content

    Raises
    ------
    MezoroiError
        If an item names an unknown grade, a map or an image cannot be drawn, or the language is
        unknown. A failed item (`error` set) is listed, never raised.
    """
    texts_in(language)
    cards = [
        _card(number, item, standard, in_japanese) for number, item in enumerate(items, start=1)
    ]
    counts = {grade: sum(card["grade"] == grade for card in cards) for grade in standard.grades}
    page = environment.get_template("batch_report.html.j2").render(
        title=title,
        language=language,
        standard=standard,
        cards=cards,
        counts=counts,
        n_failed=sum(card["error"] is not None for card in cards),
        n_undecided=sum(card["error"] is None and card["grade"] is None for card in cards),
        badges={grade: _badge(standard, grade) for grade in standard.grades},
        legend=as_data_uri(legend_strip(480), "PNG"),
        max_layers=MAX_GRADES,
    )
    return embed_font(page)


def embed_font(page: str) -> str:
    """`page` with its own Japanese characters as a font, for a machine that has none."""
    encoded = base64.b64encode(font_subset(page)).decode("ascii")
    face = (
        "@font-face { font-family: MezoroiReport; "
        f'src: url("data:font/woff;base64,{encoded}") format("woff"); }}'
    )
    return page.replace(_FONT_PLACE, face)


def decision_gap(similarity: Mapping[str, float]) -> float:
    """Difference between the two highest similarities; NaN with fewer than two judged grades."""
    judged = sorted((value for value in similarity.values() if not math.isnan(value)), reverse=True)
    return judged[0] - judged[1] if len(judged) > 1 else math.nan


def _card(
    number: int, item: ReportItem, standard: GradingStandard, in_japanese: Callable[[str], str]
) -> dict[str, Any]:
    """What the template shows of one item."""

    def both(text: str) -> dict[str, str]:
        return {"ja": in_japanese(text), "en": text}

    card: dict[str, Any] = {
        "number": number,
        "name": item.name,
        "error": None if item.error is None else both(item.error),
        "grade": None if item.error is not None else item.grade,
        "photo": None if item.image is None else _photo(item.image),
        "notices": [both(notice) for notice in item.notices],
        "layers": [],
        "neighbours": [],
        "radar": None,
    }
    if item.error is not None:
        return card
    named = (item.grade, item.map_grade, item.adjusted_from, *item.resembles, *item.grade_set)
    for grade in (*named, *item.activation_maps):
        if grade is not None:
            standard.view_of(grade)  # raises on a grade that is not in the standard
    # An adjusted grade is not the most similar one, so that nothing is ahead of anything.
    gap = decision_gap(item.similarity) if item.adjusted_from is None else math.nan
    chart = (item.similarity, item.thresholds, standard)
    on_outline = item.grade is not None and standard.view_of(item.grade) == "outline"
    return card | {
        "gap": None if math.isnan(gap) else figure(gap),
        "is_clear": None if math.isnan(gap) or item.is_unlike_all else gap >= CLEAR_GAP,
        "second": _second(item.similarity),
        "resembles": item.resembles,
        "is_unlike_all": item.is_unlike_all,
        "map_grade": item.map_grade,
        "map_differs": None not in (item.map_grade, item.grade) and item.map_grade != item.grade,
        "on_outline": on_outline,
        "outline": _outline(item) if on_outline else None,
        "reliability": _reliability(item),
        "reason": item.reliability_reason,
        "adjusted_from": item.adjusted_from,
        "grade_set": item.grade_set if len(item.grade_set) > 1 else (),
        "coverage": round(100 * (item.grade_set_coverage or 0)),
        "cluster_map": _cluster_picture(item),
        "neighbours": [_neighbour(each) for each in item.neighbours[:NEIGHBOURS_SHOWN]],
        "layers": _layers(item, standard) if item.image is not None else [],
        "radar": {
            name: radar_svg(*chart, grade=item.grade, language=name, size=380) for name in TEXTS
        },
        "table": {
            name: similarity_table_html(*chart, grade=item.grade, language=name) for name in TEXTS
        },
    }


def _outline(item: ReportItem) -> dict[str, Any] | None:
    """The outline as its measurements draw it, with those that are easily read."""
    path, is_bumped = sketch_of(item.outline)
    if path is None or item.outline is None:
        return None
    bumps = item.outline.get(BUMPS)
    return {
        "path": path,
        "is_bumped": is_bumped,
        "height_width": f"{item.outline['height_width']:.2f}",
        "bumps": None if bumps is None else f"{bumps:.3f}",
    }


def _second(similarity: Mapping[str, float]) -> str | None:
    judged = [grade for grade, value in similarity.items() if not math.isnan(value)]
    ranked = sorted(judged, key=lambda grade: -similarity[grade])
    return ranked[1] if len(ranked) > 1 else None


def _neighbour(neighbour: Neighbour) -> dict[str, Any]:
    source = None
    if neighbour.thumbnail is not None and Path(neighbour.thumbnail).is_file():
        encoded = base64.b64encode(Path(neighbour.thumbnail).read_bytes()).decode("ascii")
        source = f"data:image/jpeg;base64,{encoded}"
    return {
        "id": neighbour.id,
        "grade": neighbour.grade,
        "figure": figure(neighbour.similarity),
        "source": source,
    }


def _cluster_picture(item: ReportItem) -> str | None:
    """The mean map of the fruit's saliency cluster over the fruit itself."""
    if item.cluster_map is None or item.image is None:
        return None
    scale = min(1.0, LAYER_WIDTH / item.image.shape[1])
    shown = Image.fromarray(item.image)
    small = shown.resize([max(1, round(side * scale)) for side in shown.size])
    picture = overlay(np.asarray(small), item.cluster_map, contour=None, legend=False)
    return as_data_uri(picture, "WEBP", quality=80)


def _reliability(item: ReportItem) -> dict[str, Any] | None:
    found = sureness(item.reliability, item.reliability_cases)
    if found is None:
        return None
    interval = item.reliability_interval
    return {
        **vars(found),
        "figure": f"{item.reliability:.2f}",
        "interval": None if interval is None else f"{interval[0]:.2f}–{interval[1]:.2f}",
        "cases": item.reliability_cases,
    }


def _layers(item: ReportItem, standard: GradingStandard) -> list[dict[str, Any]]:
    """One map per surface grade; shown first is the decided one, else the one the map points at."""
    assert item.image is not None
    height, width = item.image.shape[:2]
    shrink = min(1.0, LAYER_WIDTH / width)
    size = (max(1, round(height * shrink)), max(1, round(width * shrink)))
    names = [grade for grade in standard.grades if grade in item.activation_maps]
    shown = next((g for g in (item.grade, item.map_grade) if g in names), None)
    return [
        {
            "grade": grade,
            "is_shown": grade == shown,
            "source": _layer_uri(item.activation_maps[grade], size),
        }
        for grade in names
    ]


def _layer_uri(activation_map: NDArray[Any], size: tuple[int, int]) -> str:
    layer = Image.open(io.BytesIO(overlay_layer(activation_map, size)))
    return as_data_uri(np.asarray(layer.convert("RGB")), "WEBP", quality=85)


def _photo(image: NDArray[np.uint8]) -> dict[str, Any]:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise MezoroiError(
            f"an image of shape {image.shape} and type {image.dtype} cannot be shown: "
            "give (H, W, 3) uint8 RGB"
        )
    height, width = image.shape[:2]
    return {"source": as_data_uri(image, "WEBP", quality=80), "width": width, "height": height}


def as_data_uri(pixels: NDArray[np.uint8], kind: str, **options: Any) -> str:
    """Pixels (H, W, 3) as a picture inside a page, at most `PHOTO_WIDTH` wide."""
    picture = Image.fromarray(pixels)
    if picture.width > PHOTO_WIDTH:
        height = max(1, round(picture.height * PHOTO_WIDTH / picture.width))
        picture = picture.resize((PHOTO_WIDTH, height), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(stream.getvalue()).decode()}"


def _badge(standard: GradingStandard, grade: str) -> dict[str, str]:
    colour = grade_colour(standard, grade)
    return {"colour": colour, "ink": ink_on(colour)}
