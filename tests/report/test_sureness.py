"""A reliability in words."""

from __future__ import annotations

import math

import pytest

from mezoroi.errors import MezoroiError
from mezoroi.report.sureness import Sureness, sureness


@pytest.mark.parametrize(
    ("reliability", "cases", "expected"),
    [
        (1.0, 4, Sureness("few", 4, 4)),
        (5 / 6, 6, Sureness("few", 5, 6)),
        (8 / 14, 14, Sureness("unsure", 8, 14)),
        (0.9, 10, Sureness("sure", 9, 10)),
        (0.89, 100, Sureness("fairly", 8, 10)),
        (0.7, 40, Sureness("fairly", 7, 10)),
        (0.95, None, Sureness("sure", 9, 10)),
        (None, None, None),
        (math.nan, 12, None),
    ],
)
def test_it_says_no_more_than_was_counted(
    reliability: float | None, cases: int | None, expected: Sureness | None
) -> None:
    assert sureness(reliability, cases) == expected


def test_what_is_no_share_is_refused() -> None:
    with pytest.raises(MezoroiError, match=r"reliability is 1\.5: it lies in 0 to 1"):
        sureness(1.5, 20)
