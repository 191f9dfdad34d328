"""Made-up netted melons (Earl's type) with known grade, for data that cannot be shared."""

from __future__ import annotations

from mezoroi.datasets.melons.collection import (
    indexed_melon,
    write_melons,
)
from mezoroi.datasets.melons.melon import GENERATOR_VERSION, GRADES, Melon, make_melon
from mezoroi.datasets.melons.render import Conditions, Texture
from mezoroi.datasets.melons.shape import Body, silhouettes

__all__ = [
    "GENERATOR_VERSION",
    "GRADES",
    "Body",
    "Conditions",
    "Melon",
    "Texture",
    "indexed_melon",
    "make_melon",
    "silhouettes",
    "write_melons",
]
