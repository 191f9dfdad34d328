"""The Feature Tuning paper's tables 2 and 3 as published: first the backbone learns the fruits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mezoroi.bench import retrieval_tables as tables
from mezoroi.bench.ledger import Ledger
from mezoroi.bench.retrieval_data import Backbone, Pictures, fruit_rotation, read_picture
from mezoroi.errors import MezoroiError
from mezoroi.models import MultiLayerFeatures
from mezoroi.models.feature_tuner import Loss, Schedule, classification_head, follow
from mezoroi.progress import Progress, silent

LAYERS = ("conv2", "conv3", "conv4", "conv5")
KINDS = (tables.GAP, tables.ADDITION, tables.NORMALIZED, tables.TUNED3, tables.TUNED6)
COLOUR = "mean colour"
"""What needs no network: the mean of the picture's red, green and blue."""
BUDGET = Schedule(20, (10, 15, 18), batch_size=32)
"""Of the backbone: a sixth of the paper's epochs, which suits a CPU."""
SHORT = Schedule(4, (2, 3), batch_size=32)
"""Of the backbone where, as published, `BUDGET` leaves nothing to gain."""
_FROZEN_STRIDE = 8
_BATCH = 64


def trained_settings(
    kind: str,
    protocol: str,
    loss: str,
    seed: int,
    backbone: Backbone,
    budget: Schedule | None = None,
) -> dict[str, Any]:
    """What identifies a cell of a backbone trained by `budget`, or else by `BUDGET`."""
    return {
        **tables.table_settings(kind, protocol, loss, seed, backbone),
        "backbone trained": asdict(budget or BUDGET),
    }


def colour_settings(protocol: str, seed: int) -> dict[str, Any]:
    """What identifies a cell of the pictures' mean colours."""
    return {"bench": "retrieval", "kind": COLOUR, "protocol": protocol, "seed": seed}


def run_trained(
    folder: Path, ledger: Ledger, backbone: Backbone, progress: Progress = silent
) -> None:
    """Train a backbone for every protocol, loss and seed; compare its layers and feature kinds."""
    pictures = fruit_rotation(folder)
    run_colours(pictures, _pixels(pictures.paths), ledger)
    plan = [(p, loss, s) for s in tables.SEEDS for p in tables.PROTOCOLS for loss in tables.LOSSES]
    kinds = (*LAYERS, *KINDS)
    for number, (protocol, loss, seed) in enumerate(plan, 1):
        _train_and_compare(pictures, kinds, protocol, loss, seed, backbone, BUDGET, ledger)
        progress("trained backbones", number, len(plan))


def run_short(
    folder: Path, ledger: Ledger, backbone: Backbone, progress: Progress = silent
) -> None:
    """The feature kinds as published, of backbones that learned for `SHORT` only."""
    pictures = fruit_rotation(folder)
    plan = [(loss, seed) for seed in tables.SEEDS for loss in tables.LOSSES]
    for number, (loss, seed) in enumerate(plan, 1):
        protocol = tables.PUBLISHED
        _train_and_compare(pictures, KINDS, protocol, loss, seed, backbone, SHORT, ledger)
        progress("briefly trained backbones", number, len(plan))


def _train_and_compare(
    pictures: Pictures,
    kinds: Sequence[str],
    protocol: str,
    loss: Loss,
    seed: int,
    backbone: Backbone,
    budget: Schedule,
    ledger: Ledger,
) -> None:
    settings = {
        kind: trained_settings(kind, protocol, loss, seed, backbone, budget) for kind in kinds
    }
    if all(ledger.find(one) is not None for one in settings.values()):
        return
    pixels = _pixels(pictures.paths)
    learning, testing = tables.split_of(pictures, protocol, seed)
    labels, extractor = pictures.labels, backbone.extractor()
    train_backbone(
        extractor, pixels[torch.from_numpy(learning)], labels[learning], loss, seed, budget
    )
    features = _features(extractor, pixels)
    for kind, one in settings.items():
        vectors = partial(
            tables.index_vectors,
            *(kind, loss, seed, features, extractor.dims, labels, learning),
        )
        ledger.compute(one, partial(_scored, vectors, pictures, testing))


