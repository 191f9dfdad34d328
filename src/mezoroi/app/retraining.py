"""A new grader from experts' verdicts: its dataset, and the comparison with the one in use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mezoroi.app.blobs import Blobs
from mezoroi.app.examples import Example, copy_to, each_once, of_dataset, of_fruit, write_mask_of
from mezoroi.app.store.expert_grades import ExpertGraded
from mezoroi.capture.images import is_panorama, read_image, read_size
from mezoroi.capture.sources import FruitInput
from mezoroi.config import Config
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
_OF_FRUITS = {"calibration": "val"}
MANIFEST = "manifest.csv"
MASK_WEIGHT = 1.0
"""Of what experts painted, where the grader in use has none."""


def taught_by_masks(config: Config) -> Config:
    """`config` with a `loss.mask_weight` above 0: its own, else `MASK_WEIGHT`."""
    weight = config.loss.mask_weight or MASK_WEIGHT
    loss = config.loss.model_copy(update={"mask_weight": weight})
    return config.model_copy(update={"loss": loss})


def write_dataset(
    graded: Sequence[ExpertGraded],
    standard: GradingStandard,
    known_splits: Mapping[str, str],
    blobs: Blobs,
    folder: Path,
    *,
    panoramas: bool,
    training: Dataset | None = None,
) -> list[str]:
    """Write the dataset that a grader learns from; `load_dataset` reads it.

    Fruits are dealt out to train, val and test, grade by grade; what an earlier grader learned
    from, or was tested with, stays where it was. A dataset has outlines or it has none: as
    `training` has it; without one, outlines are kept where the fruits that have one are enough, and
    then only these are used.

    Parameters
    ----------
    known_splits : by SHA-256 of an image or an upload
    panoramas : leave out pictures that are none
    training : what the earlier graders learned from beside the app's fruits

    Returns
    -------
    a line on each choice that was made

    Raises
    ------
    MezoroiError
        If a grade has fewer than `LEAST` fruits.
    """
    notes = []
    fruits = [of_fruit(fruit, blobs) for fruit in graded if fruit.grade in standard.grades]
    if panoramas:
        wide = [fruit for fruit in fruits if is_panorama(*read_size(fruit.image))]
        if len(wide) < len(fruits):
            notes.append(f"{len(fruits) - len(wide)} fruits without an unrolled surface left out")
        fruits = wide
    known = _for_uploads_too(known_splits, fruits)
    earlier: list[Example] = []
    if training is not None:
        fruits, earlier = each_once(fruits, of_dataset(training))
    names = _outline_names(fruits, standard, training)
    if names:
        shaped = [fruit for fruit in fruits if names == set(fruit.outline or ())]
        if len(shaped) < len(fruits):
            notes.append(f"{len(fruits) - len(shaped)} fruits without an outline left out")
        fruits = shaped
    if short := _short([*fruits, *earlier], standard):
        count = _counts([*fruits, *earlier])[short[0]]
        raise MezoroiError(
            f"grade {short[0]} has {count} fruits with an expert's grade: "
            f"give verdicts until every grade has {LEAST}"
        )
    splits = deal(earlier, known)
    # Only a dataset brings enough fruits for a split of its own for thresholds.
    splits |= deal(fruits, {key: _OF_FRUITS.get(name, name) for key, name in known.items()})
    if "test" not in splits.values():
        raise MezoroiError(
            "all fruits were used in a training before, so none can test: grade new ones"
        )
    rows = []
    for item in [*earlier, *fruits]:
        image = Path("images") / f"{item.name}{item.image.suffix}"
        row = {"image": image.as_posix(), "grade": item.grade, "specimen": item.specimen}
        row |= {"split": splits[item.specimen], "outline": ""}
        copy_to(item.image, folder / image)
        row["mask"] = write_mask_of(item, standard, folder)
        if names:
            row["outline"] = f"outlines/{item.name}.json"
            write_json(folder / row["outline"], dict(item.outline or {}))
        rows.append(row)
    standard.to_yaml(folder / STANDARD_NAME)
    write_table(folder / MANIFEST, rows)  # last: a folder with it is whole
    if training is not None:
        notes.append(f"from the training data: {_shares(earlier, splits)}")
        notes.append(f"from the app: {_shares(fruits, splits)}")
    return [*notes, _shares([*earlier, *fruits], splits)]


def deal(examples: Sequence[Example], known: Mapping[str, str]) -> dict[str, str]:
    """A split for every specimen; each new one goes where its grade lacks most of `SHARES`.

    A specimen of which a grader knows a picture stays on that side, and else where its own dataset
    puts it.
    """
    grades: dict[str, str] = {}
    for item in examples:
        grades.setdefault(item.specimen, item.grade)
    stays = _first_splits((item.specimen, item.split) for item in examples if item.split)
    stays |= _first_splits(
        (item.specimen, known[key]) for item in examples for key in item.keys if key in known
    )
    counts: dict[str, Counter[str]] = {}
    for specimen, split in stays.items():
        counts.setdefault(grades[specimen], Counter())[split] += 1
    splits = {}
    for specimen, grade in grades.items():
        own = counts.setdefault(grade, Counter())
        if specimen in stays:
            splits[specimen] = stays[specimen]
            continue
        total = own.total() + 1
        # Of equal wants the first of SHARES; rounded, for 0.7 * 10 - 6 is not quite 1.
        wanted = max(SHARES, key=lambda name: round(SHARES[name] * total - own[name], 9))
        splits[specimen] = wanted
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


def _first_splits(found: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Of several splits of one specimen the one that is used first: what learned tests nothing."""
    first: dict[str, str] = {}
    for specimen, split in found:
        first[specimen] = min(split, first.get(specimen, split), key=SPLITS.index)
    return first


def _for_uploads_too(known: Mapping[str, str], fruits: Sequence[Example]) -> dict[str, str]:
    """`known`, where a grader that knows a fruit by its picture knows it by its upload as well."""
    found = dict(known)
    for fruit in fruits:
        if names := [known[key] for key in fruit.keys if key in known]:
            found |= dict.fromkeys(fruit.keys, min(names, key=SPLITS.index))
    return found


def _outline_names(
    fruits: Sequence[Example], standard: GradingStandard, training: Dataset | None
) -> set[str]:
    """The statistics of the outlines that the dataset is to have; none where it has no outlines."""
    if training is not None:
        return set(training.outline_names)
    kinds = Counter(frozenset(fruit.outline) for fruit in fruits if fruit.outline)
    names = max(kinds, key=lambda kind: kinds[kind], default=frozenset[str]())
    shaped = [fruit for fruit in fruits if fruit.outline and names == set(fruit.outline)]
    return set() if _short(shaped, standard) else set(names)


def _counts(examples: Sequence[Example]) -> Counter[str]:
    """Fruits of every grade."""
    return Counter(grade for grade, _ in {(item.grade, item.specimen) for item in examples})


def _short(examples: Sequence[Example], standard: GradingStandard) -> list[str]:
    counts = _counts(examples)
    return [grade for grade in standard.grades if counts[grade] < LEAST]


def _shares(examples: Sequence[Example], splits: Mapping[str, str]) -> str:
    """How many fruits are in each split, as people read it."""
    counts = Counter(splits[name] for name in {item.specimen for item in examples})
    wanted = ("train", "val", "calibration", "test")
    return ", ".join(f"{counts[n]} {n}" for n in wanted if counts[n] or n != "calibration")
