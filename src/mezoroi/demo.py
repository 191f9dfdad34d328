"""The demo: from no data at all to a grader and a report."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mezoroi.bundle import GRADER_JSON
from mezoroi.datasets import load_dataset
from mezoroi.datasets.melons import GRADES, write_melons
from mezoroi.files import require_folder
from mezoroi.grader import Grader
from mezoroi.outputs import (
    REPORT_HTML,
    draw_training_curve,
    evaluate_to_folder,
    grade_to_folder,
)
from mezoroi.presets import make_config
from mezoroi.progress import Progress, silent
from mezoroi.workflow import train as train_grader
from mezoroi.workflow import with_splits_of


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
        workers=os.cpu_count() or 1,
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
