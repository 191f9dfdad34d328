"""Dist-CAM's table 1 on made-up melons and on steel: CAM and Dist-CAM of the same networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mezoroi.bench.cells import ARCFACE, SOFTMAX, Arm, surface_only
from mezoroi.bench.explain_melons import made_melons, split_melons
from mezoroi.bench.explain_real import load_defects
from mezoroi.bench.explain_score import (
    Marked,
    Planes,
    maps_of,
    marked,
    score_method,
    score_trivial,
    trained,
)
from mezoroi.bench.ledger import Ledger
from mezoroi.bench.melons import REPEATS, TRAIN_SEED
from mezoroi.config import Config
from mezoroi.datasets import Dataset, complete_splits
from mezoroi.datasets.melons import GENERATOR_VERSION
from mezoroi.explainers import make_explainers
from mezoroi.grader import Grader, Predictions
from mezoroi.maps import distance_weights, upsample_maps, weighted_map
from mezoroi.presets import make_config
from mezoroi.progress import Progress, silent

BACKBONES: dict[str, dict[str, dict[str, Any]]] = {
    # From random weights so few melons need more steps, and all layers the same rate.
    "resnet18": {
        "model": {"weights": "none"},
        "train": {"epochs": 30, "batch_size": 8, "backbone_lr_factor": 1.0},
    },
    "efficientnet_lite0": {"model": {"weights": "package"}},
}
"""What the training of each backbone has of its own, the same for every head."""
ARMS = {SOFTMAX.name: SOFTMAX, ARCFACE.name: ARCFACE}
METHODS = {SOFTMAX.name: ("cam", "dist-cam"), ARCFACE.name: ("dist-cam",)}
"""What explains each network: CAM needs a classifier's weights."""
CLASSIFIER, NEAREST, SIMILAR = "classifier", "nearest prototype", "most similar prototype"
"""Who says the class: the head, the pooled last layer as in the paper, or the trained embedding."""
BEHIND_RELU, OTHER, MEAN = "dist-cam behind a ReLU", "dist-cam of another grade", "layer's mean"
"""Maps that tell what makes Dist-CAM: the sign of the layer, the grade, the weights at all."""
# Stride 32 is the last stage, which the papers' CAM and Dist-CAM read.
BUDGET = ("input.height=128", "model.stride=32", "train.epochs=20")
STEEL_BUDGET = ("input.height=128", "model.stride=32", "train.epochs=10")
PER_GRADE = 60
STEEL = "sd_saliency_900"
"""Photos of three defects of steel, enough for a network that begins with random weights."""
TRIVIAL = "trivial"
Settings = Callable[[str, str, int], dict[str, Any]]
"""Backbone, row and repeat to what identifies a cell."""


def backbones_config(budget: tuple[str, ...] = BUDGET) -> Config:
    """Settings of the graders of a table, less those of backbone and head."""
    return make_config(overrides=list(budget))


def network_config(backbone: str, arm: Arm, repeat: int, base: Config) -> Config:
    """Settings of one network."""
    own = BACKBONES[backbone]
    named = {**own, "model": {**own["model"], "backbone": backbone}}
    config = arm.config(Arm(backbone, named).config(base))
    return config.model_copy(update={"train": config.train.model_copy(update={"seed": repeat})})


def steel_config(backbone: str, arm: Arm, repeat: int, base: Config) -> Config:
    """As `network_config`; there are pictures enough for random weights to need no more epochs."""
    config = network_config(backbone, arm, repeat, base)
    train = config.train.model_copy(update={"epochs": base.train.epochs})
    return config.model_copy(update={"train": train})


def backbones_settings(
    backbone: str, row: str, repeat: int, base: Config, per_grade: int
) -> dict[str, Any]:
    """What identifies a cell in the ledger; `row` is an arm's name or `TRIVIAL`."""
    arm = ARMS.get(row, SOFTMAX)
    return {
        "bench": "explain backbones",
        "generator": GENERATOR_VERSION,
        "seed": TRAIN_SEED,
        "per_grade": per_grade,
        "row": row,
        "repeat": repeat,
        "config": network_config(backbone, arm, repeat, base).model_dump(mode="json"),
    }


def steel_settings(backbone: str, row: str, repeat: int, base: Config) -> dict[str, Any]:
    """As `backbones_settings`, for the photos of steel, which have a published split."""
    arm = ARMS.get(row, SOFTMAX)
    return {
        "bench": "explain backbones",
        "data": STEEL,
        "row": row,
        "repeat": repeat,
        "config": steel_config(backbone, arm, repeat, base).model_dump(mode="json"),
    }


def run_backbones(
    work: Path,
    ledger: Ledger,
    progress: Progress = silent,
    config: Config | None = None,
    per_grade: int = PER_GRADE,
) -> None:
    """Every cell of melons that the ledger does not have yet, the first seed of all first.

    Parameters
    ----------
    config, per_grade : of graders and melons; larger ones than the defaults are slower and better
    """
    config = config or backbones_config()
    melons = surface_only(made_melons(work, per_grade, progress))
    plan = _plan()
    for number, (repeat, backbone, row) in enumerate(plan):
        settings = backbones_settings(backbone, row, repeat, config, per_grade)
        split = split_melons(melons, per_grade, repeat)
        own = network_config(backbone, ARMS.get(row, SOFTMAX), repeat, config)
        cell = partial(_cell, row, own, split, work, progress)
        ledger.compute(settings, cell)
        progress("networks explained by CAM and Dist-CAM", number + 1, len(plan))


