"""The Feature Tuning paper's tables on turning fruit, clutter, and shop photos against icons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mezoroi.bench.ledger import Ledger
from mezoroi.bench.retrieval_data import (
    Backbone,
    Pictures,
    features_of,
    find_backgrounds,
    fruit_rotation,
    grocery,
)
from mezoroi.metrics.retrieval import (
    ap_per_query,
    cosine_similarity,
    map_at_r_per_query,
    ns_per_query,
    recall_per_query,
)
from mezoroi.models import FeatureTuner
from mezoroi.models.feature_tuner import Loss
from mezoroi.models.multi_layer import HEAD_INPUT, normalized_addition, one_layer
from mezoroi.progress import Progress, silent

LOSSES: tuple[Loss, ...] = ("softmax", "cosface")
SEEDS = (0, 1, 2)
PUBLISHED, OTHER_VIEWS, OTHER_FRUIT = "as published", "held-out views", "held-out instances"
PROTOCOLS = (PUBLISHED, OTHER_VIEWS, OTHER_FRUIT)
GAP, ADDITION, NORMALIZED = HEAD_INPUT, "addition", "normalized addition"
TUNED3, TUNED6, TUNED_GAP = (
    "Feature Tuning, 3 layers",
    "Feature Tuning, 6 layers",
    "GAP tuned alone",
)
PLAIN = (GAP, ADDITION, NORMALIZED)
TUNED: dict[str, int] = {TUNED3: 3, TUNED6: 6, TUNED_GAP: 3}
CLUTTER = ("", "clutter", "crop")
SCHEDULE = "paper"


def table_settings(
    kind: str, protocol: str, loss: str, seed: int, backbone: Backbone
) -> dict[str, Any]:
    """What identifies a cell of the paper's tables 2 and 3; plain kinds have no loss."""
    return {
        "bench": "retrieval",
        "kind": kind,
        "protocol": protocol,
        "loss": loss,
        "seed": seed,
        "schedule": SCHEDULE if kind in TUNED else None,
        **backbone.settings,
    }


def arms() -> Iterator[tuple[str, str]]:
    """Every feature kind with its loss; ``-`` for those that learn nothing."""
    for kind in PLAIN:
        yield kind, "-"
    for loss in LOSSES:
        for kind in TUNED:
            yield kind, loss


def run_tables(
    folder: Path,
    backgrounds: Path,
    work: Path,
    ledger: Ledger,
    backbone: Backbone,
    progress: Progress = silent,
) -> None:
    """Tables 1 to 4: single layers, feature kinds under three protocols, norms; and clutter.

    Under the published protocol the same fruits are also looked up from pictures on shop shelves.
    """
    pictures = fruit_rotation(folder)
    extractor = backbone.extractor()
    dims, count = extractor.dims, len(pictures.labels)
    behind = find_backgrounds(backgrounds)
    features = torch.cat(
        [
            features_of(
                "fruit",
                pictures.paths,
                extractor,
                work,
                backbone,
                change=change,
                backgrounds=behind,
                progress=progress,
            )
            for change in CLUTTER
        ]
    )

    def cell(vectors: torch.Tensor, testing: np.ndarray, clutter: bool) -> dict[str, Any]:
        parts = dict(zip(CLUTTER, torch.split(vectors, count), strict=True))
        scores = scores_of(parts[""], pictures, testing)
        return scores | (_clutter_scores(parts, pictures.labels) if clutter else {})

    everything = np.ones(count, dtype=bool)
    for name in dims:
        layer = one_layer(features, dims, name)
        ledger.compute(
            layer_settings(name, backbone),
            lambda: {
                **cell(layer, everything, clutter=True),  # noqa: B023
                "norm": float(layer[:count].norm(dim=1).mean()),  # noqa: B023
                "dim": layer.shape[1],  # noqa: B023
            },
        )
    cells = [(p, s, *arm) for p in PROTOCOLS for s in SEEDS for arm in arms()]
    for number, (protocol, seed, kind, loss) in enumerate(cells, 1):
        learning, testing = split_of(pictures, protocol, seed)
        ledger.compute(
            table_settings(kind, protocol, loss, seed, backbone),
            lambda: cell(
                index_vectors(kind, loss, seed, features, dims, pictures.labels, learning),  # noqa: B023
                testing,  # noqa: B023
                clutter=protocol == PUBLISHED,  # noqa: B023
            ),
        )
        progress("retrieval tables", number, len(cells))


def layer_settings(layer: str, backbone: Backbone) -> dict[str, Any]:
    """What identifies a cell of the paper's tables 1 and 4."""
    return {"bench": "retrieval", "layer": layer, **backbone.settings}


