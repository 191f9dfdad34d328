"""A Milvus that is not there, or breaks."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mezoroi import MezoroiError, cli
from mezoroi.retrieval import ReferenceIndex, milvus

pytest.importorskip("milvus_lite", reason="the extra `milvus` is not installed")


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


@pytest.mark.parametrize("port", ["silent_port", "closed_port"])
def test_unreachable_is_one_line_within_five_seconds(
    port: str, request: pytest.FixtureRequest
) -> None:
    uri = f"http://127.0.0.1:{request.getfixturevalue(port)}"
    for call in (
        lambda: ReferenceIndex.open(uri),
        lambda: ReferenceIndex.exists(uri),
        lambda: ReferenceIndex.create(uri, 4, "model"),
    ):
        start = time.monotonic()
        with pytest.raises(MezoroiError, match=r"Milvus at http://127\.0\.0\.1") as error:
            call()
        assert time.monotonic() - start < 5
        assert "\n" not in str(error.value)


def test_a_server_that_breaks_leaves_nothing_half_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pymilvus.exceptions import MilvusException

    monkeypatch.setattr(milvus, "_BATCH_BYTES", 4000)
    with ReferenceIndex.create(str(tmp_path / "references.db"), 8, "model") as index:
        store: Any = index._store
        upsert, calls = store._client.upsert, []

        def break_later(*arguments: Any, **options: Any) -> Any:
            calls.append(1)
            if len(calls) == 3:
                raise MilvusException(message="out of disk")
            return upsert(*arguments, **options)

        monkeypatch.setattr(store._client, "upsert", break_later)
        with pytest.raises(MezoroiError, match="out of disk"):
            index.add([str(n) for n in range(40)], np.eye(40, 8) + 0.1)
        assert len(calls) == 3
        assert len(index) == 0


def test_what_could_not_be_taken_back_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pymilvus.exceptions import MilvusException

    monkeypatch.setattr(milvus, "_BATCH_BYTES", 4000)
    with ReferenceIndex.create(str(tmp_path / "references.db"), 8, "model") as index:
        store: Any = index._store
        upsert, calls = store._client.upsert, []

        def break_later(*arguments: Any, **options: Any) -> Any:
            calls.append(1)
            if len(calls) == 2:
                raise MilvusException(message="out of disk")
            return upsert(*arguments, **options)

        def refuse(*_arguments: Any, **_options: Any) -> None:
            raise MilvusException(message="gone")

        monkeypatch.setattr(store._client, "upsert", break_later)
        monkeypatch.setattr(store._client, "delete", refuse)
        with pytest.raises(MezoroiError) as error:
            index.add([f"f{n}" for n in range(40)], np.eye(40, 8) + 0.1)
        assert "out of disk" in str(error.value)
        assert "14 fruits from `f0` to `f13` were sent and could not be deleted" in str(error.value)
        assert "\n" not in str(error.value)


def test_a_large_collection_may_take_long_to_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pymilvus import MilvusClient

    place, waits = str(tmp_path / "references.db"), []
    ReferenceIndex.create(place, 2, "m").close()
    load = MilvusClient.load_collection

    def note(client: Any, name: str, timeout: float, **options: Any) -> Any:
        waits.append(timeout)
        return load(client, name, timeout=timeout, **options)

    monkeypatch.setattr(MilvusClient, "load_collection", note)
    ReferenceIndex.open(place).close()
    assert min(waits) >= 60


@pytest.mark.parametrize(
    "uri", ["http://h:notaport", "http://h:99999999", "http://", "https://:19530", "http://[h"]
)
def test_an_address_that_is_none_is_one_line(uri: str) -> None:
    for call in (
        lambda: ReferenceIndex.open(uri),
        lambda: ReferenceIndex.exists(uri),
        lambda: ReferenceIndex.create(uri, 4, "model"),
    ):
        with pytest.raises(MezoroiError, match="is no address of a server: write it as") as error:
            call()
        assert "\n" not in str(error.value)


def test_collections_are_apart_and_foreign_ones_refused(tmp_path: Path) -> None:
    from pymilvus import MilvusClient

    place = str(tmp_path / "references.db")
    with ReferenceIndex.create(f"{place}#melons", 3, "m") as melons:
        melons.add(["a"], np.ones((1, 3)))
        with ReferenceIndex.create(f"{place}#pears", 2, "p") as pears:
            assert len(pears) == 0
    assert ReferenceIndex.exists(f"{place}#pears")
    assert not ReferenceIndex.exists(f"{place}#plums")
    client = MilvusClient(place)
    client.create_collection("foreign", dimension=4)
    client.close()
    with pytest.raises(MezoroiError, match="no reference index"):
        ReferenceIndex.open(f"{place}#foreign")
    with ReferenceIndex.open(f"{place}#melons") as melons:
        assert (len(melons), melons.dim, melons.fingerprint) == (1, 3, "m")


def test_a_collection_of_another_version_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = str(tmp_path / "references.db")
    with monkeypatch.context() as patch:
        patch.setattr(milvus, "FORMAT", 9)
        ReferenceIndex.create(place, 3, "m").close()
    with pytest.raises(MezoroiError, match="has format 9, this version reads 1: fill") as error:
        ReferenceIndex.open(place)
    assert "\n" not in str(error.value)


def test_more_fruits_than_milvus_gives_are_refused_not_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(milvus, "_MOST_RESULTS", 4)
    with ReferenceIndex.create(str(tmp_path / "references.db"), 3, "m") as index:
        vectors = np.random.default_rng(0).normal(size=(6, 3))
        index.add([*"abcdef"], vectors, [{"grade": "AB"[n > 3]} for n in range(6)])
        assert len(index.search(vectors[:1], 4)[0][0]) == 4
        assert len(index.search(vectors[:1], 9, {"grade": "A"})[0][0]) == 4  # that is all
        with pytest.raises(MezoroiError, match="k is 5: Milvus finds at most 4 fruits"):
            index.search(vectors[:1], 5)


SERVER = """
import sys, time
from milvus_lite.server_manager import server_manager_instance as servers
print(servers.start_and_get_uri(sys.argv[1]), flush=True)
time.sleep(600)
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A Milvus in a process of its own, and its address."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, str(tmp_path / "server.db")],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip(), process
        process.kill()


