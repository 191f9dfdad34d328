"""The order of quality of grades that come without a standard."""

from __future__ import annotations

from collections.abc import Iterable

from mezoroi.files import natural_key

_SERIES = (("特秀", "秀", "優", "良", "可"), ("good", "bad"))
"""Names of grades whose order of quality is known, best first."""


def best_first(grades: Iterable[str]) -> list[str]:
    """Grades of one known series in its order; others in natural order, capitals as small letters.

    The order of others is that of the names, not of quality: say so.
    """
    names = sorted(grades, key=lambda name: (natural_key(name.casefold()), name))
    for series in _SERIES:
        if all(name.casefold() in series for name in names):
            return sorted(names, key=lambda name: series.index(name.casefold()))
    return names


def note_on_order(grades: Iterable[str]) -> str:
    """What order of quality was taken, for who knows better."""
    order = " > ".join(grades)
    return f"grades from best to worst are taken as {order}: write standard.yaml if that is not so"
