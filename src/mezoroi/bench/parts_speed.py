"""Training throughput with mixed images against plain training."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch

from mezoroi.bench.cells import Arm
from mezoroi.bench.ledger import Ledger
from mezoroi.bench.parts_cells import ADAPTIVE, CUTMIX, MIXUP, PART_CUTMIX, PLAIN, arm_config
from mezoroi.bundle import build_network
from mezoroi.config import Config
from mezoroi.datasets import Dataset
from mezoroi.progress import Progress, silent
from mezoroi.training import GradingData, GradingModule, fit
from mezoroi.workflow import input_size

SPEED_ARMS = (PLAIN, CUTMIX, MIXUP, PART_CUTMIX, ADAPTIVE)
EPOCHS, START = 6, 2
_COUNT = 256


def speed_settings(arm: Arm) -> dict[str, Any]:
    """What identifies a cell of the throughput table."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return {
        "bench": "parts speed",
        "arm": arm.name,
        "images": _COUNT,
        "config": _config(arm).model_dump(mode="json"),
        "threads": torch.get_num_threads(),
        "device": device,
    }


def _config(arm: Arm) -> Config:
    config = arm_config(arm, 0)
    train = config.train.model_copy(update={"epochs": EPOCHS, "cached_views": 2})
    parts = config.parts.model_copy(update={"start": START, "mix_share": 1.0})
    return config.model_copy(update={"train": train, "parts": parts})


def run_speed(dataset: Dataset, work: Path, ledger: Ledger, progress: Progress = silent) -> None:
    """Measure the arms that the ledger does not have yet, one epoch of each in turn."""
    if all(ledger.find(speed_settings(arm)) is not None for arm in SPEED_ARMS):
        return
    step = max(1, len(dataset.select("train")) // _COUNT)
    rows = [item for item in dataset if item.split != "train"]
    rows += list(dataset.select("train"))[::step]
    small = Dataset(tuple(rows), dataset.standard, dataset.root)
    for done, arm in enumerate(SPEED_ARMS, 1):
        config = _config(arm)
        size = input_size(small, config)
        network, head = build_network(small.standard, config, 0, False, config.model.weights)
        module = GradingModule(network, head, small.standard, config, size)
        data = GradingData(small.select("train"), small.select("val"), network, size, config)
        result = _timed(module, data, work / "runs" / "parts-speed")
        ledger.compute(speed_settings(arm), lambda found=result: found)  # type: ignore[misc]
        progress("parts: throughput", done, len(SPEED_ARMS))


def _timed(module: GradingModule, data: GradingData, run: Path) -> dict[str, float]:
    """Seconds of the epochs in which images are mixed, validation left out.

    ``epoch_s`` is the median over epochs; ``search_s`` what finding parts and margins added before
    the first of them, ``margins_s`` what margins alone added before each of the others.
    """
    starts: list[float] = []
    ends: list[float] = []
    module.on_train_batch_start = (  # type: ignore[method-assign]
        lambda batch, batch_idx: starts.append(time.perf_counter()) if batch_idx == 0 else None
    )
    module.on_validation_start = lambda: ends.append(time.perf_counter())  # type: ignore[method-assign]
    begun: list[float] = []
    plain_start = module.on_train_epoch_start

    def on_train_epoch_start() -> None:
        plain_start()
        begun.append(time.perf_counter())

    module.on_train_epoch_start = on_train_epoch_start  # type: ignore[method-assign]
    validated: list[float] = []
    module.on_validation_end = lambda: validated.append(time.perf_counter())  # type: ignore[method-assign]
    shutil.rmtree(run, ignore_errors=True)
    fit(module, data, module.config.train, run)
    shutil.rmtree(run)
    steps = [end - start for start, end in zip(starts, ends, strict=True)][START:]
    searches = [
        start - end for start, end in zip(begun[START:], validated[START - 1 :], strict=False)
    ]
    observations, mixed_epochs = len(data.train_images), EPOCHS - START
    extra = module.images_seen - START * observations
    return {
        "observations_per_s": observations / median(steps),
        "images_per_observation": extra / (mixed_epochs * observations),
        "images_per_s": extra / mixed_epochs / median(steps),
        "search_s": searches[0],
        "margins_s": median(searches[1:]),
        "epoch_s": median(steps),
    }
