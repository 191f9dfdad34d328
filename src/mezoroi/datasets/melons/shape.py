"""The body of a made-up melon, and its silhouettes while it turns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mezoroi.datasets.melons.sphere import Array, Waves, direction

FLAT, LONG = 0.88, 1.12  # height/width beyond which a fruit is flattened or elongated
BUMP = 0.06  # height of a bump, relative to the radius, from which it counts
BODY_KINDS = ("true", "flattened", "elongated", "bumped")


@dataclass(frozen=True)
class Body:
    """A star-shaped body: a spheroid of equatorial radius 1, gently asymmetric, with bumps.

    Attributes
    ----------
    height : polar radius, in equatorial radii
    asymmetry : smooth relative deviation of the radius
    asymmetry_size : its standard deviation
    bump_directions : (n, 3) unit vectors
    bump_heights : (n,) relative to the radius
    bump_widths : (n,) radians, one standard deviation
    """

    height: float
    asymmetry: Waves
    asymmetry_size: float
    bump_directions: Array
    bump_heights: Array
    bump_widths: Array

    def __call__(self, directions: Array) -> Array:
        """Radius (...) in equatorial radii towards unit vectors (..., 3)."""
        across = directions[..., 0] ** 2 + directions[..., 1] ** 2
        radius = 1 / np.sqrt(across + (directions[..., 2] / self.height) ** 2)
        factor = 1 + self.asymmetry_size * self.asymmetry(directions)[..., 0]
        for towards, height, width in zip(
            self.bump_directions, self.bump_heights, self.bump_widths, strict=True
        ):
            factor = factor + height * np.exp((directions @ towards - 1) / width**2)
        result: Array = (radius * factor).astype(np.float32)
        return result

    @property
    def deviation(self) -> float:
        """How far the shape is from true, 0 to 1; 0.5 and more makes the fruit distorted."""
        limit = 1 - FLAT if self.height < 1 else LONG - 1
        bump = float(self.bump_heights.max(initial=0.0))
        return float(min(1.0, 0.5 * max(abs(self.height - 1) / limit, bump / BUMP)))


def make_body(rng: np.random.Generator, distorted: bool) -> Body:
    """A body of true shape, or a flattened, elongated or bumped one.

    One fruit in sixteen is a borderline case; none lies within 0.5 % of a limit.
    """
    kind = rng.choice(BODY_KINDS[1:], p=(0.35, 0.35, 0.3)) if distorted else BODY_KINDS[0]
    borderline = rng.random() < 1 / 16
    side = rng.choice((-1.0, 1.0))
    if kind == "flattened":
        height = rng.uniform(FLAT - 0.02, FLAT - 0.005) if borderline else rng.uniform(0.72, 0.86)
    elif kind == "elongated":
        height = rng.uniform(LONG + 0.005, LONG + 0.02) if borderline else rng.uniform(1.14, 1.32)
    elif borderline:
        height = 1 + side * rng.uniform(0.09, 0.113)
    else:
        height = float(np.clip(rng.normal(1.0, 0.035), 0.92, 1.08))
    if kind == "bumped":
        count = int(rng.integers(1, 3))
        low, high = (BUMP + 0.002, BUMP + 0.015) if borderline else (0.075, 0.15)
    else:
        count = int(rng.integers(0, 2))
        low, high = 0.005, 0.03
    towards = [direction(rng.uniform(-45, 45), rng.uniform(-180, 180)) for _ in range(count)]
    return Body(
        height=float(height),
        asymmetry=Waves.draw(rng, frequency=1.6, count=12),
        asymmetry_size=float(rng.uniform(0.004, 0.014)),
        bump_directions=np.array(towards, dtype=np.float32).reshape(count, 3),
        bump_heights=rng.uniform(low, high, count).astype(np.float32),
        bump_widths=np.deg2rad(rng.uniform(13, 24, count)).astype(np.float32),
    )


def silhouettes(
    body: Body,
    rng: np.random.Generator | None = None,
    *,
    views: int = 24,
    points: int = 120,
    noise: float = 0.002,
) -> list[NDArray[np.float64]]:
    """Silhouettes from horizontal directions around the fruit, orthographic.

    Parameters
    ----------
    rng : source of the measurement noise; None measures exactly
    views : number of viewing directions, evenly over 360 degrees
    points : corners of each polygon
    noise : standard deviation of a measured radius, relative, smooth along the outline

    Returns
    -------
    `views` closed polygons (points, 2) in equatorial radii, x right, y up.
    """
    angle = np.arange(points) * 2 * np.pi / points
    depth = np.deg2rad(np.linspace(-40, 40, 17))
    turn = np.arange(views) * 2 * np.pi / views
    right = np.stack([-np.sin(turn), np.cos(turn), np.zeros(views)], axis=-1)
    toward = np.stack([np.cos(turn), np.sin(turn), np.zeros(views)], axis=-1)
    up = np.array([0.0, 0.0, 1.0])
    in_plane = np.cos(angle)[None, :, None] * right[:, None] + np.sin(angle)[None, :, None] * up
    rays = (
        np.cos(depth)[:, None] * in_plane[:, :, None]
        + np.sin(depth)[:, None] * toward[:, None, None]
    )
    # A ray that leaves the image plane by `depth` meets the image at the same polar angle.
    radius = (body(rays.astype(np.float32)) * np.cos(depth)).max(axis=-1).astype(np.float64)
    if rng is not None:
        error = rng.normal(size=radius.shape)
        error = (np.roll(error, 1, axis=1) + error + np.roll(error, -1, axis=1)) / np.sqrt(3)
        radius = radius * (1 + noise * error)
    return [np.stack([r * np.cos(angle), r * np.sin(angle)], axis=-1) for r in radius]
