"""A grading as a page shows it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from mezoroi.app.i18n import catalogue
from mezoroi.app.roles import Role
from mezoroi.app.store.silhouettes import MeanSilhouette
from mezoroi.app.tables import GradingRow, User, Verdict
from mezoroi.report.radar import radar_svg, similarity_table_html
from mezoroi.report.sketching import outline_path
from mezoroi.report.sureness import Sureness, sureness
from mezoroi.standard import GradingStandard

NEIGHBOURS_SHOWN = 4
_RADAR_SIZE = 340


@dataclass(frozen=True)
class MapChoice:
    """One activation map: its grade, the blob of its picture, and whether it is shown first."""

    grade: str
    picture: str
    is_shown: bool


@dataclass(frozen=True)
class ResultView:
    """What the result page shows of a grading.

    Attributes
    ----------
    grades : the standard's, in order; a grade's place gives its colour
    title, description : of the decided grade
    second, gap : the next best grade and the difference of the similarities
    sureness : words, and how many of how many such cases were right, or None
    reliability_interval : its 95 % interval, or None
    reason : why an expert should look, or None
    grade_set, coverage : grades that cannot be excluded, and in which share of cases they hold the
        right one, or None
    light : what is unlike the training pictures in the light, as `mezoroi.app.light.deviations`
    outline : name of a shape statistic -> value, or None
    silhouette : SVG paths ``mean`` and ``band`` in a box of -1.35 to 1.35, or None
    typical : SVG path of the mean silhouette of the decided grade, with `typical_count` fruits
    """

    id: int
    run_id: int
    standard_version: int
    grade: str
    grades: Sequence[str]
    titles: Mapping[str, str]
    description: str
    on_outline: bool
    is_clear: bool | None
    gap: float | None
    second: str | None
    resembles: Sequence[str]
    is_unlike_all: bool
    map_grade: str | None
    map_differs: bool
    not_judged: Sequence[str]
    adjusted_from: str | None
    reliability: float | None
    reliability_interval: Sequence[float] | None
    sureness: Sureness | None
    reason: str | None
    ask_expert: bool
    grade_set: Sequence[str]
    coverage: float | None
    light: Sequence[Mapping[str, Any]]
    notes: Sequence[str]
    pictures: Mapping[str, Any]
    maps: Sequence[MapChoice]
    neighbours: Sequence[Mapping[str, Any]]
    outline: Mapping[str, float] | None
    silhouette: Mapping[str, str] | None
    typical: str | None
    typical_count: int
    radar: Markup
    table: Markup


def result_view(
    row: GradingRow,
    language: str,
    typical: MeanSilhouette | None = None,
    neighbours: Sequence[Mapping[str, Any]] = (),
) -> ResultView:
    """What a page in `language` shows of a grading.

    Parameters
    ----------
    typical : of the decided grade, where it is known
    neighbours : the similar reference fruits that may be shown
    """
    result = row.result
    standard = GradingStandard.from_dict(row.standard.content)
    similarity = _numbers(result["similarity"])
    thresholds = _numbers(result["thresholds"])
    judged = {grade: value for grade, value in similarity.items() if not math.isnan(value)}
    ranked = sorted(judged, key=lambda grade: -judged[grade])
    chart = (similarity, thresholds, standard)
    return ResultView(
        id=row.id,
        run_id=row.run_id,
        standard_version=row.standard.version,
        grade=row.grade,
        grades=standard.grades,
        titles={grade: standard.title_of(grade, language) for grade in standard.grades},
        description=standard.descriptions[row.grade].description.get(language, ""),
        on_outline=standard.view_of(row.grade) == "outline",
        is_clear=result["is_clear"],
        gap=result["gap"],
        second=ranked[1] if len(ranked) > 1 else None,
        resembles=result["resembles"],
        is_unlike_all=result["is_unlike_all"],
        map_grade=result["map_grade"],
        map_differs=result["map_differs"],
        not_judged=result["not_judged"],
        adjusted_from=result["adjusted_from"],
        reliability=result["reliability"],
        reliability_interval=result.get("reliability_interval"),
        sureness=sureness(result["reliability"], result.get("reliability_cases")),
        reason=(result.get("reliability_reason") or {}).get(language),
        ask_expert=bool(result.get("ask_expert")),
        grade_set=result.get("grade_set") or [],
        coverage=result.get("grade_set_coverage"),
        light=result.get("light") or [],
        notes=[catalogue(language).note(note) for note in result["notes"]],
        pictures=result["pictures"],
        maps=_maps(result, standard, row.grade),
        neighbours=neighbours[:NEIGHBOURS_SHOWN],
        outline=result["outline"],
        silhouette=_paths(result["silhouette"]),
        typical=outline_path(typical.radii) if typical is not None else None,
        typical_count=typical.count if typical is not None else 0,
        radar=Markup(radar_svg(*chart, grade=row.grade, language=language, size=_RADAR_SIZE)),
        table=Markup(similarity_table_html(*chart, grade=row.grade, language=language)),
    )


def asks_blind(user: User, verdict: Verdict | None) -> bool:
    """Whether a user must grade a fruit before seeing what Mezoroi says."""
    return is_blind(user) and verdict is None


def is_blind(user: User) -> bool:
    """Whether a user grades before seeing what Mezoroi says."""
    return Role(user.role).covers(Role.EXPERT) and user.blind


def _numbers(values: Mapping[str, float | None]) -> dict[str, float]:
    return {grade: math.nan if value is None else value for grade, value in values.items()}


def _maps(result: Mapping[str, Any], standard: GradingStandard, grade: str) -> list[MapChoice]:
    """One per surface grade; shown first is the decided one, else the one the map points at."""
    pictures = result["pictures"]["maps"]
    names = [name for name in standard.grades if name in pictures]
    shown = next((name for name in (grade, result["map_grade"]) if name in names), None)
    return [MapChoice(name, pictures[name], name == shown) for name in names]


def _paths(silhouette: Mapping[str, Sequence[float]] | None) -> dict[str, str] | None:
    if silhouette is None:
        return None
    low, high = outline_path(silhouette["low"]), outline_path(silhouette["high"])
    return {"mean": outline_path(silhouette["mean"]), "band": f"{high} {low}"}
