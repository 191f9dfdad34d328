"""Tables of the benches' pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

MISSING = "not run yet"
"""Stands where a cell would be that no ledger has."""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with its last line break."""
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def values_of(cells: Sequence[Mapping[str, Any]], key: str) -> NDArray[np.float64]:
    """A score of all observations of some cells; what is undefined is NaN."""
    return np.concatenate([np.array(cell[key], float) for cell in cells])


def mean_text(cells: Sequence[Mapping[str, Any]], key: str) -> str:
    """Mean of a score over all observations, with how many were undefined."""
    if not cells:
        return MISSING
    values = values_of(cells, key)
    undefined = int(np.isnan(values).sum())
    if undefined == len(values):
        return "undefined"
    return f"{np.nanmean(values):.3f}" + (f" ({undefined} undefined)" if undefined else "")
