"""Whether a turn could be followed: what tells that poses are unsure, or as if by chance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mezoroi.capture.turn import Motion
from mezoroi.errors import MezoroiError

_PLAIN = 0.2  # agreement of neighbouring frames under which poses are unsure
_CHANCE = 0.12  # under which they are as if by chance: noise on a plain ball agrees by 0.08
_HIDDEN = 0.08  # share of frames that may be loose, as behind a hand, without any doubt
_LOOSE = 0.25  # share of frames from which too little of the turn hangs together
_FEW = 8  # frames under which it is their distance that makes them disagree
_CLOSER = "take them at most 50 degrees apart"


def following_notes(motion: Motion, numbers: Sequence[int]) -> list[str]:
    """Notes on how well the turn of at least one frame could be followed.

    Parameters
    ----------
    numbers : positions of the frames in their source, for the notes

    Raises
    ------
    MezoroiError
        If it could not be.
    """
    count = len(numbers)
    if count == 1:
        return []
    agreed = float(np.median(motion.agreement))
    share = len(motion.loose) / count
    if agreed < _CHANCE and count < _FEW:
        raise MezoroiError(f"the photos do not tell how the fruit turns: {_CLOSER}")
    if agreed < _CHANCE:
        raise MezoroiError(
            "the fruit is too plain to tell whether it turns: film it larger, sharp and well lit"
        )
    if count < _FEW and (agreed < _PLAIN or share > 0):
        return [f"the photos hardly tell how far the fruit turned: {_CLOSER}"]
    notes = []
    if share > _HIDDEN:
        is_loose = np.isin(np.arange(count), motion.loose)
        where = numbers[1 + int(np.argmax(is_loose[1:] != is_loose[:-1]))]
        if share > _LOOSE:
            raise MezoroiError(
                f"the turn cannot be followed at frame {where}: turn the fruit slower, with "
                "the camera fixed and the frames in order"
            )
        notes.append(
            f"the turn could not be followed at frame {where}: the unrolled picture and the "
            "degrees turned may be off"
        )
    if agreed < _PLAIN:
        notes.append(
            "the surface is too plain to follow well: the unrolled picture and the degrees turned "
            "may be off"
        )
    return notes
