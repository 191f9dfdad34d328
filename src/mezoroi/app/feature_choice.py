"""Which fruits an expert may choose for the picture of a feature."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from mezoroi.app import hiding, teaching
from mezoroi.app.blobs import Blobs
from mezoroi.app.glossary import SIDE, Outline, may_show, needs_film, outline_of
from mezoroi.app.painting import read_painted
from mezoroi.app.store import features, fruits, specimens, verdicts
from mezoroi.app.tables import User
from mezoroi.app.tables_learning import Specimen
from mezoroi.standard import GradingStandard
from mezoroi.standard_features import Feature

CHOICE = 48
COLUMNS = 8
_AROUND = 1.3  # of a painted place: what lies around it is seen, too


@dataclass(frozen=True)
class Choice:
    """A fruit to choose; `outline` where the feature is seen on it."""

    specimen: Specimen
    outline: Outline | None


@dataclass(frozen=True)
class Cell:
    """A part of a picture: number of its row and column, and its middle as a share of both."""

    row: int
    column: int
    x: float
    y: float


def find_feature(standard: GradingStandard, key: str) -> tuple[str, Feature] | None:
    """Grade and feature of a key, or None."""
    return next(((grade, each) for grade, each in standard.features if each.key == key), None)


def choices(session: Session, user: User, standard: GradingStandard, key: str) -> list[Choice]:
    """Fruits of the feature's grade that may be shown, those that show it most or best first.

    Left out are fruits whose grade the user is asked for, and for a feature of the outline those
    whose outline does not show it.
    """
    named = find_feature(standard, key)
    assert named is not None
    grade, feature = named
    own = [one for one in teaching.practice_fruits(session, standard) if one.grade == grade]
    order = {int(one.id): one.difficulty for one in own}
    if feature.shown_by is not None:
        sign = 1 if feature.shown_by.end == "low" else -1
        measure = feature.shown_by.measure
        values = features.measured(session, measure, filmed=needs_film(measure))
        order = {number: sign * values[number] for number in order if number in values}
    ids = sorted(order, key=lambda number: (order[number], number))[:CHOICE]
    found = specimens.get_specimens(session, ids)
    turns = teaching.pictures_turn(session)
    shown = []
    for number in ids:
        specimen, outline = found[number], None
        if feature.shown_by is not None:
            outline = outline_of(specimen, feature.shown_by.measure, turns)
        if (feature.shown_by is None or outline is not None) and not _is_asked(
            session, user, specimen
        ):
            shown.append(Choice(specimen, outline))
    return shown


def may_choose(
    session: Session, user: User, standard: GradingStandard, grade: str, specimen: Specimen
) -> bool:
    """Whether a fruit may show a feature of a grade.

    It teaches, is in no test, its grade does not speak against it, and the user is not asked for
    that.
    """
    fruits_shown = teaching.practice_fruits(session, standard)
    agreed = {int(fruit.id): fruit.grade for fruit in fruits_shown}.get(specimen.id)
    return may_show(standard, grade, agreed) and not _is_asked(session, user, specimen)


def cells_of(surface: dict[str, int]) -> list[Cell]:
    """A picture in parts that are about square, row by row: one tap on one says where."""
    rows = max(1, round(COLUMNS * surface["height"] / surface["width"]))
    return [
        Cell(row + 1, column + 1, (column + 0.5) / COLUMNS, (row + 0.5) / rows)
        for row in range(rows)
        for column in range(COLUMNS)
    ]


def painted_place(
    session: Session, blobs: Blobs, specimen: Specimen, grade: str
) -> dict[str, float] | None:
    """The largest place that an expert painted on a fruit as showing a grade; None without one."""
    if specimen.fruit_id is None:
        return None
    grading = fruits.newest_grading(session, specimen.fruit_id)
    found = {} if grading is None else verdicts.painted(session, grading.id)
    for verdict in sorted(found.values(), key=lambda each: -each.id):
        mask = read_painted(blobs.picture(verdict.mask or "")).get(grade)
        if mask is not None and mask.any():
            return _place_of(mask)
    return None


def _place_of(mask: NDArray[np.bool_]) -> dict[str, float]:
    """The square around the largest connected part of a mask (H, W)."""
    import cv2

    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    left, top, wide, high, _ = stats[1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))]
    height, width = mask.shape
    side = _AROUND * max(wide, high) / min(height, width)
    return {
        "x": float((left + wide / 2) / width),
        "y": float((top + high / 2) / height),
        "side": float(min(1.0, max(SIDE, side))),
    }


def _is_asked(session: Session, user: User, specimen: Specimen) -> bool:
    if specimen.fruit_id is None:
        return False
    grading = fruits.newest_grading(session, specimen.fruit_id)
    return grading is not None and hiding.is_kept_from(session, user, grading)
