"""References in a Milvus collection: a server's, or one in this process from a ``.db`` folder.

Milvus has no transactions. What one call adds goes out in as few requests as the message size
allows; when a later one fails, the fruits of the earlier ones are deleted again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np

from mezoroi.errors import MezoroiError
from mezoroi.progress import Progress
from mezoroi.retrieval.reference import Filter, Reference

if TYPE_CHECKING:
    from pymilvus import MilvusClient

COLLECTION = "mezoroi_references"
FORMAT = 1
_SECONDS = 4.0
"""Longest wait for any answer but those to a bulk load and to loading a collection."""
_LOAD_SECONDS = 120.0
_BATCH_BYTES = 16 << 20
_MOST_RESULTS = 16384
_IDS_PER_REQUEST = 1000
_TEXT_BYTES = 1024
_PROPERTY = "mezoroi.references"
_FIELDS = ("id", "grade", "date", "orchard", "thumbnail", "more")


class MilvusStore:
    """What `ReferenceIndex` does for a Milvus collection.

    Parameters
    ----------
    place : the URI as given
    client, collection : where the fruits are
    """

    def __init__(self, place: str, client: MilvusClient, collection: str) -> None:
        self.place = place
        self._client = client
        self._collection = collection
        with _answering(place):
            if not client.has_collection(collection, timeout=_SECONDS):
                raise MezoroiError(
                    f"{place} has no collection `{collection}`: create the references first, or "
                    "give another one as URI#NAME"
                )
            about = client.describe_collection(collection, timeout=_SECONDS)
            # It has answered; that a large collection takes longer to load is no failure.
            client.load_collection(collection, timeout=_LOAD_SECONDS)
        try:
            stated = json.loads(about["description"] or about["properties"][_PROPERTY])
            self.dim = int(stated["dim"])
            self.fingerprint = str(stated["fingerprint"])
            version = stated["format"]
        except (KeyError, TypeError, ValueError) as error:
            raise MezoroiError(
                f"collection `{collection}` of {place} is no reference index: give another one as "
                "URI#NAME"
            ) from error
        if version != FORMAT:
            raise MezoroiError(
                f"collection `{collection}` of {place} has format {version}, this version reads "
                f"{FORMAT}: fill the references anew with this version"
            )

    @classmethod
    def open(cls, uri: str) -> MilvusStore:
        if _is_missing(uri):
            raise MezoroiError(f"{uri} does not exist: create the reference index first")
        client, collection = _connect(uri)
        return cls(uri, client, collection)

    @classmethod
    def create(cls, uri: str, dim: int, fingerprint: str) -> MilvusStore:
        from pymilvus import DataType

        client, collection = _connect(uri)
        with _answering(uri):
            if client.has_collection(collection, timeout=_SECONDS):
                raise MezoroiError(
                    f"collection `{collection}` of {uri} already exists: open it, or give another "
                    "one as URI#NAME"
                )
            stated = json.dumps({"format": FORMAT, "dim": dim, "fingerprint": fingerprint})
            schema = client.create_schema(auto_id=False, description=stated)
            schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=_TEXT_BYTES)
            schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dim)
            for name in _FIELDS[1:-1]:
                schema.add_field(name, DataType.VARCHAR, max_length=_TEXT_BYTES)
            schema.add_field("more", DataType.JSON)
            index = client.prepare_index_params()
            # The server chooses the kind by size; in this process it is exact.
            index.add_index("vector", index_type="AUTOINDEX", metric_type="COSINE")
            client.create_collection(
                collection,
                schema=schema,
                index_params=index,
                consistency_level="Strong",
                # milvus-lite forgets the description, which every server keeps.
                properties={_PROPERTY: stated},
                timeout=_SECONDS,
            )
        return cls(uri, client, collection)

    @staticmethod
    def exists(uri: str) -> bool:
        if _is_missing(uri):
            return False
        client, collection = _connect(uri)
        try:
            with _answering(uri):
                return bool(client.has_collection(collection, timeout=_SECONDS))
        finally:
            _disconnect(uri, client)

    def __len__(self) -> int:
        with _answering(self.place):
            rows = self._client.query(
                self._collection, filter="", output_fields=["count(*)"], timeout=_SECONDS
            )
        return int(rows[0]["count(*)"])

    def close(self) -> None:
        _disconnect(self.place, self._client)

    def add(
        self,
        ids: Sequence[str],
        references: Iterable[Reference] | None,
        vectors: np.ndarray,
        scale: np.ndarray,
    ) -> None:
        taken = self.references(ids, None)
        if taken:
            raise MezoroiError(
                f"`{taken[0].id}` is in the references already: remove it first, or give another id"
            )
        known = map(Reference, ids) if references is None else references
        unit = vectors * scale[:, None]
        rows = [_row(item, vector) for item, vector in zip(known, unit, strict=True)]
        size = max(1, _BATCH_BYTES // (4 * self.dim + 512))
        sent = 0
        try:
            with _answering(self.place):
                for start in range(0, len(rows), size):
                    sent = min(start + size, len(rows))
                    batch = rows[start:sent]
                    self._client.insert(self._collection, batch, timeout=_LOAD_SECONDS)
        except BaseException as error:
            # The last batch may have arrived although its answer did not.
            self._take_back([row["id"] for row in rows[:sent]], str(error) or "interrupted")
            raise

    def remove(self, ids: Sequence[str]) -> None:
        known = {reference.id for reference in self.references(ids, None)}
        missing = [name for name in ids if name not in known]
        if missing:
            raise MezoroiError(
                f"`{missing[0]}` is not in the references: `mezoroi references RUN list` shows "
                "what is"
            )
        with _answering(self.place):
            for part in _parts(ids):
                self._client.delete(self._collection, ids=part, timeout=_SECONDS)

    def references(self, ids: Sequence[str] | None, chosen: Filter | None) -> list[Reference]:
        with _answering(self.place):
            if ids is None:
                rows: list[Any] = []
                pages = self._client.query_iterator(
                    self._collection,
                    batch_size=_IDS_PER_REQUEST,
                    filter=_expression(chosen),
                    output_fields=list(_FIELDS),
                    timeout=_SECONDS,
                )
                while page := pages.next():
                    rows += page
                pages.close()
                return [_reference(row) for row in rows]
            found = {
                row["id"]: _reference(row)
                for part in _parts(ids)
                for row in self._client.get(
                    self._collection, part, output_fields=list(_FIELDS), timeout=_SECONDS
                )
            }
        return [found[name] for name in ids if name in found]

    def search(
        self, vectors: np.ndarray, k: int, chosen: Filter | None
    ) -> tuple[list[list[str]], np.ndarray]:
        found: list[Any] = []
        size = max(1, _MOST_RESULTS // k)
        with _answering(self.place):
            for start in range(0, len(vectors), size):
                found += self._client.search(
                    self._collection,
                    data=vectors[start : start + size].tolist(),
                    limit=min(k, _MOST_RESULTS),
                    filter=_expression(chosen),
                    search_params={"metric_type": "COSINE"},
                    timeout=_SECONDS,
                )
        # An approximate index may find fewer for one query than for another.
        width = min((len(hits) for hits in found), default=0)
        ids = [[str(hit["id"]) for hit in hits[:width]] for hits in found]
        similarity = np.array(
            [[hit["distance"] for hit in hits[:width]] for hits in found], dtype=np.float32
        )
        return ids, similarity.reshape(len(found), width)

    def rebuild(self, progress: Progress) -> None:
        """Milvus keeps its index up to date by itself; this asks it to finish now."""
        progress("indexing", 0, 1)
        with _answering(self.place):
            self._client.flush(self._collection, timeout=_LOAD_SECONDS)
        progress("indexing", 1, 1)

    def _take_back(self, ids: Sequence[str], reason: str) -> None:
        """Delete what was sent of a load that failed for a reason, or say that it is there."""
        try:
            with _answering(self.place):
                for part in _parts(ids):
                    self._client.delete(self._collection, ids=part, timeout=_SECONDS)
        except MezoroiError as error:
            raise MezoroiError(
                f"{reason.partition(': check')[0]}; up to {len(ids)} fruits from `{ids[0]}` to "
                f"`{ids[-1]}` were sent and could not be deleted again: remove them when "
                f"{self.place} answers"
            ) from error


def _connect(uri: str) -> tuple[MilvusClient, str]:
    try:
        from pymilvus import MilvusClient
    except ImportError as error:
        raise MezoroiError(
            "Milvus is not installed: install it with `pip install 'mezoroi[milvus]'`"
        ) from error
    address, collection = _address(uri)
    if not _is_local(uri):
        _check_server(uri, address)
    else:
        Path(address).parent.mkdir(parents=True, exist_ok=True)
    with _answering(uri):
        # Its own line about a server that does not answer would stand above ours.
        logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
        return MilvusClient(address, timeout=_SECONDS, dedicated=True), collection


def _disconnect(uri: str, client: MilvusClient) -> None:
    client.close()
    if _is_local(uri):
        from milvus_lite.server_manager import server_manager_instance

        server_manager_instance.release_server(_address(uri)[0])


def _address(uri: str) -> tuple[str, str]:
    address, _, collection = uri.partition("#")
    return address, collection or COLLECTION


def _check_server(uri: str, address: str) -> None:
    """Refuse an address that no server can have; without a host, pymilvus takes this machine."""
    try:
        found = urlsplit(address)
        is_one = bool(found.hostname) and found.port != 0
    except ValueError:  # the port is no number, or the host no IPv6 address
        is_one = False
    if not is_one:
        raise MezoroiError(f"{uri} is no address of a server: write it as http://HOST:19530")


def _is_local(uri: str) -> bool:
    return not uri.startswith(("http://", "https://"))


def _is_missing(uri: str) -> bool:
    """True for a folder that is not there: connecting would make it."""
    return _is_local(uri) and not Path(_address(uri)[0]).exists()


@contextmanager
def _answering(place: str) -> Iterator[None]:
    """Any failure of the server as one line."""
    import grpc
    from pymilvus.exceptions import MilvusException

    try:
        yield
    except (MilvusException, grpc.RpcError, OSError) as error:
        reason = " ".join(str(getattr(error, "message", "") or error).split())[:200]
        raise MezoroiError(
            f"Milvus at {place} does not do it ({reason}): check the address and that the server "
            "runs"
        ) from error


def _parts(ids: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(ids), _IDS_PER_REQUEST):
        yield list(ids[start : start + _IDS_PER_REQUEST])


def _row(reference: Reference, vector: np.ndarray) -> dict[str, Any]:
    named = {name: getattr(reference, name) or "" for name in _FIELDS[:-1]}
    too_long = [name for name, text in named.items() if len(text.encode()) > _TEXT_BYTES]
    if too_long:
        raise MezoroiError(
            f"{too_long[0]} of `{reference.id[:40]}` is longer than {_TEXT_BYTES} bytes: shorten it"
        )
    return {**named, "more": dict(reference.more), "vector": vector.tolist()}


def _reference(row: Any) -> Reference:
    named = {name: row[name] or None for name in _FIELDS[1:-1]}
    more = row["more"]
    return Reference(row["id"], **named, more=json.loads(more) if isinstance(more, str) else more)


def _expression(chosen: Filter | None) -> str:
    """Milvus' own words for a filter."""
    if chosen is None:
        return ""
    parts = [
        f"{column} in {json.dumps(list(names), ensure_ascii=False)}"
        for column, names in (("grade", chosen.grades), ("orchard", chosen.orchards))
        if names is not None
    ]
    if chosen.since is not None or chosen.until is not None:
        parts.append('date != ""')
    if chosen.since is not None:
        parts.append(f'date >= "{chosen.since}"')
    if chosen.until is not None:
        parts.append(f'date <= "{chosen.until}"')
    return " and ".join(parts)
