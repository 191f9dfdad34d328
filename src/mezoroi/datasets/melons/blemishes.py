"""Blemishes of grade D: healed scars, scratches, stains and clusters of black mould."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mezoroi.datasets.melons.regions import Mask
from mezoroi.datasets.melons.sphere import Array, Waves, direction, directions, smoothstep
from mezoroi.datasets.melons.styles import Colour, Style

KINDS = ("scar", "scratches", "stain", "mould")


@dataclass(frozen=True)
class Blemish:
    """One blemish over the panorama.

    Attributes
    ----------
    opacity : (H, W) in [0, 1], how much of the surface colour it replaces
    colour : sRGB, 0 to 255
    relief : (H, W) relative to the radius, replaces the net's relief where `smoothing` is 1
    smoothing : (H, W) in [0, 1], how much of the net's relief it takes away
    extent : (H, W) in [0, 1], the patch around it
    """

    opacity: Array
    colour: Array
    relief: Array
    smoothing: Array
    extent: Array


def make_blemish(rng: np.random.Generator, style: Style, height: int, share: float) -> Blemish:
    """A blemish whose patch covers about `share` of the panorama (H = `height`, W = 2H)."""
    kind = str(rng.choice(KINDS, p=(0.2, 0.2, 0.3, 0.3)))
    latitude = float(rng.uniform(-34, 34))
    centre = direction(latitude, float(rng.uniform(-180, 180)))
    radius = float(np.sqrt(2 * np.pi * share * np.cos(np.deg2rad(latitude))))
    stretch = float(rng.uniform(1.3, 2.0) if kind in ("scar", "scratches") else rng.uniform(1, 1.4))
    u, v, inside = _local_frame(rng, centre, height, radius, stretch)
    drawn = {"scar": _scar, "scratches": _scratches, "stain": _stain, "mould": _mould}[kind]
    opacity, relief, smoothing = drawn(rng, style, u, v)
    palette = {"stain": style.stains, "mould": style.moulds}.get(kind, style.scars)
    extent = smoothstep(1.08, 0.92, np.hypot(u, v))
    return Blemish(
        opacity=_scatter(opacity, inside),
        colour=mix(rng, palette),
        relief=_scatter(relief, inside),
        smoothing=_scatter(smoothing, inside),
        extent=_scatter(extent, inside),
    )


def mix(rng: np.random.Generator, palette: tuple[Colour, ...]) -> Array:
    """A random mixture of the colours of a palette, (3,)."""
    shares = rng.dirichlet(np.full(len(palette), 0.8))
    return np.asarray(shares @ np.array(palette), dtype=np.float32)


def _scatter(values: Array, inside: Mask) -> Array:
    field = np.zeros(inside.shape, dtype=np.float32)
    field[inside] = values
    return field


def _local_frame(
    rng: np.random.Generator, centre: Array, height: int, radius: float, stretch: float
) -> tuple[Array, Array, Mask]:
    """Coordinates (n,) of the pixels `inside`, in which the patch is a slightly wavy unit disc."""
    grid = directions(height)
    along, across = radius * np.sqrt(stretch), radius / np.sqrt(stretch)
    inside: Mask = grid @ centre > np.cos(min(1.3 * along, np.pi / 2))
    points = grid[inside]
    first = np.cross(centre, rng.normal(size=3))
    first /= np.linalg.norm(first)
    second = np.cross(centre, first)
    wobble = 0.1 * Waves.draw(rng, 2 / radius, 2, 12)(points)
    u = (points @ first.astype(np.float32)) / np.float32(along) + wobble[:, 0]
    v = (points @ second.astype(np.float32)) / np.float32(across) + wobble[:, 1]
    return u.astype(np.float32), v.astype(np.float32), inside


def _curve(
    rng: np.random.Generator, u: Array, v: Array, offset: float, tilt: float, width: float
) -> Array:
    """Distance from a wavy line along u in units of its tapering half width."""
    reach = float(rng.uniform(0.75, 0.95))
    bend = rng.normal(0, (0.18, 0.08, 0.05))
    path = offset + tilt * u + sum(b * np.sin((k + 1) * 2.2 * u + k) for k, b in enumerate(bend))
    taper = np.sqrt(np.clip(1 - (u / reach) ** 2, 1e-4, 1)) * (1 + 0.3 * np.sin(9 * u + offset * 7))
    distance: Array = (np.abs(v - path) / np.maximum(width * taper, 0.02)).astype(np.float32)
    return np.where(np.abs(u) > reach, np.float32(9), distance)


def _scar(rng: np.random.Generator, style: Style, u: Array, v: Array) -> tuple[Array, Array, Array]:
    distance = _curve(rng, u, v, 0.0, 0.0, float(rng.uniform(0.28, 0.42)))
    for _ in range(int(rng.integers(0, 3))):
        tilt = float(rng.uniform(0.5, 1.2) * rng.choice((-1, 1)))
        offset, width = float(rng.uniform(-0.3, 0.3)), float(rng.uniform(0.1, 0.2))
        branch = _curve(rng, u, v, offset, tilt, width)
        distance = np.minimum(distance, branch)
    body = smoothstep(1.1, 0.75, distance)
    ridges = 1 + 0.25 * np.sin(22 * v + 4 * np.sin(5 * u)).astype(np.float32)
    return 0.92 * body, 0.02 * body * ridges, body


def _scratches(
    rng: np.random.Generator, style: Style, u: Array, v: Array
) -> tuple[Array, Array, Array]:
    count = int(rng.integers(3, 6))
    offsets = np.linspace(-0.6, 0.6, count) + rng.normal(0, 0.06, count)
    tilt = float(rng.uniform(-0.2, 0.2))
    distance = np.full_like(u, 9)
    for offset in offsets:
        curve = _curve(rng, u, v, float(offset), tilt, float(rng.uniform(0.09, 0.15)))
        distance = np.minimum(distance, curve)
    body = smoothstep(1.15, 0.7, distance)
    return 0.9 * body, 0.015 * body, body


def _stain(
    rng: np.random.Generator, style: Style, u: Array, v: Array
) -> tuple[Array, Array, Array]:
    places = np.stack([u, v, np.zeros_like(u)], axis=-1)
    ragged = Waves.draw(rng, 5.0, 1, 14)(places)[:, 0]
    clouds = Waves.draw(rng, 9.0, 1, 14)(places)[:, 0]
    edge = 0.78 + 0.13 * ragged
    body = smoothstep(1 + style.stain_edge, 1 - style.stain_edge, np.hypot(u, v) / edge)
    opacity = body * np.clip(rng.uniform(0.55, 0.85) + 0.13 * clouds, 0.25, 1)
    return opacity.astype(np.float32), np.zeros_like(u), 0.2 * body


def _mould(
    rng: np.random.Generator, style: Style, u: Array, v: Array
) -> tuple[Array, Array, Array]:
    opacity = np.zeros_like(u)
    for _ in range(int(rng.integers(22, 46))):
        at = rng.normal(0, 0.36, 2)
        size = float(rng.uniform(*style.mould_size) * rng.uniform(0.6, 1.4))
        squeeze = float(rng.uniform(0.7, 1.4))
        distance = np.hypot((u - at[0]) * squeeze, (v - at[1]) / squeeze) / size
        spot = smoothstep(1.4, 0.5, distance) * float(rng.uniform(0.6, 0.95))
        opacity = np.maximum(opacity, spot)
    haze = 0.25 * smoothstep(0.9, 0.2, np.hypot(u, v))
    return np.maximum(opacity, haze), np.zeros_like(u), 0.3 * opacity
