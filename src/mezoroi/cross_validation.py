"""Every fold of a dataset graded by a grader that learned from the others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mezoroi.config import Config
from mezoroi.datasets import Dataset, folds
from mezoroi.evaluation import evaluate, true_grades
from mezoroi.files import require_folder, write_json
from mezoroi.metrics.grading import grading_report
from mezoroi.progress import Progress, silent
from mezoroi.run_folder import claim_folds
from mezoroi.workflow import train as train_grader

CROSS_VALIDATION_JSON = "cross-validation.json"


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


def _without_splits(dataset: Dataset) -> Dataset:
    rows = tuple(replace(item, split=None) for item in dataset)
    return replace(dataset, observations=rows)
