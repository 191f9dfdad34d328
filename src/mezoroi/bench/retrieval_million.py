"""A million vectors: how long the index takes, how right and how fast it then is."""

from __future__ import annotations

import math
import resource
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch

from mezoroi.bench.ledger import Ledger
from mezoroi.bench.retrieval_data import Backbone, features_of, fruit_rotation, grocery
from mezoroi.progress import Progress, silent
from mezoroi.retrieval import ReferenceIndex
from mezoroi.retrieval.faiss_index import read_statement

COUNT = 1_000_000
DIM = 512
K = 10
REAL, RANDOM = "real embeddings plus noise", "random"
KINDS = (REAL, RANDOM)
_QUERIES = 1000
_CHUNK = 50_000
_NOISE = 0.25


def million_settings(kind: str, count: int = COUNT) -> dict[str, Any]:
    """What identifies a kind of vectors in the ledger."""
    return {
        "bench": "retrieval",
        "million": kind,
        "count": count,
        "threads": faiss.omp_get_max_threads(),
    }


def run_million(
    fruit: Path,
    produce: Path,
    work: Path,
    ledger: Ledger,
    backbone: Backbone,
    progress: Progress = silent,
    count: int = COUNT,
) -> None:
    """Measure what the ledger does not have yet."""
    for kind in KINDS:
        if ledger.find(million_settings(kind, count)) is not None:
            continue
        if kind == REAL:
            draw = _around(_real(fruit, produce, work, backbone, progress))
        else:
            draw = _anywhere
        ledger.compute(
            million_settings(kind, count),
            lambda: _measure(draw, count, work / "million", progress),  # noqa: B023
        )


def _measure(
    draw: Callable[[np.random.Generator, int], np.ndarray],
    count: int,
    folder: Path,
    progress: Progress,
) -> dict[str, Any]:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    place = folder / "references.sqlite"
    rng = np.random.default_rng(0)
    queries = draw(np.random.default_rng(1), _QUERIES)
    faiss.normalize_L2(queries)
    truth = faiss.ResultHeap(_QUERIES, K, keep_max=True)
    adding = 0.0
    with ReferenceIndex.create(place, DIM, "bench") as index:
        for start in range(0, count, _CHUNK):
            rows = draw(rng, min(_CHUNK, count - start))
            faiss.normalize_L2(rows)
            similarity, places = faiss.knn(queries, rows, K, faiss.METRIC_INNER_PRODUCT)
            truth.add_result(similarity, places + start)
            ids = [str(number) for number in range(start, start + len(rows))]
            begin = time.perf_counter()
            index.add(ids, rows)
            adding += time.perf_counter() - begin
            progress("adding vectors", start + len(rows), count)
    truth.finalize()
    with ReferenceIndex.open(place) as index:
        begin = time.perf_counter()
        index.search(queries[:1], K)
        building = time.perf_counter() - begin
        seconds, hits = [], 0
        for query, best in zip(queries, truth.I, strict=True):
            begin = time.perf_counter()
            (found,), _ = index.search(query[None], K)
            seconds.append(time.perf_counter() - begin)
            hits += len(set(found) & {str(number) for number in best})
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
        loading, memory = fresh.submit(_open, place, queries[:1]).result()
    statement = read_statement(place.with_suffix(".faiss"))
    sizes = {path.suffix: path.stat().st_size for path in folder.iterdir()}
    shutil.rmtree(folder)
    return {
        "kind": statement.kind if statement is not None else None,
        "add_s": adding,
        "build_s": building,
        "load_s": loading,
        "recall_at_10": hits / (K * _QUERIES),
        "p50_ms": 1000 * float(np.percentile(seconds, 50)),
        "p99_ms": 1000 * float(np.percentile(seconds, 99)),
        "memory_bytes_per_vector": memory / count,
        "file_bytes_per_vector": {suffix: size / count for suffix, size in sizes.items()},
    }


def _open(place: Path, query: np.ndarray) -> tuple[float, float]:
    """Seconds to the first answer, and by how many bytes the process has grown.

    In a process of its own: one that held another index before uses that one's memory again.
    """
    before, begin = _resident(), time.perf_counter()
    with ReferenceIndex.open(place) as index:
        index.search(query, K)
        return time.perf_counter() - begin, _resident() - before


def _real(
    fruit: Path, produce: Path, work: Path, backbone: Backbone, progress: Progress
) -> np.ndarray:
    """(N, 512) what photos of fruit and produce embed to, brought to 512 dimensions."""
    extractor = backbone.extractor()
    sets = {
        "fruit": fruit_rotation(fruit).paths,
        **{f"grocery-{name}": grocery(produce, name).paths for name in ("train", "test")},
    }
    features = torch.cat(
        [
            features_of(name, paths, extractor, work, backbone, progress=progress)
            for name, paths in sets.items()
        ]
    ).numpy()
    centred = features - features.mean(axis=0)
    centred /= centred.std(axis=0) + 1e-6
    mixed = centred @ np.random.default_rng(2).normal(size=(centred.shape[1], DIM))
    rows = mixed.astype(np.float32)
    faiss.normalize_L2(rows)
    return rows


def _around(real: np.ndarray) -> Callable[[np.random.Generator, int], np.ndarray]:
    """Draws real embeddings with noise a quarter as long as they are."""

    def draw(rng: np.random.Generator, count: int) -> np.ndarray:
        noise = rng.normal(size=(count, DIM)).astype(np.float32) * (_NOISE / math.sqrt(DIM))
        return np.ascontiguousarray(real[rng.integers(len(real), size=count)] + noise)

    return draw


def _anywhere(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.normal(size=(count, DIM)).astype(np.float32)


def _resident() -> float:
    """Bytes of memory in use now, or the most so far where the system does not say."""
    path = Path("/proc/self/statm")
    if path.is_file():
        return int(path.read_text().split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
