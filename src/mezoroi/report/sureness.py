"""How far to trust a grading, in words and in cases that one can count."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mezoroi.errors import MezoroiError

SURE, FAIRLY_SURE = 0.9, 0.7  # reliability from which it is put into these words
_FEW = 10
_COUNTED = 30  # "5 of 10" beside a reason that says 8 of 14 would contradict it


@dataclass(frozen=True)
class Sureness:
    """What a page says of a reliability.

    Attributes
    ----------
    words : ``sure``, ``fairly``, ``unsure``; ``few`` where it was counted on fewer than ten fruits
    right, of : so many of so many such cases were right: as counted where that is easily grasped,
        else of ten
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
    words = "sure" if reliability >= SURE else "fairly" if reliability >= FAIRLY_SURE else "unsure"
    if cases is not None and cases < _COUNTED:
        return Sureness("few" if cases < _FEW else words, round(reliability * cases), cases)
    return Sureness(words, int(10 * reliability + 1e-9), 10)
