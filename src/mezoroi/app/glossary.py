"""The features of the grades, each with the fruit that it is seen on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy.orm import Session

from mezoroi.app.store import features as pictures
from mezoroi.app.store import specimens
from mezoroi.app.tables_learning import FeaturePicture, Specimen
from mezoroi.app.views_learning import FruitView, fruit_view
from mezoroi.report.sketching import BUMPS, bump_height, sketch
from mezoroi.standard import GradingStandard
from mezoroi.standard_features import Feature

if TYPE_CHECKING:
    from mezoroi.practice.fruits import PracticeFruit

SIDE = 0.45
"""Of the square around a place, as a share of the picture's shorter side."""
_DRAWN = ("height_width", "flatness", "elongation", "roundness")  # what an ellipse shows

Square = tuple[int, int, int, int]


@dataclass(frozen=True)
class Outline:
    """How a feature of the outline is drawn.

    Attributes
    ----------
    fruit : with the silhouette to draw
    is_widest : the largest extent over the turn is drawn
    """

    fruit: FruitView
    is_widest: bool = False


@dataclass(frozen=True)
class FeatureEntry:
    """An entry of the glossary.

    Attributes
    ----------
    on_outline : whether it is seen on the outline
    outline : where that is so and a fruit shows it
    surface, crop : picture of the fruit, and left, top, width and height of its part that shows the
        feature; None where no fruit was chosen, or it may not be shown
    is_withheld : an expert chose a fruit that may not be shown now
    """

    grade: str
    key: str
    word: str
    line: str
    on_outline: bool
    outline: Outline | None = None
    surface: Mapping[str, Any] | None = None
    crop: Square | None = None
    is_withheld: bool = False


def entries(
    session: Session,
    standard: GradingStandard,
    fruits: Sequence[PracticeFruit],
    language: str,
    turns: bool,
) -> list[FeatureEntry]:
    """All features of a standard, each shown on one of the fruits that may be shown.

    A fruit that an expert chose comes first; what is seen on the outline is otherwise shown on the
    fruit whose measurements say so.

    Parameters
    ----------
    fruits : that teach and are in no test
    turns : whether pictures go once around the fruit
    """
    grades = {int(fruit.id): fruit.grade for fruit in fruits}
    chosen = pictures.chosen_pictures(session)
    found = []
    for grade, feature in standard.features:
        picture = chosen.get(feature.key)
        shown = None
        if picture is not None and may_show(standard, grade, grades.get(picture.specimen_id)):
            shown = picture
        entry = FeatureEntry(
            grade,
            feature.key,
            feature.word_in(language),
            feature.line.get(language, ""),
            on_outline=feature.shown_by is not None,
            is_withheld=picture is not None and shown is None,
        )
        if feature.shown_by is not None:
            outline = _outline(session, standard, grades, (grade, feature), shown, turns)
            entry = replace(entry, outline=outline)
        elif shown is not None and "x" not in shown.place:  # chosen when the outline showed it
            entry = replace(entry, is_withheld=True)
        elif shown is not None:
            surface = shown.specimen.result["pictures"]["surface"]
            entry = replace(entry, surface=surface, crop=square(surface, shown.place))
        found.append(entry)
    return found


def may_show(standard: GradingStandard, grade: str, agreed: str | None) -> bool:
    """Whether a fruit of an agreed grade can have a feature of another: else that would decide."""
    return agreed is not None and standard.decide((grade, agreed)) == agreed


def square(surface: Mapping[str, Any], place: Mapping[str, float]) -> Square:
    """Left, top, width and height of the part of a picture around a place, all of it inside."""
    width, height = surface["width"], surface["height"]
    side = max(1, round(min(1.0, place.get("side", SIDE)) * min(width, height)))
    left = round(place["x"] * width - side / 2)
    top = round(place["y"] * height - side / 2)
    return min(max(left, 0), width - side), min(max(top, 0), height - side), side, side


def outline_of(specimen: Specimen, measure: str, turns: bool) -> Outline | None:
    """How a fruit's outline shows a measurement; None where what is known of it does not."""
    fruit = fruit_view(specimen, turns)
    if fruit.silhouette is None:
        return None
    if measure != BUMPS:
        return Outline(fruit) if measure in _DRAWN or not fruit.is_drawn else None
    if not fruit.is_drawn:  # the mean over the turn evens a bump out
        return Outline(
            replace(fruit, silhouette={"mean": fruit.silhouette["high"]}), is_widest=True
        )
    known = specimen.result["outline"]
    if BUMPS not in known:
        return None
    bumped = sketch(known["height_width"], bump_height(known))
    return Outline(replace(fruit, silhouette={"mean": bumped}, is_bumped=True))


def needs_film(measure: str) -> bool:
    """Whether a measurement is seen on outlines that were filmed alone: a drawn one lacks it."""
    return measure not in (*_DRAWN, BUMPS)


def _outline(
    session: Session,
    standard: GradingStandard,
    grades: Mapping[int, str],
    named: tuple[str, Feature],
    chosen: FeaturePicture | None,
    turns: bool,
) -> Outline | None:
    """Of the chosen fruit, else of the one whose measurements show the feature most."""
    from mezoroi.practice.features import clearest

    grade, feature = named
    assert feature.shown_by is not None
    measure = feature.shown_by.measure
    if chosen is not None:
        outline = outline_of(chosen.specimen, measure, turns)
        if outline is not None:
            return outline
    measures = pictures.measured(session, measure, filmed=needs_film(measure))
    values = {number: value for number, value in measures.items() if number in grades}
    best = clearest(values, grades, standard, grade, feature.shown_by)
    if best is None:
        return None
    return outline_of(specimens.get_specimens(session, [best])[best], measure, turns)
