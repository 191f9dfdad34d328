"""A ledger of finished cells, so that hours of training spread over several starts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import mezoroi
from mezoroi.errors import MezoroiError
from mezoroi.files import nan_to_none, write_text

# Rooms that change how results look or are asked for, but not the results.
_NOT_MEASURED = ("app", "bench", "report", "cli.py", "console.py", "outputs.py")


class Ledger:
    """One JSON line per finished cell, keyed by its settings and the code that computed it.

    Parameters
    ----------
    path : JSON-lines file; made with the first cell

    Raises
    ------
    MezoroiError
        If a line is not one a ledger wrote.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._cells: dict[str, dict[str, Any]] = {}
        if self.path.exists():
            for number, line in enumerate(self.path.read_text(encoding="utf-8").splitlines(), 1):
                try:
                    cell = json.loads(line)
                    self._cells[cell["key"]] = cell
                except (json.JSONDecodeError, KeyError, TypeError) as error:
                    raise MezoroiError(
                        f"{self.path} line {number} is damaged: remove that line"
                    ) from error

    def __len__(self) -> int:
        return len(self._cells)

    def compute(
        self, settings: Mapping[str, Any], work: Callable[[], Mapping[str, Any]]
    ) -> Mapping[str, Any]:
        """The result of a cell: from the ledger, or by `work`, which is then recorded."""
        found = self.find(settings)
        if found is not None:
            return found
        result = nan_to_none(dict(work()))
        key = cell_key(settings)
        self._cells[key] = {
            "key": key,
            "code": code_version(),
            "settings": dict(settings),
            "result": result,
        }
        lines = (json.dumps(cell, ensure_ascii=False) for cell in self._cells.values())
        write_text(self.path, "\n".join(lines) + "\n")
        return result

    def find(self, settings: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The recorded result of a cell under the present code, or None."""
        cell = self._cells.get(cell_key(settings))
        return cell["result"] if cell is not None else None


def cell_key(settings: Mapping[str, Any]) -> str:
    """Hash of a cell's settings and of the code version."""
    text = json.dumps([settings, code_version()], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


@cache
def code_version() -> str:
    """Hash of the package's source, less the rooms that only present results."""
    root = Path(mezoroi.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root).as_posix()
        if not name.startswith(_NOT_MEASURED):
            digest.update(name.encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
