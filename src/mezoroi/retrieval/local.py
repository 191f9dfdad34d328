"""References in one SQLite file with a FAISS index beside it, which can always be made again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from mezoroi.errors import MezoroiError
from mezoroi.progress import Progress, silent
from mezoroi.retrieval import faiss_index
from mezoroi.retrieval.faiss_index import Kind, Statement
from mezoroi.retrieval.held import Held
from mezoroi.retrieval.reference import Filter, Reference
from mezoroi.retrieval.truth import Truth

_SCAN_UP_TO = 20_000
"""A filter that lets fewer through than this is answered by looking at each of them."""
_STALE_SHARE = 0.02
_STALE_COUNT = 1000
_HOLES_SHARE = 0.1
_CANDIDATES = 32
"""Compressed vectors looked up exactly, per neighbour asked for: within a cluster of some hundred
fruits their codes hardly tell them apart."""
_CHUNK = 20_000
_NONE_SEEN = -1
"""In place of a count of changes: look at the truth before the next search."""


class LocalStore:
    """What `ReferenceIndex` does for a file.

    The FAISS index is loaded, brought up to date or made anew when first searched.

    Parameters
    ----------
    truth : the opened SQLite file
    """

    def __init__(self, truth: Truth) -> None:
        self.truth = truth
        self.place = str(truth.path)
        self.dim = truth.dim
        self.fingerprint = truth.fingerprint
        self.index_path = faiss_index.file_beside(truth.path)
        self._index: Any = None
        self._inner: Any = None
        self._kind: Kind = "exact"
        self._last = 0
        self._unsaved = 0
        self._generation = ""
        self._seen_changes = _NONE_SEEN
        self._held = Held()

    def __len__(self) -> int:
        return len(self.truth)

    def close(self) -> None:
        if self._index is not None:
            self._keep_if_stale()
        self._let_go()
        self.truth.close()

    def add(
        self,
        ids: Sequence[str],
        references: Iterable[Reference] | None,
        vectors: np.ndarray,
        scale: np.ndarray,
    ) -> None:
        first = self.truth.add(ids, references, vectors, scale)
        if self._index is None:
            return
        if first == self._last + 1:
            numbers = np.arange(first, first + len(ids))
            self._append(numbers, vectors * scale[:, None], self._names_at_hand(ids))
            self._give_up_if_unfit()
        else:  # others wrote before, or the last ones in the truth are holes
            self._seen_changes = _NONE_SEEN

    def remove(self, ids: Sequence[str]) -> None:
        removed = self.truth.remove(ids)
        if self._index is not None:
            self._held.remove(np.sort(np.array(removed, dtype=np.int64)))
            self._give_up_if_unfit()

    def references(self, ids: Sequence[str] | None, chosen: Filter | None) -> list[Reference]:
        if ids is None:
            return list(self.truth.references(chosen=chosen).values())
        found = {reference.id: reference for reference in self.truth.find(ids).values()}
        return [found[name] for name in ids if name in found]

    def search(
        self, vectors: np.ndarray, scale: np.ndarray, k: int, chosen: Filter | None
    ) -> tuple[list[list[str]], np.ndarray]:
        while True:
            try:
                self._refresh()
                ids, products = self._search(vectors, k, chosen)
            except KeyError:  # another program has just removed one of them
                if not self._is_overtaken():
                    raise
            except MezoroiError:
                if not self._is_renumbered():
                    raise
            else:
                is_from_memory = chosen is None and self._kind == "exact"
                if is_from_memory or not self._is_renumbered():
                    # A few similarities are scaled in less time than a query.
                    return ids, np.multiply(products, scale[:, None], out=products)

    def _search(
        self, vectors: np.ndarray, k: int, chosen: Filter | None
    ) -> tuple[list[list[str]], np.ndarray]:
        """Ids, and inner products with vectors of length 1."""
        places, selector = None, self._held.all_but_holes
        if chosen is not None:
            places = self._held.places(self.truth.numbers(chosen))
            selector = faiss.IDSelectorBatch(places)
        there = self._held.live if places is None else len(places)
        k = min(k, there)
        if k == 0:
            return [[] for _ in vectors], np.empty((len(vectors), 0), dtype=np.float32)
        if self._kind == "exact":
            similarity, found = faiss_index.search(self._inner, vectors, k, selector)
            return self._held.names[found].tolist(), similarity
        if places is not None and there <= _SCAN_UP_TO:
            similarity, numbers = self._scan(vectors, k, self._held.numbers[places])
        else:
            similarity, numbers = self._search_lists(vectors, k, selector)
        short = np.flatnonzero((numbers < 0).any(axis=1))  # the lists searched held too few
        if len(short):
            everyone = self.truth.numbers() if places is None else self._held.numbers[places]
            similarity[short], numbers[short] = self._scan(vectors[short], k, everyone)
        names = self.truth.ids(np.unique(numbers).tolist())
        return [[names[n] for n in row] for row in numbers.tolist()], similarity

    def prepare(self, progress: Progress = silent) -> None:
        """Make lists now, where the next search would have to; exact search needs none."""
        if not self._lacks_lists():
            return
        while True:
            try:
                self._refresh(progress)
            except MezoroiError:
                if not self._is_renumbered():
                    raise
            else:
                return

    def _lacks_lists(self) -> bool:
        """True where there is no index of the present kind, or one of far fewer fruits."""
        count = len(self.truth)
        kind = faiss_index.kind_for(count)
        if kind == "exact":
            return False
        if self._index is not None:
            return True  # at worst; to bring it up to date takes no time
        found = self.statement
        if found is None:
            return True
        ours = (kind, self.truth.generation, self.fingerprint, self.dim)
        is_ours = (found.kind, found.generation, found.fingerprint, found.dim) == ours
        return not is_ours or count - found.vectors > max(_STALE_COUNT, _STALE_SHARE * count)

    def rebuild(self, progress: Progress = silent) -> Statement:
        """Leave out what was removed and make the index file anew from the truth."""
        self.truth.compact()
        self._make(progress)
        return self._write()

    @property
    def statement(self) -> Statement | None:
        """What the index file says about itself, if there is a usable one."""
        return faiss_index.read_statement(self.index_path)

    def _search_lists(
        self, vectors: np.ndarray, k: int, selector: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        """Inner products and numbers, -1 where the lists searched hold too few."""
        wanted = k if self._kind == "ivf" else min(_CANDIDATES * k, len(self._held))
        found, places = faiss_index.search(self._inner, vectors, wanted, selector)
        candidates = np.where(places < 0, -1, self._held.numbers[places])
        if self._kind == "ivf":
            return found, candidates
        similarity = np.full((len(vectors), k), -np.inf, dtype=np.float32)
        numbers = np.full((len(vectors), k), -1, dtype=np.int64)
        for row, some in enumerate(candidates):
            known = np.sort(some[some >= 0])
            best = min(k, len(known))
            similarity[row, :best], numbers[row, :best] = (
                part[0] for part in self._scan(vectors[row : row + 1], best, known)
            )
        return similarity, numbers

    def _scan(
        self, vectors: np.ndarray, k: int, allowed: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Exact search among the fruits with these ascending numbers, read from the truth."""
        best = faiss.ResultHeap(len(vectors), k, keep_max=True)
        for start in range(0, len(allowed), _CHUNK):
            part = allowed[start : start + _CHUNK]
            similarity, places = faiss.knn(
                vectors, self.truth.vectors(part), min(k, len(part)), faiss.METRIC_INNER_PRODUCT
            )
            best.add_result(similarity, part[places])
        best.finalize()
        return best.D, best.I

    def _refresh(self, progress: Progress = silent) -> None:
        """Load the index, or take over what others have written since."""
        changes = self.truth.changes_of_others
        if self._index is not None and changes == self._seen_changes:
            return
        if self._index is None or self.truth.generation != self._generation:
            self._load(progress)
        self._catch_up()
        if self._held.live != len(self.truth):
            self._held.keep_only(self.truth.numbers())
        if self._is_unfit():
            self._make(progress)
        self._keep_if_stale()
        self._seen_changes = changes

    def _is_overtaken(self) -> bool:
        """True when another program has written since the last look."""
        return self.truth.changes_of_others != self._seen_changes

    def _is_renumbered(self) -> bool:
        """True when another program has given the fruits new numbers since the last look."""
        return self._is_overtaken() and self.truth.generation != self._generation

    def _is_unfit(self) -> bool:
        """True when the index was made for far fewer fruits, or many in it were removed."""
        live = self._held.live
        outgrown = faiss_index.is_outgrown(self._inner, self._kind, live)
        return outgrown or len(self._held.holes) > max(_STALE_COUNT, _HOLES_SHARE * live)

    def _give_up_if_unfit(self) -> None:
        if self._is_unfit():
            self._let_go()

    def _let_go(self) -> None:
        """The next search loads or makes the index anew; what it took of memory is free."""
        self._index = self._inner = None

    def _load(self, progress: Progress) -> None:
        """The index from its file, or made anew where that does not fit the truth."""
        found = faiss_index.read_file(self.index_path)
        self._start_over()
        if found is not None:
            index, numbers, statement = found
            ours = (self._generation, self.fingerprint, self.dim)
            if (statement.generation, statement.fingerprint, statement.dim) == ours:
                self._kind, self._last = statement.kind, statement.last
                self._held.append(numbers, self._names_of(numbers))
                self._index, self._inner = index, faiss_index.inner_of(index)
                return
        self._make(progress)

    def _make(self, progress: Progress) -> None:
        """A new index of every fruit in the truth."""
        self._start_over()
        numbers = self.truth.numbers()
        self._kind = faiss_index.kind_for(len(numbers))
        sample = np.empty((0, self.dim), dtype=np.float32)
        if self._kind != "exact":
            rng = np.random.default_rng(0)
            size = faiss_index.training_sample(len(numbers))
            sample = self.truth.vectors(np.sort(rng.choice(numbers, size, replace=False)))
        self._index = faiss_index.build(self._kind, self.dim, sample, len(numbers))
        self._inner = faiss_index.inner_of(self._index)
        for start in range(0, len(numbers), _CHUNK):
            part = numbers[start : start + _CHUNK]
            self._append(part, self.truth.vectors(part), self._names_of(part))
            progress("indexing", start + len(part), len(numbers))

    def _start_over(self) -> None:
        # What fails from here on leaves no index that does not fit the rest.
        self._let_go()
        self._generation = self.truth.generation
        self._seen_changes = _NONE_SEEN
        self._last = self._unsaved = 0
        self._held = Held()

    def _catch_up(self) -> None:
        """Add what the truth has beyond the index."""
        numbers = self.truth.numbers(after=self._last)
        for start in range(0, len(numbers), _CHUNK):
            part = numbers[start : start + _CHUNK]
            self._append(part, self.truth.vectors(part), self._names_of(part))

    def _append(self, numbers: np.ndarray, vectors: np.ndarray, names: np.ndarray) -> None:
        """Nothing here may read the file, which may be held: `add` has kept the fruits by now."""
        faiss_index.add(self._index, vectors, numbers)
        self._held.append(numbers, names)
        self._last = int(numbers[-1])
        self._unsaved += len(numbers)

    def _names_of(self, numbers: np.ndarray) -> np.ndarray:
        """Ids to keep at hand, from the truth; those of removed fruits are empty."""
        if self._kind != "exact" or not len(numbers):
            return self._names_at_hand([])
        found = self.truth.ids_between(int(numbers[0]), int(numbers[-1]))
        return self._names_at_hand([found.get(number, "") for number in numbers.tolist()])

    def _names_at_hand(self, ids: Sequence[str]) -> np.ndarray:
        """(N,) ids as asking for them takes longer than an exact search.

        Lists are searched in more time, and keep none: (0,).
        """
        return np.array(list(map(str, ids)) if self._kind == "exact" else [], dtype=object)

    def _keep_if_stale(self) -> None:
        if self._unsaved <= max(_STALE_COUNT, _STALE_SHARE * len(self._held)):
            return
        try:
            self._write()
        except MezoroiError:
            # A run folder may be read-only; the next process then makes the index again.
            return

    def _write(self) -> Statement:
        statement = Statement(
            self._kind,
            len(self._held),
            self._last,
            self._generation,
            self.fingerprint,
            self.dim,
        )
        faiss_index.write_file(self._index, self._held.numbers, statement, self.index_path)
        self._unsaved = 0
        return statement


def create_local(path: Path, dim: int, fingerprint: str) -> LocalStore:
    """An empty store in a new file; an index file left by an earlier one goes.

    Raises
    ------
    MezoroiError
        If there is a file already, or its name is that of an index file.
    """
    index_path = faiss_index.file_beside(path)
    store = LocalStore(Truth.create(path, dim, fingerprint))
    index_path.unlink(missing_ok=True)
    return store


def open_local(path: Path) -> LocalStore:
    """The store in a file.

    Raises
    ------
    MezoroiError
        If the file cannot be used, see `Truth`, or its name is that of an index file.
    """
    faiss_index.file_beside(path)
    return LocalStore(Truth(path))
