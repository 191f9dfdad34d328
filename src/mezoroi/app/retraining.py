"""A new grader from experts' verdicts: its dataset, its training, and the comparison."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mezoroi.app.blobs import Blobs
from mezoroi.app.store.expert_grades import ExpertGraded
from mezoroi.capture.images import is_panorama, read_image, read_size
from mezoroi.capture.sources import FruitInput
from mezoroi.datasets import SPLITS, Dataset
from mezoroi.datasets.loading import STANDARD_NAME
from mezoroi.errors import MezoroiError
from mezoroi.files import nan_to_none, read_json, write_json, write_table
from mezoroi.grader import Grader
from mezoroi.metrics.intervals import paired_difference
from mezoroi.progress import Progress, silent
from mezoroi.standard import GradingStandard

LEAST = 5
"""Fruits of every grade below which no grader is trained: three to learn, one each to watch, test.
"""
SHARES: Mapping[str, float] = {"test": 0.2, "val": 0.1, "train": 0.7}
MANIFEST = "manifest.csv"


def write_dataset(
    graded: Sequence[ExpertGraded],
    standard: GradingStandard,
    known_splits: Mapping[str, str],
    blobs: Blobs,
    folder: Path,
    *,
    panoramas: bool,
) -> list[str]:
    """Write the dataset that a grader learns from; `load_dataset` reads it.

    Fruits are dealt out to train, val and test, grade by grade; a fruit that an earlier grader
    learned from, or was tested with, stays where it was. Outlines are kept where the fruits that
    have one are enough, and then only these are used: a dataset has outlines or it has none.

    Parameters
    ----------
    known_splits : by SHA-256 of an image or an upload
    panoramas : leave out pictures that are none

    Returns
    -------
    a line on each choice that was made

    Raises
    ------
    MezoroiError
        If a grade has fewer than `LEAST` fruits.
    """
    notes = []
    fruits = [fruit for fruit in graded if fruit.grade in standard.grades]
    if panoramas:
        wide = [fruit for fruit in fruits if is_panorama(*read_size(blobs.picture(fruit.picture)))]
        if len(wide) < len(fruits):
            notes.append(f"{len(fruits) - len(wide)} fruits without an unrolled surface left out")
        fruits = wide
    shaped = [fruit for fruit in fruits if fruit.outline is not None]
    has_outlines = bool(shaped) and not _short(shaped, standard)
    if has_outlines and len(shaped) < len(fruits):
        notes.append(f"{len(fruits) - len(shaped)} fruits without an outline left out")
        fruits = shaped
    if short := _short(fruits, standard):
        counts = Counter(fruit.grade for fruit in fruits)
        raise MezoroiError(
            f"grade {short[0]} has {counts[short[0]]} fruits with an expert's grade: "
            f"give verdicts until every grade has {LEAST}"
        )
    splits = deal(fruits, known_splits)
    if "test" not in splits.values():
        raise MezoroiError(
            "all fruits were used in a training before, so none can test: grade new ones"
        )
    rows = []
    for fruit in fruits:
        name = f"fruit-{fruit.fruit_id}"
        image = Path("images") / f"{name}{Path(fruit.picture).suffix}"
        row = {"image": image.as_posix(), "grade": fruit.grade, "specimen": name}
        row |= {"split": splits[fruit.fruit_id], "mask": "", "outline": ""}
        _copy(blobs.picture(fruit.picture), folder / image)
        if fruit.mask:
            row["mask"] = f"masks/{name}.png"
            _copy(blobs.picture(fruit.mask), folder / row["mask"])
        if has_outlines:
            row["outline"] = f"outlines/{name}.json"
            write_json(folder / row["outline"], dict(fruit.outline or {}))
        rows.append(row)
    standard.to_yaml(folder / STANDARD_NAME)
    write_table(folder / MANIFEST, rows)  # last: a folder with it is whole
    counts = Counter(splits.values())
    notes.append(", ".join(f"{counts[name]} {name}" for name in ("train", "val", "test")))
    return notes


def deal(fruits: Sequence[ExpertGraded], known: Mapping[str, str]) -> dict[int, str]:
    """A split for every fruit, by its id; each goes where its grade lacks most of `SHARES`."""
    splits = {}
    counts: dict[str, Counter[str]] = {}
    new = []
    for fruit in fruits:
        split = known.get(fruit.content) or known.get(Path(fruit.picture).stem)
        split = {"calibration": "val"}.get(split or "", split)
        if split is None:
            new.append(fruit)
        else:
            splits[fruit.fruit_id] = split
            counts.setdefault(fruit.grade, Counter())[split] += 1
    for fruit in new:
        own = counts.setdefault(fruit.grade, Counter())
        total = own.total() + 1
        # Of equal wants the first of SHARES; rounded, for 0.7 * 10 - 6 is not quite 1.
        wanted = max(SHARES, key=lambda name: round(SHARES[name] * total - own[name], 9))
        splits[fruit.fruit_id] = wanted
        own[wanted] += 1
    return splits


def splits_of_runs(folders: Sequence[Path]) -> dict[str, str]:
    """The split of every image that graders know, by its SHA-256.

    What one of them learned from, or was chosen by, can test none of them.
    """
    found: dict[str, str] = {}
    for folder in folders:
        data = read_json(folder / "grader.json", "restore the run folder")["data"]
        content = data.get("content", {})
        for name, split in data.get("splits", {}).items():
            digest = content.get(name)
            if digest is not None:
                found[digest] = min(split, found.get(digest, split), key=SPLITS.index)
    return found


def compare(
    active: Grader, new: Grader, dataset: Dataset, progress: Progress = silent
) -> dict[str, Any]:
    """Both graders on the same held-out fruits, as they would grade them in the app.

    Returns
    -------
    ``fruits``; accuracy of ``active`` and ``new``; ``difference`` new minus active with its 95 %
    bootstrap interval by specimen; ``per_grade`` the fruits and both numbers of right grades
    """
    held_out = dataset.select("test")
    truth = np.array([item.grade for item in held_out])
    answers: dict[str, list[str]] = {"active": [], "new": []}
    for number, item in enumerate(held_out, start=1):
        fruit = FruitInput(item.id, read_image(item.image), item.outline)
        answers["active"].append(active.grade_read(fruit).grade)
        answers["new"].append(new.grade_read(fruit).grade)
        progress("comparing", number, len(held_out))
    right = {name: np.array(given) == truth for name, given in answers.items()}
    interval = paired_difference(
        lambda truth, given: float(np.mean(truth == given)),
        held_out.specimens,
        truth,
        np.array(answers["new"]),
        np.array(answers["active"]),
    )
    scores = {
        "fruits": len(held_out),
        "active": float(right["active"].mean()),
        "new": float(right["new"].mean()),
        "difference": {"value": interval.value, "low": interval.low, "high": interval.high},
        "per_grade": {
            grade: {
                "fruits": int((truth == grade).sum()),
                **{name: int(hits[truth == grade].sum()) for name, hits in right.items()},
            }
            for grade in dataset.standard.grades
        },
    }
    found: dict[str, Any] = nan_to_none(scores)
    return found


def _short(fruits: Sequence[ExpertGraded], standard: GradingStandard) -> list[str]:
    counts = Counter(fruit.grade for fruit in fruits)
    return [grade for grade in standard.grades if counts[grade] < LEAST]


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
