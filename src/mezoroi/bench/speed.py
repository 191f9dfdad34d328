"""Speed as ratios against a peer in the same run."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import timm
import torch

from mezoroi.bench.ledger import Ledger
from mezoroi.bundle import Bundle, Prototypes, build_network, no_exemplars, no_limits
from mezoroi.config import Config
from mezoroi.datasets import Dataset, complete_splits, load_dataset
from mezoroi.datasets.melons import write_melons
from mezoroi.grader import Grader
from mezoroi.models import InputSize
from mezoroi.presets import make_config
from mezoroi.standard import GradingStandard
from mezoroi.training import GradingData, GradingModule, fit
from mezoroi.training.data import EpochSampler, seeded_generator
from mezoroi.training.jitter import jitter

SIZE = 224
ROUNDS = 30
EPOCHS, TURNS = 3, 3
PER_GRADE = 40


def speed_settings() -> dict[str, Any]:
    """What identifies the speed cell in the ledger."""
    return {
        "bench": "speed",
        "threads": torch.get_num_threads(),
        "device": "cuda" if torch.cuda.is_available() else "cpu",
    }


def run_speed(work: Path, ledger: Ledger) -> None:
    """Measure what the ledger does not have yet."""
    ledger.compute(speed_settings(), lambda: {**_grading_speed(), **_training_speed(work)})


def _grading_speed() -> dict[str, float]:
    """`Grader.grade` on a decoded image against the bare forward pass of timm's model, batch 1."""
    config = make_config(overrides=[f"input.height={SIZE}"])
    standard = GradingStandard.from_grades("ABCD")
    network, head = build_network(standard, config, 0, wraps=False, weights="package")
    grades = len(standard.grades)
    prototypes = Prototypes(
        torch.randn(grades, network.embedding_dim, generator=seeded_generator(0)),
        torch.zeros(grades, network.encoder.channels),
        torch.zeros(grades),
        no_limits(grades),
        *no_exemplars(network.embedding_dim),
    )
    size = InputSize(SIZE, SIZE, wraps=False)
    empty = {"fingerprint": "", "splits": {}, "content": {}}
    grader = Grader(
        Bundle(network.eval(), head.eval(), standard, config, size, "photo", (), prototypes, empty),
        device="cpu",
    )
    photo = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    plain = timm.create_model(config.model.backbone).eval()
    packed = timm.create_model(config.model.backbone).eval().to(memory_format=torch.channels_last)
    image = torch.rand(1, 3, SIZE, SIZE, generator=seeded_generator(1))
    packed_image = image.to(memory_format=torch.channels_last)

    def forward(model: torch.nn.Module, batch: torch.Tensor) -> None:
        with torch.inference_mode():
            model(batch)

    times = interleaved(
        {
            "grade": lambda: grader.grade(photo),
            "timm": lambda: forward(plain, image),
            "timm, channels last": lambda: forward(packed, packed_image),
        },
        ROUNDS,
    )
    return {
        "grade_ms": 1000 * times["grade"],
        "timm_ms": 1000 * times["timm"],
        "timm_channels_last_ms": 1000 * times["timm, channels last"],
        "grade_ratio": times["grade"] / times["timm"],
        "grade_ratio_channels_last": times["grade"] / times["timm, channels last"],
    }


def _training_speed(work: Path) -> dict[str, float]:
    """Epochs through Lightning against a bare loop, and with the cache of frozen stages, in turns.

    One after the other they would be measured at several speeds of a machine that is not alone.
    """
    melons = work / "melons" / "speed"
    write_melons(melons, PER_GRADE, seed=3)
    dataset = complete_splits(load_dataset(melons))
    whole = make_config(overrides=["train.frozen_stages=0", "train.cached_views=0"])
    frozen = make_config(overrides=["train.cached_views=0"])
    cached = make_config()
    seconds: dict[str, list[float]] = defaultdict(list)
    for turn in range(TURNS):
        for name, config in {"whole": whole, "frozen": frozen, "cached": cached}.items():
            run = work / "runs" / f"speed-{name}-{turn}"
            seconds[name] += _epoch_seconds(dataset, config, run)
        seconds["bare"] += _bare_epoch_seconds(dataset, whole)
    times = {name: median(values) for name, values in seconds.items()}
    bare = times["bare"]
    observations = len(dataset.select("train"))
    return {
        "train_images_per_s": observations / times["whole"],
        "bare_images_per_s": observations / bare,
        "throughput_ratio": bare / times["whole"],
        "cache_speedup_over_whole": times["whole"] / times["cached"],
        "cache_speedup_over_frozen": times["frozen"] / times["cached"],
    }


def _parts(dataset: Dataset, config: Config) -> tuple[GradingModule, GradingData]:
    size = InputSize(config.input.height, 2 * config.input.height, wraps=True)
    names = dataset.outline_names
    network, head = build_network(dataset.standard, config, len(names), True, "package")
    module = GradingModule(network, head, dataset.standard, config, size)
    data = GradingData(dataset.select("train"), dataset.select("val"), network, size, config)
    return module, data


def _epoch_seconds(dataset: Dataset, config: Config, run: Path) -> list[float]:
    """Seconds of each training epoch after the first, validation and checkpoints left out."""
    config = replace_train(config, epochs=EPOCHS)
    module, data = _parts(dataset, config)
    starts: list[float] = []
    ends: list[float] = []
    module.on_train_batch_start = (  # type: ignore[method-assign]
        lambda batch, batch_idx: starts.append(time.perf_counter()) if batch_idx == 0 else None
    )
    module.on_validation_start = lambda: ends.append(time.perf_counter())  # type: ignore[method-assign]
    fit(module, data, config.train, run)
    for path in (run / "checkpoints").iterdir():
        path.unlink()
    return [end - start for start, end in zip(starts, ends, strict=True)][1:]


def _bare_epoch_seconds(dataset: Dataset, config: Config) -> list[float]:
    """The same model, loss, augmentation and optimiser in a plain PyTorch loop."""
    module, data = _parts(dataset, config)
    source = data.train_images
    sampler = EpochSampler(source.labels, 1, config.train.seed, balance=True)
    optimizer = torch.optim.AdamW(module.parameters(), lr=config.train.lr)
    module.on_train_epoch_start()
    seconds = []
    for epoch in range(EPOCHS):
        sampler.set_epoch(epoch)
        order = [index for index, _ in sampler]
        start = time.perf_counter()
        for number, first in enumerate(range(0, len(order), config.train.batch_size)):
            indices = order[first : first + config.train.batch_size]
            images = jitter(
                source.images(indices), config.jitter, seeded_generator(epoch, number), True
            )
            targets = source.targets(indices)
            loss = module.losses({"images": images, **targets}, number)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(module.parameters(), 5.0)
            optimizer.step()
        seconds.append(time.perf_counter() - start)
    return seconds[1:]


def replace_train(config: Config, **changes: Any) -> Config:
    """`config` with other training settings."""
    return config.model_copy(update={"train": config.train.model_copy(update=changes)})


def interleaved(work: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Median seconds of each piece of work, run in turns so that drift hits all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for round_number in range(rounds + 3):
        for name, call in work.items():
            start = time.perf_counter()
            call()
            if round_number >= 3:
                seconds[name].append(time.perf_counter() - start)
    return {name: median(values) for name, values in seconds.items()}
