"""Every fold of a dataset graded by a grader that learned from the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mezoroi.config import Config
from mezoroi.datasets import Dataset, folds
from mezoroi.errors import MezoroiError
from mezoroi.evaluation import evaluate, true_grades
from mezoroi.files import require_folder, write_json
from mezoroi.metrics.grading import grading_report
from mezoroi.progress import Progress, silent
from mezoroi.run_folder import claim_folds
from mezoroi.workflow import ready_to_learn
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
        If `out` holds another cross-validation, or the dataset cannot be dealt out so that every
        fold leaves enough to learn from.
    """
    out = Path(out)
    require_folder(out)
    evaluations = []
    truth, given = [], []
    specimens: list[str] = []
    settings = config.model_copy(update={"split": config.split.model_copy(update={"group": group})})
    parts = folds(dataset, num_folds, config.split.seed, group)  # type: ignore[arg-type]
    splits = [_marked(dataset, held_out) for _, held_out in parts]
    _require_learnable(splits, settings)
    claim_folds(out, num_folds, group)
    for number, split in enumerate(splits):
        run = out / f"fold-{number}"
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


def _marked(dataset: Dataset, held_out: Dataset) -> Dataset:
    """The dataset with what is held out as test, and all else as train."""
    ids = {item.id for item in held_out}
    rows = (replace(item, split="test" if item.id in ids else "train") for item in dataset)
    return replace(dataset, observations=tuple(rows))


def _require_learnable(splits: Sequence[Dataset], config: Config) -> None:
    """Refuse, before the first fold is trained, folds of which one leaves too little."""
    for number, split in enumerate(splits):
        try:
            ready_to_learn(split, config)
        except MezoroiError as error:
            raise MezoroiError(f"without fold-{number}, {error}") from error
