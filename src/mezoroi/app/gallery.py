"""What a newcomer looks at before the first round."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from mezoroi.app import hiding, teaching
from mezoroi.app.blobs import Blobs
from mezoroi.app.glossary import SIDE, FeatureEntry, Square, entries
from mezoroi.app.store import specimens
from mezoroi.app.tables_learning import Specimen
from mezoroi.app.views_learning import FruitView, LikeView, alike, fruit_view

TYPICAL = 4
PAIRS_SHOWN = 2


@dataclass(frozen=True)
class GradePart:
    """A grade of the gallery: what it is called, what it looks like, its typical fruits.

    Attributes
    ----------
    crop : left, top, width and height of the part of the first fruit that Mezoroi takes most for
        the grade; None where the outline decides, or there is no fruit
    """

    grade: str
    title: str
    description: str
    on_outline: bool
    fruits: Sequence[FruitView]
    crop: Square | None


@dataclass(frozen=True)
class BorderPair:
    """A fruit of one grade beside the reference fruit of the other that is most like it.

    Attributes
    ----------
    on_outline : whether one of the grades is judged on the outline
    """

    grade: str
    rival: str
    fruit: FruitView
    like: LikeView
    on_outline: bool


@dataclass(frozen=True)
class Gallery:
    """The gallery; without fruits until some are prepared.

    Attributes
    ----------
    features : the glossary; empty where the standard has no features
    """

    grades: Sequence[str]
    parts: Sequence[GradePart]
    features: Sequence[FeatureEntry]
    pairs: Sequence[BorderPair]


def gallery(session: Session, language: str, blobs: Blobs) -> Gallery:
    """Typical fruits, those least like any other grade, and pairs on the border.

    Fruits of the tests are not among them.
    """
    standard = teaching.active_standard(session)
    turns = teaching.pictures_turn(session)
    fruits = teaching.practice_fruits(session, standard)
    hidden = hiding.hidden_names(session)
    typical = {
        grade: sorted((f for f in fruits if f.grade == grade), key=lambda f: f.difficulty)[:TYPICAL]
        for grade in standard.grades
    }
    hard = sorted(fruits, key=lambda fruit: -fruit.difficulty)
    border = []
    for grade in standard.grades:
        border += [fruit for fruit in hard if fruit.grade == grade][:PAIRS_SHOWN]
    wanted = [int(fruit.id) for part in typical.values() for fruit in part]
    found = specimens.get_specimens(session, [*wanted, *(int(fruit.id) for fruit in border)])
    parts = []
    for grade in standard.grades:
        on_outline = standard.view_of(grade) == "outline"
        views = [fruit_view(found[int(fruit.id)], turns) for fruit in typical[grade]]
        parts.append(
            GradePart(
                grade,
                standard.title_of(grade, language),
                standard.descriptions[grade].description.get(language, ""),
                on_outline,
                views,
                _crop(found[int(typical[grade][0].id)], grade, blobs) if typical[grade] else None,
            )
        )
    pairs = []
    for fruit in border:
        grades = (fruit.grade, fruit.rival)
        near = alike(found[int(fruit.id)], grades, standard, hidden)[fruit.rival]
        if near:
            shown = fruit_view(found[int(fruit.id)], turns)
            on_outline = any(grade in standard.outline_grades for grade in grades)
            pairs.append(BorderPair(*grades, shown, near[0], on_outline))
    features = entries(session, standard, fruits, language, turns)
    return Gallery(standard.grades, parts, features, pairs)


def _crop(specimen: Specimen, grade: str, blobs: Blobs) -> Square | None:
    """The square of a fruit's picture where the map of a grade is strongest on the whole."""
    import cv2
    import numpy as np
    from PIL import Image

    name = specimen.result["pictures"]["maps"].get(grade)
    if name is None:
        return None
    surface = specimen.result["pictures"]["surface"]
    width, height = surface["width"], surface["height"]
    side = max(1, round(SIDE * min(width, height)))
    with Image.open(io.BytesIO(blobs.picture(name).read_bytes())) as image:
        values = np.asarray(image.convert("L").resize((width, height)), np.float32)
    mean = cv2.blur(values, (side, side), borderType=cv2.BORDER_CONSTANT)
    top, left = np.unravel_index(int(np.argmax(mean)), mean.shape)
    return (
        min(max(int(left) - side // 2, 0), width - side),
        min(max(int(top) - side // 2, 0), height - side),
        side,
        side,
    )
