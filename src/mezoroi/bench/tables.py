"""Tables of the benches' pages."""

from __future__ import annotations

from collections.abc import Sequence

MISSING = "not run yet"
"""Stands where a cell would be that no ledger has."""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with its last line break."""
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"
