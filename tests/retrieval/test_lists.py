"""Indexes too large to compare every vector: vectors in lists, and compressed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from mezoroi.retrieval import ReferenceIndex, faiss_index, local
from mezoroi.retrieval.faiss_index import read_statement
from tests.retrieval.conftest import DIM, MODEL


@pytest.mark.parametrize(("exact", "whole"), [(100, 10_000), (100, 200)])
def test_larger_indexes_are_of_another_kind(
    path: Path, monkeypatch: pytest.MonkeyPatch, exact: int, whole: int
) -> None:
    monkeypatch.setattr(faiss_index, "EXACT_UP_TO", exact)
    monkeypatch.setattr(faiss_index, "WHOLE_UP_TO", whole)
    monkeypatch.setattr(local, "_SCAN_UP_TO", 50)
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(3000, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    names = [str(number) for number in range(3000)]
    queries = vectors[:100] + 0.05 * rng.normal(size=(100, DIM))
    with ReferenceIndex.create(path, DIM, MODEL) as index:
        index.add(names[:90], vectors[:90], [{"grade": "A"}] * 90)
        index.search(queries, 1)
        index.add(names[90:], vectors[90:], [{"grade": "BC"[n % 2]} for n in range(90, 3000)])
        for where, among in (
            (None, np.arange(3000)),
            ({"grade": "A"}, np.arange(90)),
            ({"grade": "B"}, np.arange(90, 3000, 2)),
        ):
            found, similarity = index.search(queries, 10, where)
            true = np.argsort(-(queries @ vectors[among].T), axis=1)[:, :10]
            hits = [
                len(set(row) & {names[among[n]] for n in best})
                for row, best in zip(found, true, strict=True)
            ]
            assert np.mean(hits) >= 9.5
            assert (np.diff(similarity, axis=1) <= 0).all()
            lengths = np.linalg.norm(queries, axis=1, keepdims=True)
            cosines = np.take_along_axis(queries / lengths @ vectors.T, np.array(found, int), 1)
            np.testing.assert_allclose(similarity, cosines, atol=1e-5)
        index.remove(names[:5])
        assert not {name for row in index.search(queries, 20)[0] for name in row} & set(names[:5])
    statement = read_statement(path.with_suffix(".faiss"))
    assert statement is not None
    assert statement.kind == ("ivf" if whole > 3000 else "ivf-pq")
    with ReferenceIndex.open(path) as index:
        assert index.search(vectors[7:8], 1)[0] == [["7"]]
        assert len(index.search(queries[:1], 4000)[0][0]) == 2995


def test_compressed_vectors_find_the_nearest_within_a_cluster(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where all are about as near, and their codes tell them apart badly."""
    monkeypatch.setattr(faiss_index, "EXACT_UP_TO", 100)
    monkeypatch.setattr(faiss_index, "WHOLE_UP_TO", 200)
    rng = np.random.default_rng(6)
    dim, count = 128, 4000
    centres = rng.normal(size=(10, dim)) / np.sqrt(dim)
    vectors = centres[rng.integers(10, size=count)] + 0.25 / np.sqrt(dim) * rng.normal(
        size=(count, dim)
    )
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    queries = vectors[:50] + 0.25 / np.sqrt(dim) * rng.normal(size=(50, dim))
    with ReferenceIndex.create(path, dim, MODEL) as index:
        index.add([str(number) for number in range(count)], vectors)
        found, _ = index.search(queries, 10)
    true = np.argsort(-(queries @ vectors.T), axis=1)[:, :10]
    hits = [len({int(n) for n in row} & set(best)) for row, best in zip(found, true, strict=True)]
    assert np.mean(hits) >= 9.5


def test_lists_learned_from_far_fewer_are_learned_anew(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faiss_index, "EXACT_UP_TO", 100)
    vectors = np.random.default_rng(2).normal(size=(3000, DIM))
    names = [str(number) for number in range(3000)]
    with ReferenceIndex.create(path, DIM, MODEL) as index:
        store: Any = index._store
        index.add(names[:700], vectors[:700])
        index.search(vectors[:1], 1)
        assert faiss.extract_index_ivf(store._inner).nlist == 10
        index.add(names[700:1000], vectors[700:1000])
        index.search(vectors[:1], 1)
        assert faiss.extract_index_ivf(store._inner).nlist == 10
        index.add(names[1000:], vectors[1000:])
        index.search(vectors[:1], 1)
        assert faiss.extract_index_ivf(store._inner).nlist == 46
    with ReferenceIndex.open(path) as index:
        assert index.search(vectors[7:8], 1)[0] == [["7"]]


def test_lists_are_prepared_with_progress_before_anybody_searches(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faiss_index, "EXACT_UP_TO", 1000)
    monkeypatch.setattr(local, "_CHUNK", 500)
    vectors = np.random.default_rng(2).normal(size=(2000, DIM))
    names = [str(number) for number in range(2000)]
    told: list[tuple[str, int, int]] = []
    with ReferenceIndex.create(path, DIM, MODEL) as index:
        index.add(names[:1000], vectors[:1000])
        index.prepare(lambda *what: told.append(what))
        assert not told and not path.with_suffix(".faiss").exists()  # exact search needs nothing
        index.add(names[1000:], vectors[1000:])
        index.prepare(lambda *what: told.append(what))
        assert told == [("indexing", done, 2000) for done in (500, 1000, 1500, 2000)]
        statement = read_statement(path.with_suffix(".faiss"))
        assert statement is not None and (statement.kind, statement.vectors) == ("ivf", 2000)
        index.prepare(lambda *what: told.append(what))
        assert len(told) == 4  # they are there
        assert index.search(vectors[1500:1501], 1)[0] == [["1500"]]


def test_one_more_fruit_does_not_load_a_large_index(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faiss_index, "EXACT_UP_TO", 1000)
    vectors = np.random.default_rng(2).normal(size=(3300, DIM))
    names = [str(number) for number in range(3300)]
    with ReferenceIndex.create(path, DIM, MODEL) as index:
        index.add(names[:2000], vectors[:2000])
        index.prepare()
    with ReferenceIndex.open(path) as index:
        store: Any = index._store
        index.add(names[2000:2001], vectors[2000:2001])
        index.prepare()
        assert store._inner is None  # nearly all are in the file
        index.add(names[2001:], vectors[2001:])
        index.prepare()
        assert store._inner.ntotal == 3300
    statement = read_statement(path.with_suffix(".faiss"))
    assert statement is not None and statement.vectors == 3300
