"""Manifests: one CSV or Parquet row per observation, and the table of several graders' labels.

Columns of a manifest: ``image, grade`` and, where wanted, ``specimen, split, mask, session,
outline``; all others are kept in `Observation.extra`, and a ``date`` among them is checked. Paths
are relative to the manifest. Columns of ``graders.csv`` (or ``.parquet``) beside it: ``image,
grader, grade``.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from mezoroi.cells import cell_text
from mezoroi.datasets.rows import Row, Rows, find_path, observation_id
from mezoroi.errors import MezoroiError

MANIFEST_NAMES = ("manifest.csv", "manifest.parquet")
GRADERS_NAMES = ("graders.csv", "graders.parquet")
COLUMNS = ("image", "grade", "specimen", "split", "mask", "session", "outline")
GRADERS_COLUMNS = ("image", "grader", "grade")
TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")

_ENCODINGS = ("utf-8-sig", "cp932")


def manifest_rows(path: Path, instead: str | None = None) -> Rows:
    """Rows of a manifest.

    Parameters
    ----------
    instead : a column that names what `image` would, where that is empty or absent

    Raises
    ------
    MezoroiError
        If the table cannot be read at all, has no rows or lacks a column.
    """
    table = read_table(path)
    root = path.parent
    has_graders = graders_path(root) is not None
    stands_in = instead is not None and instead in _columns(table)
    needed = () if stands_in else ("image",)
    _require_columns(path, table, needed if has_graders else (*needed, "grade"))
    rows: list[Row] = []
    problems: list[str] = []
    for number, record in table.items():
        where = f"{path.name} row {number}"
        cells = {name: cell_text(record.get(name)) for name in COLUMNS}
        if not cells["image"] and instead is not None:
            cells["image"] = cell_text(record.get(instead))
        if not cells["image"]:
            problems.append(f"{where} names no image")
            continue
        rows.append(
            Row(
                where=where,
                image=find_path(root, cells["image"]),
                grade=cells["grade"],
                specimen=cells["specimen"],
                split=cells["split"],
                mask=find_path(root, cells["mask"]) if cells["mask"] else None,
                session=cells["session"],
                outline=find_path(root, cells["outline"]) if cells["outline"] else None,
                extra={key: value for key, value in record.items() if key not in COLUMNS},
            )
        )
    grades = frozenset(row.grade for row in rows if row.grade)
    return Rows(root, path.name, tuple(rows), grades, tuple(problems))


def graders_path(root: Path) -> Path | None:
    """The table of several graders' labels in a dataset's folder, if there is one."""
    return next((root / name for name in GRADERS_NAMES if (root / name).is_file()), None)


def add_grader_labels(found: Rows) -> Rows:
    """Attach the labels of ``graders.csv`` beside the dataset, where there is one."""
    path = graders_path(found.root)
    if path is None:
        return found
    table = read_table(path)
    _require_columns(path, table, GRADERS_COLUMNS)
    labels: dict[str, dict[str, str]] = {
        observation_id(row.image, found.root): {} for row in found.rows
    }
    problems = list(found.problems)
    for number, record in table.items():
        image, grader, grade = (cell_text(record[name]) for name in GRADERS_COLUMNS)
        where = f"{path.name} row {number}"
        if not (image and grader and grade):
            problems.append(f"{where} has an empty cell in image, grader or grade")
            continue
        given = labels.get(observation_id(find_path(found.root, image), found.root))
        if given is None:
            problems.append(f"{where}: {image} is not in {found.name}")
        elif grader in given:
            problems.append(f"{where}: {grader} graded {image} twice")
        else:
            given[grader] = grade
    rows = tuple(
        replace(row, labels=labels[observation_id(row.image, found.root)]) for row in found.rows
    )
    named = {grade for given in labels.values() for grade in given.values()}
    return replace(found, rows=rows, grades=found.grades | named, problems=tuple(problems))


def read_table(path: Path) -> dict[int, dict[str, Any]]:
    """Rows of a CSV, TSV or Parquet file by column name; CSV cells are text, never numbers.

    Each is under the number that a spreadsheet shows beside it: the first is 1, empty ones count,
    and so does a row once whose cells have several lines. Empty rows are left out.

    A CSV may be UTF-8 with or without byte order mark, UTF-16 with one (Excel's "Unicode text") or
    Shift_JIS (cp932), separated by commas, semicolons or tabs.

    Raises
    ------
    MezoroiError
        If the file is missing, empty, damaged or no table.
    """
    if not path.is_file():
        raise MezoroiError(f"{path} does not exist: check the path of the manifest")
    if path.suffix.lower() == ".parquet":
        return _read_parquet(path)
    # Not `splitlines`: it also cuts at what a cell may hold, such as Excel's vertical tab.
    lines = io.StringIO(_decode(path), newline="")
    header = next((line for line in lines if line.strip()), "")
    separator = max(",;\t", key=header.count)
    lines.seek(0)
    try:
        reader = csv.reader(lines, delimiter=separator, strict=True)
        rows = {
            number: cells
            for number, cells in enumerate(reader, start=1)
            if any(cell.strip() for cell in cells)
        }
    except csv.Error as error:
        raise MezoroiError(f"{path} is not a CSV table ({error}): export it again") from error
    if not rows:
        raise MezoroiError(f"{path} is empty: list one image per row under image,grade")
    names = [name.strip() for name in rows.pop(min(rows))]
    _check_names(path, names)
    for number, cells in rows.items():
        if len(cells) > len(names) and any(cell.strip() for cell in cells[len(names) :]):
            raise MezoroiError(
                f"{path} row {number} has {len(cells)} cells under {len(names)} columns: "
                "quote cells that contain the separator"
            )
    padding = [""] * len(names)
    return {
        number: {name: cell for name, cell in zip(names, cells + padding, strict=False) if name}
        for number, cells in rows.items()
    }


def _read_parquet(path: Path) -> dict[int, dict[str, Any]]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.ParquetFile(path).read()
    except (pyarrow.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise MezoroiError(f"{path} is not a Parquet table ({reason}): export it again") from error
    _check_names(path, table.column_names)
    return dict(enumerate(table.to_pylist(), start=2))


def _decode(path: Path) -> str:
    content = path.read_bytes()
    encodings = ("utf-16",) if content[:2] in (b"\xff\xfe", b"\xfe\xff") else _ENCODINGS
    for encoding in encodings:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise MezoroiError(f"{path} is neither UTF-8 nor Shift_JIS text: save the CSV as UTF-8")


def _check_names(path: Path, names: Iterable[str]) -> None:
    given = [name for name in names if name]
    repeated = sorted({name for name in given if given.count(name) > 1})
    if repeated:
        raise MezoroiError(f"{path} has two columns `{repeated[0]}`: rename one")


def _columns(table: dict[int, dict[str, Any]]) -> list[str]:
    """Names of the columns; none where there is no row."""
    return list(next(iter(table.values()), ()))


def _require_columns(path: Path, table: dict[int, dict[str, Any]], names: Iterable[str]) -> None:
    if not table:
        raise MezoroiError(f"{path} has no rows: list one image per row under image,grade")
    columns = _columns(table)
    missing = [name for name in names if name not in columns]
    if missing:
        lacking = " and ".join(f"`{name}`" for name in missing)
        raise MezoroiError(
            f"{path} lacks the column{'s' * (len(missing) > 1)} {lacking} "
            f"(it has {', '.join(columns)}): rename or add columns"
        )
