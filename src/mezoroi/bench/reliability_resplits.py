"""One trained grader, twenty draws of calibration and test fruits: melons and tomatoes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import GroupShuffleSplit

from mezoroi.bench.cells import MUTUAL_CHANNEL
from mezoroi.bench.explain_score import trained
from mezoroi.bench.ledger import Ledger, cell_key
from mezoroi.bench.melons import PER_GRADE, TEST_SEED, TRAIN_SEED
from mezoroi.bench.tomatoes import tomato_config
from mezoroi.config import Config
from mezoroi.datasets import Dataset, complete_splits, load_dataset, without_same_pictures
from mezoroi.datasets.melons import GENERATOR_VERSION, write_melons
from mezoroi.errors import MezoroiError
from mezoroi.evaluation import true_grades
from mezoroi.files import atomic_path
from mezoroi.metrics.calibration import mean_set_size, set_coverage
from mezoroi.progress import Progress, silent
from mezoroi.reliability.clusters import SaliencyClusters
from mezoroi.reliability.confidence import Answers, probabilities
from mezoroi.reliability.conformal import ConformalSets
from mezoroi.reliability.model import COVERAGE, fit_reliability
from mezoroi.reliability.saliency import ACTIVATION
from mezoroi.trust_scores import signal_scores
from mezoroi.trusting import answers_of

RESPLITS = 20
POOL_PER_GRADE = 325
"""Melons of each grade that are never learned from: 1,300, of which 1,000 are test."""
MELON_CALIBRATION, TOMATO_CALIBRATION = 3 / 13, 0.5
METHOD = ACTIVATION
MELONS, TOMATOES = "melons", "tomatoes"
_STATED = ("softmax", "tempered softmax", "saliency cluster", "combination")


def resplit_settings(data: str, config: Config, pool: int = POOL_PER_GRADE) -> dict[str, Any]:
    """What identifies a cell in the ledger; `data` is `MELONS` or `TOMATOES`."""
    made = {"generator": GENERATOR_VERSION, "seeds": [TRAIN_SEED, TEST_SEED], "pool": pool}
    return {
        "bench": "reliability resplits",
        "data": data,
        "resplits": RESPLITS,
        "method": METHOD,
        "coverage": COVERAGE,
        "config": config.model_dump(mode="json"),
        **(made if data == MELONS else {}),
    }


def melon_config() -> Config:
    """Settings of the melons' grader."""
    return MUTUAL_CHANNEL.config(Config())


def tomatoes_config() -> Config:
    """Settings of the tomatoes' grader."""
    return MUTUAL_CHANNEL.config(tomato_config("test"))


def run_melon_resplits(
    work: Path,
    ledger: Ledger,
    progress: Progress = silent,
    config: Config | None = None,
    per_grade: int = PER_GRADE,
    pool: int = POOL_PER_GRADE,
) -> None:
    """The melons' cell, if the ledger does not have it yet.

    Parameters
    ----------
    config, per_grade, pool : of the grader and of the melons of each grade that it learns from and
        is tested on; smaller ones are for trying the bench
    """
    config = config or melon_config()

    def compute() -> dict[str, Any]:
        learning = complete_splits(_made(work, "train", per_grade, TRAIN_SEED, progress))
        unseen = _made(work, "resplits", pool, TEST_SEED, progress)
        answers, truth = stored_answers(learning, unseen, config, work, progress)
        return resplit_cell(answers, truth, unseen.specimens, MELON_CALIBRATION, progress)

    ledger.compute(resplit_settings(MELONS, config, pool), compute)


def run_tomato_resplits(
    manifest: Path, work: Path, ledger: Ledger, progress: Progress = silent
) -> None:
    """The tomatoes' cell, if the ledger does not have it yet: val and test are drawn anew."""
    if not manifest.is_file():
        raise MezoroiError(f"{manifest} does not exist: give the tomato manifest with --tomatoes")
    config = tomatoes_config()

    def compute() -> dict[str, Any]:
        dataset = complete_splits(without_same_pictures(load_dataset(manifest)))
        rows = [item for item in dataset if item.split in ("val", "test")]
        unseen = replace(dataset, observations=tuple(rows))
        answers, truth = stored_answers(dataset, unseen, config, work, progress)
        return resplit_cell(answers, truth, unseen.specimens, TOMATO_CALIBRATION, progress)

    ledger.compute(resplit_settings(TOMATOES, config), compute)


