"""Which fruits a search index holds, place by place."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np


class Held:
    """The fruits in a search index, in its order. A removed one leaves a hole, which stays.

    Attributes
    ----------
    numbers : (N,) int64, ascending
    names : (N,) ids, empty for those of holes; (0,) where the index keeps none at hand
    holes : (H,) int64, ascending: the numbers of those that were removed
    all_but_holes : selector of places for FAISS; None without holes
    """

    def __init__(self) -> None:
        self.numbers = self.holes = np.empty(0, dtype=np.int64)
        self.names = np.empty(0, dtype=object)
        self.all_but_holes: Any = None

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def live(self) -> int:
        """How many were not removed."""
        return len(self.numbers) - len(self.holes)

    def append(self, numbers: np.ndarray, names: np.ndarray) -> None:
        """Fruits at the next places; one without a name was removed meanwhile."""
        self.numbers = np.append(self.numbers, numbers)
        self.names = np.append(self.names, names)
        if "" in names:
            self.remove(numbers[names == ""])

    def remove(self, numbers: np.ndarray) -> None:
        """Make holes of those of these ascending numbers that are here."""
        self._set_holes(np.union1d(self.holes, self.numbers[self.places(numbers)]))

    def keep_only(self, numbers: np.ndarray) -> None:
        """Make holes of all but these numbers."""
        self._set_holes(np.setdiff1d(self.numbers, numbers, assume_unique=True))

    def places(self, numbers: np.ndarray) -> np.ndarray:
        """Where these ascending numbers are, as far as they are here."""
        places = np.searchsorted(self.numbers, numbers)
        places = places[places < len(self.numbers)]
        return places[self.numbers[places] == numbers[: len(places)]]

    def _set_holes(self, holes: np.ndarray) -> None:
        self.holes = holes
        self.all_but_holes = None
        if len(holes):
            removed = faiss.IDSelectorBatch(self.places(holes))
            self.all_but_holes = faiss.IDSelectorNot(removed)
