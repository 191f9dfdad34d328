"""Several programs or threads use one file of references."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mezoroi import MezoroiError
from mezoroi.retrieval import ReferenceIndex, faiss_index, file_head, truth_file
from mezoroi.retrieval.truth import Truth
from tests.retrieval.conftest import COUNT, DIM


def test_a_fruit_of_another_program_removed_here_hides_no_hole(
    filled: Path, vectors: np.ndarray, ids: list[str]
) -> None:
    with ReferenceIndex.open(filled) as one, ReferenceIndex.open(filled) as two:
        one.search(vectors[:1], 1)
        two.add(["theirs"], np.ones((1, DIM)))
        two.remove(ids[:1])
        one.remove(["theirs"])
        assert one.search(vectors[:1], 1)[0] != [ids[:1]]


@pytest.mark.parametrize("when", ["numbers", "ids_between", "vectors"])
def test_a_rebuild_by_another_program_amid_a_search(
    filled: Path, vectors: np.ndarray, ids: list[str], monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """The others' numbers must not be taken for those that were read before."""
    read = getattr(Truth, when)
    with ReferenceIndex.open(filled) as index, ReferenceIndex.open(filled) as other:
        other.remove(ids[:150])
        if when == "numbers":
            index.search(vectors[:1], 1)

        def rebuild_first(truth: Truth, *arguments: Any, **options: Any) -> Any:
            monkeypatch.setattr(Truth, when, read)
            other.rebuild()
            return read(truth, *arguments, **options)

        monkeypatch.setattr(Truth, when, rebuild_first)
        for number in (160, 299):
            found = index.search(vectors[number : number + 1], 1, {"grade": "AB"[number % 2]})
            assert found[0] == [[ids[number]]]