def run_colours(pictures: Pictures, pixels: Tensor, ledger: Ledger) -> None:
    """The row that every other has to be ahead of."""
    colours = pixels.float().mean(dim=(2, 3))
    for protocol in tables.PROTOCOLS:
        for seed in tables.SEEDS:
            _, testing = tables.split_of(pictures, protocol, seed)
            work = partial(_scored, lambda: colours, pictures, testing)
            ledger.compute(colour_settings(protocol, seed), work)


def _scored(
    vectors: Callable[[], Tensor], pictures: Pictures, testing: np.ndarray
) -> dict[str, Any]:
    return tables.scores_of(vectors(), pictures, testing)


def train_backbone(
    extractor: MultiLayerFeatures,
    pixels: Tensor,
    labels: np.ndarray,
    loss: Loss,
    seed: int,
    schedule: Schedule = BUDGET,
) -> list[float]:
    """Teach the backbone, in place, to tell pictures' labels apart by what feeds its head.

    As in section 4.1 without augmentation; the stages up to stride 8 stay as they are.

    Parameters
    ----------
    pixels : (N, 3, H, W) uint8
    labels : (N,)

    Returns
    -------
    mean loss of each epoch

    Raises
    ------
    MezoroiError
        If the backbone is no chain of stages.
    """
    network: Any = extractor.network.eval()
    early, late = _cut(network, extractor.prepare(pixels[:1] / 255))
    with torch.inference_mode():
        hidden = torch.cat(
            [early(extractor.prepare(some / 255)) for some in torch.split(pixels, _BATCH)]
        )
    hidden = hidden.clone()  # no inference tensor: the rest learns from it
    names, numbers = np.unique(labels, return_inverse=True)
    targets = torch.from_numpy(numbers)
    generator = torch.Generator().manual_seed(seed)
    head = classification_head(loss, extractor.dims[tables.GAP], len(names), generator)
    late.train()
    losses = follow(
        schedule,
        [*late.parameters(), *head.parameters()],
        lambda: _batches(len(hidden), schedule.batch_size, generator),
        lambda rows: head(network.forward_head(late(hidden[rows]), pre_logits=True), targets[rows]),
    )
    late.eval()
    return losses


def _batches(count: int, size: int, generator: torch.Generator) -> list[Tensor]:
    """Shuffled rows; a last batch of one, which has no batch statistics, joins the one before."""
    order = torch.randperm(count, generator=generator)
    batches = list(torch.split(order, size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


def _cut(network: Any, image: Tensor) -> tuple[nn.Module, nn.Module]:
    """The stages up to stride 8, and the rest up to the last map.

    timm does not say whether a network's modules follow one another. So they are tried, and what
    comes out is compared.
    """
    steps: list[nn.Module] = []
    for name, module in network.named_children():
        if name == "global_pool":
            break
        steps += list(module) if name == "blocks" else [module]
    values, coarse = image, len(steps)
    with torch.inference_mode():
        try:
            for number, step in enumerate(steps):
                values = step(values)
                if coarse == len(steps) and image.shape[-1] / values.shape[-1] > _FROZEN_STRIDE:
                    coarse = number
            is_chain = torch.equal(values, network.forward_features(image))
        # A list of modules, one for other channels, or one that takes more than one map.
        except (NotImplementedError, RuntimeError, TypeError):
            is_chain = False
    if not is_chain:
        raise MezoroiError("this backbone is no chain of stages: choose another, as resnet18")
    return nn.Sequential(*steps[:coarse]), nn.Sequential(*steps[coarse:])


def _pixels(paths: Sequence[Path]) -> Tensor:
    """(N, 3, H, W) uint8."""
    rows = np.stack([read_picture(path) for path in paths])
    return torch.from_numpy(rows).permute(0, 3, 1, 2).contiguous()


def _features(extractor: MultiLayerFeatures, pixels: Tensor) -> Tensor:
    """(N, sum of dims) of all layers."""
    with torch.inference_mode():
        parts = [extractor(extractor.prepare(some / 255)) for some in torch.split(pixels, _BATCH)]
    return torch.cat(parts).clone()
