"""What people write in cells."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import pytest

from mezoroi.cells import as_day, cell_text
from mezoroi.errors import MezoroiError


@pytest.mark.parametrize(
    "value",
    [
        "2026-07-05",
        "2026/7/5",
        "2026.7.05",
        " 2026-7-5 ",
        "2026年7月5日",
        "2026/7/5 0:00",
        "2026-07-05T10:30:00+09:00",
        "20260705",
        20260705,
        20260705.0,
        date(2026, 7, 5),
        datetime(2026, 7, 5, 23, 59),
    ],
)
def test_days_as_they_are_written(value: Any) -> None:
    assert as_day(value) == "2026-07-05"


@pytest.mark.parametrize("value", [None, "", "  ", float("nan")])
def test_no_day(value: Any) -> None:
    assert as_day(value) is None


@pytest.mark.parametrize(
    "value", ["soon", "2026-07-31xyz", "2026-02-30", "7/5/2026", "2026-07", "26-7-5", 46234]
)
def test_what_is_no_day(value: Any) -> None:
    with pytest.raises(MezoroiError, match=f"`{value}` is no date: write it as 2026-07-31"):
        as_day(value)


def test_text_of_cells() -> None:
    assert [cell_text(value) for value in (" a ", 1.0, 1.5, None, float("nan"))] == [
        "a",
        "1",
        "1.5",
        "",
        "",
    ]
