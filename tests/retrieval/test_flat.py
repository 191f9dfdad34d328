"""Vectors for exact search: where they lie, and that FAISS finds the same."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np
import pytest

from mezoroi.retrieval.flat import Flat, empty_aligned, flat_of

DIM = 24


@pytest.fixture
def vectors() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(5000, DIM)).astype(np.float32)


def starts_at_a_cache_line(values: np.ndarray) -> bool:
    return values.ctypes.data % 64 == 0


@pytest.mark.parametrize("shape", [(1, 512), (3, 7), (100_000, 9), (5,)])
def test_room_begins_at_a_cache_line(shape: tuple[int, ...]) -> None:
    rooms = [empty_aligned(*shape) for _ in range(8)]
    assert all(starts_at_a_cache_line(room) for room in rooms)
    assert all(room.shape == shape and room.dtype == np.float32 for room in rooms)
    for number, room in enumerate(rooms):
        room[...] = number
    assert all((room == number).all() for number, room in enumerate(rooms))


def searched(peer: Any, asked: np.ndarray, options: Any) -> tuple[np.ndarray, np.ndarray]:
    """Not by `search`: after an import of faiss.contrib.torch_utils that takes no parameters."""
    similarity = np.empty((len(asked), 10), dtype=np.float32)
    places = np.empty((len(asked), 10), dtype=np.int64)
    pointers = (faiss.swig_ptr(values) for values in (similarity, places))
    peer.search_c(len(asked), faiss.swig_ptr(asked), 10, *pointers, options)
    return similarity, places


@pytest.mark.parametrize("parts", [[5000], [1, 1, 4998], [10, 1000, 90, 3900]])
@pytest.mark.parametrize("queries", [1, 3, 50])
def test_the_same_is_found_as_by_faiss(vectors: np.ndarray, parts: list[int], queries: int) -> None:
    flat, peer = Flat(DIM, capacity=parts[0]), faiss.IndexFlatIP(DIM)
    for some in np.split(vectors, np.cumsum(parts)[:-1]):
        flat.add(some)
        peer.add(some)
        assert starts_at_a_cache_line(flat.vectors)
    np.testing.assert_array_equal(flat.vectors, vectors)
    asked = np.random.default_rng(1).normal(size=(queries, DIM)).astype(np.float32)
    chosen = np.arange(0, 5000, 7)
    for selector in (None, faiss.IDSelectorBatch(chosen)):
        options = None if selector is None else faiss.SearchParameters(sel=selector)
        similarity, places = flat.search(asked, 10, selector)
        expected = searched(peer, asked, options)
        np.testing.assert_allclose(similarity, expected[0], rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(places, expected[1])
    _, few = flat.search(asked, 4, faiss.IDSelectorBatch(np.array([3, 4])))
    assert {tuple(sorted(row)) for row in few.tolist()} == {(-1, -1, 3, 4)}


def test_it_is_written_as_faiss_reads_it(vectors: np.ndarray) -> None:
    flat = Flat(DIM)
    assert len(flat) == 0 and flat.vectors.shape == (0, DIM)
    flat.add(vectors)
    numbers = np.arange(5000, dtype=np.int64) * 3 + 1
    index = flat.numbered(numbers)
    asked = vectors[[17, 2000]]
    assert index.search(asked, 1)[1].tolist() == [[52], [6001]]
    again = flat_of(faiss.downcast_index(index.index))
    np.testing.assert_array_equal(again.vectors, vectors)
    assert starts_at_a_cache_line(again.vectors)
    empty = flat_of(faiss.IndexFlatIP(DIM))
    assert len(empty) == 0
    empty.add(vectors[:2])
    assert empty.search(vectors[:1], 1)[1].tolist() == [[0]]
