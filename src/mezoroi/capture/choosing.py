"""Which frames are of use: those that show all of the fruit, neither hidden nor overexposed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mezoroi.capture.disks import Disks
from mezoroi.capture.silhouette import Silhouette
from mezoroi.errors import MezoroiError

_CUT = 0.12  # share of the outline beyond the frame's edge at which a view is of no use
_LIT = 0.1  # share of the disk without glare under which a view is of no use
_NAMED = 5  # frames that a note names at most
_LEAVES = "the fruit leaves the frame: keep all of it in the picture"
_OVEREXPOSED = "the fruit is overexposed: film it in softer light, or set the camera darker"


def whole_frames(
    silhouettes: Sequence[Silhouette], numbers: Sequence[int]
) -> tuple[list[int], list[str]]:
    """Positions of the frames that show all of the fruit, and notes on the others.

    Parameters
    ----------
    numbers : positions of the frames in their source, for the notes

    Raises
    ------
    MezoroiError
        If fewer than half of them do, with the most frequent reason.
    """
    kept = [index for index, found in enumerate(silhouettes) if found.cut <= _CUT]
    lost: dict[str, list[int]] = {}
    for number, found in zip(numbers, silhouettes, strict=True):
        if found.cut > _CUT:
            lost.setdefault(found.missing or _LEAVES, []).append(number)
    if 2 * len(kept) < len(silhouettes):
        raise MezoroiError(max(lost, key=lambda reason: len(lost[reason])))
    return kept, [_note(why, where, len(silhouettes)) for why, where in lost.items()]


def lit_frames(disks: Disks, numbers: Sequence[int]) -> tuple[list[int], list[str]]:
    """Positions of the frames that show some of the fruit without glare, and notes on the others.

    Raises
    ------
    MezoroiError
        If fewer than half of them do.
    """
    lit = disks.shown >= _LIT
    if 2 * lit.sum() < len(lit):
        raise MezoroiError(_OVEREXPOSED)
    lost = [number for number, is_lit in zip(numbers, lit, strict=True) if not is_lit]
    notes = [_note(_OVEREXPOSED, lost, len(lit))] if lost else []
    return np.flatnonzero(lit).tolist(), notes


def _note(reason: str, numbers: Sequence[int], count: int) -> str:
    lost = len(numbers)
    if reason == _LEAVES:
        return f"the fruit leaves the frame in {lost} of {count} frames used"
    what = reason.partition(":")[0]
    named = ", ".join(map(str, numbers[:_NAMED])) + (" …" if lost > _NAMED else "")
    return f"{what} in {lost} of {count} frames used (number {named})"
