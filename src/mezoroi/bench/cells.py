"""One cell of a grading bench: train an arm, grade the test sets, keep the answers."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mezoroi.bench.ledger import cell_key
from mezoroi.config import Config
from mezoroi.datasets import Dataset
from mezoroi.evaluation import score_likeness, score_maps, true_grades
from mezoroi.progress import Progress, silent
from mezoroi.standard import GradingStandard
from mezoroi.workflow import train


@dataclass(frozen=True)
class Arm:
    """A way to train, compared with others at the same budget.

    Attributes
    ----------
    name : as in the tables
    overrides : settings by section, laid over the bench's own; a setting of its own by its name
    by_classifier : grade by the trained head's scores instead of the prototypes
    """

    name: str
    overrides: Mapping[str, Any]
    by_classifier: bool = False

    def config(self, base: Config) -> Config:
        """`base` with this arm's settings."""
        content = base.model_dump()
        for name, values in self.overrides.items():
            inner = isinstance(values, Mapping)
            content[name] = {**content[name], **values} if inner else values
        return Config.model_validate(content)


MUTUAL_CHANNEL = Arm("MC-Loss + ArcFace", {})
ARCFACE = Arm("ArcFace", {"model": {"channels_per_grade": 0}})
SOFTMAX = Arm(
    "softmax fine-tuning",
    {"model": {"channels_per_grade": 0}, "loss": {"head": "softmax"}},
    by_classifier=True,
)


def run_cell(
    arm: Arm,
    base: Config,
    seed: int,
    learning: Dataset,
    tests: Mapping[str, Dataset],
    work: Path,
    label: Mapping[str, Any],
    progress: Progress = silent,
) -> dict[str, Any]:
    """Train `arm` on the train and val splits of `learning` and grade every test set.

    Returns
    -------
    dict by test set: ``truth``, ``given`` (grade numbers), ``specimens``, and, for an arm with
    maps, ``maps`` and ``likeness`` as in `mezoroi.evaluation.evaluate`
    """
    config = arm.config(base)
    config = config.model_copy(update={"train": config.train.model_copy(update={"seed": seed})})
    run = work / "runs" / cell_key(label)
    grader = train(learning, config, run, resume=run.exists(), progress=progress)
    result: dict[str, Any] = {}
    for name, dataset in tests.items():
        predictions = grader.predict(dataset, progress=progress)
        given = predictions.logits.argmax(axis=1) if arm.by_classifier else predictions.grades
        maps = score_maps(grader, dataset, predictions, n_resamples=500)
        result[name] = {
            "truth": true_grades(grader, dataset).tolist(),
            "given": given.tolist(),
            "specimens": list(dataset.specimens),
            "maps": maps,
            "likeness": score_likeness(grader, dataset, predictions),
        }
    shutil.rmtree(run)
    return result


def surface_only(dataset: Dataset) -> Dataset:
    """The fruits whose grade is judged on the surface, without their outlines."""
    full = dataset.standard
    grades = full.surface_grades
    standard = GradingStandard(
        grades=grades,
        precedence=tuple(grade for grade in full.precedence if grade in grades),
        descriptions={grade: full.descriptions[grade] for grade in grades},
        ordered=full.ordered,
    )
    rows = tuple(replace(item, outline=None) for item in dataset if item.grade in grades)
    return replace(dataset, observations=rows, standard=standard)


def share_of_training(dataset: Dataset, share: float, seed: int) -> Dataset:
    """`dataset` with a share of the train and val observations of each grade, by seed."""
    if share >= 1:
        return dataset
    rng = np.random.default_rng([seed, round(1000 * share)])
    kept = []
    for split in ("train", "val"):
        for grade in dataset.standard.grades:
            own = [item for item in dataset if (item.split, item.grade) == (split, grade)]
            count = max(2, round(share * len(own)))
            kept += [own[i] for i in rng.permutation(len(own))[:count]]
    rest = [item for item in dataset if item.split not in ("train", "val")]
    return replace(dataset, observations=tuple(kept + rest))
