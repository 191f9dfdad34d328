"""A contact sheet: what several methods say about one fruit, side by side."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mezoroi.report.fonts import font_path
from mezoroi.report.overlay import Pixels, legend_strip, outline_region, overlay

_PANEL = 420  # width in pixels of one picture
_GAP = 14
_TITLE, _CAPTION = 22, 17  # sizes of letters in pixels
_METHODS_JA = {"activation-map": "着目箇所 (activation-map)", "occlusion": "遮蔽 (occlusion)"}
_TEXTS = {
    "ja": {
        "title": "{name}　判定 {decided}　等級 {grade} の根拠",
        "photo": "写真",
        "expert": "写真（線: 熟練者の印）",
        "differs": "判定は {decided} ですが、着目箇所は {map_grade} を示しています。",
        "legend": "明るいほど等級 {grade} を支持。目盛は方法ごとに全果実で共通。",
    },
    "en": {
        "title": "{name}   decided {decided}   evidence for {grade}",
        "photo": "photo",
        "expert": "photo (line: the expert's mark)",
        "differs": "Decided {decided}, but the map points at {map_grade}.",
        "legend": "Bright speaks for {grade}. Each method has one scale for all fruits.",
    },
}


@dataclass(frozen=True)
class Panel:
    """A method's map.

    Attributes
    ----------
    method : its name
    values : (h, w) raw map of the shown image
    top : the value shown brightest, the same in every sheet; 0 and below is shown darkest
    """

    method: str
    values: NDArray[np.float32]
    top: float


@dataclass(frozen=True)
class Sheet:
    """What a contact sheet shows.

    Attributes
    ----------
    name : of the fruit
    photo : (H, W, 3) uint8 RGB
    panels : in the order in which they are shown
    grade : the grade that the maps are of
    decided : the grade that was given
    map_grade : the grade the activation maps point at, where it is another; else None
    mask : (H, W) where an expert saw the grade, or None
    """

    name: str
    photo: Pixels
    panels: Sequence[Panel]
    grade: str
    decided: str
    map_grade: str | None = None
    mask: NDArray[np.bool_] | None = None


def shown_photo(photo: Pixels) -> Pixels:
    """A photo (H, W, 3) at the size that a contact sheet shows; one not wider stays as it is."""
    if photo.shape[1] <= _PANEL:
        return photo
    return np.asarray(cv2.resize(photo, _panel(photo), interpolation=cv2.INTER_AREA), np.uint8)


def contact_sheet_png(sheet: Sheet, language: str = "ja", opacity: float = 0.6) -> bytes:
    """Draw a contact sheet as PNG; `opacity` is that of the maps over the photo."""
    texts = _TEXTS[language]
    size = _panel(sheet.photo)
    photo = np.asarray(cv2.resize(sheet.photo, size, interpolation=cv2.INTER_AREA), np.uint8)
    mask = None
    if sheet.mask is not None and sheet.mask.any():
        shrunk = cv2.resize(sheet.mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
        mask = shrunk > 0.5
    legends = [legend_strip(_PANEL, panel.top) for panel in sheet.panels]
    blank = np.full_like(legends[0] if legends else legend_strip(_PANEL), 255)
    plain = photo.copy()
    if mask is not None:
        outline_region(plain, mask)
    cells = [_cell(texts["photo" if mask is None else "expert"], plain, blank)]
    for panel, legend in zip(sheet.panels, legends, strict=True):
        shares = np.clip(panel.values / panel.top, 0, 1)
        picture = overlay(photo, shares, opacity=opacity, contour=None, legend=False)
        if mask is not None:
            outline_region(picture, mask)
        name = _METHODS_JA.get(panel.method, panel.method) if language == "ja" else panel.method
        cells.append(_cell(name, picture, legend))
    words = {"name": sheet.name, "grade": sheet.grade, "decided": sheet.decided}
    lines = [texts["title"].format(**words), texts["legend"].format(**words)]
    if sheet.map_grade is not None:
        lines.insert(1, texts["differs"].format(map_grade=sheet.map_grade, **words))
    return _png(_stacked(lines, cells, columns=2 if len(cells) <= 4 and size[0] > size[1] else 4))


def _panel(photo: Pixels) -> tuple[int, int]:
    """Width and height in pixels at which a photo is shown."""
    height, width = photo.shape[:2]
    return _PANEL, max(1, round(_PANEL * height / width))


def _cell(caption: str, picture: Pixels, legend: Pixels) -> Pixels:
    return np.vstack([_line(caption, picture.shape[1], _CAPTION), picture, legend])


def _line(text: str, width: int, size: int) -> Pixels:
    """(h, width, 3): one line of text on white; what is too long is cut from the left."""
    strip = Image.new("RGB", (width, round(1.7 * size)), "white")
    font = ImageFont.truetype(str(font_path()), size)
    while len(text) > 8 and font.getlength(text) > width - 4:
        text = "…" + text[2:]
    ImageDraw.Draw(strip).text((2, round(0.3 * size)), text, fill="black", font=font)
    return np.asarray(strip)


def _stacked(lines: Sequence[str], cells: Sequence[Pixels], columns: int) -> Pixels:
    height, width = cells[0].shape[:2]
    columns = min(columns, len(cells))
    rows = -(-len(cells) // columns)
    page_width = columns * (width + _GAP) + _GAP
    head = [
        _line(line, page_width - 2 * _GAP, _TITLE if n == 0 else _CAPTION)
        for n, line in enumerate(lines)
    ]
    top = sum(len(strip) for strip in head) + _GAP
    page = np.full((top + rows * (height + _GAP), page_width, 3), 255, np.uint8)
    y = _GAP // 2
    for strip in head:
        page[y : y + len(strip), _GAP : _GAP + strip.shape[1]] = strip
        y += len(strip)
    for number, cell in enumerate(cells):
        row, column = divmod(number, columns)
        y, x = top + row * (height + _GAP), _GAP + column * (width + _GAP)
        page[y : y + height, x : x + width] = cell
    return page


def _png(pixels: Pixels) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", optimize=True)
    return stream.getvalue()
