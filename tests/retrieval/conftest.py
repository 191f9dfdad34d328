"""Made-up vectors with known neighbours, and a run whose references may be changed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mezoroi import cli
from mezoroi.retrieval import ReferenceIndex

COUNT, DIM = 300, 16
MODEL = "0123456789abcdef"


@pytest.fixture(scope="session")
def vectors() -> np.ndarray:
    """(300, 16) float32, of no particular length."""
    return np.random.default_rng(3).normal(size=(COUNT, DIM)).astype(np.float32)


@pytest.fixture(scope="session")
def ids() -> list[str]:
    return [f"果実-{number}" for number in range(COUNT)]


@pytest.fixture(scope="session")
def metadata() -> list[dict[str, Any]]:
    return [
        {
            "grade": "AB"[number % 2],
            "date": f"2026-07-{1 + number % 30:02d}",
            "orchard": ("north", '南 "2"')[number % 3 == 0],
            "thumbnail": f"thumbnails/{number}.jpg",
            "lot": number,
        }
        for number in range(COUNT)
    ]


@pytest.fixture(scope="session")
def nearest(vectors: np.ndarray) -> Callable[..., list[int]]:
    """The numbers of the vectors most similar to a query, by looking at all of them."""

    def find(query: np.ndarray, k: int, among: list[int] | None = None) -> list[int]:
        chosen = list(range(COUNT)) if among is None else among
        rows = vectors[chosen] / np.linalg.norm(vectors[chosen], axis=1, keepdims=True)
        order = np.argsort(-(rows @ query), kind="stable")[:k]
        return [chosen[place] for place in order]

    return find


@pytest.fixture(params=["file", "milvus"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where an index is made: a file, or a Milvus of this process."""
    if request.param == "milvus":
        pytest.importorskip("milvus_lite", reason="the extra `milvus` is not installed")
        return str(tmp_path / "references.db")
    return str(tmp_path / "references.sqlite")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "references.sqlite"


@pytest.fixture
def filled(path: Path, ids: list[str], vectors: np.ndarray, metadata: list[Any]) -> Path:
    """A file with all the made-up fruits, closed."""
    with ReferenceIndex.create(path, DIM, MODEL) as index:
        index.add(ids, vectors, metadata)
    return path


@pytest.fixture
def run(run_dir: Path, tmp_path: Path) -> Path:
    """A copy of the trained run, to be changed."""
    copy = tmp_path / "run"
    shutil.copytree(run_dir, copy)
    return copy


@pytest.fixture
def photos(melons: Path, tmp_path: Path) -> Path:
    """Five surface images by plain names."""
    folder = tmp_path / "new"
    folder.mkdir()
    for number in range(1, 6):
        shutil.copy(melons / f"captures/melon-{number:04d}/surface.png", folder / f"n{number}.png")
    return folder


def command(*words: Any) -> int:
    """Run a verb in this process; its exit status."""
    with pytest.raises(SystemExit) as stop:
        cli.main([str(word) for word in words])
    return int(stop.value.code or 0)
