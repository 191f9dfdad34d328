"""Cells of the parts bench: arms of the paper's tables 5 to 7, trained and scored alike."""

from __future__ import annotations

import csv
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mezoroi.bench.cells import Arm
from mezoroi.bench.ledger import Ledger, cell_key
from mezoroi.bundle import build_network
from mezoroi.config import Config
from mezoroi.datasets import Dataset, Observation, load_dataset, without_same_pictures
from mezoroi.errors import MezoroiError
from mezoroi.files import read_json
from mezoroi.models import FruitImages
from mezoroi.presets import make_config
from mezoroi.progress import Progress, silent
from mezoroi.standard import GradingStandard
from mezoroi.training import GradingData, GradingModule, fit
from mezoroi.training.parts import PARTS_FOLDER
from mezoroi.workflow import input_size

SEEDS = (0, 1, 2)
BUDGET = (
    "input.height=128",
    "model.channels_per_grade=0",
    "loss.head=softmax",
    "train.epochs=12",
)
"""Of every arm: cross-entropy on the embedding, the first three stages frozen and cached."""
MARGIN = 0.45
"""The margin by hand: about the distances that generated negatives have (0.28 to 0.47 with parts
exchanged)."""
RAW_MARGIN = 5.0
"""The same by hand between embeddings as they are, about 11 long."""
_CUT = {"augment": "part-cutmix"}


def _pairwise(kind: str, margin: float | None) -> dict[str, Any]:
    return {**_CUT, "loss": {"pairwise": kind, "pairwise_margin": margin}}


PLAIN = Arm("cross-entropy", {}, True)
LONGER = Arm("cross-entropy, as many images", {"train": {"epochs": 35}}, True)
CUTMIX = Arm("+ CutMix", {"augment": "cutmix"}, True)
MIXUP = Arm("+ Mixup", {"augment": "mixup"}, True)
PART_CUTMIX = Arm("+ part-aware CutMix", _CUT, True)
CONVENTIONAL = Arm("conventional pairwise loss", _pairwise("conventional", MARGIN), True)
CONVENTIONAL_ADAPTIVE = Arm("conventional, adaptive margin", _pairwise("conventional", None), True)
PROPOSED = Arm("proposed, no adaptive margin", _pairwise("adaptive", MARGIN), True)
ADAPTIVE = Arm("proposed, adaptive margin", _pairwise("adaptive", None), True)


def with_parts(arm: Arm, name: str, **parts: Any) -> Arm:
    """`arm` with other settings of its parts."""
    return Arm(name, {**arm.overrides, "parts": parts}, arm.by_classifier)


def with_loss(arm: Arm, name: str, **loss: Any) -> Arm:
    """`arm` with other settings of its loss."""
    return Arm(name, {**arm.overrides, "loss": {**arm.overrides["loss"], **loss}}, True)


BY_CAM = with_parts(ADAPTIVE, "proposed, adaptive margin, object by CAM", object="cam")
ARMS = (
    PLAIN,
    LONGER,
    CUTMIX,
    MIXUP,
    PART_CUTMIX,
    CONVENTIONAL,
    CONVENTIONAL_ADAPTIVE,
    PROPOSED,
    ADAPTIVE,
    BY_CAM,
)
TOMATO_ARMS = (PLAIN, CUTMIX, ADAPTIVE)
NEGATIVES = (100, 200, 250, 300, 400)
SHARES: dict[str, float] = {
    "3:1": 3 / 4,
    "2:1": 2 / 3,
    "1:1": 1 / 2,
    "1:2": 1 / 3,
    "1:3": 1 / 4,
    "0:1": 0.0,
    "1:0": 1.0,
}
REMEDIES = (
    CONVENTIONAL,
    with_loss(CONVENTIONAL, "conventional, margin 0.3", pairwise_margin=0.3),
    with_loss(CONVENTIONAL, "conventional, margin 0.8", pairwise_margin=0.8),
    ADAPTIVE,
    with_loss(ADAPTIVE, "adaptive, alpha 2", pairwise_alpha=2.0),
    # At length 1, distances weigh less than the paper's: this much on the pairs makes up for it.
    with_loss(CONVENTIONAL, "conventional, lambda 0.25", classification_share=0.25),
    with_loss(ADAPTIVE, "adaptive, lambda 0.25", classification_share=0.25),
    with_loss(
        CONVENTIONAL,
        "conventional, distances as they are",
        pairwise_distance="raw",
        pairwise_margin=RAW_MARGIN,
    ),
    with_loss(ADAPTIVE, "adaptive, distances as they are", pairwise_distance="raw"),
)
"""What might bring the adaptive loss before the conventional one, and other margins for that one,
compared by folds of the training and validation images."""
FOLDS = 3
Objects = Callable[[GradingData], torch.Tensor]


