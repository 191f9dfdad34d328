"""The Feature Tuning paper's tables 2 and 3 as published: first the backbone learns the fruits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mezoroi.bench import retrieval_data
from mezoroi.bench import retrieval_tables as tables
from mezoroi.bench.ledger import Ledger
from mezoroi.bench.retrieval_data import Backbone, fruit_rotation
from mezoroi.capture.images import read_image
from mezoroi.errors import MezoroiError
from mezoroi.models import MultiLayerFeatures
from mezoroi.models.feature_tuner import (
    LONGEST_GRADIENT,
    MOMENTUM,
    Schedule,
    classification_head,
)
from mezoroi.models.preprocess import fit_image, to_tensor
from mezoroi.progress import Progress, silent

LAYERS = ("conv2", "conv3", "conv4", "conv5")
KINDS = (tables.GAP, tables.ADDITION, tables.NORMALIZED, tables.TUNED3, tables.TUNED6)
BUDGET = Schedule(20, (10, 15, 18), batch_size=32)
"""Of the backbone: a sixth of the paper's epochs, which suits a CPU."""
_FROZEN_STRIDE = 8
_BATCH = 64


def trained_settings(
    kind: str, protocol: str, loss: str, seed: int, backbone: Backbone
) -> dict[str, Any]:
    """What identifies a cell of a trained backbone."""
    return {
        **tables.table_settings(kind, protocol, loss, seed, backbone),
        "backbone trained": asdict(BUDGET),
    }


def run_trained(
    folder: Path, ledger: Ledger, backbone: Backbone, progress: Progress = silent
) -> None:
    """Train a backbone for every protocol, loss and seed; compare its layers and feature kinds."""
    pictures = fruit_rotation(folder)
    pixels = _pixels(pictures.paths)
    plan = [(p, loss, s) for s in tables.SEEDS for p in tables.PROTOCOLS for loss in tables.LOSSES]
    for number, (protocol, loss, seed) in enumerate(plan, 1):
        settings = {
            kind: trained_settings(kind, protocol, loss, seed, backbone)
            for kind in (*LAYERS, *KINDS)
        }
        if any(ledger.find(one) is None for one in settings.values()):
            learning, testing = tables.split_of(pictures, protocol, seed)
            extractor = backbone.extractor()
            train_backbone(
                extractor,
                pixels[torch.from_numpy(learning)],
                pictures.labels[learning],
                loss,
                seed,
            )
            features = _features(extractor, pixels)
            for kind, one in settings.items():
                ledger.compute(
                    one,
                    lambda: tables.scores_of(
                        tables.index_vectors(
                            kind,  # noqa: B023
                            loss,  # noqa: B023
                            seed,  # noqa: B023
                            features,  # noqa: B023
                            extractor.dims,  # noqa: B023
                            pictures.labels,
                            learning,  # noqa: B023
                        ),
                        pictures,
                        testing,  # noqa: B023
                    ),
                )
        progress("trained backbones", number, len(plan))


def train_backbone(
    extractor: MultiLayerFeatures,
    pixels: Tensor,
    labels: np.ndarray,
    loss: Any,
    seed: int,
    schedule: Schedule = BUDGET,
) -> list[float]:
    """Teach the backbone, in place, to tell pictures' labels apart by what feeds its head.

    As in section 4.1 without augmentation; the stages up to stride 8 stay as they are.

    Parameters
    ----------
    pixels : (N, 3, H, W) uint8
    labels : (N,)
    loss : softmax or cosface

    Returns
    -------
    mean loss of each epoch
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
    dim = extractor.dims[tables.GAP]
    head = classification_head(loss, dim, len(names), generator)
    parameters = [*late.parameters(), *head.parameters()]
    optimizer = torch.optim.SGD(
        parameters, lr=schedule.lr, momentum=MOMENTUM, weight_decay=schedule.weight_decay
    )
    steps = torch.optim.lr_scheduler.MultiStepLR(optimizer, list(schedule.drops), schedule.factor)
    losses = []
    late.train()
    for _ in range(schedule.epochs):
        total = 0.0
        for rows in _batches(len(hidden), schedule.batch_size, generator):
            embedded = network.forward_head(late(hidden[rows]), pre_logits=True)
            cost = head(embedded, targets[rows])
            optimizer.zero_grad()
            cost.backward()
            nn.utils.clip_grad_norm_(parameters, LONGEST_GRADIENT)
            optimizer.step()
            total += float(cost.detach()) * len(rows)
        steps.step()
        losses.append(total / len(hidden))
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
    """The stages up to stride 8, and the rest up to the last map."""
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
        except (NotImplementedError, RuntimeError, TypeError):  # branches, or lists of modules
            is_chain = False
    if not is_chain:
        raise MezoroiError("this backbone is no chain of stages: choose another, as resnet18")
    return nn.Sequential(*steps[:coarse]), nn.Sequential(*steps[coarse:])


def _pixels(paths: Sequence[Path]) -> Tensor:
    """(N, 3, H, W) uint8."""
    side = retrieval_data.SIDE
    rows = [fit_image(read_image(path, max_side=2 * side), side, side).pixels for path in paths]
    return (to_tensor(rows) * 255).round().to(torch.uint8)


def _features(extractor: MultiLayerFeatures, pixels: Tensor) -> Tensor:
    """(N, sum of dims) of all layers."""
    with torch.inference_mode():
        parts = [extractor(extractor.prepare(some / 255)) for some in torch.split(pixels, _BATCH)]
    return torch.cat(parts).clone()
