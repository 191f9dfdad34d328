"""Made-up netted melons (Earl's type) with known grade, for data that cannot be shared."""

from __future__ import annotations

from mezoroi.datasets.melons.collection import (
    indexed_melon,
    write_melons,
)
from mezoroi.datasets.melons.melon import GENERATOR_VERSION, GRADES, Melon, make_melon
from mezoroi.datasets.melons.render import Conditions, Texture
from mezoroi.datasets.melons.shape import Body, silhouettes
from mezoroi.datasets.melons.turn import Truth, Turn, draw_turn
from mezoroi.datasets.melons.video import render_views, write_video

__all__ = [
    "GENERATOR_VERSION",
    "GRADES",
    "Body",
    "Conditions",
    "Melon",
    "Texture",
    "Truth",
    "Turn",
    "draw_turn",
    "indexed_melon",
    "make_melon",
    "render_views",
    "silhouettes",
    "write_melons",
    "write_video",
]