NEGATIVE_ARMS = tuple(with_parts(ADAPTIVE, f"{n} negatives", negatives=n) for n in NEGATIVES)
RATIO_ARMS = tuple(
    with_parts(ADAPTIVE, f"ratio {name}", positive_share=share) for name, share in SHARES.items()
)


def arm_config(arm: Arm, seed: int) -> Config:
    """The settings of a cell."""
    config = arm.config(make_config(overrides=list(BUDGET)))
    return config.model_copy(update={"train": config.train.model_copy(update={"seed": seed})})


def cell_settings(data: str, arm: Arm, seed: int, known: bool = False) -> dict[str, Any]:
    """What identifies a cell in the ledgers: not its arm's name, as tables share some cells."""
    config = arm_config(arm, seed).model_dump(mode="json")
    return {"bench": "parts", "data": data, "known objects": known, "config": config}


def find_cell(ledgers: Iterable[Ledger], settings: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The first ledger's result of a cell that has it."""
    found = (ledger.find(settings) for ledger in ledgers)
    return next((cell for cell in found if cell is not None), None)


def run_arms(
    name: str,
    dataset: Dataset,
    plan: Sequence[tuple[Arm, int]],
    work: Path,
    ledgers: Sequence[Ledger],
    progress: Progress = silent,
    objects: Objects | None = None,
    split: str = "test",
) -> None:
    """Every cell (arm and seed) that no ledger has yet, into the first, scored on a split.

    What is left is estimated from the images that the arms pass, once a cell is done.
    """
    ledger, seconds, passed = ledgers[0], 0.0, 0.0
    for done, (arm, seed) in enumerate(plan, 1):
        settings = cell_settings(name, arm, seed, objects is not None)
        if find_cell(ledgers, settings) is None:
            run = work / "runs" / cell_key(settings)
            result = train_and_score(dataset, arm_config(arm, seed), run, split, objects)
            ledger.compute(settings, lambda found=result: found)  # type: ignore[misc]
            seconds, passed = seconds + result["seconds"], passed + _cost(arm)
        left = sum(
            _cost(other)
            for other, number in plan[done:]
            if find_cell(ledgers, cell_settings(name, other, number, objects is not None)) is None
        )
        rest = f", about {seconds / passed * left / 60:.0f} min left" if passed and left else ""
        progress(f"parts: {name}{rest}", done, len(plan))


def _cost(arm: Arm) -> float:
    """About how many images an arm passes, in epochs of plain training."""
    epochs = arm_config(arm, 0).train.epochs
    each = 3.5 if "pairwise" in arm.overrides.get("loss", {}) else 1.0
    return epochs * (3.0 if arm.overrides == _CUT else each)


def train_and_score(
    dataset: Dataset, config: Config, run: Path, test: str, objects: Objects | None = None
) -> dict[str, Any]:
    """Train on the train split, watched on val, and score a split by the head.

    Returns
    -------
    ``truth``, ``given`` (grade numbers) and ``specimens`` of the split; ``seconds`` and
    ``images_per_observation`` of training; ``whole_images``: share of the views where no object
    was found, and the margins of the last epoch, where there are some
    """
    shutil.rmtree(run, ignore_errors=True)
    size = input_size(dataset, config)
    network, head = build_network(dataset.standard, config, 0, size.wraps, config.model.weights)
    module = GradingModule(network, head, dataset.standard, config, size)
    data = GradingData(dataset.select("train"), dataset.select("val"), network, size, config)
    data.setup("fit")
    if objects is not None:
        data.objects = objects(data)
    start = time.perf_counter()
    fit(module, data, config.train, run)
    seconds = time.perf_counter() - start
    chosen = dataset.select(test)
    result: dict[str, Any] = {
        "truth": chosen.labels.tolist(),
        "given": _given(module, chosen).tolist(),
        "specimens": list(chosen.specimens),
        "seconds": seconds,
        "images_per_observation": module.images_seen
        / (len(data.train_images) * config.train.epochs),
    }
    record = run / PARTS_FOLDER / "parts.json"
    if record.is_file():
        epochs = read_json(record, "run the bench again")["epochs"]
        result["whole_images"] = epochs[0]["whole_images"] / epochs[0]["views"]
        result |= {name: epochs[-1][name] for name in ("m1", "m2") if name in epochs[-1]}
    shutil.rmtree(run)
    return result


@torch.inference_mode()
def _given(module: GradingModule, dataset: Dataset) -> torch.Tensor:
    """(N,) grade numbers by the head's scores."""
    size = module.size
    images = FruitImages(dataset, size.height, size.width, 0)
    module.eval()
    found = []
    for rows in torch.arange(len(images)).split(64):  # type: ignore[no-untyped-call]
        batch = {"images": images.images(rows.tolist())}
        embedding = module.run(batch).embedding.float()
        found.append(module.head.get_logits(embedding).argmax(dim=1))  # type: ignore[operator]
    return torch.cat(found)


def fold_names() -> list[str]:
    """Names of the folds in the ledgers."""
    return [f"produce, shelves {number}" for number in range(1, FOLDS + 1)]


def produce_folds(folder: Path) -> dict[str, Dataset]:
    """The training and validation images in `FOLDS` folds, by name; what is left out is ``val``.

    Each kind is cut as it is numbered, so that pictures of one shelf, which follow one another, are
    on one side, as the official split has them.
    """
    dataset = load_produce(folder)
    learned = dataset.subset([row.split != "test" for row in dataset])
    turns: dict[str, int] = {}
    for kind in dataset.standard.grades:
        rows = [row.id for row in learned if row.grade == kind]
        cuts = np.array_split(np.arange(len(rows)), FOLDS)
        turns |= {rows[index]: fold for fold, cut in enumerate(cuts) for index in cut}
    return {
        name: learned.with_splits(
            {row: "val" if turn == fold else "train" for row, turn in turns.items()}
        )
        for fold, name in enumerate(fold_names())
    }


def load_produce(folder: Path) -> Dataset:
    """``grocery_produce20`` with its official split, as kinds without an order."""
    try:
        with (folder / "labels.csv").open(newline="", encoding="utf-8") as stream:
            rows: list[Mapping[str, str]] = list(csv.DictReader(stream))
    except OSError as error:
        raise MezoroiError(f"{folder} holds no labels.csv: give grocery_produce20") from error
    kinds = sorted({row["class"] for row in rows})
    standard = GradingStandard.from_grades(kinds, ordered=False)
    items = tuple(
        Observation(row["path"], folder / row["path"], row["class"], row["path"], row["split"])
        for row in rows
    )
    return Dataset(items, standard, folder)


def load_tomatoes(manifest: Path) -> Dataset:
    """``fgrade4`` with its split by tomato."""
    if not manifest.is_file():
        raise MezoroiError(f"{manifest} does not exist: give the folder that holds fgrade4")
    return without_same_pictures(load_dataset(manifest))
