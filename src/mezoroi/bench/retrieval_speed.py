"""The reference index against FAISS, and adding references against the bare backbone."""

from __future__ import annotations

import json
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
from mezoroi.new_references import find_new
from mezoroi.presets import make_config
from mezoroi.progress import Progress, silent
from mezoroi.references import add_references, with_gallery
from mezoroi.retrieval import ReferenceIndex
from mezoroi.workflow import train

DIM = 512
SIZES = (1_000, 10_000, 100_000)
K = 10
_SINGLES = 100
_BATCH = 64
_ROUNDS = 25
_MELONS = 32
BARE, SAME = "bare", "same"
"""FAISS alone; and what its user writes around it for the same answer, ids in and out."""


def index_settings(size: int) -> dict[str, Any]:
    """What identifies an index size in the ledger."""
    return {
        "bench": "retrieval",
        "speed": size,
        "threads": faiss.omp_get_max_threads(),
        "peers": [BARE, SAME],
    }


def embedding_settings() -> dict[str, Any]:
    """What identifies the cell of adding references."""
    threads = torch.get_num_threads()
    return {"bench": "retrieval", "speed": "embedding", "threads": threads, "peer": "backbone"}


def run_speed(work: Path, ledger: Ledger, progress: Progress = silent) -> None:
    """Measure what the ledger does not have yet."""
    for number, size in enumerate(SIZES, 1):
        ledger.compute(index_settings(size), lambda: _index_speed(work, size))  # noqa: B023
        progress("speed of the index", number, len(SIZES))
    ledger.compute(embedding_settings(), lambda: _embedding_speed(work))


def _index_speed(work: Path, size: int) -> dict[str, float]:
    """Median times of ours, and their ratios to both peers, all taken in turns."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(size, DIM)).astype(np.float32)
    queries = rng.normal(size=(_SINGLES, DIM)).astype(np.float32)
    ids = [f"fruit-{number:09d}" for number in range(size)]
    work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=work) as name:
        place = Path(name) / "ours.sqlite"
        loads = _in_turns(
            {
                "ours": lambda fresh: _load(fresh, ids, vectors),
                BARE: lambda _: _bare_load(vectors, Path(name) / "bare.faiss"),
                SAME: lambda _: _same_load(ids, vectors, Path(name) / "same.faiss"),
            },
            [place] * _ROUNDS,
        )
        peer = faiss.read_index(str(Path(name) / "same.faiss"))
        with ReferenceIndex.open(place) as index:
            index.search(queries[:1], K)
            work_of = {
                "ours": lambda rows: index.search(rows, K),
                # Vectors of its own, or it would find those of the call before in the cache.
                BARE: _bare_search(faiss.clone_index(peer)),
                SAME: _same_search(peer, ids),
            }
            singles = _in_turns(work_of, [queries[n : n + 1] for n in range(_SINGLES)])
            batches = _in_turns(work_of, [queries[:_BATCH]] * _ROUNDS)
            adds = [
                _seconds(lambda: index.add([f"one-{number}"], queries[number : number + 1]))  # noqa: B023
                for number in range(_SINGLES)
            ]
    found = {"load_s": loads["ours"], "one_add_ms": 1000 * median(adds)}
    found |= {"search_ms": 1000 * singles["ours"], "batch_ms": 1000 * batches["ours"]}
    for job, seconds in (("load", loads), ("search", singles), ("batch", batches)):
        found |= {f"{job}_to_{name}": seconds["ours"] / seconds[name] for name in (BARE, SAME)}
    return found


def _load(place: Path, ids: list[str], vectors: np.ndarray) -> float:
    """Seconds to add to a new index, which stands empty on disk already."""
    place.unlink(missing_ok=True)
    with ReferenceIndex.create(place, DIM, "bench") as index:
        return _seconds(lambda: index.add(ids, vectors))


def _bare_load(vectors: np.ndarray, path: Path) -> None:
    """Vectors of length 1, in an index, in a file that is on disk; no ids."""
    index = faiss.IndexFlatIP(DIM)
    index.add(_normalised(vectors))
    faiss.write_index(index, str(path))
    _synchronise(path)


def _same_load(ids: list[str], vectors: np.ndarray, path: Path) -> None:
    """As `_bare_load`, with ids beside it, and whole or absent after a power cut."""
    temporary, names = path.with_suffix(".new"), path.with_suffix(".json")
    _bare_load(vectors, temporary)
    names.write_text(json.dumps(ids), encoding="utf-8")
    _synchronise(names)
    temporary.replace(path)
    _synchronise(path.parent)


def _bare_search(index: Any) -> Callable[[np.ndarray], Any]:
    """The call alone. FAISS takes as long for vectors of any length."""
    return lambda rows: index.search(rows, K)


def _same_search(index: Any, ids: list[str]) -> Callable[[np.ndarray], Any]:
    """Cosines and ids of vectors of any length; nothing is checked."""
    names = np.array(ids, dtype=object)

    def search(rows: np.ndarray) -> tuple[list[list[str]], np.ndarray]:
        similarity, places = index.search(_normalised(rows), K)
        return names[places].tolist(), similarity

    return search


def _synchronise(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def _embedding_speed(work: Path) -> dict[str, float]:
    """Photos per second of adding references, and of the backbone alone on ready tensors."""
    with tempfile.TemporaryDirectory(dir=work) as name:
        folder = Path(name)
        write_melons(folder / "melons", _MELONS, seed=5)
        dataset = load_dataset(folder / "melons")
        config = make_config(overrides=["train.epochs=1", "train.cached_views=1"])
        train(dataset, config, folder / "run")
        grader = with_gallery(Grader.load(folder / "run", device="cpu"), folder / "run")
        assert grader.gallery is not None
        photos = find_new(grader, [folder / "melons" / "captures"], {})
        size, encoder = grader.bundle.size, grader.network.encoder
        images = torch.rand(
            16, 3, size.height, size.width, generator=torch.Generator().manual_seed(0)
        )

        def bare() -> None:
            with torch.inference_mode():
                for _ in range(0, len(photos), 16):
                    encoder.deepen(encoder(grader.network.prepare(images)))

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
    """Median seconds of each, run in turns so that drift hits all alike.

    Work that returns seconds has measured itself.
    """
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for item in inputs:
        for name, call in work.items():
            start = time.perf_counter()
            measured = call(item)
            whole = time.perf_counter() - start
            seconds[name].append(measured if isinstance(measured, float) else whole)
    return {name: median(values) for name, values in seconds.items()}
