"""Made-up melons filmed in a mild light, for the tests of captures."""

from __future__ import annotations

import numpy as np

from mezoroi.datasets.melons import Conditions, Melon, Truth, Turn, render_views

LIGHT = Conditions(
    elevation=35.0,
    side=15.0,
    ambient=0.6,
    exposure=1.0,
    contrast=1.0,
    white_balance=(1.0, 1.0, 1.0),
    flicker=0.02,
    vignette=0.1,
    blur=0.3,
    noise=1.5,
)


def film(melon: Melon, turn: Turn) -> tuple[list[np.ndarray], Truth]:
    """The frames of a turn, and where the melon is in each."""
    frames, truth = render_views(melon.body, melon.texture, LIGHT, turn, np.random.default_rng(0))
    return list(frames), truth
