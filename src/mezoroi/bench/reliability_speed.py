"""What reliability costs: fitting, and on top of a grading."""

from __future__ import annotations

import time
from statistics import median
from typing import Any

import numpy as np
import torch

from mezoroi.bench.ledger import Ledger
from mezoroi.bench.speed import interleaved
from mezoroi.bundle import Bundle, Prototypes, build_network, no_exemplars, no_limits
from mezoroi.grader import Grader
from mezoroi.models import InputSize, SecondReader
from mezoroi.presets import make_config
from mezoroi.reliability.clusters import SaliencyClusters
from mezoroi.reliability.confidence import Answers, probabilities
from mezoroi.reliability.model import fit_reliability
from mezoroi.reliability.saliency import ACTIVATION
from mezoroi.standard import GradingStandard
from mezoroi.training.data import seeded_generator

MAPS, SIDE, LEARNED = 200, 256, 1400
ROUNDS = 30


def reliability_speed_settings() -> dict[str, Any]:
    """What identifies the cell in the ledger."""
    return {
        "bench": "reliability speed",
        "threads": torch.get_num_threads(),
        "device": "cuda" if torch.cuda.is_available() else "cpu",
    }


def run_reliability_speed(ledger: Ledger) -> None:
    """Measure what the ledger does not have yet."""
    ledger.compute(reliability_speed_settings(), lambda: {**_fitting(), **_grading()})


def _fitting() -> dict[str, float]:
    """Seconds to cluster 200 maps of 256 pixels squared, and to fit all signals besides."""
    answers, truth = _answers(SIDE)
    clusters, everything = [], []
    for _ in range(3):
        start = time.perf_counter()
        SaliencyClusters().fit(answers.maps, truth, answers.given)
        clusters.append(time.perf_counter() - start)
        start = time.perf_counter()
        fit_reliability(answers, truth, np.arange(MAPS), ACTIVATION, SaliencyClusters())
        everything.append(time.perf_counter() - start)
    return {"cluster_s": median(clusters), "fit_s": median(everything)}


def _grading() -> dict[str, float]:
    """Milliseconds of grading one photo with and without a fitted reliability, in turns."""
    config = make_config(overrides=["input.height=224"])
    standard = GradingStandard.from_grades("ABCD")
    network, head = build_network(standard, config, 0, wraps=False, weights="package")
    prototypes = Prototypes(
        torch.randn(4, network.embedding_dim, generator=seeded_generator(0)),
        torch.zeros(4, network.encoder.channels),
        torch.zeros(4),
        no_limits(4),
        *no_exemplars(network.embedding_dim),
    )
    bundle = Bundle(
        network.eval(),
        head.eval(),
        standard,
        config,
        InputSize(224, 224, wraps=False),
        "photo",
        (),
        prototypes,
        {"fingerprint": "", "splits": {}, "content": {}},
        reader=SecondReader.fit(
            np.random.default_rng(0).normal(size=(LEARNED, *network.early_blocks)),
            np.arange(LEARNED) % 4,
            4,
            network.early_blocks,
        ),
    )
    answers, truth = _answers(64)
    model = fit_reliability(answers, truth, np.arange(MAPS), ACTIVATION, SaliencyClusters())
    photo = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    plain = Grader(bundle, device="cpu")
    judging = Grader(bundle, device="cpu", reliability=model)
    times = interleaved(
        {
            "plain": lambda: plain.grade(photo),
            "judging": lambda: judging.grade(photo),
            "look up": lambda: model.clusters.look_up(answers.maps[:1]),
        },
        ROUNDS,
    )
    return {
        "grade_ms": 1000 * times["plain"],
        "added_ms": 1000 * (times["judging"] - times["plain"]),
        "look_up_ms": 1000 * times["look up"],
    }


def _answers(side: int) -> tuple[Answers, np.ndarray]:
    """Maps with a spot in one of eight places; a tenth of the answers is wrong."""
    rng = np.random.default_rng(0)
    place = np.arange(MAPS) % 8
    row, column = (0.2 + 0.2 * (place // 3), 0.2 + 0.25 * (place % 3))
    y, x = np.mgrid[:side, :side] / side
    near = ((y - row[:, None, None]) ** 2 + (x - column[:, None, None]) ** 2) / 0.01
    maps = np.exp(-near) + rng.normal(0, 0.05, near.shape)
    truth = rng.integers(0, 4, MAPS)
    given = np.where(rng.random(MAPS) < 0.1, (truth + 1) % 4, truth)
    logits = 3 * np.eye(4)[given] + rng.normal(size=(MAPS, 4))
    neighbours = np.repeat(given[:, None], 8, axis=1)
    reading = probabilities(logits)
    planes = maps.astype(np.float32)
    return Answers(given, logits / 10, logits, neighbours, planes, reading), truth
