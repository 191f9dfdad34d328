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
    reliability = scores.get("reliability")
    if reliability:
        lines += _reliability_lines(reliability)
    return "\n".join(lines)


def _reliability_lines(scores: Mapping[str, Any]) -> list[str]:
    before, after = scores["before"], scores["after"]
    lines = [
        f"adjusted by {scores['method']} clusters: {scores['changed']} grades changed"
        + ("" if scores["adjusts"] else " (it did not help on the calibration fruits)"),
        f"  overall accuracy {before['overall']:.3f} -> {after['overall']:.3f}, average class "
        f"accuracy {before['average_class']:.3f} -> {after['average_class']:.3f}",
    ]
    for name, row in scores["signals"].items():
        if row["auroc"] == row["auroc"]:
            lines.append(f"finding errors by {name}: AUROC {row['auroc']:.3f}")
    sets = scores["sets"]
    lines.append(
        f"sets of grades hold the expert's in {sets['coverage']:.0%} of cases "
        f"(promised {sets['promised']:.0%}), {sets['size']:.2f} grades each"
    )
    suspects = scores["suspects"]
    if suspects:
        first = ", ".join(f"{one['id']} ({one['grade']})" for one in suspects[:3])
        lines.append(f"{len(suspects)} grades to look at again, first: {first}")
    return lines


def _with_interval(entry: Mapping[str, Any]) -> str:
    if entry["value"] is None:
        return f"undefined ({entry['reason']})"
    if entry["low"] is None:
        return f"{entry['value']:.3f} (too few specimens for an interval)"
    return f"{entry['value']:.3f} ({entry['low']:.3f} to {entry['high']:.3f})"
