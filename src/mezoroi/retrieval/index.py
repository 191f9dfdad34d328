"""ReferenceIndex: the most similar reference fruits, from one file or from a Milvus server."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from mezoroi.errors import MezoroiError
from mezoroi.metrics.arrays import as_array
from mezoroi.progress import Progress, silent
from mezoroi.retrieval.local import create_local, open_local
from mezoroi.retrieval.milvus_place import is_milvus
from mezoroi.retrieval.reference import (
    Filter,
    Reference,
    as_filter,
    as_references,
    check_ids,
    check_known,
)

_LEAST_SQUARE = 1e-30
"""Below this the squares of a vector's numbers lose their digits in float32, and it its length."""


class Store(Protocol):
    """Where references are kept; it gets checked arguments.

    Vectors are of any length, and come with the (N,) factors that bring them to length 1.
    """

    @property
    def place(self) -> str: ...
    @property
    def dim(self) -> int: ...
    @property
    def fingerprint(self) -> str: ...
    def __len__(self) -> int: ...
    def add(
        self,
        ids: Sequence[str],
        references: Iterable[Reference] | None,
        vectors: np.ndarray,
        scale: np.ndarray,
    ) -> None: ...
    def remove(self, ids: Sequence[str]) -> None: ...
    def references(self, ids: Sequence[str] | None, chosen: Filter | None) -> list[Reference]: ...
    def search(
        self, vectors: np.ndarray, scale: np.ndarray, k: int, chosen: Filter | None
    ) -> tuple[list[list[str]], np.ndarray]: ...
    def prepare(self, progress: Progress) -> None: ...
    def rebuild(self, progress: Progress) -> Any: ...
    def close(self) -> None: ...


