"""A ledger of finished cells, so that hours of training spread over several starts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import mezoroi
from mezoroi.config import Config
from mezoroi.errors import MezoroiError
from mezoroi.files import nan_to_none, write_text

# Rooms that change how results look or are asked for, but not the results.
_NOT_MEASURED = ("app", "bench", "report", "cli", "console.py", "demo.py", "outputs.py")


class Ledger:
    """One JSON line per finished cell, keyed by its settings and the code that computed it.

    Parameters
    ----------
    path : JSON-lines file; made with the first cell

    any_code : also find cells that earlier code computed, for pages; the last one of each settings

    Attributes
    ----------
    codes : versions of the code that computed what was found so far

    Raises
    ------
    MezoroiError
        If a line is not one a ledger wrote.
    """

    def __init__(self, path: str | Path, any_code: bool = False) -> None:
        self.path = Path(path)
        self.codes: set[str] = set()
        self._cells: dict[str, dict[str, Any]] = {}
        self._by_settings: dict[str, dict[str, Any]] = {}
        if self.path.exists():
            for number, line in enumerate(self.path.read_text(encoding="utf-8").splitlines(), 1):
                try:
                    cell = json.loads(line)
                    self._cells[cell["key"]] = cell
                except (json.JSONDecodeError, KeyError, TypeError) as error:
                    raise MezoroiError(
                        f"{self.path} line {number} is damaged: remove that line"
                    ) from error
        if any_code:
            self._by_settings = {
                _settings_text(cell["settings"]): cell for cell in self._cells.values()
            }

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
        """The recorded result of a cell, or None."""
        cell = self._cells.get(cell_key(settings))
        if cell is None and self._by_settings:
            cell = self._by_settings.get(_settings_text(settings))
        if cell is None:
            return None
        self.codes.add(cell["code"])
        return cell["result"]


def open_ledgers(page: Path, parts: Iterable[str]) -> dict[str, Ledger]:
    """The ledger of each part of a bench, in the folder ``ledger`` beside its page.

    They are kept with the page: whoever has it can write it anew, and go on where it stopped.
    """
    folder = page.parent / "ledger"
    return {part: Ledger(folder / f"{page.stem}-{part}.jsonl") for part in parts}


def _settings_text(settings: Mapping[str, Any]) -> str:
    """Settings in one order; a training setting that is newer than the cell has its default."""
    content = dict(settings)
    if isinstance(content.get("config"), Mapping):
        content["config"] = Config.model_validate(content["config"]).model_dump(mode="json")
    return json.dumps(content, sort_keys=True, default=str)


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
