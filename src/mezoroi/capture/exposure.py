"""Exposure: how much brighter one view is than another, told from what both of them show.

A pale side of a fruit is no exposure: views are compared at the same points of the fruit only. As
a point turns through a light that stands still it brightens and darkens again, in every view alike;
that is told apart from exposure as a function of the place in the view.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mezoroi.capture.geometry import Floats

Array = NDArray[np.float32]
_FRONTAL = 0.45  # cosine from which views are compared
_BRIGHTEST = 225.0  # grey levels from which a camera may have clipped
_DARK = 5.0  # grey levels, so that noise in the dark counts little
_LEAST = 8  # shared points from which a pair of views says something
_ROWS = 32  # of the panorama on which views are compared, for speed
_GAIN_RIDGE = 1e-2  # towards 0: what could be the light or the exposure is the light
_LIGHT_RIDGE = 1e-6


def exposure_gains(samples: Sequence[tuple[Array, Array]], places: Sequence[Array]) -> Array:
    """By what to multiply N views so that they show the same points equally bright.

    Least squares over all pairs of views on the median log ratio at the points that both show
    frontally, with a light that stands still as a smooth function of the place in the view.

    Parameters
    ----------
    samples : of each view, colour (H, W, 3) and frontality (H, W) at points of the fruit
    places : of each view, where in the unit disk these points are seen, (H, W, 2)

    Returns
    -------
    (N,) positive factors of median 1
    """
    logs, lights, shown = [], [], []
    every = max(1, samples[0][1].shape[0] // _ROWS)
    for (colour, cosine), place in zip(samples, places, strict=True):
        grey = colour[::every, ::every].mean(axis=2)
        seen = (cosine[::every, ::every] > _FRONTAL) & (grey < _BRIGHTEST)
        logs.append(np.log(grey + _DARK))
        lights.append(_light_terms(place[::every, ::every]))
        shown.append(seen)
    count, terms = len(samples), lights[0].shape[-1]
    normal, pull = np.zeros((count + terms, count + terms)), np.zeros(count + terms)
    for first in range(count):
        for second in range(first + 1, count):
            both = shown[first] & shown[second]
            shared = int(both.sum())
            if shared < _LEAST:
                continue
            row = np.zeros(count + terms)
            row[first], row[second] = 1.0, -1.0
            row[count:] = (lights[second][both] - lights[first][both]).mean(axis=0)
            ratio = float(np.median(logs[second][both] - logs[first][both]))
            normal += shared * np.outer(row, row)
            pull += shared * ratio * row
    return _solved(normal, pull, count)


def _light_terms(place: Array) -> Array:
    """What a still light's log brightness is made of, (..., 4): odd in each direction.

    What is even cancels out where two views share points on both sides of the fruit's middle.
    """
    return np.concatenate([place, place**3], axis=-1)


def _solved(normal: Floats, pull: Floats, count: int) -> Array:
    scale = float(np.trace(normal[:count, :count])) / count
    ridge = np.full(len(pull), _LIGHT_RIDGE * scale)
    ridge[:count] = _GAIN_RIDGE * scale
    # Views that share nothing keep a gain of 1.
    found = np.linalg.solve(normal + np.diag(ridge + 1e-9), pull)[:count]
    gains: Array = np.exp(found - np.median(found)).astype(np.float32)
    return gains
