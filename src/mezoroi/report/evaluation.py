"""An evaluation in words and figures, for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def evaluation_text(scores: Mapping[str, Any]) -> str:
    """The main figures of `mezoroi.evaluation.evaluate`, a line each."""
    grading = scores["grading"]
    lines = [f"{scores['observations']} observations of {scores['specimens']} specimens"]
    for name, title in (
        ("accuracy", "accuracy"),
        ("quadratic_weighted_kappa", "quadratic-weighted kappa"),
        ("mean_absolute_grade_error", "mean absolute grade error"),
    ):
        lines.append(f"{title}: {_with_interval(grading[name])}")
    for grade in grading["grades"]:
        recall, precision = grading["recall"][grade], grading["precision"][grade]
        lines.append(
            f"grade {grade}: recall {_with_interval(recall)}, precision {_with_interval(precision)}"
        )
    maps = scores.get("maps")
    if maps:
        rows = ", ".join(f"{name} {value:.2f}" for name, value in maps["overall"].items())
        lines.append(f"mIoU with {maps['masks']} masks: {rows}")
    likeness = scores.get("likeness")
    if likeness:
        several = sum(entry["resemble_several"] for entry in likeness["per_grade"].values())
        unlike = sum(entry["unlike_all"] for entry in likeness["per_grade"].values())
        lines.append(f"{several} fruits resemble several grades, {unlike} resemble none")
        second = likeness["second_grade"]
        if second["fruits"]:
            lines.append(
                f"second grade right: {second['share']:.0%} of {second['fruits']} mixed fruits"
            )
    return "\n".join(lines)


def _with_interval(entry: Mapping[str, Any]) -> str:
    if entry["value"] is None:
        return f"undefined ({entry['reason']})"
    if entry["low"] is None:
        return f"{entry['value']:.3f}"
    return f"{entry['value']:.3f} ({entry['low']:.3f} to {entry['high']:.3f})"
