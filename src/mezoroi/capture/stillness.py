"""What turns and what stands still before a fixed camera."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Array = NDArray[np.float32]


def motion_odds(frames: Image) -> Array | None:
    """Log-odds (H, W) that something turns at a pixel; None where that cannot be told."""
    if len(frames) < 5:
        return None
    grey = frames.mean(axis=3).astype(np.float32) * exposures(list(frames))[:, None, None]
    change = np.median(np.abs(grey - np.median(grey, axis=0)), axis=0)
    change = np.asarray(cv2.GaussianBlur(change, (0, 0), 1.0), dtype=np.float32)
    quiet, busy = np.quantile(change, (0.15, 0.9))
    if busy < 3 * quiet + 1.0:
        return None
    return _odds_of(change, float(quiet), float(busy))


def exposures(frames: Sequence[Image]) -> Array:
    """(N,) by what to multiply frames, so that their upper corners are as bright as is usual."""
    height, width = (max(1, side // 6) for side in frames[0].shape[:2])
    corners = [np.median(f[:height, [*range(width), *range(-width, 0)]]) for f in frames]
    bright = np.array(corners, dtype=np.float32) + 8
    factors: Array = np.float32(np.median(bright)) / bright
    return factors


def _odds_of(change: Array, quiet: float, busy: float) -> Array:
    """Log-odds that something turns where brightness changes by `change`."""
    limit = np.sqrt((quiet + 0.3) * busy)
    odds: Array = np.clip(2 * np.log((change + 0.05) / limit), -3, 3).astype(np.float32)
    return odds


def unusual_odds(parts: Sequence[Image], exposures: Array, usual: Array) -> Iterator[Array]:
    """Log-odds (H, W) by frame that something turns at a pixel, as the frame is unlike the others.

    A bump passes the edge in a few frames only: what is `usual` there is the background.
    """
    grey = np.stack(
        [
            np.clip(cv2.cvtColor(part, cv2.COLOR_RGB2GRAY) * gain, 0, 255).astype(np.uint8)
            for part, gain in zip(parts, exposures, strict=True)
        ]
    )
    still = np.median(grey, axis=0).astype(np.float32)
    few = np.abs(grey[:, ::3, ::3] - still[::3, ::3])
    calm = usual[::3, ::3] < 0
    quiet, busy = (float(np.median(few[:, where])) for where in (calm, ~calm))
    for frame in grey:
        change = cv2.GaussianBlur(np.abs(frame - still), (0, 0), 1.5)
        yield _odds_of(change, quiet, busy)
