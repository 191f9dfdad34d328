"""References in a Milvus collection: a server's, or one in this process from a ``.db`` folder.

Milvus has no transactions. What one call adds goes out in as few requests as the message size
allows; when a later one fails, the fruits of the earlier ones are deleted again. Requests overwrite
by id, so that one that is sent again, by the client or by a person, adds no fruit twice.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mezoroi.errors import MezoroiError
from mezoroi.progress import Progress
from mezoroi.retrieval.milvus_place import check_place, is_local, is_missing, split_uri
from mezoroi.retrieval.reference import Filter, Reference

if TYPE_CHECKING:
    from pymilvus import MilvusClient

FORMAT = 1
_SECONDS = 4.0
"""Longest wait for any answer but those to a bulk load and to loading a collection."""
_CONNECTING_SECONDS = 3.0
"""Longest wait for the first answer, before which the client is imported."""
_LOAD_SECONDS = 120.0
_SENDING_SECONDS = 3.0
_BYTES_PER_SECOND = 140_000
"""Slowest that a load may be: a full request gets 2 minutes, one fruit as long as any answer."""
_DELETING_SECONDS = 1.0
"""Longest wait where the same server has just failed: with the others less than 5 seconds."""
_BATCH_BYTES = 16 << 20
_MOST_RESULTS = 16384
_IDS_PER_REQUEST = 1000
_TEXT_BYTES = 1024
_PROPERTY = "mezoroi.references"
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n", "\r": r"\r", "\t": r"\t"})
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
        if is_missing(uri):
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
        if is_missing(uri):
            return False
        client, collection = _connect(uri)
        try:
            with _answering(uri):
                return bool(client.has_collection(collection, timeout=_SECONDS))
        finally:
            _disconnect(uri, client)

    def __len__(self) -> int:
        return self._count(None)

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
        row_bytes = 4 * self.dim + 512
        size = max(1, _BATCH_BYTES // row_bytes)
        sent = 0
        try:
            with _answering(self.place):
                for start in range(0, len(rows), size):
                    sent = min(start + size, len(rows))
                    wait = _SENDING_SECONDS + row_bytes * (sent - start) / _BYTES_PER_SECOND
                    self._client.upsert(self._collection, rows[start:sent], timeout=wait)
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
                self._client.delete(self._collection, filter=_any_of("id", part), timeout=_SECONDS)

    def references(self, ids: Sequence[str] | None, chosen: Filter | None) -> list[Reference]:
        with _answering(self.place):
            if ids is None:
                return [_reference(row) for row in self._pages(_expression(chosen))]
            found = {
                row["id"]: _reference(row)
                for part in _parts(ids)
                for row in self._client.query(
                    self._collection,
                    filter=_any_of("id", part),
                    output_fields=list(_FIELDS),
                    timeout=_SECONDS,
                )
            }
        return [found[name] for name in ids if name in found]

    def search(
        self, vectors: np.ndarray, scale: np.ndarray, k: int, chosen: Filter | None
    ) -> tuple[list[list[str]], np.ndarray]:
        vectors = vectors * scale[:, None]
        limit = min(k, _MOST_RESULTS)
        if k > limit and self._count(chosen) > limit:
            raise MezoroiError(f"k is {k}: Milvus finds at most {limit} fruits, ask for no more")
        with _answering(self.place):
            if not len(vectors):
                return [], np.empty((0, min(limit, self._count(chosen))), dtype=np.float32)
            found = self._hits(vectors, limit, chosen)
            width = max(map(len, found))
            # An approximate index may find fewer for one query than for another: the more it is
            # asked for, the farther it looks.
            wider = limit
            while (short := [n for n, hits in enumerate(found) if len(hits) < width]) and (
                wider < _MOST_RESULTS
            ):
                wider = min(4 * wider, _MOST_RESULTS)
                for number, hits in zip(
                    short, self._hits(vectors[short], wider, chosen), strict=True
                ):
                    found[number] = hits[:width]
        width = min(map(len, found))
        ids = [[str(hit["id"]) for hit in hits[:width]] for hits in found]
        similarity = np.array(
            [[hit["distance"] for hit in hits[:width]] for hits in found], dtype=np.float32
        )
        return ids, similarity.reshape(len(found), width)

    def prepare(self, progress: Progress) -> None:
        """Milvus makes its index by itself, while it is loaded."""

    def rebuild(self, progress: Progress) -> None:
        """Milvus keeps its index up to date by itself; this asks it to finish now."""
        progress("indexing", 0, 1)
        with _answering(self.place):
            self._client.flush(self._collection, timeout=_LOAD_SECONDS)
        progress("indexing", 1, 1)

    def _count(self, chosen: Filter | None) -> int:
        with _answering(self.place):
            rows = self._client.query(
                self._collection,
                filter=_expression(chosen),
                output_fields=["count(*)"],
                timeout=_SECONDS,
            )
        return int(rows[0]["count(*)"])

    def _pages(self, expression: str) -> Iterator[Any]:
        """Rows in order of their ids.

        Not by the client's own iterator, which waits for a server that hangs without a limit.
        """
        after = ""
        while True:
            rows = self._client.query(
                self._collection,
                filter=" and ".join(filter(None, (f"id > {_quoted(after)}", expression))),
                output_fields=list(_FIELDS),
                limit=_IDS_PER_REQUEST,
                timeout=_SECONDS,
                # As that iterator asks: the rows with the least ids.
                iterator="True",
                reduce_stop_for_best="True",
            )
            yield from rows
            if len(rows) < _IDS_PER_REQUEST:
                return
            after = rows[-1]["id"]

    def _hits(self, vectors: np.ndarray, limit: int, chosen: Filter | None) -> list[Any]:
        """For each query what the server finds, up to `limit`."""
        found: list[Any] = []
        size = max(1, _MOST_RESULTS // limit)
        for start in range(0, len(vectors), size):
            found += self._client.search(
                self._collection,
                data=vectors[start : start + size].tolist(),
                limit=limit,
                filter=_expression(chosen),
                search_params={"metric_type": "COSINE"},
                timeout=_SECONDS,
            )
        return found

    def _take_back(self, ids: Sequence[str], reason: str) -> None:
        """Delete what was sent of a load that failed for a reason, or say that it is there."""
        try:
            with _answering(self.place):
                for part in _parts(ids):
                    self._client.delete(
                        self._collection, filter=_any_of("id", part), timeout=_DELETING_SECONDS
                    )
        except MezoroiError as error:
            raise MezoroiError(
                f"{reason.partition(': check')[0]}; up to {len(ids)} fruits from `{ids[0]}` to "
                f"`{ids[-1]}` were sent and could not be deleted again: when {self.place} answers, "
                "list the references to see which have arrived, and add the rest or remove them"
            ) from error


def _connect(uri: str) -> tuple[MilvusClient, str]:
    try:
        from pymilvus import MilvusClient
    except ImportError as error:
        raise MezoroiError(
            "Milvus is not installed: install it with `pip install 'mezoroi[milvus]'`"
        ) from error
    address, collection = split_uri(uri)
    check_place(uri)
    if is_local(uri):
        Path(address).parent.mkdir(parents=True, exist_ok=True)
    with _answering(uri):
        # Its own line about a server that does not answer would stand above ours.
        logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
        return MilvusClient(address, timeout=_CONNECTING_SECONDS, dedicated=True), collection


def _disconnect(uri: str, client: MilvusClient) -> None:
    client.close()
    if is_local(uri):
        from milvus_lite.server_manager import server_manager_instance

        server_manager_instance.release_server(split_uri(uri)[0])


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


def _any_of(column: str, names: Sequence[str]) -> str:
    """That a text is one of some; the client's own ways by id take no quotes or backslashes."""
    return f"{column} in [{', '.join(map(_quoted, names))}]"


def _quoted(text: str) -> str:
    """As Milvus reads a text: not JSON, of whose escapes milvus-lite knows but some."""
    return f'"{text.translate(_ESCAPES)}"'


def _expression(chosen: Filter | None) -> str:
    """Milvus' own words for a filter."""
    if chosen is None:
        return ""
    parts = [
        _any_of(column, names)
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
