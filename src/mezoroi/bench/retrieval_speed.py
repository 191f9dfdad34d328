"""The reference index against bare FAISS, and adding references against the bare backbone."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import faiss
import numpy as np
import torch

from mezoroi.bench.ledger import Ledger
from mezoroi.datasets import load_dataset
from mezoroi.datasets.melons import write_melons
from mezoroi.grader import Grader
from mezoroi.presets import make_config
from mezoroi.progress import Progress, silent
from mezoroi.references import add_references, find_new, with_gallery
from mezoroi.retrieval import ReferenceIndex
from mezoroi.workflow import train

DIM = 512
SIZES = (1_000, 10_000, 100_000)
K = 10
_SINGLES = 100
_BATCH = 64
_ROUNDS = 5
_MELONS = 32


def index_settings(size: int) -> dict[str, Any]:
    """What identifies an index size in the ledger."""
    return {"bench": "retrieval", "speed": size, "threads": faiss.omp_get_max_threads()}


def embedding_settings() -> dict[str, Any]:
    """What identifies the cell of adding references."""
    return {"bench": "retrieval", "speed": "embedding", "threads": torch.get_num_threads()}


def run_speed(work: Path, ledger: Ledger, progress: Progress = silent) -> None:
    """Measure what the ledger does not have yet."""
    for number, size in enumerate(SIZES, 1):
        ledger.compute(index_settings(size), lambda: _index_speed(work, size))  # noqa: B023
        progress("speed of the index", number, len(SIZES))
    ledger.compute(embedding_settings(), lambda: _embedding_speed(work))


def _index_speed(work: Path, size: int) -> dict[str, float]:
    """Seconds of ours and of bare FAISS, taken in turns."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(size, DIM)).astype(np.float32)
    queries = rng.normal(size=(_SINGLES, DIM)).astype(np.float32)
    ids = [f"fruit-{number:09d}" for number in range(size)]
    work.mkdir(parents=True, exist_ok=True)
    loads: dict[str, list[float]] = {"ours": [], "raw": []}
    with tempfile.TemporaryDirectory(dir=work) as name:
        folder = Path(name)
        for turn in range(_ROUNDS):
            place = folder / f"{turn}.sqlite"
            index = ReferenceIndex.create(place, DIM, "bench")
            loads["ours"].append(_seconds(lambda: index.add(ids, vectors)))  # noqa: B023
            index.close()
            if turn + 1 < _ROUNDS:
                place.unlink()
            loads["raw"].append(_seconds(lambda: _raw_load(vectors, folder / "raw.faiss")))
        raw = faiss.read_index(str(folder / "raw.faiss"))
        with ReferenceIndex.open(place) as index:
            index.search(queries[:1], K)
            singles = _in_turns(
                {
                    "ours": lambda row: index.search(row, K),
                    "raw": lambda row: raw.search(_normalised(row), K),
                },
                [queries[number : number + 1] for number in range(_SINGLES)],
            )
            batches = _in_turns(
                {
                    "ours": lambda rows: index.search(rows, K),
                    "raw": lambda rows: raw.search(_normalised(rows), K),
                },
                [queries[:_BATCH]] * _ROUNDS,
            )
            adds = [
                _seconds(lambda: index.add([f"one-{number}"], queries[number : number + 1]))  # noqa: B023
                for number in range(_SINGLES)
            ]
    return {
        "load_s": median(loads["ours"]),
        "load_ratio": median(loads["ours"]) / median(loads["raw"]),
        "search_ms": 1000 * singles["ours"],
        "search_ratio": singles["ours"] / singles["raw"],
        "batch_ms": 1000 * batches["ours"],
        "batch_ratio": batches["ours"] / batches["raw"],
        "one_add_ms": 1000 * median(adds),
    }


def _raw_load(vectors: np.ndarray, path: Path) -> None:
    """What FAISS does for the same: vectors of length 1, in an index, in a file that is on disk."""
    index = faiss.IndexFlatIP(DIM)
    index.add(_normalised(vectors))
    faiss.write_index(index, str(path))
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def _embedding_speed(work: Path) -> dict[str, float]:
    """Photos per second of adding references, and of the encoder alone on ready tensors."""
    with tempfile.TemporaryDirectory(dir=work) as name:
        folder = Path(name)
        write_melons(folder / "melons", _MELONS, seed=5)
        dataset = load_dataset(folder / "melons")
        config = make_config(overrides=["train.epochs=1", "train.cached_views=1"])
        train(dataset, config, folder / "run")
        grader = with_gallery(Grader.load(folder / "run", device="cpu"), folder / "run")
        assert grader.gallery is not None
        photos = find_new(grader, [folder / "melons" / "captures"], {})
        size = grader.bundle.size
        images = torch.rand(
            16, 3, size.height, size.width, generator=torch.Generator().manual_seed(0)
        )

        def bare() -> None:
            with torch.inference_mode():
                for _ in range(0, len(photos), 16):
                    grader.network.encoder(grader.network.prepare(images))

        seconds: dict[str, list[float]] = {"add": [], "bare": []}
        for _ in range(_ROUNDS):
            seconds["add"].append(_seconds(lambda: add_references(grader, photos)))
            grader.gallery.remove([photo.id for photo in photos])
            seconds["bare"].append(_seconds(bare))
    return {
        "add_per_s": len(photos) / median(seconds["add"]),
        "bare_per_s": len(photos) / median(seconds["bare"]),
        "ratio": median(seconds["bare"]) / median(seconds["add"]),
    }


def _normalised(vectors: np.ndarray) -> np.ndarray:
    rows = vectors.copy()
    faiss.normalize_L2(rows)
    return rows


def _seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _in_turns(work: dict[str, Callable[[Any], Any]], inputs: list[Any]) -> dict[str, float]:
    """Median seconds of each, run in turns so that drift hits all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for item in inputs:
        for name, call in work.items():
            start = time.perf_counter()
            call(item)
            seconds[name].append(time.perf_counter() - start)
    return {name: median(values) for name, values in seconds.items()}
