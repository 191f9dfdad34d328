"""What a newcomer looks at before the first round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from mezoroi.app import hiding, practising
from mezoroi.app.store import specimens
from mezoroi.app.views_learning import FruitView, alike, fruit_view

TYPICAL = 4
PAIRS_SHOWN = 2


@dataclass(frozen=True)
class GradePart:
    """A grade of the gallery: what it is called, what it looks like, its typical fruits."""

    grade: str
    title: str
    description: str
    on_outline: bool
    fruits: Sequence[FruitView]


@dataclass(frozen=True)
class BorderPair:
    """A fruit of one grade beside the reference fruit of the other that is most like it."""

    grade: str
    rival: str
    fruit: FruitView
    like: Mapping[str, Any]


@dataclass(frozen=True)
class Gallery:
    """The gallery; without fruits until some are prepared."""

    grades: Sequence[str]
    parts: Sequence[GradePart]
    pairs: Sequence[BorderPair]


def gallery(session: Session, language: str) -> Gallery:
    """Typical fruits, those least like any other grade, and pairs on the border.

    Fruits of the tests are not among them.
    """
    standard = practising.active_standard(session)
    turns = practising.pictures_turn(session)
    fruits = practising.practice_fruits(session, standard)
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
    parts = [
        GradePart(
            grade,
            standard.title_of(grade, language),
            standard.descriptions[grade].description.get(language, ""),
            standard.view_of(grade) == "outline",
            [fruit_view(found[int(fruit.id)], turns) for fruit in typical[grade]],
        )
        for grade in standard.grades
    ]
    pairs = []
    for fruit in border:
        near = alike(found[int(fruit.id)], fruit.rival, hidden)
        if near:
            shown = fruit_view(found[int(fruit.id)], turns)
            pairs.append(BorderPair(fruit.grade, fruit.rival, shown, near[0]))
    return Gallery(standard.grades, parts, pairs)
