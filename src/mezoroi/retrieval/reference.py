"""What is known of a reference fruit besides its vector, and how references are filtered."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType
from typing import Any, NamedTuple

from mezoroi.cells import as_day, cell_text
from mezoroi.errors import MezoroiError

_NAMED = ("grade", "date", "orchard", "thumbnail")
FILTERS = ("grade", "date", "orchard")
_NO_LIST = "give a list of ids, also for a single one"
_NO_TEXT = re.compile("[\0\ud800-\udfff]")
_NO_UNICODE = re.compile("[\ud800-\udfff]")


class Reference(NamedTuple):
    """One fruit in a reference index; a tuple, since a bulk load makes a million of them.

    Attributes
    ----------
    id : unique in the index
    grade, orchard : names, or None where unknown
    date : ``YYYY-MM-DD``, or None where unknown
    thumbnail : path of a small picture, relative to the folder of the index, or None
    more : anything else that was given, as JSON can hold it
    """

    id: str
    grade: str | None = None
    date: str | None = None
    orchard: str | None = None
    thumbnail: str | None = None
    more: Mapping[str, Any] = MappingProxyType({})

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**self._asdict(), "more": dict(self.more)}


@dataclass(frozen=True)
class Neighbour:
    """A reference fruit that looks like the query.

    Attributes
    ----------
    id : of the reference
    grade : its grade, or None where unknown
    similarity : cosine of the two embeddings, in [-1, 1]
    thumbnail : path of its picture; None where it has none, or that is gone
    """

    id: str
    grade: str | None
    similarity: float
    thumbnail: str | None


@dataclass(frozen=True)
class Filter:
    """Which references may answer; None means any.

    Attributes
    ----------
    grades, orchards : names of which one must match
    since, until : first and last day, ``YYYY-MM-DD``; a fruit without a date does not match
    """

    grades: tuple[str, ...] | None = None
    orchards: tuple[str, ...] | None = None
    since: str | None = None
    until: str | None = None


def as_filter(where: Mapping[str, Any] | None) -> Filter | None:
    """A checked filter, or None where there is nothing to filter by.

    Parameters
    ----------
    where : ``grade`` and ``orchard``: a name or several; ``date``: one day, or the first and the
        last, either of which may be None

    Raises
    ------
    MezoroiError
        For another key, a name that is no text, or a date that is none.
    """
    if not where:
        return None
    unknown = sorted(set(where) - set(FILTERS))
    if unknown:
        raise MezoroiError(f"cannot filter by `{unknown[0]}`: use {', '.join(FILTERS)}")
    since, until = _days(where.get("date"))
    grades, orchards = (_names(key, where.get(key)) for key in ("grade", "orchard"))
    return Filter(grades, orchards, since, until)


def check_ids(ids: Sequence[str]) -> None:
    """Refuse ids that cannot be told apart or kept.

    Raises
    ------
    MezoroiError
        If they are a single text, or an id is empty, no text, given twice, or holds what no text
        file can.
    """
    if isinstance(ids, str):
        raise MezoroiError(_NO_LIST)
    if set(map(type, ids)) != {str} or not all(ids):
        for name in ids:
            if not isinstance(name, str) or not name:
                raise MezoroiError(f"id {name!r} is no text: give every fruit an id of its own")
    if len(set(ids)) < len(ids):
        twice = next(name for name, count in Counter(ids).items() if count > 1)
        raise MezoroiError(f"id `{twice}` is given twice: give every fruit an id of its own")
    text = "".join(ids)
    if (not text.isascii() or "\0" in text) and _NO_TEXT.search(text):
        bad = next(name for name in ids if _NO_TEXT.search(name))
        raise MezoroiError(f"id {bad!r} holds what no text can: give the fruit another")


def check_known(ids: Sequence[str]) -> None:
    """Refuse to look for ids that no index can hold.

    Raises
    ------
    MezoroiError
        If they are a single text, or one holds what no text can.
    """
    if isinstance(ids, str):
        raise MezoroiError(_NO_LIST)
    for name in ids:
        _checked(str(name))


def as_references(
    ids: Sequence[str], metadata: Sequence[Mapping[str, Any] | None]
) -> Iterator[Reference]:
    """One checked `Reference` per id, made as they are asked for: of a bulk load there are many.

    Raises
    ------
    MezoroiError
        If metadata do not match the ids; and, from the iterator, if they do not match JSON.
    """
    if len(metadata) != len(ids):
        raise MezoroiError(f"{len(metadata)} metadata for {len(ids)} ids: give one each")
    return (_reference(name, entry or {}) for name, entry in zip(ids, metadata, strict=True))


def _reference(name: str, entry: Mapping[str, Any]) -> Reference:
    more = {key: value for key, value in entry.items() if key not in _NAMED}
    try:
        text = json.dumps(more, allow_nan=False, ensure_ascii=False) if more else ""
    except (TypeError, ValueError) as error:
        raise MezoroiError(
            f"metadata of `{name}` cannot be kept ({error}): give text and numbers"
        ) from error
    if not text.isascii() and _NO_UNICODE.search(text):
        raise MezoroiError(f"metadata of `{name}` are not Unicode text: write them in UTF-8")
    return Reference(
        name,
        _text(entry.get("grade")),
        as_day(entry.get("date")),
        _text(entry.get("orchard")),
        _text(entry.get("thumbnail")),
        more,
    )


def _text(value: Any) -> str | None:
    return _checked(str(value)) if cell_text(value) else None


def _checked(text: str) -> str:
    """The text, unless it holds stray bytes of a file's name, which no database keeps."""
    if not text.isascii() and _NO_UNICODE.search(text):
        raise MezoroiError(f"{text[:60]!r} is not Unicode text: write, or rename, it in UTF-8")
    return text


def _names(key: str, value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    names = [value] if isinstance(value, str) or not isinstance(value, Iterable) else list(value)
    if not all(isinstance(name, str) for name in names):
        raise MezoroiError(f"{key} is {value!r}: filter by a name, or a list of names")
    return tuple(map(_checked, names))


def _days(value: Any) -> tuple[str | None, str | None]:
    if value is None:
        return None, None
    if isinstance(value, str | date) or not isinstance(value, Iterable):
        return _day(value), _day(value)
    ends = list(value)
    if len(ends) != 2:
        raise MezoroiError(f"a date filter is one day, or the first and the last, not {ends}")
    since, until = (None if end is None else _day(end) for end in ends)
    if since is not None and until is not None and since > until:
        raise MezoroiError(f"{since} is after {until}: give the first day, then the last")
    return since, until


def _day(value: Any) -> str:
    day = as_day(value)
    if day is None:
        raise MezoroiError(f"`{value}` is no date: write it as 2026-07-31")
    return day
