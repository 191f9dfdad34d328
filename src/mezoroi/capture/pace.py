"""Which frames of a long video are used: evenly many, or more of them where more changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mezoroi.capture.video import small_grey

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

_SIDE = 64  # pixels of the pictures in which changes are seen
_MOST = 2048  # of these that are held
_CHANGING = 0.1  # share of the pixels, those that differ most, in which a change is seen
_LEARNED = 24  # pictures from which it is told what two sides of a fruit differ by
_STEP = 0.25  # of that: a change that counts
_NOISE = 2.0  # grey levels, under which a change never counts
_FASTEST = 2.0  # times the usual pace: what changes faster is a hand, not the fruit
_IN_TIME = 0.35  # share of the frames that is spread evenly in time, so that no step is a long one
_UNEVEN = 2.0  # times the usual change, from which a step is too long


def stride_for(count: int, most: int) -> int:
    """The smallest power of 2 at which no more than `most` of `count` frames are kept."""
    stride = 1
    while count > stride * most:
        stride *= 2
    return stride


class Looks:
    """Small grey pictures of evenly spaced frames of a video.

    Memory does not grow with the length: every stride-th frame is held, and the stride doubles.
    """

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self._pictures: list[NDArray[np.uint8]] = []
        self._stride = 1

    def add(self, number: int, frame: VideoFrame) -> None:
        """Look at a frame, after all before it."""
        if number % self._stride:
            return
        self.numbers.append(number)
        self._pictures.append(small_grey(frame, _SIDE))
        if len(self.numbers) > _MOST:
            self.numbers, self._pictures = self.numbers[::2], self._pictures[::2]
            self._stride *= 2

    def pictures(self) -> NDArray[np.uint8]:
        """(N, h, w), in the order of `numbers`; at least one."""
        return np.stack(self._pictures)


def frames_to_use(looks: Looks, count: int, most: int) -> list[int]:
    """Positions of at most `most` of a video's frames, in order.

    They lie a power of 2 apart, unless much more happens between some of these than between others.
    """
    numbers = looks.numbers
    even = list(range(0, count, stride_for(count, most)))
    if len(even) == count or len(numbers) < 2:
        return even
    along = _changed(looks.pictures())
    if along[-1] == 0 or most < 2:
        return even
    steps = np.diff(np.interp(even, numbers, along))
    if len(steps) < 1 or steps.max() <= _UNEVEN * steps.mean():
        return even
    time = np.linspace(0, 1, len(numbers))
    along = (1 - _IN_TIME) * along / along[-1] + _IN_TIME * time
    nearest = np.interp(np.linspace(0, 1, most), along, np.arange(len(numbers)))
    return sorted({numbers[index] for index in np.rint(nearest).astype(int)})


def _changed(looks: NDArray[np.uint8]) -> NDArray[np.float64]:
    """How much has changed until each of N pictures (N, h, w), from 0 on.

    A picture is compared with the last that was clearly different, so that noise does not add up
    in a still stretch and what turns slowly is not lost.
    """
    flat = looks.reshape(len(looks), -1)
    some = flat[:: -(-len(flat) // _LEARNED)]
    apart = np.concatenate([_difference(some, one) for one in some])
    apart = apart[apart > _NOISE]
    step = max(_NOISE, _STEP * float(np.median(apart))) if len(apart) else _NOISE
    places, changes = [0], []
    for index in range(1, len(flat)):
        change = float(_difference(flat[index], flat[places[-1]]))
        if change > step:
            places.append(index)
            changes.append(change)
    if not changes:
        return np.zeros(len(flat))
    pace = np.array(changes) / np.diff(places)
    pace = np.minimum(pace, _FASTEST * np.median(pace))
    sums = np.concatenate([[0.0], np.cumsum(pace * np.diff(places))])
    return np.interp(np.arange(len(flat)), places, sums)


def _difference(pictures: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Mean difference (...) of pictures (..., P) to another (P,) where they differ most."""
    away = np.abs(pictures.astype(np.float32) - other)
    most = max(1, int(_CHANGING * away.shape[-1]))
    found: NDArray[np.float32] = np.partition(away, -most, axis=-1)[..., -most:].mean(axis=-1)
    return found
