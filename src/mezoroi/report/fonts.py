"""The Japanese font of charts and pictures, without asking the system for one."""

from __future__ import annotations

import io
from importlib.machinery import PathFinder
from pathlib import Path

from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont

from mezoroi.errors import MezoroiError

FONT_NAME = "IPAexGothic"
FONT_STACK = "'Noto Sans JP', IPAexGothic, MezoroiReport, sans-serif"
PACKAGE = "matplotlib_fontja"


def font_path() -> Path:
    """Path of the IPAex Gothic font that comes with ``matplotlib-fontja``.

    The package is located, not imported: importing it changes matplotlib's settings for everyone.

    Raises
    ------
    MezoroiError
        If the package or its font file is missing.
    """
    found = PathFinder.find_spec(PACKAGE)
    for folder in (found.submodule_search_locations or ()) if found else ():
        path = Path(folder) / "fonts" / "ipaexg.ttf"
        if path.is_file():
            return path
    raise MezoroiError(
        "the Japanese chart font is missing: install it with `pip install matplotlib-fontja`"
    )


def font_subset(text: str) -> bytes:
    """A WOFF font with the Japanese characters of `text` alone, to be embedded in a page."""
    characters = {ord(c) for c in text if ord(c) > 0x2000}
    options = Options(flavor="woff", layout_features=[], notdef_outline=True)
    subsetter = Subsetter(options)
    subsetter.populate(unicodes=characters)
    with TTFont(font_path(), lazy=True) as font:
        subsetter.subset(font)
        font.flavor = "woff"
        stream = io.BytesIO()
        font.save(stream)
    return stream.getvalue()
