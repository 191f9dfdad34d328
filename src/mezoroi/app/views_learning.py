"""What practice and calibration show of a fruit, of an answer and of a learner."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mezoroi.app.blobs import Blobs
from mezoroi.app.tables import GradingRow, Standard
from mezoroi.app.tables_learning import Question, Specimen
from mezoroi.app.views import ResultView, result_view
from mezoroi.report.sketching import outline_path, sketch_of
from mezoroi.standard import GradingStandard

ALIKE_SHOWN = 2
_SHAPE = ("height_width", "asymmetry_top_bottom", "bumpiness")
Drawn = tuple[Mapping[str, str] | None, bool]
"""Paths of a silhouette, and whether a bump is drawn at a place that is made up."""


@dataclass(frozen=True)
class FruitView:
    """A fruit as it may be shown to somebody who is to grade it: nothing tells its grade.

    Attributes
    ----------
    surface : picture with its size
    photo : what the camera saw, or None
    turns : whether the picture goes once around the fruit
    silhouette : SVG paths ``mean`` and ``band``, or None
    is_drawn : the silhouette is an ellipse drawn from the measurements
    is_bumped : the ellipse has a bump as large as was measured, at a place that is made up
    shape : some measurements of the outline, or None
    """

    surface: Mapping[str, Any]
    photo: Mapping[str, Any] | None
    turns: bool
    silhouette: Mapping[str, str] | None
    is_drawn: bool
    is_bumped: bool
    shape: Mapping[str, float] | None


@dataclass(frozen=True)
class LikeView:
    """A reference fruit that looks like another.

    Attributes
    ----------
    silhouette, is_drawn, is_bumped, shape : as of a `FruitView`; the silhouette None where none is
        needed
    """

    picture: str
    similarity: float
    silhouette: Mapping[str, str] | None
    is_drawn: bool
    is_bumped: bool
    shape: Mapping[str, float] | None


@dataclass(frozen=True)
class AnswerView:
    """What is shown after an answer in practice.

    Attributes
    ----------
    maps : grade and picture of the activation map, or None: the right grade, then the given one,
        or after a right answer the one it is most easily taken for
    alike : by grade, the most similar reference fruits
    line : what to look at
    """

    fruit: FruitView
    result: ResultView
    maps: Sequence[tuple[str, str | None]]
    alike: Mapping[str, Sequence[LikeView]]
    line: str


def fruit_view(specimen: Specimen, turns: bool) -> FruitView:
    """What a grader may see of a fruit before grading it."""
    result = specimen.result
    silhouette, is_bumped = _silhouette(result)
    return FruitView(
        result["pictures"]["surface"],
        result["pictures"]["photo"],
        turns,
        silhouette,
        silhouette is not None and result["silhouette"] is None,
        is_bumped,
        _shape(result["outline"]),
    )


def specimen_result(specimen: Specimen, standard: Standard, language: str) -> ResultView:
    """What Mezoroi says of a specimen."""
    row = GradingRow(id=0, grade=specimen.result["grade"], result=specimen.result)
    row.standard = standard
    return result_view(row, language)


def answer_view(
    question: Question,
    standard: Standard,
    language: str,
    *,
    turns: bool,
    blobs: Blobs,
    hidden: set[str],
) -> AnswerView:
    """What is shown after an answer in practice.

    Parameters
    ----------
    hidden : references that are not shown
    """
    specimen = question.specimen
    is_right = question.given in (None, question.truth)
    other = question.grades["rival"] if is_right else question.given
    grades = list(dict.fromkeys(grade for grade in (question.truth, other) if grade))
    pictures = specimen.result["pictures"]["maps"]
    return AnswerView(
        fruit_view(specimen, turns),
        specimen_result(specimen, standard, language),
        [(grade, pictures.get(grade)) for grade in grades],
        alike(specimen, grades, GradingStandard.from_dict(standard.content), hidden),
        look_at(specimen, standard, question.truth, language, turns=turns, blobs=blobs),
    )


def alike(
    specimen: Specimen, grades: Sequence[str], standard: GradingStandard, hidden: set[str]
) -> dict[str, Sequence[LikeView]]:
    """By grade, the most similar reference fruits that may be shown.

    With their outlines where one of the grades is judged on it: nothing else tells it from another.
    """
    on_outline = any(grade in standard.outline_grades for grade in grades)
    found: dict[str, Sequence[LikeView]] = {}
    for grade in grades:
        fit = [item for item in specimen.alike.get(grade, []) if item["id"] not in hidden]
        found[grade] = [_like_view(item, on_outline=on_outline) for item in fit[:ALIKE_SHOWN]]
    return found


def _like_view(item: Mapping[str, Any], *, on_outline: bool) -> LikeView:
    outline = item.get("outline") if on_outline else None
    drawn, is_bumped = _sketch(outline)
    return LikeView(
        item["picture"],
        item["similarity"],
        drawn,
        drawn is not None,
        is_bumped,
        _shape(outline),
    )


def _shape(outline: Mapping[str, float] | None) -> Mapping[str, float] | None:
    return {name: outline[name] for name in _SHAPE if name in outline} if outline else None


def look_at(
    specimen: Specimen, standard: Standard, grade: str, language: str, *, turns: bool, blobs: Blobs
) -> str:
    """One line: what the right grade looks like, and where its map is strongest."""
    import numpy as np
    from PIL import Image

    from mezoroi.practice.hints import what_to_look_at

    name = specimen.result["pictures"]["maps"].get(grade)
    values = None
    if name is not None:
        with Image.open(io.BytesIO(blobs.picture(name).read_bytes())) as image:
            values = np.asarray(image, np.float64)
    described = GradingStandard.from_dict(standard.content)
    return what_to_look_at(described, grade, values, language=language, turned=turns)


def _silhouette(result: Mapping[str, Any]) -> Drawn:
    """Paths of the filmed silhouette; of measurements alone what they say."""
    if result["silhouette"] is not None:
        return {name: outline_path(result["silhouette"][name]) for name in ("mean", "high")}, False
    return _sketch(result["outline"])


def _sketch(outline: Mapping[str, float] | None) -> Drawn:
    """An ellipse as high and wide as was measured, with the bump where it is seen."""
    path, is_bumped = sketch_of(outline)
    return (None if path is None else {"mean": path}), is_bumped