def test_a_server_that_hangs_is_one_line_within_five_seconds(
    server: tuple[str, subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, process = server
    with ReferenceIndex.create(uri, 8, "model") as index:
        index.add(["a"], np.ones((1, 8)))
        store: Any = index._store
        look = store.references

        def look_then_hang(*arguments: Any) -> Any:
            found = look(*arguments)
            process.send_signal(signal.SIGSTOP)
            os.waitpid(process.pid, os.WUNTRACED)
            return found

        monkeypatch.setattr(store, "references", look_then_hang)
        calls: list[tuple[Callable[[], Any], str]] = [
            (lambda: index.add(["b"], np.eye(1, 8)), "list the references to see which have"),
            (lambda: index.search(np.ones((1, 8)), 1), "does not do it"),
        ]
        for call, reason in calls:
            start = time.monotonic()
            with pytest.raises(MezoroiError, match=reason) as error:
                call()
            assert time.monotonic() - start < 5
            assert "\n" not in str(error.value)
        monkeypatch.setattr(store, "references", look)
        start = time.monotonic()
        with pytest.raises(MezoroiError, match="does not do it"):
            index.references()
        assert time.monotonic() - start < 5
        process.send_signal(signal.SIGCONT)
        there = {item.id for item in index.references()}
        if "b" not in there:
            index.add(["b"], np.eye(1, 8))
        assert index.search(np.eye(1, 8), 3)[0] == [["b", "a"]]


def test_a_request_sent_twice_adds_no_fruit_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client sends again what it has no answer to."""
    with ReferenceIndex.create(str(tmp_path / "references.db"), 8, "model") as index:
        index.add(["a"], np.ones((1, 8)))
        store: Any = index._store
        monkeypatch.setattr(store, "references", lambda *_: [])
        index.add(["a"], np.ones((1, 8)))
        assert len(index) == 1


def test_a_long_list_comes_page_by_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(milvus, "_IDS_PER_REQUEST", 7)
    ids = [f'果実"{number}' for number in range(30)]
    with ReferenceIndex.create(str(tmp_path / "references.db"), 2, "m") as index:
        index.add(ids, np.ones((30, 2)), [{"grade": "AB"[n % 2]} for n in range(30)])
        store: Any = index._store
        query, waits = store._client.query, []

        def note(*arguments: Any, **options: Any) -> Any:
            waits.append(options.get("timeout"))
            return query(*arguments, **options)

        monkeypatch.setattr(store._client, "query", note)
        assert sorted(item.id for item in index.references()) == sorted(ids)
        assert len(waits) == 5
        assert all(wait is not None and wait < 5 for wait in waits)
        chosen = index.references(where={"grade": "B"})
        assert sorted(item.id for item in chosen) == sorted(ids[1::2])


def test_one_query_that_finds_few_does_not_cut_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An approximate index looks farther when asked for more."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(40, 8))
    ids = [str(number) for number in range(40)]
    with ReferenceIndex.create(str(tmp_path / "references.db"), 8, "model") as index:
        index.add(ids, vectors)
        expected, similarity = index.search(vectors[:3], 6)
        store: Any = index._store
        search = store._client.search

        def lose_some(*arguments: Any, data: Any, limit: int, **options: Any) -> Any:
            found = search(*arguments, data=data, limit=limit, **options)
            return [
                hits[:2] if np.allclose(query, sent[1], atol=1e-6) and limit < 20 else hits
                for query, hits in zip(data, found, strict=True)
            ]

        sent = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        monkeypatch.setattr(store._client, "search", lose_some)
        found, again = index.search(vectors[:3], 6)
    assert found == expected
    np.testing.assert_allclose(again, similarity, atol=1e-6)


def test_a_file_called_like_a_milvus_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "references.db"
    path.write_bytes(b"SQLite format 3\0")
    for call in (
        lambda: ReferenceIndex.open(str(path)),
        lambda: ReferenceIndex.exists(str(path)),
        lambda: ReferenceIndex.create(str(path), 4, "model"),
    ):
        with pytest.raises(MezoroiError, match=r"is a file.*references\.sqlite") as error:
            call()
        assert "\n" not in str(error.value)
    assert path.read_bytes() == b"SQLite format 3\0"


@pytest.mark.parametrize("verb", ["references", "search"])
def test_the_command_line_asks_the_server_before_it_loads_the_network(
    verb: str,
    closed_port: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def load(*_arguments: Any, **_options: Any) -> None:
        raise AssertionError("the network was loaded first")

    monkeypatch.setattr("mezoroi.grader.Grader.load", load)
    rest = ["list"] if verb == "references" else ["photo.png", "-o", str(tmp_path)]
    uri = f"http://127.0.0.1:{closed_port}"
    with pytest.raises(SystemExit) as stop:
        cli.main([verb, str(tmp_path), *rest, "--index", uri])
    assert stop.value.code == 2
    assert f"error: Milvus at {uri}" in capsys.readouterr().err
