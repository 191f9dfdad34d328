"""Vectors that are searched one by one, kept where the processor reads them fastest."""

from __future__ import annotations

import math
from typing import Any

import faiss
import numpy as np

_ALIGNED = 64
"""Bytes of a cache line, and of the processor's longest registers."""


class Flat:
    """What `faiss.IndexFlatIP` does, by the same function, for vectors that begin at cache lines.

    FAISS' own begin wherever memory was free, large ones never at a cache line, and then a search
    takes a tenth longer.

    Parameters
    ----------
    dim : length of a vector
    capacity : how many there is room for before all must move
    """

    def __init__(self, dim: int, capacity: int = 0) -> None:
        self.dim = dim
        self._count = 0
        self._room = empty_aligned(capacity, dim)
        self._one_query = empty_aligned(1, dim)

    def __len__(self) -> int:
        return self._count

    @property
    def vectors(self) -> np.ndarray:
        """(N, dim) float32, in the order they were added."""
        return self._room[: self._count]

    def add(self, vectors: np.ndarray) -> None:
        """Append vectors (M, dim)."""
        count = self._count + len(vectors)
        if count > len(self._room):
            room = empty_aligned(max(count, 2 * self._count), self.dim)
            room[: self._count] = self.vectors
            self._room = room
        self._room[self._count : count] = vectors
        self._count = count

    def search(
        self, vectors: np.ndarray, k: int, selector: Any = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """(M, k) inner products and places, best first; -1 where there are too few.

        Parameters
        ----------
        vectors : (M, dim) float32, contiguous
        selector : a FAISS selector of the places that may be found, or None for all
        """
        if len(vectors) == 1:  # read again for every vector
            self._one_query[:] = vectors
            vectors = self._one_query
        similarity = np.empty((len(vectors), k), dtype=np.float32)
        places = np.empty((len(vectors), k), dtype=np.int64)
        faiss.knn_inner_product(
            faiss.swig_ptr(vectors),
            faiss.swig_ptr(self._room),
            self.dim,
            len(vectors),
            self._count,
            k,
            faiss.swig_ptr(similarity),
            faiss.swig_ptr(places),
            selector,
        )
        return similarity, places

    def numbered(self, numbers: np.ndarray) -> Any:
        """A FAISS index of the same vectors, under numbers (N,): a copy, to be written."""
        index = faiss.IndexIDMap(faiss.IndexFlatIP(self.dim))
        index.add_with_ids(self.vectors, numbers)
        return index


def flat_of(index: Any) -> Flat:
    """The vectors of a `faiss.IndexFlat`, copied."""
    flat = Flat(index.d, index.ntotal)
    flat.add(faiss.rev_swig_ptr(index.get_xb(), index.ntotal * index.d).reshape(-1, index.d))
    return flat


def empty_aligned(*shape: int) -> np.ndarray:
    """A float32 array of any values that begins at a cache line."""
    size = 4 * math.prod(shape)
    room = np.empty(size + _ALIGNED, dtype=np.uint8)
    start = -room.ctypes.data % _ALIGNED
    return room[start : start + size].view(np.float32).reshape(shape)
