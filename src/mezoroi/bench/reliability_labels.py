"""Wrong labels found again: melons of which 5 % were given another grade."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mezoroi.bench.explain_score import trained
from mezoroi.bench.ledger import Ledger
from mezoroi.bench.melons import PER_GRADE, TRAIN_SEED
from mezoroi.bench.reliability_resplits import METHOD, melon_config
from mezoroi.config import Config
from mezoroi.datasets import Dataset, complete_splits, folds, load_dataset
from mezoroi.datasets.melons import GENERATOR_VERSION, write_melons
from mezoroi.evaluation import true_grades
from mezoroi.progress import Progress, silent
from mezoroi.reliability.confidence import fit_temperature
from mezoroi.reliability.suspects import doubts
from mezoroi.trusting import answers_of

SHARE = 0.05
FOLDS = 3
SEEDS = (0, 1, 2)


def label_settings(seed: int, fold: int, config: Config, per_grade: int) -> dict[str, Any]:
    """What identifies a cell in the ledger."""
    return {
        "bench": "reliability labels",
        "generator": GENERATOR_VERSION,
        "data_seed": TRAIN_SEED,
        "per_grade": per_grade,
        "share": SHARE,
        "folds": FOLDS,
        "seed": seed,
        "fold": fold,
        "method": METHOD,
        "config": config.model_dump(mode="json"),
    }


def run_labels(
    work: Path,
    ledger: Ledger,
    progress: Progress = silent,
    config: Config | None = None,
    per_grade: int = PER_GRADE,
) -> None:
    """Every cell that the ledger does not have yet: a third of the melons, graded by the others.

    Parameters
    ----------
    config, per_grade : of graders and melons; smaller ones are for trying the bench
    """
    config = config or melon_config()
    plan = [(seed, fold) for seed in SEEDS for fold in range(FOLDS)]
    for number, (seed, fold) in enumerate(plan):
        cell = partial(_cell, seed, fold, config, per_grade, work, progress)
        ledger.compute(label_settings(seed, fold, config, per_grade), cell)
        progress("wrong labels", number + 1, len(plan))


def corrupted(dataset: Dataset, seed: int) -> tuple[Dataset, frozenset[str]]:
    """`dataset` with another grade for 5 % of its observations, and the ids of these."""
    rng = np.random.default_rng([seed, 5])
    chosen = rng.choice(len(dataset), round(SHARE * len(dataset)), replace=False)
    rows = list(dataset.observations)
    for number in sorted(chosen):
        others = [grade for grade in dataset.standard.grades if grade != rows[number].grade]
        rows[number] = replace(rows[number], grade=others[rng.integers(len(others))])
    ids = frozenset(rows[number].id for number in chosen)
    return replace(dataset, observations=tuple(rows)), ids


def _cell(
    seed: int, fold: int, config: Config, per_grade: int, work: Path, progress: Progress
) -> dict[str, Any]:
    folder = work / "melons" / ("train" if per_grade == PER_GRADE else f"train-{per_grade}")
    write_melons(
        folder,
        per_grade,
        TRAIN_SEED,
        progress=lambda done: progress("making melons", done, 4 * per_grade),
    )
    dataset = load_dataset(folder)
    plain = tuple(replace(one, split=None) for one in dataset)
    melons, wrong = corrupted(replace(dataset, observations=plain), seed)
    learning, held_out = folds(melons, FOLDS, seed)[fold]
    config = config.model_copy(update={"train": config.train.model_copy(update={"seed": seed})})
    label = {"learning": learning.fingerprint, "config": config.model_dump(mode="json")}
    rows = tuple(replace(one, split="train") for one in learning)
    split = complete_splits(replace(learning, observations=rows), seed)
    grader = trained(split, config, work, label, progress)
    watching = split.select("val")
    temperature = fit_temperature(grader.predict(watching).logits, true_grades(grader, watching))
    answers = answers_of(grader, held_out, METHOD, progress)
    clusters = grader.reliability.clusters if grader.reliability else None
    found = doubts(answers, true_grades(grader, held_out), temperature, clusters)
    return {
        "ids": [item.id for item in held_out],
        "wrong": [item.id in wrong for item in held_out],
        "score": found.score.tolist(),
        "model": found.model.tolist(),
        "neighbours": found.neighbours.tolist(),
        "cluster": found.cluster.tolist(),
        "contradicted": (answers.given != true_grades(grader, held_out)).tolist(),
    }
