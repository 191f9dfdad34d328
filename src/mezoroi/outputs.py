"""What the verbs write to folders: gradings, evaluations, cross-validation and the demo."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mezoroi.capture.folders import require_apart
from mezoroi.capture.sources import find_sources
from mezoroi.datasets import Dataset
from mezoroi.evaluation import evaluate
from mezoroi.files import (
    folder_names,
    read_numbers,
    require_folder,
    write_bytes,
    write_json,
    write_text,
)
from mezoroi.grader import Grader
from mezoroi.grading import Grading, GradingFailure
from mezoroi.progress import Progress, silent
from mezoroi.report.html import ReportItem, batch_report
from mezoroi.report.plots import confusion_matrix_png, training_curve_png
from mezoroi.trust_scores import reliability_scores

REPORT_HTML = "report.html"
EVALUATION_JSON = "evaluation.json"
_REPORT_PIXELS = 1024


def grade_to_folder(
    grader: Grader,
    sources: Iterable[str | Path],
    out: str | Path,
    *,
    language: str = "ja",
    batch_size: int = 16,
    progress: Progress = silent,
    in_japanese: Callable[[str], str] = str,
) -> list[Grading | GradingFailure]:
    """Grade photos, videos, captures and folders of them; a folder per fruit and a report.

    Parameters
    ----------
    grader : a loaded grader
    sources : paths as `find_sources` takes them
    out : receives ``NAME/grading.json`` with its charts for each fruit, and ``report.html``
    language : ``ja`` or ``en``, of the charts; the report has both
    in_japanese : the Japanese of a line that says what failed or is to be noted, for the report

    Returns
    -------
    One result per fruit in order; a fruit that cannot be read is a `GradingFailure`. The images in
    the gradings are reduced to what the report shows.
    """
    out = Path(out)
    require_folder(out)
    paths = find_sources(sources, grader.bundle.input_kind)
    results: list[Grading | GradingFailure] = []
    names = folder_names(paths)
    require_apart((out / name for name in names), paths)
    for index, result in enumerate(grader.grade_many(paths, batch_size)):
        if isinstance(result, Grading):
            result.save(out / names[index], language)
            result = replace(result, surface=_reduced(result.surface))
        results.append(result)
        progress("grading", index + 1, len(paths))
    page = batch_report(
        [_report_item(result) for result in results],
        grader.standard,
        title="Mezoroi",
        language=language,
        in_japanese=in_japanese,
    )
    write_text(out / REPORT_HTML, page)
    return results


def grading_line(grading: Grading) -> str:
    """A grading in a line: the grade, how reliable it is, and why an expert should be asked."""
    line = f"{grading.source}: {grading.grade}"
    if grading.adjusted_from is not None:
        line += f" (changed from {grading.adjusted_from})"
    if grading.reliability is not None and grading.reliability_cases is not None:
        right = round(grading.reliability * grading.reliability_cases)
        line += (
            f", reliability {grading.reliability:.2f} ({right} of {grading.reliability_cases}, "
            f"cluster {grading.reliability_cluster})"
        )
    if len(grading.grade_set) > 1:
        line += f", {' or '.join(grading.grade_set)} ({grading.grade_set_coverage:.0%})"
    if grading.reliability_reason is not None:
        line += f"; ask an expert, unreliable because {grading.reliability_reason['en']}"
    return line


def evaluate_to_folder(
    grader: Grader,
    dataset: Dataset,
    folder: str | Path,
    language: str = "ja",
    progress: Progress = silent,
    adjust: bool = False,
) -> dict[str, Any]:
    """`evaluate`, written as ``evaluation.json`` with a plot of the confusion matrix.

    With `adjust` also `reliability_scores`, as ``reliability``.
    """
    folder = Path(folder)
    require_folder(folder)
    scores = evaluate(grader, dataset, progress)
    if adjust:
        scores["reliability"] = reliability_scores(grader, dataset, progress)
    write_bytes(
        folder / "confusion.png",
        confusion_matrix_png(
            scores["grading"]["confusion_matrix"], grader.standard.grades, language=language
        ),
    )
    write_json(folder / EVALUATION_JSON, scores)
    return scores


def draw_training_curve(run_dir: Path, language: str = "ja") -> None:
    """Draw ``epochs.csv`` of a run folder as ``epochs.png``, unless it is missing or empty."""
    rows = read_numbers(run_dir / "epochs.csv", "epoch")
    if not rows:
        return
    names: list[str] = [name for name in ("train_loss", "val_loss", "val_acc") if name in rows[0]]
    curves = {name: [float(row[name] or "nan") for row in rows] for name in names}
    write_bytes(run_dir / "epochs.png", training_curve_png(curves, language=language))


def _reduced(image: np.ndarray) -> np.ndarray:
    scale = _REPORT_PIXELS / max(image.shape[:2])
    if scale >= 1:
        return image
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def _report_item(result: Grading | GradingFailure) -> ReportItem:
    if isinstance(result, GradingFailure):
        return ReportItem(name=result.source, error=result.error)
    return ReportItem(
        name=result.source,
        image=result.surface,
        grade=result.grade,
        similarity=result.similarity,
        thresholds=result.thresholds,
        activation_maps=result.activation_maps,
        resembles=result.resembles,
        is_unlike_all=result.is_unlike_all,
        outline=result.outline,
        map_grade=result.map_grade if result.map_differs else None,
        reliability=result.reliability,
        reliability_interval=result.reliability_interval,
        reliability_cases=result.reliability_cases,
        reliability_reason=result.reliability_reason,
        cluster_map=result.cluster_map,
        adjusted_from=result.adjusted_from,
        grade_set=result.grade_set,
        grade_set_coverage=result.grade_set_coverage,
        neighbours=result.neighbours,
        notices=result.notes,
    )
