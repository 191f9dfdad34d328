"""The file: durable, and its FAISS index always replaceable."""

from __future__ import annotations

import gc
import shutil
import signal
import sqlite3
import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from mezoroi import MezoroiError
from mezoroi.retrieval import ReferenceIndex, faiss_index, local
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


def test_changes_are_seen_with_a_write_ahead_log(filled: Path) -> None:
    query = np.ones((1, DIM))
    with ReferenceIndex.open(filled) as one, ReferenceIndex.open(filled) as two:
        _set(filled, "PRAGMA journal_mode = wal")
        two.search(query, 1)
        one.add(["one"], query)
        assert two.search(query, 1)[0] == [["one"]]
        two.remove(["one"])
        assert one.search(query, 1)[0] != [["one"]]


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