class ReferenceIndex:
    """Vectors of reference fruits, searched by cosine similarity.

    Made by `create` or `open`; usable as a context manager, and from several threads.

    Attributes
    ----------
    place : the file or URI
    dim : length of a vector
    fingerprint : of the model whose vectors these are
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = Lock()
        self._is_closed = False
        self.place = store.place
        self.dim = store.dim
        self.fingerprint = store.fingerprint

    @classmethod
    def create(cls, path_or_uri: str | Path, dim: int, fingerprint: str) -> ReferenceIndex:
        """Make an empty index.

        Parameters
        ----------
        path_or_uri : a file (SQLite, with a FAISS index beside it); or, for Milvus, a name ending
            in ``.db`` (in this process) or ``http://`` or ``https://`` with a server's address,
            after which ``#NAME`` chooses a collection
        dim : length of a vector, at least 1
        fingerprint : of the model whose vectors will be added, see `check_fingerprint`

        Raises
        ------
        MezoroiError
            If something is there already, the server does not answer within 5 seconds, or `dim` or
            `fingerprint` is none.
        """
        dim = _count(dim, "dim", "give the length of the vectors")
        if not isinstance(fingerprint, str) or not fingerprint:
            raise MezoroiError(
                f"fingerprint is {fingerprint!r}: give a text that tells the model from others"
            )
        if is_milvus(path_or_uri):
            from mezoroi.retrieval.milvus import MilvusStore

            return cls(MilvusStore.create(str(path_or_uri), dim, fingerprint))
        return cls(create_local(Path(path_or_uri), dim, fingerprint))

    @classmethod
    def open(cls, path_or_uri: str | Path) -> ReferenceIndex:
        """Open what `create` made.

        Raises
        ------
        MezoroiError
            If it is missing, damaged, no reference index or of another version, or the server
            does not answer within 5 seconds. Once it has, a large collection may take up to 2
            minutes to load.
        """
        if is_milvus(path_or_uri):
            from mezoroi.retrieval.milvus import MilvusStore

            return cls(MilvusStore.open(str(path_or_uri)))
        return cls(open_local(Path(path_or_uri)))

    @classmethod
    def exists(cls, path_or_uri: str | Path) -> bool:
        """True where `open` would find something, whole or not.

        Raises
        ------
        MezoroiError
            If the server does not answer within 5 seconds.
        """
        if is_milvus(path_or_uri):
            from mezoroi.retrieval.milvus import MilvusStore

            return MilvusStore.exists(str(path_or_uri))
        return Path(path_or_uri).exists()

    def __len__(self) -> int:
        with self._lock:
            return len(self._opened())

    def __enter__(self) -> ReferenceIndex:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file or connection; everything added is kept already."""
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                self._store.close()

    def check_fingerprint(self, fingerprint: str) -> None:
        """Refuse vectors of another model: their similarities would mean nothing.

        Raises
        ------
        MezoroiError
            If the index was made for another model.
        """
        if fingerprint != self.fingerprint:
            raise MezoroiError(
                f"the references in {self.place} are of another model "
                f"({self.fingerprint[:12]}, not {fingerprint[:12]}): use those of this grader, or "
                "fill new ones"
            )

    def add(
        self,
        ids: Sequence[str],
        vectors: ArrayLike,
        metadata: Sequence[Mapping[str, Any] | None] | None = None,
    ) -> None:
        """Add fruits: all of them, kept for good when this returns, or none.

        Parameters
        ----------
        ids : N texts, unique in the index
        vectors : (N, dim) finite, none of them zero; kept at length 1
        metadata : for each fruit ``grade``, ``date`` (as 2026-07-31, or 2026/7/31), ``orchard``,
            ``thumbnail`` and anything else that JSON can hold; all optional, NaN counts as absent

        Raises
        ------
        MezoroiError
            If an id is taken or given twice, or a vector is of another length, NaN, infinite or
            zero, or nearly so (length below 1e-15).
        """
        check_ids(ids)
        references = None if metadata is None else as_references(ids, metadata)
        rows, scale = self._checked(vectors)
        if len(rows) != len(ids):
            raise MezoroiError(f"{len(rows)} vectors for {len(ids)} ids: give one each")
        if len(ids):
            with self._lock:
                self._opened().add(ids, references, rows, scale)

    def search(
        self, vectors: ArrayLike, k: int, where: Mapping[str, Any] | None = None
    ) -> tuple[list[list[str]], np.ndarray]:
        """The `k` most similar fruits of each query, best first.

        Parameters
        ----------
        vectors : (N, dim), as in `add`
        k : at least 1
        where : only fruits of a ``grade`` or ``orchard`` (a name or several) and of a ``date`` (a
            day, or first and last day, either None)

        Returns
        -------
        N lists of ids, and (N, k) float32 similarities in [-1, 1]. Where fewer than `k` fruits are
        in the index, or pass the filter, both have as many columns as there are.

        Raises
        ------
        MezoroiError
            If `k` is below 1, the filter unknown, or the vectors are unusable.
        """
        k = _count(k, "k", "ask for at least 1 fruit")
        chosen = as_filter(where)
        rows, scale = self._checked(vectors)
        with self._lock:
            ids, similarity = self._opened().search(rows, scale, k, chosen)
        # Best first: of a single query, whose time counts, two say that all are within.
        if similarity.size and not (
            len(rows) == 1 and similarity.item(0) <= 1.0 and similarity.item(-1) >= -1.0
        ):
            np.clip(similarity, -1.0, 1.0, out=similarity)
        return ids, similarity

    def remove(self, ids: Sequence[str]) -> None:
        """Remove fruits: all of them or, where one is not there, none.

        Raises
        ------
        MezoroiError
            If an id is not in the index.
        """
        check_known(ids)
        with self._lock:
            self._opened().remove(list(dict.fromkeys(ids)))

    def references(
        self, ids: Sequence[str] | None = None, where: Mapping[str, Any] | None = None
    ) -> list[Reference]:
        """What is known of the fruits: of all, of those with given `ids`, or of a filter's."""
        chosen = as_filter(where)
        check_known(ids or ())
        with self._lock:
            return self._opened().references(ids, chosen)

    def prepare(self, progress: Progress = silent) -> None:
        """After a large load, make now what the next search would otherwise make first."""
        with self._lock:
            self._opened().prepare(progress)

    def rebuild(self, progress: Progress = silent) -> None:
        """Drop what was removed for good, and make the search structure anew."""
        with self._lock:
            self._opened().rebuild(progress)

    def _opened(self) -> Store:
        """The store; for one thread at a time, so with the lock held."""
        if self._is_closed:
            raise MezoroiError(f"{self.place} is closed: open it again")
        return self._store

    def _checked(self, vectors: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """(N, dim) float32, contiguous, and the (N,) factors that bring each to length 1."""
        try:
            # A query's time counts: arrays pass straight on.
            given = vectors if isinstance(vectors, np.ndarray) else as_array(vectors)
            rows = np.asarray(given, dtype=np.float32, order="C")
        except (TypeError, ValueError) as error:
            raise MezoroiError(
                f"vectors are no array of numbers, or not all as long ({error}): give (N, "
                f"{self.dim})"
            ) from error
        if rows.ndim != 2 or rows.shape[1] != self.dim:
            raise MezoroiError(
                f"vectors have shape {rows.shape}, the index takes (N, {self.dim}): "
                "use the model it was made for"
            )
        if hasattr(np, "vecdot"):  # NumPy 2; for one row in a quarter of the time
            squares = np.vecdot(rows, rows)
        else:
            squares = np.einsum("nd,nd->n", rows, rows)
        found = squares.tolist()
        if min(found, default=1.0) < _LEAST_SQUARE or not sum(found) < math.inf:  # nor is NaN
            bad = np.flatnonzero(~np.isfinite(squares) | (squares < _LEAST_SQUARE))
            raise MezoroiError(
                f"vector {bad[0]} is NaN, infinite or zero, or nearly so, and has no direction: "
                "leave it out"
            )
        return rows, squares**-0.5


def _count(value: Any, name: str, remedy: str) -> int:
    """A whole number of at least 1, also NumPy's; True is none."""
    try:
        count = 0 if isinstance(value, bool | np.bool_) else operator.index(value)
    except TypeError:
        count = 0
    if count < 1:
        raise MezoroiError(f"{name} is {value!r}, no whole number of at least 1: {remedy}")
    return count
