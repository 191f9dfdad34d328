"""The FAISS index beside the truth: which kind, its file, and search in it.

The file is what `faiss.write_index` writes, followed by one line of JSON that states the kind, a
checksum and which state of the truth it was made from, and that line's length. FAISS reads the file
as it is.
"""

from __future__ import annotations

import json
import math
import os
import zlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import faiss
import numpy as np

from mezoroi.errors import MezoroiError
from mezoroi.files import atomic_path
from mezoroi.retrieval.flat import Flat, flat_of

Kind = Literal["exact", "ivf", "ivf-pq"]
KINDS: tuple[Kind, ...] = ("exact", "ivf", "ivf-pq")
EXACT_UP_TO = 100_000
"""Most vectors that are searched exactly."""
WHOLE_UP_TO = 2_000_000
"""Most vectors that lists hold as they are, in memory; more are compressed."""
FILE_FORMAT = 3
_SUFFIX, _OTHER_SUFFIX = ".faiss", ".faiss-index"
_USUAL_TRUTH = ".sqlite"
_LISTS_SEARCHED = 128
_PART = 8
_TRAINING_PER_LIST = 64
_TAIL = 8
_READ_BYTES = 1 << 20


@dataclass(frozen=True)
class Statement:
    """What an index file says about itself.

    Attributes
    ----------
    kind : ``exact``, ``ivf`` (in lists of vectors near one another) or ``ivf-pq`` (compressed, too)
    vectors : how many it holds
    last : the largest number among them
    generation, fingerprint, dim : of the truth it was made from
    faiss, file_format : versions
    checksum : CRC-32 of everything before the statement
    """

    kind: Kind
    vectors: int
    last: int
    generation: str
    fingerprint: str
    dim: int
    faiss: str = faiss.__version__
    file_format: int = FILE_FORMAT
    checksum: int = 0


def file_beside(truth: Path) -> Path:
    """Where the index of a truth is kept: no two truths have the same file.

    Raises
    ------
    MezoroiError
        If the truth itself has the name of an index file, which may be overwritten at any time.
    """
    if truth.suffix.lower() in (_SUFFIX, _OTHER_SUFFIX):
        raise MezoroiError(
            f"{truth} is called like a search index, which is overwritten: name the references "
            f"{truth.stem}{_USUAL_TRUTH}"
        )
    if truth.suffix == _USUAL_TRUTH:
        return truth.with_suffix(_SUFFIX)
    return truth.with_name(truth.name + _OTHER_SUFFIX)


def kind_for(count: int) -> Kind:
    """Exact while that is fast, then lists, then what fits into memory.

    Not a graph (HNSW): at a million it took up to six times as long to build, and where vectors
    have no clusters it found a seventh of what lists find.
    """
    if count <= EXACT_UP_TO:
        return "exact"
    return "ivf" if count <= WHOLE_UP_TO else "ivf-pq"