def split_of(pictures: Pictures, protocol: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(N,) bool each: the pictures learned from, and those searched among themselves."""
    if protocol == PUBLISHED:
        everything = np.ones(len(pictures.labels), dtype=bool)
        return everything, everything
    if protocol == OTHER_VIEWS:
        learning = pictures.views % 2 == 0
    else:
        learning = pictures.labels % len(SEEDS) != seed
    return learning, ~learning


def index_vectors(
    kind: str,
    loss: str,
    seed: int,
    features: torch.Tensor,
    dims: Mapping[str, int],
    labels: np.ndarray,
    learning: np.ndarray,
) -> torch.Tensor:
    """(M, D) of one feature kind, learned from some of the first N pictures where it learns.

    Parameters
    ----------
    kind : a layer, or one of `PLAIN` or `TUNED`
    features : (M, sum of dims), M >= N
    labels : (N,)
    learning : (N,) bool
    """
    if kind in dims:
        return one_layer(features, dims, kind)
    if kind == ADDITION:
        return features
    if kind == NORMALIZED:
        return normalized_addition(features, dims)
    source = one_layer(features, dims, HEAD_INPUT) if kind == TUNED_GAP else features
    names, targets = np.unique(labels[learning], return_inverse=True)
    layers: Any = TUNED[kind]
    chosen_loss: Any = loss
    tuner = FeatureTuner(
        source.shape[1], len(names), layers, loss=chosen_loss, schedule=SCHEDULE, seed=seed
    )
    tuner.fit(source[: len(labels)][torch.from_numpy(learning)], targets)
    return torch.from_numpy(tuner.transform(source))


def scores_of(vectors: torch.Tensor, pictures: Pictures, testing: np.ndarray) -> dict[str, Any]:
    """NS-score on 4 views of each instance; the others on all views that are searched."""
    four = pictures.evenly_spaced(testing)
    ns = ns_per_query(*_among(vectors, pictures.labels, four))
    parts = _among(vectors, pictures.labels, testing)
    precision = ap_per_query(*parts)
    labels = pictures.labels[testing]
    return {
        "ns": float(np.nanmean(ns)),
        "map": float(np.nanmean(precision)),
        "recall_at_1": float(np.nanmean(recall_per_query(*parts, 1))),
        "map_at_r": float(np.nanmean(map_at_r_per_query(*parts))),
        "instances": np.unique(labels).tolist(),
        "ap_by_instance": [float(np.nanmean(precision[labels == n])) for n in np.unique(labels)],
    }


def _among(
    vectors: torch.Tensor, labels: np.ndarray, chosen: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows = vectors.numpy()[chosen]
    names = labels[chosen]
    same = names[:, None] == names[None]
    return cosine_similarity(rows, rows), same, np.eye(len(names), dtype=bool)


def _clutter_scores(parts: Mapping[str, torch.Tensor], labels: np.ndarray) -> dict[str, float]:
    """mAP of every kind of query against the clean pictures; that of its own view is junk."""
    same = labels[:, None] == labels[None]
    own = np.eye(len(labels), dtype=bool)
    return {
        f"map_{change or 'clean'}": float(
            np.nanmean(ap_per_query(cosine_similarity(values, parts[""]), same, own))
        )
        for change, values in parts.items()
    }


def grocery_settings(kind: str, loss: str, seed: int, backbone: Backbone) -> dict[str, Any]:
    """What identifies a cell of shop photos against icons."""
    return {**table_settings(kind, "natural to iconic", loss, seed, backbone), "grocery": True}


def run_grocery(
    folder: Path, work: Path, ledger: Ledger, backbone: Backbone, progress: Progress = silent
) -> None:
    """Test photos of 20 kinds against one shop picture of each; learned from the train photos."""
    extractor = backbone.extractor()
    dims = extractor.dims
    sets = {split: grocery(folder, split) for split in ("train", "test", "iconic")}
    features = torch.cat(
        [
            features_of(
                f"grocery-{split}", pictures.paths, extractor, work, backbone, progress=progress
            )
            for split, pictures in sets.items()
        ]
    )
    labels = np.concatenate([pictures.labels for pictures in sets.values()])
    sizes = [len(pictures.labels) for pictures in sets.values()]
    learning = np.arange(len(labels)) < sizes[0]
    relevant = sets["test"].labels[:, None] == sets["iconic"].labels[None]
    nothing = np.zeros_like(relevant)

    def cell(vectors: torch.Tensor) -> dict[str, Any]:
        _, queries, icons = torch.split(vectors, sizes)
        similarity = cosine_similarity(queries, icons)
        right = recall_per_query(similarity, relevant, nothing, 1)
        return {
            "map": float(np.nanmean(ap_per_query(similarity, relevant, nothing))),
            "recall_at_1": float(np.nanmean(right)),
            "recall_at_5": float(np.nanmean(recall_per_query(similarity, relevant, nothing, 5))),
        }

    for layer in dims:
        ledger.compute(
            grocery_settings(layer, "-", 0, backbone),
            lambda: cell(one_layer(features, dims, layer)),  # noqa: B023
        )
    for seed in SEEDS:
        for kind, loss in arms():
            ledger.compute(
                grocery_settings(kind, loss, seed, backbone),
                lambda: cell(index_vectors(kind, loss, seed, features, dims, labels, learning)),  # noqa: B023
            )
