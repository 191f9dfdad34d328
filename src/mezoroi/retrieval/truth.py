"""The truth of a local reference index: one SQLite file that any language can read.

Table ``fruits`` has a row per fruit; ``vectors`` has blobs of little-endian float32 vectors of
length 1, in order of the fruits' numbers: a blob ``first`` holds the numbers ``first``,
``first`` + 1, …. A removed fruit loses its row; its vector stays as a hole until `Truth.compact`.
Blocks, and pages large enough for them, are read back as fast as FAISS reads its own file.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mezoroi.errors import MezoroiError
from mezoroi.retrieval.reference import Filter, Reference
from mezoroi.retrieval.truth_file import REMEDY, TruthFile, create_truth_file

_BLOCK = 64
_COLUMNS = "id, grade, date, orchard, thumbnail, more"


class Truth:
    """Fruits and their vectors; every change is one transaction, on disk when it returns.

    Attributes
    ----------
    path : the file
    dim : length of a vector
    fingerprint : of the model whose vectors these are

    Raises
    ------
    MezoroiError
        If the file is missing, damaged, no reference index or of another version.
    """

    def __init__(self, path: Path) -> None:
        self._file = TruthFile(path)
        self._db = self._file.db
        self.path = path
        self.dim = self._file.dim
        self.fingerprint = self._file.fingerprint

    @classmethod
    def create(cls, path: Path, dim: int, fingerprint: str) -> Truth:
        """Make an empty index; the file appears whole or not at all."""
        create_truth_file(path, dim, fingerprint)
        return cls(path)

    def close(self) -> None:
        self._file.close()

    @property
    def generation(self) -> str:
        """Random, and drawn again when the fruits get new numbers."""
        return self._file.generation

    @property
    def changes_of_others(self) -> int:
        """Differs from its earlier value when another connection has written since."""
        return self._file.changes_of_others

    @property
    def last(self) -> int:
        """The largest number that a vector was stored under; 0 for none."""
        with self._file.readable():
            row = self._db.execute(
                "SELECT first, length(vectors) FROM vectors ORDER BY first DESC LIMIT 1"
            ).fetchone()
        return 0 if row is None else int(row[0]) + int(row[1]) // (4 * self.dim) - 1

    def __len__(self) -> int:
        with self._file.readable():
            return int(self._db.execute("SELECT count(*) FROM fruits").fetchone()[0])

    def add(
        self,
        ids: Sequence[str],
        references: Iterable[Reference] | None,
        vectors: np.ndarray,
        scale: np.ndarray,
    ) -> int:
        """Store fruits with their vectors; all of them or none.

        Parameters
        ----------
        references : what is known of them; None where that is only their ids
        vectors : (N, D) float32, contiguous
        scale : (N,) float32, what brings them to length 1

        Returns
        -------
        number of the first; the others follow

        Raises
        ------
        MezoroiError
            If an id is there already.
        """
        try:
            with self._file.writing():
                first = self.last + 1
                self._write(first, vectors, scale)
                if references is None:  # one statement takes a fifth of the time of a row each
                    self._db.execute(
                        "INSERT INTO fruits (number, id) SELECT ? + key, value FROM json_each(?)",
                        (first, json.dumps(list(ids))),
                    )
                else:
                    self._db.executemany(
                        "INSERT INTO fruits VALUES (?, ?, ?, ?, ?, ?, ?)",
                        ((first + index, *_row(item)) for index, item in enumerate(references)),
                    )
        except sqlite3.IntegrityError as error:
            if "fruits.id" not in str(error):
                raise MezoroiError(f"{self.path} is damaged ({error}): {REMEDY}") from error
            taken = [reference.id for reference in self.find(ids).values()]
            raise MezoroiError(
                f"`{(taken or ids)[0]}` is in the references already: remove it first, or give "
                "another id"
            ) from error
        return first

    def remove(self, ids: Sequence[str]) -> list[int]:
        """Remove fruits, all of them or none; their numbers.

        Raises
        ------
        MezoroiError
            If an id is not there.
        """
        with self._file.writing():
            found = self.find(ids)
            known = {reference.id for reference in found.values()}
            missing = [name for name in ids if name not in known]
            if missing:
                raise MezoroiError(
                    f"`{missing[0]}` is not in the references: `mezoroi references RUN list` "
                    "shows what is"
                )
            self._db.executemany(
                "DELETE FROM fruits WHERE number = ?", ((number,) for number in found)
            )
        return list(found)

    def compact(self) -> None:
        """Leave out the vectors of removed fruits and number the others anew, from 1."""
        with self._file.writing():
            numbers = self.numbers()
            vectors = self.vectors(numbers)
            self._db.execute("DELETE FROM vectors")
            self._write(1, vectors, np.ones(len(vectors), dtype=np.float32))
            # In order, each new number is free: it is at most the old one.
            pairs = ((new, int(old)) for new, old in enumerate(numbers, 1))
            self._db.executemany("UPDATE fruits SET number = ? WHERE number = ?", pairs)
            self._file.draw_generation()

    def references(
        self, numbers: Iterable[int] | None = None, chosen: Filter | None = None
    ) -> dict[int, Reference]:
        """Fruits by number: all, those with given numbers, or those a filter lets through."""
        query = f"SELECT number, {_COLUMNS} FROM fruits"
        with self._file.readable():
            if numbers is not None:
                rows = self._file.rows_in(f"{query} WHERE number IN", numbers)
            else:
                condition, values = _condition(chosen)
                rows = iter(self._db.execute(f"{query}{condition} ORDER BY number", values))
            return {int(row[0]): _reference(row[1:]) for row in rows}

    def find(self, ids: Iterable[str]) -> dict[int, Reference]:
        """Those of the given fruits that are here, by number."""
        query = f"SELECT number, {_COLUMNS} FROM fruits WHERE id IN"
        with self._file.readable():
            return {int(row[0]): _reference(row[1:]) for row in self._file.rows_in(query, ids)}

    def ids(self, numbers: Iterable[int]) -> dict[int, str]:
        """Ids by number."""
        with self._file.readable():
            return dict(
                self._file.rows_in("SELECT number, id FROM fruits WHERE number IN", numbers)
            )

    def ids_between(self, first: int, last: int) -> dict[int, str]:
        """Ids by number, of the fruits from one number to another."""
        query = "SELECT number, id FROM fruits WHERE number BETWEEN ? AND ?"
        with self._file.readable():
            return dict(self._db.execute(query, (first, last)).fetchall())

    def numbers(self, chosen: Filter | None = None, after: int = 0) -> np.ndarray:
        """(M,) int64, ascending: the fruits beyond a number that a filter lets through."""
        condition, values = _condition(chosen)
        query = f"SELECT number FROM fruits{condition or ' WHERE true'} AND number > ?"
        with self._file.readable():
            rows = self._db.execute(f"{query} ORDER BY number", [*values, after])
            return np.fromiter((row[0] for row in rows), dtype=np.int64)

    def vectors(self, numbers: np.ndarray) -> np.ndarray:
        """(M, D) float32 of the fruits with these ascending numbers."""
        found = np.empty((len(numbers), self.dim), dtype=np.float32)
        filled = 0
        for first, block in self.blocks(numbers):
            last = first + len(block)
            stop = int(np.searchsorted(numbers, last))
            start = int(np.searchsorted(numbers, first))
            found[start:stop] = block[numbers[start:stop] - first]
            filled += stop - start
        if filled != len(numbers):
            raise MezoroiError(f"{self.path} lacks vectors of its fruits: {REMEDY}")
        return found

    def blocks(self, numbers: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """(first number, (B, D) float32) of every blob that may hold one of the numbers."""
        if not len(numbers):
            return
        ends = (int(numbers[0]), int(numbers[-1]))
        query = "SELECT first, vectors FROM vectors WHERE first"
        with self._file.readable():
            if ends[1] - ends[0] > _BLOCK * len(numbers):
                rows = self._file.rows_in(f"{query} IN", self._firsts(numbers))
            else:
                between = f"{query} > ? - {_BLOCK} AND first <= ? ORDER BY first"
                rows = iter(self._db.execute(between, ends))
            for first, blob in rows:
                yield int(first), np.frombuffer(blob, dtype="<f4").reshape(-1, self.dim)

    def _firsts(self, numbers: np.ndarray) -> list[int]:
        """First numbers of the blobs that hold a few scattered fruits, ascending."""
        query = "SELECT max(first) FROM vectors WHERE first <= ?"
        found = {self._db.execute(query, (int(n),)).fetchone()[0] for n in numbers}
        return sorted(found - {None})

    def _write(self, first: int, vectors: np.ndarray, scale: np.ndarray) -> None:
        def blocks() -> Iterator[tuple[int, memoryview]]:
            # Scaled one by one: a second array as large as a bulk load takes longer than the disk.
            for start in range(0, len(vectors), _BLOCK):
                part = slice(start, start + _BLOCK)
                block = (vectors[part] * scale[part, None]).astype("<f4", copy=False)
                yield first + start, block.data

        self._db.executemany("INSERT INTO vectors VALUES (?, ?)", blocks())


def _row(reference: Reference) -> tuple[str | None, ...]:
    more = json.dumps(dict(reference.more), ensure_ascii=False) if reference.more else None
    return (*reference[:-1], more)


def _reference(row: Sequence[Any]) -> Reference:
    name, grade, date, orchard, thumbnail, more = row
    return Reference(name, grade, date, orchard, thumbnail, json.loads(more) if more else {})


def _condition(chosen: Filter | None) -> tuple[str, list[str]]:
    """``WHERE …`` of a filter and its values."""
    if chosen is None:
        return "", []
    parts: list[str] = []
    values: list[str] = []
    for column, names in (("grade", chosen.grades), ("orchard", chosen.orchards)):
        if names is not None:
            parts.append(f"{column} IN ({','.join('?' * len(names))})")
            values += names
    for sign, day in ((">=", chosen.since), ("<=", chosen.until)):
        if day is not None:
            parts.append(f"date {sign} ?")
            values.append(day)
    return (" WHERE " + " AND ".join(parts) if parts else ""), values
