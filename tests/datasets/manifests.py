"""Small manifests, and what is wrong with one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mezoroi.datasets import DatasetError, load_dataset


def photo(path: Path, size: tuple[int, int] = (16, 12), seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def write_manifest(root: Path, *rows: str, header: str = "image,grade", encoding="utf-8") -> Path:
    (root / "manifest.csv").write_bytes("\n".join([header, *rows, ""]).encode(encoding))
    return root / "manifest.csv"


def problems_of(path: Path, **options: object) -> tuple[str, ...]:
    with pytest.raises(DatasetError) as error:
        load_dataset(path, **options)
    assert "\n" not in str(error.value)
    return error.value.problems


def two_each(*more: str) -> list[str]:
    return [f"photos/{i}.png,{'AB'[i % 2]}" for i in range(4)] + list(more)