def build(kind: Kind, dim: int, sample: np.ndarray, count: int) -> Any:
    """An empty index for `add`: of lists, a FAISS one that knows its vectors' numbers.

    Parameters
    ----------
    kind : of the index
    dim : length of a vector
    sample : (M, dim) vectors that lists, and codes, are learned from; not used by ``exact``
    count : how many vectors will be added
    """
    if kind == "exact":
        return Flat(dim, count)
    lists = min(_lists_for(count), max(1, len(sample) // _TRAINING_PER_LIST))
    coarse, metric = faiss.IndexFlatIP(dim), faiss.METRIC_INNER_PRODUCT
    if kind == "ivf":
        inner = faiss.IndexIVFFlat(coarse, dim, lists, metric)
    else:
        part = math.gcd(dim, _PART)
        inner = faiss.IndexIVFPQ(coarse, dim, lists, dim // part, 8, metric)
    inner.train(sample)
    return faiss.IndexIDMap(inner)


def training_sample(count: int) -> int:
    """How many vectors `build` should be given to learn from."""
    return min(count, _TRAINING_PER_LIST * round(4 * math.sqrt(count)))


def is_outgrown(inner: Any, kind: Kind, count: int) -> bool:
    """True when `count` fruits call for another kind, or for more than twice the lists there are.

    Lists that were learned from far fewer fruits grow long, and slow to search.

    Parameters
    ----------
    inner : from `inner_of`
    kind : of it
    """
    if KINDS.index(kind_for(count)) > KINDS.index(kind):
        return True
    return kind != "exact" and 2 * faiss.extract_index_ivf(inner).nlist < _lists_for(count)


def _lists_for(count: int) -> int:
    return max(1, training_sample(count) // _TRAINING_PER_LIST)


def add(index: Any, vectors: np.ndarray, numbers: np.ndarray) -> None:
    """Append vectors (N, dim) with their numbers (N,) to what `build` or `read_file` returns."""
    if isinstance(index, Flat):
        index.add(vectors)
    else:
        index.add_with_ids(vectors, numbers)


def inner_of(index: Any) -> Any:
    """What is searched: the index without its vectors' numbers."""
    return index if isinstance(index, Flat) else index.index


def search(
    inner: Any, vectors: np.ndarray, k: int, selector: Any = None
) -> tuple[np.ndarray, np.ndarray]:
    """(N, k) similarities and places, best first; -1 where the index found too few.

    A vector's place is how many were added before it. The index around `inner` would look up
    numbers, but with several threads, and to wait for those can take longer than a search.

    Parameters
    ----------
    inner : from `inner_of`
    vectors : (N, dim) float32, contiguous
    selector : a FAISS selector of the places that may be found, or None for all
    """
    if isinstance(inner, Flat):
        return inner.search(vectors, k, selector)
    options = faiss.SearchParametersIVF(sel=selector, nprobe=_LISTS_SEARCHED)
    similarity = np.empty((len(vectors), k), dtype=np.float32)
    places = np.empty((len(vectors), k), dtype=np.int64)
    # Not `search`: where another package has loaded faiss.contrib.torch_utils, that one
    # takes no parameters any more.
    inner.search_c(
        len(vectors),
        faiss.swig_ptr(vectors),
        k,
        faiss.swig_ptr(similarity),
        faiss.swig_ptr(places),
        options,
    )
    return similarity, places


def write_file(index: Any, numbers: np.ndarray, statement: Statement, path: Path) -> None:
    """Write an index of vectors with these numbers, and its statement, whole or not at all.

    Raises
    ------
    MezoroiError
        If it cannot be written.
    """
    with atomic_path(path) as temporary:
        try:
            whole = index.numbered(numbers) if isinstance(index, Flat) else index
            faiss.write_index(whole, str(temporary))
        except RuntimeError as error:
            raise OSError(str(error).splitlines()[-1]) from error
        stated = replace(statement, checksum=_checksum(temporary, temporary.stat().st_size))
        line = json.dumps(asdict(stated)).encode() + b"\n"
        with temporary.open("ab") as stream:
            stream.write(line + len(line).to_bytes(_TAIL, "little"))


def read_file(path: Path) -> tuple[Any, np.ndarray, Statement] | None:
    """The index in a file, its vectors' numbers and its statement.

    None if it is missing, damaged or of another version; nothing is lost then: the truth is
    elsewhere.
    """
    found = _read_end(path)
    if found is None:
        return None
    statement, size = found
    try:
        if _checksum(path, size) != statement.checksum:
            return None
        index = faiss.read_index(str(path))
    except (OSError, RuntimeError):
        return None
    # Another program may have put another file in its place meanwhile.
    is_same = read_statement(path) == statement and index.ntotal == statement.vectors
    if not is_same:
        return None
    numbers = faiss.vector_to_array(index.id_map)
    if statement.kind == "exact":
        index = flat_of(faiss.downcast_index(index.index))
    return index, numbers, statement


def read_statement(path: Path) -> Statement | None:
    """What an index file says about itself; None if it does not or is of another version."""
    found = _read_end(path)
    return None if found is None else found[0]


def _read_end(path: Path) -> tuple[Statement, int] | None:
    """The statement, and how many bytes stand before it."""
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - _TAIL))
            length = int.from_bytes(stream.read(_TAIL), "little")
            if not 0 < length <= min(size - _TAIL, 1 << 16):
                return None
            before = stream.seek(size - _TAIL - length)
            statement = Statement(**json.loads(stream.read(length)))
    except (OSError, ValueError, TypeError):
        return None
    same = (statement.faiss, statement.file_format) == (faiss.__version__, FILE_FORMAT)
    return (statement, before) if same else None


def _checksum(path: Path, size: int) -> int:
    """CRC-32 of the first bytes of a file: FAISS takes changed vectors for right ones."""
    found = 0
    with path.open("rb") as stream:
        for start in range(0, size, _READ_BYTES):
            found = zlib.crc32(stream.read(min(_READ_BYTES, size - start)), found)
    return found
