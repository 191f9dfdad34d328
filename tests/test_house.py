"""Data flows one way: a room imports only rooms above it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import mezoroi

ROOT = Path(mezoroi.__file__).parent
HOUSE = (
    "errors",
    "progress",
    "cells",
    "files",
    "standard_features",
    "standard",
    "config",
    "presets",
    "metrics",
    "capture",
    "datasets",
    "maps",
    "models",
    "losses",
    "signs",
    "augment",
    "training",
    "explain",
    "retrieval",
    "bundle",
    "similarity",
    "reliability",
    "report",
    "grading",
    "practice",
    "calibrating",
    "runner",
    "grading_maker",
    "grader",
    "evaluation",
    "new_references",
    "references",
    "new_grade",
    "trusting",
    "trust_scores",
    "searching",
    "run_folder",
    "workflow",
    "reliability_runs",
    "capture_folders",
    "captures",
    "explainers",
    "explaining",
    "grading_graph",
    "exporting",
    "outputs",
    "cross_validation",
    "demo",
    "app",
    "bench",
    "console",
    "cli_options",
    "cli_app",
    "cli_backup",
    "cli_bench",
    "cli_explain",
    "cli_export",
    "cli_making",
    "cli_references",
    "cli_reliability",
    "cli_study",
    "cli",
    "__main__",
)


def test_contributors_are_told_of_the_rooms_in_their_order() -> None:
    page = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = page.split("| room | what it holds |")[1].split("\n\n")[0]
    cells = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    named = re.findall(r"`(\w+)(?:\.py|/)`", " ".join(cells))
    verbs = [room for room in HOUSE if room.startswith("cli_") and room != "cli_options"]
    assert named == [room for room in HOUSE if room not in (*verbs, "__main__")]


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    """Rooms that a file imports, at its top or inside its functions."""
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mezoroi"):
            inside = (node.module or "").split(".")[1:]
            names = [inside[0]] if inside else [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [a.name.split(".")[1] for a in node.names if a.name.startswith("mezoroi.")]
        rooms |= {name for name in names if not name.startswith("__version")}
    return rooms - {room_of(path)}


@pytest.mark.parametrize(
    "path",
    [p for p in sorted(ROOT.rglob("*.py")) if p != ROOT / "__init__.py"],
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)
def test_a_room_imports_only_rooms_above_it(path: Path) -> None:
    above = HOUSE[: HOUSE.index(room_of(path))]
    assert imported_rooms(path) <= set(above)


@pytest.mark.parametrize("room", ["grader", "outputs", "explaining", "searching"])
def test_grading_waits_for_no_training_framework(room: str) -> None:
    """Lightning takes as long to import as half of what grading needs."""
    imports: dict[str, set[str]] = {name: set() for name in HOUSE}
    for path in ROOT.rglob("*.py"):
        if path != ROOT / "__init__.py":
            imports[room_of(path)] |= imported_rooms(path)
    reached, waiting = set(), [room]
    while waiting:
        name = waiting.pop()
        reached.add(name)
        waiting += imports[name] - reached
    assert "models" in reached and "training" not in reached
