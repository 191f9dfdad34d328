"""What people and spreadsheets write in the cells of a table: text, numbers, days, nothing."""

from __future__ import annotations

import re
from datetime import date
from typing import Any

from mezoroi.errors import MezoroiError

_DAY = re.compile(
    r"(\d{4})(?:(\d\d)(\d\d)|[-/.](\d{1,2})[-/.](\d{1,2})|年(\d{1,2})月(\d{1,2})日)"
    r"(?:[T ]\s*\d{1,2}:\d\d.*)?"
)


def cell_text(value: Any) -> str:
    """A cell as text: numbers as they are written (1.0 from Parquet is ``1``), nothing as ''."""
    if value is None or value != value:  # NaN, and NaT, are not even equal to themselves
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def as_day(value: Any) -> str | None:
    """``YYYY-MM-DD`` of a date, of a time (whose hour is left out) or of their text; None for none.

    Text may be as Excel writes it: ``2026/7/31``, ``2026.7.31``, ``2026年7月31日``; the year comes
    first, since 7/8 is July in one country and August in another.

    Raises
    ------
    MezoroiError
        If it is something else, or a day that there is not.
    """
    text = cell_text(value)
    if not text:
        return None
    found = _DAY.fullmatch(text)
    try:
        if found is None:
            raise ValueError
        year, month, day = (int(part) for part in found.groups() if part is not None)
        return date(year, month, day).isoformat()
    except ValueError as error:
        raise MezoroiError(f"`{text}` is no date: write it as 2026-07-31") from error
