"""How far to trust a grading, in words and in cases that one can count."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mezoroi.errors import MezoroiError

SURE, FAIRLY_SURE = 0.9, 0.7  # reliability from which it is put into these words
_CASES = 10


@dataclass(frozen=True)
class Sureness:
    """What a page says of a reliability.

    Attributes
    ----------
    words : ``sure``, ``fairly``, ``unsure``; ``few`` where it was counted on fewer than ten fruits
    right, of : so many of so many such cases were right
    """

    words: str
    right: int
    of: int


def sureness(reliability: float | None, cases: int | None) -> Sureness | None:
    """`reliability` in words; None where it is not known.

    Parameters
    ----------
    reliability : in [0, 1]; None or NaN if unknown
    cases : fruits it was counted on; None if unknown

    Raises
    ------
    MezoroiError
        If it is out of its range.
    """
    if reliability is None or math.isnan(reliability):
        return None
    if not 0 <= reliability <= 1:
        raise MezoroiError(f"reliability is {reliability}: it lies in 0 to 1")
    if cases is not None and cases < _CASES:  # "8 of 10" of six fruits would be made up
        return Sureness("few", round(reliability * cases), cases)
    words = "sure" if reliability >= SURE else "fairly" if reliability >= FAIRLY_SURE else "unsure"
    return Sureness(words, int(_CASES * reliability + 1e-9), _CASES)
