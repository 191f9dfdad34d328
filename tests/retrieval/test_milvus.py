"""A Milvus that is not there, or breaks."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mezoroi import MezoroiError
from mezoroi.retrieval import ReferenceIndex

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

    from mezoroi.retrieval import milvus

    monkeypatch.setattr(milvus, "_BATCH_BYTES", 4000)
    with ReferenceIndex.create(str(tmp_path / "references.db"), 8, "model") as index:
        store: Any = index._store
        insert, calls = store._client.insert, []

        def break_later(*arguments: Any, **options: Any) -> Any:
            calls.append(1)
            if len(calls) == 3:
                raise MilvusException(message="out of disk")
            return insert(*arguments, **options)

        monkeypatch.setattr(store._client, "insert", break_later)
        with pytest.raises(MezoroiError, match="out of disk"):
            index.add([str(n) for n in range(40)], np.eye(40, 8) + 0.1)
        assert len(calls) == 3
        assert len(index) == 0


def test_what_could_not_be_taken_back_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pymilvus.exceptions import MilvusException

    from mezoroi.retrieval import milvus

    monkeypatch.setattr(milvus, "_BATCH_BYTES", 4000)
    with ReferenceIndex.create(str(tmp_path / "references.db"), 8, "model") as index:
        store: Any = index._store
        insert, calls = store._client.insert, []

        def break_later(*arguments: Any, **options: Any) -> Any:
            calls.append(1)
            if len(calls) == 2:
                raise MilvusException(message="out of disk")
            return insert(*arguments, **options)

        def refuse(*_arguments: Any, **_options: Any) -> None:
            raise MilvusException(message="gone")

        monkeypatch.setattr(store._client, "insert", break_later)
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
