"""Files that are either whole or absent, their order and fingerprints of their content."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import os
import re
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mezoroi.errors import MezoroiError

if TYPE_CHECKING:
    import numpy as np


@contextmanager
def atomic_path(path: str | Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path` that replaces it when the block succeeds.

    The parent folder is made if needed. After an error the temporary file is removed and whatever
    stood at `path` before is untouched.

    Parameters
    ----------
    durable : wait until the disk has it; without, a power cut may leave a file that is not whole

    Raises
    ------
    MezoroiError
        If the file cannot be written (full disk, no permission).
    """
    target = Path(path)
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            dir=target.parent, prefix=f".{target.stem[:40]}.", suffix=target.suffix
        )
        os.close(handle)
        temporary = Path(name)
        yield temporary
        if durable:
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(target)
    except OSError as error:
        raise MezoroiError(
            f"cannot write {target} ({error.strerror or error}): "
            "check free space and permissions, then run the same command again"
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def require_folder(path: str | Path) -> None:
    """Refuse, before there is work to lose, a folder that cannot be made for a file in its way."""
    existing = next((place for place in (Path(path), *Path(path).parents) if place.exists()), None)
    if existing is not None and not existing.is_dir():
        raise MezoroiError(f"{existing} is a file: give a folder with -o")


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write `content` to `path` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | Path, content: str) -> None:
    """Write `content` to `path` atomically as UTF-8.

    What is no Unicode, such as stray bytes in a file's name, is written as ``\\udcff``, which JSON
    reads back.
    """
    write_bytes(path, content.encode("utf-8", "backslashreplace"))


def write_arrays(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays to `path` atomically as a compressed ``.npz``, whatever their names are.

    `numpy.savez_compressed` takes names as its arguments and cannot write one called ``file``.
    """
    from numpy.lib.format import write_array

    with (
        atomic_path(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for name, values in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                write_array(entry, values, allow_pickle=False)


def write_table(path: str | Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write at least one row to `path` atomically as UTF-8 CSV; columns are those of the first."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def read_numbers(path: Path, counted: str) -> list[dict[str, str]]:
    """The rows of a CSV table of numbers that a training wrote; none where there is no file.

    Parameters
    ----------
    counted : the column that holds a whole number in every row

    Raises
    ------
    MezoroiError
        If it is another table by now, as of a spreadsheet that saved it its own way.
    """
    try:
        # Spreadsheets put a byte order mark in front.
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows: list[dict[str, str]] = list(csv.DictReader(stream))
        for row in rows:
            int(row[counted])
            _ = [float(value or "nan") for value in row.values()]
    except FileNotFoundError:
        return []
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise MezoroiError(
            f"{path} is no longer the table that the training wrote: delete it, or restore it, "
            "then run the same command again"
        ) from error
    return rows


def write_json(path: str | Path, content: Any) -> None:
    """Write `content` to `path` atomically as UTF-8 JSON; NaN becomes null."""
    text = json.dumps(nan_to_none(content), ensure_ascii=False, indent=2, allow_nan=False)
    write_text(path, text + "\n")


def read_json(path: str | Path, remedy: str) -> Any:
    """Read a JSON file; `remedy` ends the error line when it is missing or damaged."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MezoroiError(f"{path} is missing: {remedy}") from error
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise MezoroiError(f"{path} cannot be read as JSON ({error}): {remedy}") from error


def parsed_yaml(text: str) -> Any:
    """`text` as plain data; of a key that stands twice in one mapping YAML keeps the last alone.

    Raises
    ------
    yaml.YAMLError
        If it is no YAML, or a key stands twice.
    """
    import yaml

    try:
        _refuse_repeated_keys(text)
        return yaml.safe_load(text)
    except (ValueError, RecursionError) as error:
        # Of what looks like a date or a number and is none, and of very deep nesting.
        raise yaml.YAMLError(str(error)) from error


def _refuse_repeated_keys(text: str) -> None:
    import yaml

    nodes, seen = [yaml.compose(text, yaml.SafeLoader)], set()
    while nodes:
        node = nodes.pop()
        if id(node) in seen:  # an alias may lead back to what holds it
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            nodes += node.value
        elif isinstance(node, yaml.MappingNode):
            lines: dict[tuple[str, str], int] = {}
            for key, value in node.value:
                line = key.start_mark.line + 1
                if isinstance(key, yaml.ScalarNode):
                    first = lines.get((key.tag, key.value))
                    if first is not None:
                        raise yaml.YAMLError(f"`{key.value}` stands twice, lines {first}, {line}")
                    lines[key.tag, key.value] = line
                nodes.append(value)


def nan_to_none(value: Any) -> Any:
    """A copy of nested dicts and lists with NaN and infinities replaced by None (JSON has none)."""
    if isinstance(value, dict):
        return {key: nan_to_none(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [nan_to_none(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def content_hash(path: str | Path) -> str:
    """SHA-256 of a file's bytes, as hexadecimal."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key under which numbers inside names count as numbers: ``2`` before ``10``."""
    parts = re.findall(r"\d+|\D+", name)
    return tuple((0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts)


def file_name(text: str) -> str:
    """`text` without the characters that file systems refuse."""
    return "".join("_" if c in '<>:"/\\|?*' or ord(c) < 32 else c for c in text).strip(" .") or "_"


def file_names(texts: Iterable[str]) -> list[str]:
    """One `file_name` per text, readable and unique whatever the file system makes of case."""
    names: list[str] = []
    taken: set[str] = set()
    for text in texts:
        base = file_name(text)
        name, number = base, 2
        while name.casefold() in taken:
            name, number = f"{base}-{number}", number + 1
        names.append(name)
        taken.add(name.casefold())
    return names


def folder_names(paths: Sequence[Path]) -> list[str]:
    """One folder name per path, by `file_names` of their stems; a folder has no suffix."""
    return file_names(path.name if path.is_dir() else path.stem for path in paths)
