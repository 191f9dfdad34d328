"""What grading loses when the surface comes from a video instead of the truth."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mezoroi.bench.ledger import Ledger, cell_key, code_version
from mezoroi.config import Config
from mezoroi.datasets import Dataset, complete_splits, hold_out_per_grade, load_dataset
from mezoroi.datasets.melons import GENERATOR_VERSION, collection, write_melons
from mezoroi.grader import Grader
from mezoroi.grading import GradingFailure
from mezoroi.progress import Progress, silent
from mezoroi.workflow import train

SEEDS = (3008, 3009)
"""Of the melons; each draws its own test melons and trains its own grader.

Films of smaller seeds were looked at while captures were developed."""
PER_GRADE, TEST_PER_GRADE = 122, 30
DRAW = 0
"""Seed of the draw of test melons and of the training."""
SURFACE, VIDEO = "surface", "video"


def grading_settings(seed: int) -> dict[str, Any]:
    """What identifies the cell of a seed in the ledger."""
    return {
        "bench": "capture",
        "part": "grading",
        "generator": GENERATOR_VERSION,
        "seed": seed,
        "per_grade": [PER_GRADE, TEST_PER_GRADE],
        "repeat": DRAW,
        "config": Config().model_dump(mode="json"),
    }


def run_grading(work: Path, ledger: Ledger, progress: Progress = silent) -> None:
    """Train and grade every seed that the ledger does not have yet."""
    for seed in SEEDS:
        settings = grading_settings(seed)
        if ledger.find(settings) is None:
            run = work / "runs" / cell_key(settings)
            sizes = PER_GRADE, TEST_PER_GRADE
            result = grade_both_ways(Config(), seed, sizes, work, run, progress)
            ledger.compute(settings, lambda found=result: found)  # type: ignore[misc]


def grade_both_ways(
    config: Config,
    seed: int,
    sizes: tuple[int, int],
    work: Path,
    run: Path,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Train on made-up melons and grade the others from their true surfaces and from videos.

    Parameters
    ----------
    config : of the training
    seed : of the melons
    sizes : melons per grade, and how many of these are for testing
    work : folder of melons and videos; what an earlier call with the same code has made is used
    run : the training's folder, removed at the end; an interrupted training there resumes

    Returns
    -------
    ``truth``, ``surface`` and ``video`` (grade numbers; -1 where the video could not be graded),
    ``specimens``, and ``failures``, one line each
    """
    per_grade, test_per_grade = sizes
    melons = work / f"melons-{seed}-{per_grade}"
    write_melons(
        melons,
        per_grade,
        seed,
        progress=lambda done: progress("making melons", done, 4 * per_grade),
    )
    made = load_dataset(melons)
    unsplit = replace(made, observations=tuple(replace(item, split=None) for item in made))
    learning = complete_splits(hold_out_per_grade(unsplit, test_per_grade, DRAW), DRAW)
    test = learning.select("test")
    films = work / f"films-{seed}-{code_version()}"
    folders = _film(test, films, seed, progress)
    config = config.model_copy(update={"train": config.train.model_copy(update={"seed": DRAW})})
    grader = train(learning, config, run, resume=run.exists(), progress=progress)
    given, failures = {}, []
    sources = {SURFACE: folders, VIDEO: [folder / "video.mp4" for folder in folders]}
    for name, paths in sources.items():
        given[name], failed = _grade(grader, paths, name, progress)
        failures += failed
    shutil.rmtree(run)
    return {
        "truth": test.labels.tolist(),
        **given,
        "specimens": list(test.specimens),
        "failures": failures,
    }


def _film(test: Dataset, out: Path, seed: int, progress: Progress) -> list[Path]:
    """The capture folders of test melons, each with its video, as `write_melons` would film it."""
    folders = [out / name for name in test.specimens]
    for done, folder in enumerate(folders, 1):
        if not folder.is_dir():
            index = int(folder.name.removeprefix("melon-")) - 1
            collection.write_melon(index, out, seed, "standard", 256, video=True)
        progress("filming melons", done, len(folders))
    return folders


def _grade(
    grader: Grader, paths: Sequence[Path], name: str, progress: Progress
) -> tuple[list[int], list[str]]:
    grades = grader.standard.grades
    given, failures = [], []
    for done, result in enumerate(grader.grade_many(paths, batch_size=4), 1):
        if isinstance(result, GradingFailure):
            failures.append(f"{Path(result.source).parent.name}: {result.error}")
            given.append(-1)
        else:
            given.append(grades.index(result.grade))
        progress(f"grading from {name}", done, len(paths))
    return given, failures
