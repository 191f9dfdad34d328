"""The answer of a grader to one fruit."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mezoroi.files import (
    file_names,
    nan_to_none,
    write_arrays,
    write_bytes,
    write_json,
    write_text,
)
from mezoroi.reliability.model import Judgement, ReliabilityModel
from mezoroi.retrieval.reference import Neighbour
from mezoroi.standard import GradingStandard

GRADING_JSON = "grading.json"


@dataclass(frozen=True, eq=False)  # arrays have no single answer to ==
class Grading:
    """Result of grading one capture.

    Attributes
    ----------
    source : path of the fruit, or ``image`` for one in memory
    grade : the grade with the largest similarity, unless it was adjusted
    similarity : S_g in [-1, 1] per grade; NaN for a grade that could not be judged, such as one
        judged on the outline when the capture has none
    thresholds : the fruit resembles grade g when S_g is at least this
    activation_maps : per surface grade (H, W) float32 in [0, 1], summing to 1 over the grades;
        empty for a model without class channels
    map_grade : the surface grade that the maps point at, by precedence (see
        `mezoroi.signs.pointed_grade`); for a grade judged on the outline, where the sign of no
        grade shows that takes precedence, the one with the most evidence of those after it
    reliability : in [0, 1], the share of right grades among the calibration fruits that the grader
        judged by the same places; None, as all about it, where reliability was not fitted
    reliability_interval : its 95 % Wilson interval, low and high
    reliability_cases : number of these fruits
    reliability_cluster : number of their saliency cluster, from 1
    cluster_map : (H, W) mean saliency map of this cluster
    chance : of the grade being right, by all signals together, in [0, 1]
    grade_set : the grades that cannot be excluded; holds the expert's in at least the share
        `grade_set_coverage` of cases
    ask_expert : True where the grade should not be trusted
    reliability_reason : why, as ``key`` and a sentence in ``ja`` and ``en``, or None
    adjusted_from : the grade before a reliability adjustment, or None
    neighbours : the most similar reference fruits, each with ``id``, ``grade``, ``similarity`` and
        the path of its ``thumbnail``; empty where the run has no references
    outline : shape statistics by name, or None
    surface : (H, W, 3) uint8, what was graded
    notes : what a user should know about the capture, one line each
    """

    source: str
    grade: str
    similarity: Mapping[str, float]
    thresholds: Mapping[str, float]
    activation_maps: Mapping[str, np.ndarray]
    map_grade: str | None
    outline: Mapping[str, float] | None
    surface: np.ndarray = field(repr=False)
    standard: GradingStandard = field(repr=False)
    reliability: float | None = None
    reliability_interval: tuple[float, float] | None = None
    reliability_cases: int | None = None
    reliability_cluster: int | None = None
    cluster_map: np.ndarray | None = field(default=None, repr=False)
    chance: float | None = None
    grade_set: tuple[str, ...] = ()
    grade_set_coverage: float | None = None
    ask_expert: bool = False
    reliability_reason: Mapping[str, str] | None = None
    adjusted_from: str | None = None
    neighbours: list[Neighbour] = field(default_factory=list)
    notes: tuple[str, ...] = ()

    @property
    def resembles(self) -> list[str]:
        """Grades whose likeness threshold the similarity reaches, most similar first."""
        like = [g for g, value in self.similarity.items() if value >= self.thresholds[g]]
        return sorted(like, key=lambda grade: -self.similarity[grade])

    @property
    def is_unlike_all(self) -> bool:
        """True when the fruit resembles no grade at all."""
        return not self.resembles

    @property
    def not_judged(self) -> list[str]:
        """Grades without a similarity, since the capture does not show their view."""
        return [grade for grade, value in self.similarity.items() if np.isnan(value)]

    @property
    def map_differs(self) -> bool:
        """True when the activation maps point at another grade than the one decided.

        Nothing on the surface speaks against a grade judged on the outline but a sign of a grade
        that takes precedence.
        """
        if self.map_grade is None or self.map_grade == self.grade:
            return False
        stronger = self.standard.decide([self.grade, self.map_grade])
        return self.grade in self.activation_maps or stronger == self.map_grade

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON: everything but the images."""
        return nan_to_none(
            {
                "source": self.source,
                "grade": self.grade,
                "similarity": dict(self.similarity),
                "thresholds": dict(self.thresholds),
                "resembles": self.resembles,
                "is_unlike_all": self.is_unlike_all,
                "not_judged": self.not_judged,
                "map_grade": self.map_grade,
                "map_differs": self.map_differs,
                "reliability": self.reliability,
                "reliability_interval": self.reliability_interval,
                "reliability_cases": self.reliability_cases,
                "reliability_cluster": self.reliability_cluster,
                "chance": self.chance,
                "grade_set": list(self.grade_set),
                "grade_set_coverage": self.grade_set_coverage,
                "ask_expert": self.ask_expert,
                "reliability_reason": self.reliability_reason,
                "adjusted_from": self.adjusted_from,
                "neighbours": [asdict(item) for item in self.neighbours],
                "outline": dict(self.outline) if self.outline is not None else None,
                "notes": list(self.notes),
            }
        )

    def save(self, folder: str | Path, language: str = "ja") -> None:
        """Write the grading and its pictures into `folder`.

        ``grading.json``, ``radar.svg`` and ``radar.png``, ``activation-GRADE.png`` per surface
        grade, ``activation-maps.npz`` with the maps themselves, and where reliability was fitted
        ``reliability-cluster.png``. Those of an earlier grading in `folder` go.
        """
        from mezoroi.report.overlay import overlay
        from mezoroi.report.radar import radar_png, radar_svg

        folder = Path(folder)
        if (folder / GRADING_JSON).is_file():
            for pattern in ("activation-*.png", "activation-maps.npz", "reliability-cluster.png"):
                for outdated in folder.glob(pattern):
                    outdated.unlink()
        chart = radar_svg(
            self.similarity,
            self.thresholds,
            self.standard,
            grade=self.grade,
            language=language,
        )
        write_text(folder / "radar.svg", chart)
        write_bytes(folder / "radar.png", radar_png(chart))
        names = file_names(self.activation_maps)
        for name, values in zip(names, self.activation_maps.values(), strict=True):
            write_bytes(folder / f"activation-{name}.png", _png(overlay(self.surface, values)))
        if self.cluster_map is not None:
            picture = overlay(self.surface, self.cluster_map, contour=None)
            write_bytes(folder / "reliability-cluster.png", _png(picture))
        if self.activation_maps:
            write_arrays(folder / "activation-maps.npz", self.activation_maps)
        write_json(folder / GRADING_JSON, self.to_dict())


def judged(
    grading: Grading, judgement: Judgement, model: ReliabilityModel, cluster_map: np.ndarray
) -> Grading:
    """`grading` with what its reliability says, and adjusted where that helps."""
    grades = grading.standard.grades
    before = judgement.adjusted_from
    reason = judgement.reasons[0].to_dict() if judgement.reasons else None
    return replace(
        grading,
        grade=grades[judgement.grade],
        adjusted_from=None if before is None else grades[before],
        reliability=judgement.reliability,
        reliability_interval=(judgement.low, judgement.high),
        reliability_cases=judgement.cases,
        reliability_cluster=judgement.cluster + 1,
        cluster_map=cluster_map,
        chance=judgement.chance,
        grade_set=tuple(grades[index] for index in judgement.grade_set),
        grade_set_coverage=model.conformal.coverage,
        ask_expert=bool(judgement.reasons),
        reliability_reason=reason,
    )


@dataclass(frozen=True)
class GradingFailure:
    """A fruit of a batch that could not be graded, and why."""

    source: str
    error: str

    def to_dict(self) -> dict[str, Any]:
        return {"source": self.source, "error": self.error}


def _png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()
