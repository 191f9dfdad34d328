"""A contact sheet of the fruits most like one fruit, and where they are alike."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mezoroi.report.fonts import font_path
from mezoroi.report.overlay import Pixels, legend_strip, overlay

_QUERY, _CELL, _GAP = 440, 300, 16  # widths in pixels
_TITLE, _TEXT, _SMALL = 24, 20, 15  # sizes of letters in pixels
_COLUMNS = 4
_TEXTS = {
    "ja": {
        "title": "{name} に似た果実",
        "query": "判定 {grade}",
        "grade": "等級 {grade}",
        "unknown": "等級不明",
        "none": "参考玉がありません",
        "note": "小さな図: 両者に共通する特徴の位置（Dist-CAM）。左がこの果実、右が参考玉。"
        "明るいほど強く、目盛は対ごとに共通です。暗い所が似ていないとは限りません。",
        "nowhere": "共通する特徴の位置は示せません",
    },
    "en": {
        "title": "Fruits like {name}",
        "query": "graded {grade}",
        "grade": "grade {grade}",
        "unknown": "grade unknown",
        "none": "No reference fruits",
        "note": "Small pictures: where the two are alike (Dist-CAM), this fruit left, the "
        "reference right. Brighter is stronger, on one scale for each pair. Dark places need not "
        "be unlike.",
        "nowhere": "Where they are alike cannot be shown",
    },
}


@dataclass(frozen=True)
class NeighbourView:
    """One of the fruits found.

    Attributes
    ----------
    id, grade, similarity : as in a grading's neighbours
    photo : (h, w, 3) uint8 RGB, or None where there is no picture
    query_map, own_map : (h, w) raw Dist-CAM on the query and on this fruit, or None without a photo
    """

    id: str
    grade: str | None
    similarity: float
    photo: Pixels | None = None
    query_map: NDArray[np.float32] | None = None
    own_map: NDArray[np.float32] | None = None


def neighbours_png(
    name: str,
    grade: str,
    photo: Pixels,
    neighbours: Sequence[NeighbourView],
    language: str = "ja",
) -> bytes:
    """Draw the sheet as PNG.

    Parameters
    ----------
    name, grade : of the fruit that was looked up, and the grade it was given
    photo : (H, W, 3) uint8 RGB, of the same proportions as those of the neighbours, more or less
    neighbours : best first
    language : ``ja`` or ``en``
    """
    texts = _TEXTS[language]
    cells = [
        _neighbour_cell(number, item, photo, texts) for number, item in enumerate(neighbours, 1)
    ] or [_line(texts["none"], _CELL, _TEXT)]
    height = max(len(cell) for cell in cells)
    cells = [_padded(cell, height) for cell in cells]
    rows = [
        np.hstack([_padded_right(cell, _CELL + _GAP) for cell in cells[start : start + _COLUMNS]])
        for start in range(0, len(cells), _COLUMNS)
    ]
    width = max(row.shape[1] for row in rows)
    grid = np.vstack([_padded_right(row, width) for row in rows])
    query = np.vstack(
        [
            _line(texts["query"].format(grade=grade), _QUERY, _TEXT),
            _resized(photo, _QUERY),
            legend_strip(_QUERY),
        ]
    )
    tall = max(len(query), len(grid))
    body = np.hstack([_padded_right(_padded(query, tall), _QUERY + _GAP), _padded(grid, tall)])
    page = np.vstack(
        [
            _line(texts["title"].format(name=name), body.shape[1], _TITLE),
            body,
            _line(texts["note"], body.shape[1], _SMALL),
        ]
    )
    framed = np.pad(page, ((_GAP, _GAP), (_GAP, 0), (0, 0)), constant_values=255)
    stream = io.BytesIO()
    Image.fromarray(framed).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _top(item: NeighbourView) -> float:
    """The map value shown brightest: of different pairs other channels weigh, on other scales."""
    maps = [values for values in (item.query_map, item.own_map) if values is not None]
    return max((float(values.max()) for values in maps), default=1.0)


def _neighbour_cell(
    number: int, item: NeighbourView, query: Pixels, texts: dict[str, str]
) -> Pixels:
    name = texts["unknown"] if item.grade is None else texts["grade"].format(grade=item.grade)
    parts = [
        _line(f"{number}.  {name}   {item.similarity:.3f}", _CELL, _TEXT),
        _line(item.id, _CELL, _SMALL),
    ]
    if item.photo is not None:
        parts.append(_resized(item.photo, _CELL))
        top = _top(item)
        if top <= 0:  # two black pictures would say that nothing is alike
            parts.append(_line(texts["nowhere"], _CELL, _SMALL))
        half = (_CELL - 4) // 2
        pair = [
            _with_map(picture, values, half, top)
            for picture, values in ((query, item.query_map), (item.photo, item.own_map))
            if values is not None and top > 0
        ]
        tall = max((len(picture) for picture in pair), default=0)
        if pair:
            parts.append(np.full((4, _CELL, 3), 255, np.uint8))
            row = np.hstack([_padded_right(_padded(picture, tall), half + 4) for picture in pair])
            parts.append(_padded_right(row, _CELL)[:, :_CELL])
    parts.append(np.full((_GAP, _CELL, 3), 255, np.uint8))
    return np.vstack(parts)


def _with_map(photo: Pixels, values: NDArray[np.float32], width: int, top: float) -> Pixels:
    shares = np.clip(values / top, 0, 1)
    return overlay(_resized(photo, width), shares, contour=None, legend=False)


def _resized(photo: Pixels, width: int) -> Pixels:
    size = (width, max(1, round(width * photo.shape[0] / photo.shape[1])))
    shrinks = width < photo.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(photo, size, interpolation=method), np.uint8)


def _line(text: str, width: int, size: int) -> Pixels:
    """(h, width, 3): text on white, in as many lines as it takes."""
    font = ImageFont.truetype(str(font_path()), size)
    lines, rest = [], text
    while rest:
        fits = len(rest)
        while fits > 1 and font.getlength(rest[:fits]) > width - 4:
            fits -= 1
        if fits < len(rest) and " " in rest[:fits]:
            fits = rest[:fits].rindex(" ") + 1
        lines.append(rest[:fits].rstrip())
        rest = rest[fits:]
    step = round(1.5 * size)
    strip = Image.new("RGB", (width, step * max(1, len(lines))), "white")
    drawing = ImageDraw.Draw(strip)
    for number, line in enumerate(lines):
        drawing.text((2, number * step + round(0.2 * size)), line, fill="black", font=font)
    return np.asarray(strip)


def _padded(picture: Pixels, height: int) -> Pixels:
    return np.pad(picture, ((0, height - len(picture)), (0, 0), (0, 0)), constant_values=255)


def _padded_right(picture: Pixels, width: int) -> Pixels:
    missing = max(0, width - picture.shape[1])
    return np.pad(picture, ((0, 0), (0, missing), (0, 0)), constant_values=255)
