"""Fruits as a table for other programs: CSV and Parquet, a piece at a time."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from mezoroi.app.store.finding import Full

COLUMNS: Mapping[str, str] = {
    "id": "int64",
    "sent_at": "timestamp",
    "sent_by": "string",
    "file": "string",
    "lot": "string",
    "orchard": "string",
    "weight_g": "double",
    "diameter_mm": "double",
    "brix": "double",
    "note": "string",
    "grade": "string",
    "clear": "bool",
    "gap": "double",
    "resembles": "string",
    "unlike_all": "bool",
    "map_grade": "string",
    "reliability": "double",
    "ask_expert": "bool",
    "adjusted_from": "string",
    "verdict": "string",
    "verdict_by": "string",
    "verdict_at": "timestamp",
    "expert_grade": "string",
    "blind_grade": "string",
    "verdict_note": "string",
    "standard_version": "int64",
    "run": "int64",
}
"""Name -> type; after these comes ``similarity_GRADE`` for every grade of the standard."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def columns(grades: Sequence[str]) -> dict[str, str]:
    """All columns of a table, with their types."""
    return {**COLUMNS, **{f"similarity_{grade}": "double" for grade in grades}}


def row(full: Full, grades: Sequence[str]) -> dict[str, Any]:
    """A fruit by column; None for what is not known."""
    fruit, grading, verdict = full.fruit, full.grading, full.verdict
    said: dict[str, Any] = {
        "id": fruit.id,
        "sent_at": fruit.created_at,
        "sent_by": fruit.uploader.name,
        "file": fruit.name or None,
        "lot": fruit.lot.name if fruit.lot is not None else None,
        "orchard": fruit.orchard or None,
        "weight_g": fruit.weight,
        "diameter_mm": fruit.diameter,
        "brix": fruit.brix,
        "note": fruit.note or None,
    }
    if grading is not None:
        result = grading.result
        said |= {
            "grade": grading.grade,
            "clear": result["is_clear"],
            "gap": result["gap"],
            "resembles": " ".join(result["resembles"]),
            "unlike_all": result["is_unlike_all"],
            "map_grade": result["map_grade"],
            "reliability": grading.reliability,
            "ask_expert": result.get("ask_expert"),
            "adjusted_from": result["adjusted_from"],
            "expert_grade": fruit.expert_grade,  # not the verdict's: an earlier grading's stands
            "standard_version": grading.standard.version,
            "run": grading.run_id,
            **{f"similarity_{grade}": result["similarity"].get(grade) for grade in grades},
        }
    if verdict is not None:
        said |= {
            "verdict": verdict.answer,
            "verdict_by": verdict.user.name,
            "verdict_at": verdict.created_at,
            "blind_grade": verdict.blind_grade,
            "verdict_note": verdict.note or None,
        }
    return {name: said.get(name) for name in columns(grades)}


def as_csv(pieces: Iterable[Sequence[Full]], grades: Sequence[str]) -> Iterator[bytes]:
    """CSV in UTF-8, marked as such for spreadsheets; no text in it is taken for a formula."""
    stream = io.StringIO(newline="")
    stream.write("\ufeff")
    writer = csv.writer(stream)
    writer.writerow([plain(name) for name in columns(grades)])
    for piece in pieces:
        for full in piece:
            writer.writerow([_cell(value) for value in row(full, grades).values()])
        yield stream.getvalue().encode("utf-8", "replace")
        stream.seek(0)
        stream.truncate()
    yield stream.getvalue().encode()


def plain(text: str) -> str:
    """A text that a spreadsheet does not take for a formula: an apostrophe goes before one."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat() if hasattr(value, "isoformat") else value


def as_parquet(pieces: Iterable[Sequence[Full]], grades: Sequence[str]) -> Iterator[bytes]:
    """Parquet, a row group per piece."""
    import pyarrow as pa
    from pyarrow import parquet

    types = {"timestamp": pa.timestamp("us", tz="UTC"), "bool": pa.bool_(), "double": pa.float64()}
    schema = pa.schema(
        [(name, types.get(kind) or getattr(pa, kind)()) for name, kind in columns(grades).items()]
    )
    sink = _Sink()
    with parquet.ParquetWriter(pa.PythonFile(sink, mode="w"), schema) as writer:
        for piece in pieces:
            rows = [row(full, grades) for full in piece]
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
            yield sink.take()
    yield sink.take()


class _Sink(io.RawIOBase):
    """A file that is emptied while it is written."""

    def __init__(self) -> None:
        self._held: list[bytes] = []
        self._written = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._written

    def write(self, content: Any) -> int:
        held = bytes(content)
        self._held.append(held)
        self._written += len(held)
        return len(held)

    def take(self) -> bytes:
        """What was written since the last time."""
        taken = b"".join(self._held)
        self._held.clear()
        return taken
