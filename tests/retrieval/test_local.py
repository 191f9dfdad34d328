"""The file: durable, and its FAISS index always replaceable."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from mezoroi import MezoroiError
from mezoroi.retrieval import ReferenceIndex, faiss_index, file_head, local, truth_file
from mezoroi.retrieval.faiss_index import read_statement
from mezoroi.retrieval.truth import Truth
from tests.retrieval.conftest import COUNT, DIM, MODEL

ADDER = """
import sys
import numpy as np
from mezoroi.retrieval import ReferenceIndex

index = ReferenceIndex.open(sys.argv[1])
rng = np.random.default_rng(0)
for number in range(10_000):
    size = 1 + number % 50
    names = [f"{number}/{place}/{size}" for place in range(size)]
    index.add(names, rng.normal(size=(size, index.dim)))
    print(number, flush=True)
"""


@pytest.mark.parametrize("wait", [1, 17, 40])
def test_a_kill_loses_nothing_and_leaves_nothing_half_written(path: Path, wait: int) -> None:
    ReferenceIndex.create(path, 4096, MODEL).close()
    with subprocess.Popen(
        [sys.executable, "-c", ADDER, str(path)], stdout=subprocess.PIPE, text=True
    ) as adder:
        assert adder.stdout is not None
        for line in adder.stdout:
            done = int(line)
            if done >= wait:
                break
        adder.send_signal(signal.SIGKILL)
    with ReferenceIndex.open(path) as index:
        present = [reference.id.split("/") for reference in index.references()]
        sizes = {int(number): int(size) for number, _, size in present}
        assert set(range(done + 1)) <= set(sizes)
        assert len(sizes) <= done + 30
        assert len(present) == sum(sizes.values())
        found, _ = index.search(np.ones((1, 4096)), len(present))
        assert len(set(found[0])) == len(present)
        index.add(["after"], np.ones((1, 4096)))


def test_the_index_file_states_what_it_is_and_faiss_reads_it(
    filled: Path, vectors: np.ndarray
) -> None:
    with ReferenceIndex.open(filled) as index:
        index.rebuild()
    statement = read_statement(filled.with_suffix(".faiss"))
    assert statement is not None
    assert (statement.kind, statement.vectors, statement.dim) == ("exact", COUNT, DIM)
    assert statement.fingerprint == MODEL
    assert faiss.read_index(str(filled.with_suffix(".faiss"))).ntotal == COUNT


def _rewritten(path: Path, **changes: Any) -> None:
    found = faiss_index.read_file(path)
    assert found is not None
    index, numbers, statement = found
    changed = faiss_index.Statement(**{**vars(statement), **changes})
    faiss_index.write_file(index, numbers, changed, path)


def _overwritten(path: Path, start: int, count: int) -> None:
    """Vectors changed, with everything around them as it was."""
    content = bytearray(path.read_bytes())
    content[start : start + count] = np.random.default_rng(4).bytes(count)
    path.write_bytes(content)


@pytest.mark.parametrize(
    "harm",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-200]),
        lambda path: path.write_bytes(path.read_bytes()[200:]),
        lambda path: path.write_bytes(bytes(1000)),
        lambda path: _overwritten(path, 100, 800),
        lambda path: _rewritten(path, faiss="1.0.0"),
        lambda path: _rewritten(path, file_format=99),
        lambda path: _rewritten(path, generation="of another time"),
        lambda path: _rewritten(path, vectors=3),
        lambda path: _rewritten(path, last=10**6),
    ],
)
def test_an_unusable_index_file_is_made_again(
    filled: Path,
    vectors: np.ndarray,
    ids: list[str],
    nearest: Callable[..., list[int]],
    harm: Callable[[Path], Any],
) -> None:
    with ReferenceIndex.open(filled) as index:
        index.rebuild()
    harm(filled.with_suffix(".faiss"))
    with ReferenceIndex.open(filled) as index:
        assert index.search(vectors[:1], 5)[0] == [[ids[n] for n in nearest(vectors[0], 5)]]


def test_index_file_of_an_earlier_state(
    filled: Path, vectors: np.ndarray, ids: list[str], nearest: Callable[..., list[int]]
) -> None:
    with ReferenceIndex.open(filled) as index:
        index.rebuild()
        first, *rest = nearest(vectors[0], 5)
        index.remove([ids[first]])
        index.add(["new"], vectors[:1])
    with ReferenceIndex.open(filled) as index:
        assert index.search(vectors[:1], 5)[0] == [["new", *(ids[n] for n in rest)]]


def test_fruits_added_after_the_last_were_removed_are_found(
    filled: Path, vectors: np.ndarray, ids: list[str]
) -> None:
    with ReferenceIndex.open(filled) as index:
        index.remove(ids[-3:])
    filled.with_suffix(".faiss").unlink(missing_ok=True)
    with ReferenceIndex.open(filled) as index:
        index.search(vectors[:1], 1)
        index.add(["new"], np.ones((1, DIM)))
        assert index.search(np.ones((1, DIM)), 1)[0] == [["new"]]
        index.add(["newer"], -np.ones((1, DIM)))
        assert index.search(-np.ones((1, DIM)), 1)[0] == [["newer"]]
        assert len(index.search(np.ones((1, DIM)), COUNT)[0][0]) == COUNT - 1


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


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:40_000]), "truncated|damaged"),
        (lambda path: path.write_bytes(b"no database" * 100), "damaged"),
        (lambda path: path.write_bytes(b""), "no reference index"),
        (lambda path: path.unlink(), "does not exist"),
        (lambda path: _set(path, "PRAGMA application_id = 7"), "no reference index"),
        (lambda path: _set(path, "PRAGMA user_version = 9"), "format 9"),
        (lambda path: _set(path, "DELETE FROM about"), "damaged"),
        (lambda path: _set(path, "DROP TABLE about"), "cannot be used|damaged"),
    ],
)
def test_an_unusable_truth_is_one_line(
    filled: Path, harm: Callable[[Path], Any], reason: str
) -> None:
    harm(filled)
    with pytest.raises(MezoroiError, match=reason) as error:
        ReferenceIndex.open(filled)
    assert "\n" not in str(error.value)


def _set(path: Path, statement: str) -> None:
    with sqlite3.connect(path) as db:
        db.execute(statement)
    db.close()


def test_fruits_whose_vectors_are_gone_are_one_line(filled: Path, vectors: np.ndarray) -> None:
    with sqlite3.connect(filled) as db:
        db.execute("DELETE FROM vectors")
    db.close()
    with ReferenceIndex.open(filled) as index:
        with pytest.raises(MezoroiError, match="damaged"):
            index.add(["new"], vectors[:1])
        with pytest.raises(MezoroiError, match="lacks vectors"):
            index.search(vectors[:1], 1)


def test_a_kept_fruit_survives_a_power_cut(filled: Path) -> None:
    """The folder, from which the journal has gone, is waited for, too."""
    with ReferenceIndex.open(filled) as index:
        db = index._store.truth._file.db  # type: ignore[attr-defined]
        assert db.execute("PRAGMA synchronous").fetchone() == (3,)
        assert db.execute("PRAGMA journal_mode").fetchone() == ("delete",)


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


def test_changes_are_seen_with_a_write_ahead_log(filled: Path) -> None:
    query = np.ones((1, DIM))
    with ReferenceIndex.open(filled) as one, ReferenceIndex.open(filled) as two:
        _set(filled, "PRAGMA journal_mode = wal")
        two.search(query, 1)
        one.add(["one"], query)
        assert two.search(query, 1)[0] == [["one"]]
        two.remove(["one"])
        assert one.search(query, 1)[0] != [["one"]]


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


def test_filters_after_removals(
    filled: Path,
    vectors: np.ndarray,
    ids: list[str],
    nearest: Callable[..., list[int]],
) -> None:
    left = [number for number in range(COUNT) if number % 7 and number % 2]
    expected = [[ids[number] for number in nearest(vectors[0], 9, left)]]
    with ReferenceIndex.open(filled) as index:
        index.search(vectors[:1], 1)
        index.remove(ids[::7])
        assert index.search(vectors[:1], 9, {"grade": "B"})[0] == expected
    with ReferenceIndex.open(filled) as index:
        assert index.search(vectors[:1], 9, {"grade": "B"})[0] == expected
        index.rebuild()
        assert index.search(vectors[:1], 9, {"grade": "B"})[0] == expected


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


def test_a_copied_folder_is_a_whole_index(filled: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.sqlite"
    shutil.copy(filled, copy)
    with ReferenceIndex.open(copy) as index:
        assert len(index) == COUNT


def test_a_rebuild_that_fails_leaves_no_wrong_neighbours(
    filled: Path, ids: list[str], vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: Any) -> None:
        raise MemoryError

    with ReferenceIndex.open(filled) as index:
        index.search(vectors[:1], 1)
        index.remove(ids[:5])
        with monkeypatch.context() as patch:
            patch.setattr(faiss_index, "build", fail)
            with pytest.raises(MemoryError):
                index.rebuild()
        found, similarity = index.search(vectors[5:], 1)
    assert found == [[name] for name in ids[5:]]
    np.testing.assert_allclose(similarity, 1, atol=1e-5)


def test_names_that_could_not_be_read_are_read_later(
    filled: Path, ids: list[str], vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    def held(*_arguments: Any) -> None:
        raise MezoroiError("the file is held")

    with ReferenceIndex.open(filled) as index, ReferenceIndex.open(filled) as other:
        for number in range(2):  # loading, then catching up
            with monkeypatch.context() as patch:
                patch.setattr(Truth, "ids_between", held)
                with pytest.raises(MezoroiError, match="held"):
                    index.search(vectors[:1], 1)
            assert index.search(vectors[:2], 1)[0] == [[ids[0]], [ids[1]]]
            other.add([f"new-{number}"], -vectors[number : number + 1])
        assert index.search(-vectors[:2], 1)[0] == [["new-0"], ["new-1"]]


def test_what_is_let_go_takes_no_memory(filled: Path, vectors: np.ndarray) -> None:
    index = ReferenceIndex.open(filled)
    index.search(vectors[:1], 1)
    store: Any = index._store
    vectors_of = weakref.ref(store._inner)
    index.close()
    gc.collect()
    assert vectors_of() is None


def test_many_removals_make_a_new_index(filled: Path, ids: list[str], vectors: np.ndarray) -> None:
    with ReferenceIndex.open(filled) as index:
        index.search(vectors[:1], 1)
        index.remove(ids[:290])
        found, _ = index.search(vectors[:1], 300)
        assert sorted(found[0]) == sorted(ids[290:])
        size = filled.stat().st_size
        index.rebuild()
        assert len(index.search(vectors[:1], 300)[0][0]) == 10
        assert filled.stat().st_size <= size


def test_a_read_only_folder_can_be_searched(
    filled: Path, vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: Any) -> None:
        raise MezoroiError("cannot write")

    monkeypatch.setattr(faiss_index, "write_file", refuse)
    monkeypatch.setattr(local, "_STALE_COUNT", 1)
    with ReferenceIndex.open(filled) as index:
        assert len(index.search(vectors[:1], 3)[0][0]) == 3


def test_every_truth_has_an_index_file_of_its_own(tmp_path: Path) -> None:
    names = (
        "melon",
        "melon.sqlite",
        "melon.v1",
        "melon.v2",
        "melon.index.sqlite",
        "melon.faiss.old",
    )
    files = [faiss_index.file_beside(tmp_path / name) for name in names]
    assert len({*files, *(tmp_path / name for name in names)}) == 2 * len(names)
    assert files[1] == tmp_path / "melon.faiss"  # as in run folders
    with ReferenceIndex.create(tmp_path / "melon.v1", DIM, MODEL) as first:
        first.add(["a"], np.ones((1, DIM)))
        first.rebuild()
        before = {path: path.read_bytes() for path in tmp_path.iterdir()}
        ReferenceIndex.create(tmp_path / "melon.v2", DIM, MODEL).close()
        assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize("suffix", [".faiss", ".FAISS", ".faiss-index"])
def test_references_called_like_an_index_file_are_refused(
    filled: Path, tmp_path: Path, suffix: str
) -> None:
    """The index would be written over them."""
    copy = tmp_path / f"copy{suffix}"
    for make in (ReferenceIndex.open, lambda path: ReferenceIndex.create(path, DIM, MODEL)):
        with pytest.raises(MezoroiError, match=r"called like a search index.*copy\.sqlite"):
            make(copy)
        assert not copy.exists()
    shutil.copy(filled, copy)
    with pytest.raises(MezoroiError, match="called like a search index"):
        ReferenceIndex.open(copy)
    assert copy.read_bytes() == filled.read_bytes()
