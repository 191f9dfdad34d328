"""Photos of discs, and what training makes of them before its first step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image

import mezoroi as mz
from mezoroi.bundle import build_network
from mezoroi.config import Config
from mezoroi.datasets import complete_splits
from mezoroi.models import InputSize
from mezoroi.training import GradingData, GradingModule

Make = Callable[..., Config]


def make_discs(folder: Path) -> Path:
    """Discs of three colours on grey, 12 photos of each, of different sizes."""
    rng = np.random.default_rng(0)
    for number in range(36):
        height, width = (int(side) for side in rng.integers(60, 110, 2))
        image = np.full((height, width, 3), rng.integers(90, 140), np.uint8)
        centre = (int(width * rng.uniform(0.4, 0.6)), int(height * rng.uniform(0.4, 0.6)))
        colour = [(220, 60, 40), (60, 200, 60), (240, 210, 60)][number % 3]
        cv2.circle(image, centre, int(0.3 * min(height, width)), colour, -1)
        grade = "abc"[number % 3]
        (folder / grade).mkdir(exist_ok=True)
        noisy = image + rng.integers(-12, 12, image.shape)
        picture = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
        picture.save(folder / grade / f"{number:02d}.png")
    return folder


def assembled(
    dataset: mz.Dataset, config: Config, wraps: bool
) -> tuple[GradingModule, GradingData]:
    splits = complete_splits(dataset, 0)
    size = InputSize(64, 128 if wraps else 64, wraps)
    names = dataset.outline_names
    network, head = build_network(dataset.standard, config, len(names), wraps, config.model.weights)
    module = GradingModule(network, head, dataset.standard, config, size)
    data = GradingData(splits.select("train"), splits.select("val"), network, size, config)
    data.setup("fit")
    return module.eval(), data


def first_batch(data: GradingData) -> dict[str, torch.Tensor]:
    return next(iter(data.train_dataloader()))


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