def test_a_file_that_grows_while_it_is_opened_is_not_cut_short(
    filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its length and its count of pages must be of one moment."""
    in_transaction = []
    opened = sqlite3.connect
    connections: list[sqlite3.Connection] = []

    def connect(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connections.append(opened(*arguments, **options))
        return connections[-1]

    def look(_head: file_head.FileHead) -> bool:
        in_transaction.append(connections[-1].in_transaction)
        return False

    monkeypatch.setattr(sqlite3, "connect", connect)
    monkeypatch.setattr(file_head.FileHead, "is_cut_short", look)
    ReferenceIndex.open(filled).close()
    assert in_transaction == [True]


def test_two_programs_see_each_others_changes(
    filled: Path, vectors: np.ndarray, ids: list[str]
) -> None:
    with ReferenceIndex.open(filled) as one, ReferenceIndex.open(filled) as two:
        query = np.ones((1, DIM))
        one.search(query, 1)
        two.search(query, 1)
        one.add(["one"], query)
        assert two.search(query, 1)[0] == [["one"]]
        two.remove(["one"])
        assert one.search(query, 1)[0] != [["one"]]
        two.rebuild()
        one.add(["again"], query)
        assert two.search(query, 1)[0] == one.search(query, 1)[0] == [["again"]]
        for number in (5, 250):
            assert one.search(vectors[number : number + 1], 1)[0] == [[ids[number]]]


def test_a_rolled_back_change_does_not_hide_the_next(
    filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed program leaves a changed file, whose stamp the next change may have again."""
    query = np.ones((1, DIM))
    with ReferenceIndex.open(filled) as one, ReferenceIndex.open(filled) as two:
        two.search(query, 1)
        file: Any = two._store.truth._file  # type: ignore[attr-defined]
        monkeypatch.setattr(file, "_head", HalfWritten(file.db))
        two.search(query, 1)
        one.add(["one"], query)
        assert two.search(query, 1)[0] == [["one"]]


class HalfWritten:
    """A head that is half written until SQLite looks at the file, and again after a change."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def stamp(self) -> bytes:
        return b"rolled back" if self._db.in_transaction else b"half written"

    def close(self) -> None:
        pass


def test_searches_while_another_program_writes(filled: Path, vectors: np.ndarray) -> None:
    with ReferenceIndex.open(filled) as index:
        before = index.search(vectors[:3], 5)[0]
        with sqlite3.connect(filled, isolation_level=None) as other:
            other.execute("BEGIN EXCLUSIVE")
            start = time.monotonic()
            assert index.search(vectors[:3], 5)[0] == before
            assert time.monotonic() - start < 2
            other.execute("ROLLBACK")
        other.close()


def test_a_reader_that_stays_too_long_stops_one_change_alone(
    filled: Path, vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(truth_file, "_WAIT_SECONDS", 0.1)
    with ReferenceIndex.open(filled) as index, ReferenceIndex.open(filled) as other:
        index.search(vectors[:1], 1)
        with sqlite3.connect(filled, isolation_level=None) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT id FROM fruits").fetchone()
            with pytest.raises(MezoroiError, match="locked"):
                index.add(["new"], -vectors[:1])
            with pytest.raises(MezoroiError, match="locked"):
                index.remove(["果実-0"])
            reader.execute("ROLLBACK")
        reader.close()
        assert len(index) == COUNT and not index.references(["new"])
        other.add(["others"], vectors[:1])
        index.add(["new"], -vectors[:1])
        assert index.search(-vectors[:1], 1)[0] == [["new"]]


def test_what_was_kept_is_not_reported_as_failed(
    filled: Path, vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file may be held by another program as soon as the fruits are in it."""

    def held(*_arguments: Any) -> None:
        raise MezoroiError("the file is held")

    with ReferenceIndex.open(filled) as index:
        index.search(vectors[:1], 1)
        with monkeypatch.context() as patch:
            for name in ("ids_between", "ids", "numbers", "vectors"):
                patch.setattr(Truth, name, held)
            index.add(["new"], -vectors[:1])
            index.remove(["果実-0"])
        assert index.search(-vectors[:1], 1)[0] == [["new"]]


@pytest.mark.parametrize("has_links", [True, False])
def test_of_two_programs_that_create_an_index_the_first_keeps_its_fruits(
    path: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool
) -> None:
    link = os.link

    def late(temporary: Path, target: Path) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(os, "link", link if has_links else no_links)
            with ReferenceIndex.create(path, DIM, "first") as first:
                first.add(["kept"], np.ones((1, DIM)))
        link(temporary, target)

    def no_links(*_paths: Path) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", late)
    with pytest.raises(MezoroiError, match="already exists"):
        ReferenceIndex.create(path, DIM, "second")
    with ReferenceIndex.open(path) as index:
        assert index.fingerprint == "first" and len(index) == 1
    assert [file.name for file in path.parent.iterdir()] == [path.name]


HALF_WRITER = """
import sys
import time
from mezoroi.retrieval import ReferenceIndex, truth_file

index = ReferenceIndex.open(sys.argv[1])
file = index._store.truth._file
with file.writing():
    file.db.execute("PRAGMA cache_size = 1")
    file.db.execute("UPDATE fruits SET more = hex(randomblob(5000))")
    print("half", flush=True)
    time.sleep(60)
"""


def test_what_a_kill_left_is_not_rolled_back_into_a_new_file(
    filled: Path, vectors: np.ndarray
) -> None:
    journal = filled.with_name(f"{filled.name}-journal")
    with subprocess.Popen(
        [sys.executable, "-c", HALF_WRITER, str(filled)], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None and writer.stdout.readline() == "half\n"
        writer.send_signal(signal.SIGKILL)
    assert journal.stat().st_size
    filled.unlink()
    with ReferenceIndex.create(filled, DIM, "new") as index:
        assert not journal.exists()
        index.add(["new"], vectors[:1])
    with ReferenceIndex.open(filled) as index:
        assert index.search(vectors[:1], 1)[0] == [["new"]]


OTHER_WRITER = """
import sqlite3
import sys

db = sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None)
try:
    db.execute("BEGIN IMMEDIATE")
except sqlite3.OperationalError as error:
    print(error)
"""


def test_closing_one_index_leaves_the_locks_of_another(filled: Path) -> None:
    """POSIX drops a process' locks on a file with any descriptor of it that is closed."""
    with ReferenceIndex.open(filled) as writer:
        file: Any = writer._store.truth._file  # type: ignore[attr-defined]
        with file.writing():
            ReferenceIndex.open(filled).close()
            heard = subprocess.run(
                [sys.executable, "-c", OTHER_WRITER, str(filled)],
                capture_output=True,
                text=True,
                check=True,
            )
        assert "locked" in heard.stdout
    status = filled.stat()
    assert (status.st_dev, status.st_ino) not in file_head._shared


def test_a_fruit_removed_while_it_is_found_is_left_out(
    filled: Path, vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faiss_index, "EXACT_UP_TO", 100)
    with ReferenceIndex.open(filled) as index, ReferenceIndex.open(filled) as other:
        (found,), _ = index.search(vectors[:1], 6)
        read = Truth.ids

        def remove_first(truth: Truth, numbers: list[int]) -> dict[int, str]:
            monkeypatch.setattr(Truth, "ids", read)
            other.remove(found[:1])
            return read(truth, numbers)

        monkeypatch.setattr(Truth, "ids", remove_first)
        assert index.search(vectors[:1], 5)[0] == [found[1:]]


def test_threads_may_share_an_index(filled: Path, vectors: np.ndarray, ids: list[str]) -> None:
    wrong: list[Any] = []
    with ReferenceIndex.open(filled) as index:

        def work(start: int) -> None:
            for number in range(start, start + 40):
                index.add([f"{number}"], -vectors[number : number + 1])
                found, _ = index.search(vectors[number : number + 1], 1)
                if found != [[ids[number]]]:
                    wrong.append((number, found))

        threads = [threading.Thread(target=work, args=(start,)) for start in (0, 100, 200)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong
        assert len(index) == COUNT + 120
