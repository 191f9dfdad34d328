"""What the verbs write to folders: gradings, evaluations, cross-validation and the demo."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mezoroi.bundle import GRADER_JSON
from mezoroi.capture.sources import find_sources
from mezoroi.config import Config
from mezoroi.datasets import Dataset, folds, load_dataset
from mezoroi.datasets.melons import GRADES, write_melons
from mezoroi.evaluation import evaluate, true_grades
from mezoroi.files import folder_names, require_folder, write_bytes, write_json, write_text
from mezoroi.grader import Grader
from mezoroi.grading import Grading, GradingFailure
from mezoroi.metrics.grading import grading_report
from mezoroi.presets import make_config
from mezoroi.progress import Progress, silent
from mezoroi.report.html import ReportItem, batch_report
from mezoroi.report.plots import confusion_matrix_png, training_curve_png
from mezoroi.run_folder import claim_folds
from mezoroi.trust_scores import reliability_scores
from mezoroi.workflow import train as train_grader
from mezoroi.workflow import with_splits_of

REPORT_HTML = "report.html"
EVALUATION_JSON = "evaluation.json"
CROSS_VALIDATION_JSON = "cross-validation.json"
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
    """Draw ``epochs.csv`` of a run folder as ``epochs.png``."""
    with (run_dir / "epochs.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    names = [name for name in ("train_loss", "val_loss", "val_acc") if name in rows[0]]
    curves = {name: [float(row[name] or "nan") for row in rows] for name in names}
    write_bytes(run_dir / "epochs.png", training_curve_png(curves, language=language))


def cross_validate(
    dataset: Dataset,
    config: Config,
    out: str | Path,
    num_folds: int = 3,
    group: str = "specimen",
    progress: Progress = silent,
) -> dict[str, Any]:
    """Train on all folds but one and grade that one, for every fold.

    Each fold's run stays in ``out/fold-K``; folds already finished with the same data and settings
    are not trained again. ``out/folds.json`` says how many there are and what stays together.

    Returns
    -------
    dict with ``folds`` (an evaluation each) and ``pooled`` (every observation graded once by a
    grader that did not see it, with intervals by specimen); written as ``cross-validation.json``.

    Raises
    ------
    MezoroiError
        If `out` holds another cross-validation, or the dataset cannot be dealt out.
    """
    out = Path(out)
    require_folder(out)
    evaluations = []
    truth, given = [], []
    specimens: list[str] = []
    parts = folds(dataset, num_folds, config.split.seed, group)  # type: ignore[arg-type]
    claim_folds(out, num_folds, group)
    for number, (learning, held_out) in enumerate(parts):
        run = out / f"fold-{number}"
        both = {item.id: "train" for item in learning} | {item.id: "test" for item in held_out}
        split = _without_splits(dataset).with_splits(both)
        settings = config.model_copy(
            update={"split": config.split.model_copy(update={"group": group})}
        )
        grader = train_grader(split, settings, run, resume=run.exists(), progress=progress)
        unseen = split.select("test")
        evaluations.append(evaluate(grader, unseen, progress))
        truth.append(true_grades(grader, unseen))
        given.append(grader.predict(unseen).grades)
        specimens += unseen.specimens
        progress("folds", number + 1, num_folds)
    scores = {
        "folds": evaluations,
        "pooled": {
            "observations": len(specimens),
            "specimens": len(set(specimens)),
            "grading": grading_report(
                np.concatenate(truth),
                np.concatenate(given),
                dataset.standard.grades,
                specimens,
                dataset.standard.ordered,
            ),
        },
        "group": group,
    }
    write_json(out / CROSS_VALIDATION_JSON, scores)
    return scores


def run_demo(
    out: str | Path,
    per_grade: int,
    preset: str = "quick",
    progress: Progress = silent,
    in_japanese: Callable[[str], str] = str,
) -> dict[str, Any]:
    """Make melons, train, evaluate and grade the test fruits; finished steps are kept.

    Parameters
    ----------
    in_japanese : as of `grade_to_folder`

    Returns
    -------
    dict with ``accuracy`` on the test melons, and the paths ``report`` and ``run``
    """
    out = Path(out)
    require_folder(out)
    melons, run = out / "melons", out / "run"
    write_melons(
        melons,
        per_grade,
        seed=7,
        progress=lambda done: progress("making melons", done, per_grade * len(GRADES)),
    )
    dataset = load_dataset(melons)
    if (run / GRADER_JSON).exists():
        grader = Grader.load(run)
    else:
        grader = train_grader(
            dataset, make_config(preset), run, resume=run.exists(), progress=progress
        )
        draw_training_curve(run)
    unseen = with_splits_of(grader, dataset).select("test")
    scores = evaluate_to_folder(grader, unseen, out / "evaluation", progress=progress)
    shown = [item.image.parent for item in unseen][:12]
    grade_to_folder(grader, shown, out / "gradings", progress=progress, in_japanese=in_japanese)
    return {
        "accuracy": scores["grading"]["accuracy"]["value"],
        "report": str(out / "gradings" / REPORT_HTML),
        "run": str(run),
    }


def _without_splits(dataset: Dataset) -> Dataset:
    rows = tuple(replace(item, split=None) for item in dataset)
    return replace(dataset, observations=rows)


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
