"""The paper's adjustment on photos whose background misleads: three kinds of maps, three seeds."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mezoroi.bench.explain_score import trained
from mezoroi.bench.ledger import Ledger
from mezoroi.config import Config
from mezoroi.datasets import Dataset, load_dataset
from mezoroi.datasets.clever_hans import VERSION, write_clever_hans
from mezoroi.datasets.melons import GENERATOR_VERSION
from mezoroi.evaluation import true_grades
from mezoroi.metrics.calibration import error_auroc
from mezoroi.presets import make_config
from mezoroi.progress import Progress, silent
from mezoroi.reliability.clusters import SaliencyClusters
from mezoroi.reliability.model import fit_reliability
from mezoroi.trusting import answers_of

DATA_SEED = 5012
PER_GRADE = 500
VARIANTS = {"two grades": ("A", "B")}
METHODS = ("grad-cam", "occlusion", "lime")
SEEDS = (0, 1, 2)
# A plain classifier, as the paper's: softmax, no class channels.
SETTINGS = (
    "input.height=128",
    "model.channels_per_grade=0",
    "loss.head=softmax",
    "train.epochs=6",
    "train.cached_views=4",
)


def hans_config(seed: int) -> Config:
    """Settings of the classifier."""
    return make_config(overrides=[*SETTINGS, f"train.seed={seed}"])


def hans_settings(variant: str, seed: int, method: str, per_grade: int) -> dict[str, Any]:
    """What identifies a cell in the ledger."""
    return {
        "bench": "reliability clever-hans",
        "generator": [GENERATOR_VERSION, VERSION],
        "data_seed": DATA_SEED,
        "per_grade": per_grade,
        "variant": variant,
        "seed": seed,
        "method": method,
        "config": hans_config(seed).model_dump(mode="json"),
    }


def run_hans(
    work: Path, ledger: Ledger, progress: Progress = silent, per_grade: int = PER_GRADE
) -> None:
    """Every cell that the ledger does not have yet.

    Parameters
    ----------
    per_grade : photos of each grade; fewer are for trying the bench
    """
    plan = [(v, seed, m) for v in VARIANTS for seed in SEEDS for m in METHODS]
    for number, (variant, seed, method) in enumerate(plan):
        settings = hans_settings(variant, seed, method, per_grade)
        if ledger.find(settings) is None:
            photos = made_photos(work, variant, per_grade, progress)
            ledger.compute(settings, partial(hans_cell, photos, seed, method, work, progress))
        progress("misleading backgrounds", number + 1, len(plan))


def made_photos(work: Path, variant: str, per_grade: int, progress: Progress) -> Dataset:
    """The photos of a variant, made once."""
    grades = VARIANTS[variant]
    folder = work / "clever-hans" / f"{''.join(grades)}-{per_grade}"
    total = per_grade * len(grades)
    write_clever_hans(
        folder,
        per_grade,
        DATA_SEED,
        grades=grades,
        progress=lambda done: progress("making photos", done, total),
    )
    return load_dataset(folder)


def hans_cell(
    photos: Dataset, seed: int, method: str, work: Path, progress: Progress
) -> dict[str, Any]:
    """Train, fit on the calibration photos, adjust the test photos."""
    config = hans_config(seed)
    label = {"photos": photos.fingerprint, "config": config.model_dump(mode="json")}
    grader = trained(photos, config, work, label, progress)
    calibration, test = photos.select("calibration"), photos.select("test")
    known = answers_of(grader, calibration, method, progress)
    truth = true_grades(grader, calibration)
    model = fit_reliability(known, truth, calibration.specimens, method, SaliencyClusters())
    answers = answers_of(grader, test, method, progress)
    clusters = model.clusters
    right = true_grades(grader, test) == answers.given
    beyond = {
        name: error_auroc(values, right) for name, values in model.signals(answers).items()
        if np.isfinite(values).all()
    }  # fmt: skip
    return {
        "truth": true_grades(grader, test).tolist(),
        "given": answers.given.tolist(),
        # As published: what the calibration photos say is applied, without a trial.
        "published": clusters.adjust(answers.maps, answers.given).tolist(),
        "adjusted": model.adjust(answers).tolist(),
        "specimens": list(test.specimens),
        "cued": [bool(item.extra.get("cue")) for item in test],
        "calibration": {
            "right": int((known.given == truth).sum()),
            "cases": len(truth),
            "corrected": model.trial.corrected,
            "spoiled": model.trial.spoiled,
        },
        "clusters": [
            [int(total), float(rate)]
            for total, rate in zip(
                clusters.counts_.sum(axis=(1, 2)), clusters.error_rate_, strict=True
            )
        ],
        "variance": float(clusters.explained_variance_ratio_.sum()),
        "auroc": beyond,
    }