def run_steel(
    shared: Path,
    work: Path,
    ledger: Ledger,
    progress: Progress = silent,
    config: Config | None = None,
) -> None:
    """Every cell of steel that the ledger does not have yet, the first seed of all first."""
    config = config or backbones_config(STEEL_BUDGET)
    photos = complete_splits(load_defects(shared / STEEL))
    plan = _plan()
    for number, (repeat, backbone, row) in enumerate(plan):
        settings = steel_settings(backbone, row, repeat, config)
        own = steel_config(backbone, ARMS.get(row, SOFTMAX), repeat, config)
        cell = partial(_cell, row, own, photos, work, progress)
        ledger.compute(settings, cell)
        progress("networks of steel explained by CAM and Dist-CAM", number + 1, len(plan))


def _plan() -> list[tuple[int, str, str]]:
    """(repeat, backbone, row) of every cell, in the order in which they are run."""
    return [
        (repeat, backbone, row)
        for repeat in REPEATS
        for backbone in reversed(BACKBONES)
        for row in (*ARMS, TRIVIAL)
    ]


def _cell(
    row: str, config: Config, fruits: Dataset, work: Path, progress: Progress
) -> dict[str, Any]:
    label = {"fruits": fruits.fingerprint, "config": config.model_dump(mode="json")}
    grader = trained(fruits, config, work, label, progress)
    items, val_items = (marked(grader, fruits.select(split)) for split in ("test", "val"))
    if row == TRIVIAL:
        return score_trivial(items, val_items, right=True)
    explainers = make_explainers(grader, METHODS[row])
    maps = {
        name: [maps_of(grader, name, one, chosen, progress)[0] for chosen in (items, val_items)]
        for name, one in explainers.items()
    }
    references = behind_relu(grader, marked(grader, fruits.select("train")))
    both = [reasons(grader, chosen, references) for chosen in (items, val_items)]
    maps |= {name: [one[name] for one in both] for name in both[0]}
    # With the class given, so that no method's share of the maximum hangs on who says it.
    known = ([True] * len(items), [True] * len(val_items))
    return {
        "right": _right(grader, fruits.select("test"), items),
        "rows": {
            name: score_method(name, planes, items, val_planes, val_items, known)
            for name, (planes, val_planes) in maps.items()
        },
    }


def last_layer(grader: Grader, items: Marked) -> Tensor:
    """(N, K, h, w) what the embedding pools."""
    parts = []
    with torch.no_grad():
        for images in torch.split(items.images, 16):
            prepared = grader.network.prepare(images.to(grader.device))
            parts.append(grader.network(prepared).feature_map.float().cpu())
    return torch.cat(parts)


def behind_relu(grader: Grader, items: Marked) -> Tensor:
    """(G, K) mean of each grade's rectified layer."""
    pooled = last_layer(grader, items).relu().mean(dim=(2, 3))
    numbers = _numbers(grader, items)
    return torch.stack(
        [pooled[numbers == one].mean(dim=0) for one in range(int(numbers.max()) + 1)]
    )


def reasons(grader: Grader, items: Marked, references: Tensor) -> dict[str, Planes]:
    """Maps (N, H, W) beside Dist-CAM's own that differ from it in one thing each.

    Parameters
    ----------
    references : from `behind_relu`
    """
    layer, numbers = last_layer(grader, items), _numbers(grader, items)
    own = grader.bundle.prototypes.features.cpu()
    other = (numbers + 1) % len(own)
    rectified = layer.relu()
    maps = {
        BEHIND_RELU: _dist_cam(rectified, references[numbers]),
        OTHER: _dist_cam(layer, own[other]),
        MEAN: rectified.mean(dim=1),
    }
    height, width = items.images.shape[2:]
    wraps, grid = grader.bundle.size.wraps, grader.network.encoder.grid
    return {
        name: upsample_maps(one[:, None], height, width, wraps, grid)[:, 0].numpy()
        for name, one in maps.items()
    }


def _dist_cam(layer: Tensor, references: Tensor) -> Tensor:
    """(N, h, w) Dist-CAM of each (K, h, w) with a reference (K,) of its own."""
    pairs = zip(torch.split(layer, 1), torch.split(references, 1), strict=True)
    return torch.cat(
        [
            weighted_map(one, distance_weights(one.mean(dim=(2, 3)), reference))[:, 0]
            for one, reference in pairs
        ]
    )


def _numbers(grader: Grader, items: Marked) -> Tensor:
    return torch.tensor([grader.standard.grades.index(grade) for grade in items.grades])


def _right(grader: Grader, test: Dataset, items: Marked) -> dict[str, list[bool]]:
    """Whether each way to say the class is right, on the marked observations."""
    rows = {item.id: number for number, item in enumerate(test)}
    chosen = [rows[name] for name in items.ids]
    answers = given_classes(grader, grader.predict(test))
    return {name: (given == test.labels)[chosen].tolist() for name, given in answers.items()}


def given_classes(grader: Grader, predictions: Predictions) -> Mapping[str, NDArray[np.intp]]:
    """(N,) grade numbers by who says the class.

    `NEAREST` is the paper's: the least sum of the distances that weigh Dist-CAM's channels.
    """
    references = grader.bundle.prototypes.features.cpu().numpy()
    distances = np.abs(predictions.features[:, None] - references[None]).sum(axis=2)
    return {
        CLASSIFIER: predictions.logits.argmax(axis=1),
        NEAREST: distances.argmin(axis=1),
        SIMILAR: predictions.grades,
    }