def stored_answers(
    learning: Dataset, unseen: Dataset, config: Config, work: Path, progress: Progress
) -> tuple[Answers, NDArray[np.intp]]:
    """What a grader says about unseen fruits, trained and asked once, and their grades."""
    label = {
        "learning": learning.fingerprint,
        "unseen": unseen.fingerprint,
        "method": METHOD,
        "config": config.model_dump(mode="json"),
    }
    path = work / "answers" / f"{cell_key(label)}.npz"
    if not path.exists():
        grader = trained(learning, config, work, label, progress)
        answers = answers_of(grader, unseen, METHOD, progress)
        with atomic_path(path) as temporary:
            np.savez_compressed(temporary, truth=true_grades(grader, unseen), **vars(answers))
    with np.load(path) as found:
        columns = dict(found)
    truth = columns.pop("truth")
    return Answers(**columns), truth


def resplit_cell(
    answers: Answers,
    truth: NDArray[np.intp],
    specimens: ArrayLike,
    share: float,
    progress: Progress = silent,
    resplits: int = RESPLITS,
) -> dict[str, Any]:
    """Fit on a share of the fruits and score on the others, `resplits` times.

    Returns
    -------
    dict with ``draws``, one entry per resplit: accuracy before, as published and as applied, scores
    of every signal by name, and conformal sets by method
    """
    groups = np.asarray(specimens)
    draws = []
    for number, (known, new) in enumerate(_draws(groups, share, resplits)):
        draws.append(_draw(answers, truth, groups, known, new))
        progress("resplits", number + 1, resplits)
    return {"fruits": len(truth), "draws": draws}


def _draw(
    answers: Answers,
    truth: NDArray[np.intp],
    groups: NDArray[Any],
    known: NDArray[np.intp],
    new: NDArray[np.intp],
) -> dict[str, Any]:
    calibration, test = answers.subset(known), answers.subset(new)
    model = fit_reliability(calibration, truth[known], groups[known], METHOD, SaliencyClusters())
    right = test.given == truth[new]
    signals = model.signals(test)
    signals["combination"] = model.combination.chance(signals)
    chances = probabilities(calibration.logits, model.temperature)
    new_chances = probabilities(test.logits, model.temperature)
    sets = {}
    for method in ("least", "adaptive"):
        fitted = ConformalSets.fit(chances, truth[known], COVERAGE, method)
        found = fitted.sets(new_chances)
        sets[method] = {
            "coverage": set_coverage(found, truth[new]),
            "size": mean_set_size(found),
            "empty": float((~found.any(axis=1)).mean()),
        }
    published = model.clusters.adjust(test.maps, test.given)
    return {
        "calibration": len(known),
        "test": len(new),
        "before": float(right.mean()),
        "published": float((published == truth[new]).mean()),
        "after": float((model.adjust(test) == truth[new]).mean()),
        "applied": model.adjusts,
        "signals": {
            name: signal_scores(values, right, name in _STATED)
            for name, values in signals.items()
            if np.isfinite(values).all()
        },
        "sets": sets,
    }


def _draws(
    groups: NDArray[Any], share: float, resplits: int
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Calibration and test rows, whole specimens each."""
    splitter = GroupShuffleSplit(resplits, train_size=share, random_state=0)
    yield from splitter.split(groups, groups=groups)


def _made(work: Path, name: str, per_grade: int, seed: int, progress: Progress) -> Dataset:
    folder = work / "melons" / (name if per_grade == PER_GRADE else f"{name}-{per_grade}")
    write_melons(
        folder,
        per_grade,
        seed,
        progress=lambda done: progress("making melons", done, 4 * per_grade),
    )
    dataset = load_dataset(folder)
    return replace(dataset, observations=tuple(replace(one, split=None) for one in dataset))
