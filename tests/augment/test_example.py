"""The example of docs/parts.md runs with any network."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import nn

PAGE = Path(__file__).parents[2] / "docs" / "parts.md"


def test_the_example_runs_and_teaches_the_network() -> None:
    example = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert example is not None
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=4, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
    images = torch.rand(10, 3, 32, 32, generator=generator)
    names: dict[str, Any] = {
        "images": images,
        "labels": torch.arange(10) % 3,
        "features": network[0](images).detach(),
        "cams": torch.rand(10, 4, 4, generator=generator),
        "network": network,
    }
    exec(example[1], names)
    assert names["total"].item() > 0
    gradient = network[0].weight.grad
    assert gradient is not None and bool(gradient.abs().sum() > 0)
    assert names["two"].shares.shape == (10, 3) and names["boxes"].shape == (10, 4, 4)
