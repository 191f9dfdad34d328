"""The cork net: lines between cells grown on the sphere, regular or disordered."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from mezoroi.datasets.melons.regions import Mask, Regions
from mezoroi.datasets.melons.sphere import (
    Array,
    Waves,
    directions,
    noise,
    pixels,
    smoothstep,
    upsample,
)
from mezoroi.datasets.melons.styles import Style

_NEIGHBOURS = 6


@dataclass(frozen=True)
class Net:
    """Cork over the panorama: `cover` (H, W) in [0, 1], `relief` (H, W) relative to the radius."""

    cover: Array
    relief: Array


def grow_net(rng: np.random.Generator, style: Style, regions: Regions) -> Net:
    """Grow a net whose order follows the regions; its mean cover does not depend on them."""
    height = regions.disorder.shape[0]
    spacing = float(rng.uniform(*style.spacing))
    order = Waves.draw(rng, 2 * np.pi / (3 * spacing), channels=3, count=16)
    cells = _scatter(rng, spacing, regions.disorder, order)
    edge, fine_edge = _edges(rng, style, cells, spacing, regions.disorder)
    ratio = _relative_distance(rng, style, spacing, regions, edge, fine_edge)
    coverage = float(rng.uniform(*style.coverage))
    softness = float(rng.uniform(*style.line_softness))
    ratio = ratio / _line_width(rng, ratio, regions, coverage, height)
    cover = smoothstep(1 + softness, 1 - softness, ratio)
    relief = np.exp(-(ratio**2))
    thickness = spacing * rng.uniform(0.05, 0.1) * (1 + 0.25 * noise(rng, 5.0, height))
    faint = 1 - regions.neutral * rng.uniform(0.6, 0.85)
    uneven = 1 + 0.15 * noise(rng, 12.0, height)
    opacity = np.clip(faint * uneven, 0, 1)
    return Net(
        (cover * opacity).astype(np.float32), (relief * thickness * faint).astype(np.float32)
    )


def even_cells(rng: np.random.Generator, count: int, rounds: int = 5) -> Array:
    """`count` unit vectors evenly over the sphere but in no lattice (Lloyd's relaxation)."""
    cells = rng.normal(size=(count, 3))
    cells /= np.linalg.norm(cells, axis=1, keepdims=True)
    step = np.arange(12 * count) + 0.5
    z = 1 - 2 * step / len(step)
    turn = np.pi * (1 + np.sqrt(5)) * step
    across = np.sqrt(1 - z**2)
    samples = np.stack([across * np.cos(turn), across * np.sin(turn), z], axis=1)
    for _ in range(rounds):
        owner = cKDTree(cells).query(samples)[1]
        moved = np.stack([np.bincount(owner, samples[:, k], count) for k in range(3)], axis=1)
        size = np.linalg.norm(moved, axis=1, keepdims=True)
        cells = np.where(size > 0, moved / np.maximum(size, 1e-9), cells)
    return cells.astype(np.float32)


def _scatter(rng: np.random.Generator, spacing: float, disorder: Array, order: Waves) -> Array:
    """Cells that lose their order where the net is disordered: moved, crowded, dropped, split."""
    cells = even_cells(rng, round(4 * np.pi / (0.866 * spacing**2)))
    local = disorder[pixels(cells, disorder.shape[0])]
    drop = rng.random(len(cells)) < 0.22 * local
    split = rng.random(len(cells)) < 0.22 * local
    twins = cells[split] + 0.4 * spacing * rng.normal(size=(int(split.sum()), 3))
    jitter = (rng.uniform(0.05, 0.1) + 0.22 * local[:, None]) * rng.normal(size=cells.shape)
    crowd = 0.14 * local[:, None] * order(cells)
    cells = np.concatenate([(cells + spacing * (jitter + crowd))[~drop], twins])
    return np.asarray(cells / np.linalg.norm(cells, axis=1, keepdims=True), dtype=np.float32)


def _edges(
    rng: np.random.Generator, style: Style, cells: Array, spacing: float, disorder: Array
) -> tuple[Array, Array]:
    """Distances (H, W) in radians to the nearest line between cells and the nearest fine line."""
    height = disorder.shape[0]
    half = height // 2
    meander = rng.uniform(*style.meander) * spacing
    wave = 2 * np.pi / (rng.uniform(*style.meander_length) * spacing)
    warp = meander * Waves.draw(rng, wave, 3, 16)(directions(half))
    bend = 0.15 * spacing * Waves.draw(rng, wave / 3, 3, 12)(directions(half))
    local = disorder[::2, ::2, None]
    places = directions(half) + warp * (1 + 0.2 * local) + bend * local
    near = cKDTree(cells).query(places.reshape(-1, 3), k=_NEIGHBOURS)[1].astype(np.int32)
    near = near.reshape(half, 2 * half, _NEIGHBOURS).repeat(2, axis=0).repeat(2, axis=1)
    fine_places = upsample(places.astype(np.float32), height)
    closeness = np.einsum("hwc,hwkc->hwk", fine_places, cells[near], optimize=False)
    gap = np.sqrt(np.maximum(2 - 2 * cells @ cells.T, 1e-8))

    order = np.argsort(-closeness, axis=-1)
    closeness = np.take_along_axis(closeness, order, axis=-1)
    near = np.take_along_axis(near, order, axis=-1)
    first = (closeness[..., :1] - closeness[..., 1:]) / gap[near[..., :1], near[..., 1:]]
    second = (closeness[..., 1:2] - closeness[..., 2:]) / gap[near[..., 1:2], near[..., 2:]]
    return first.min(axis=-1), second.min(axis=-1)


def _relative_distance(
    rng: np.random.Generator,
    style: Style,
    spacing: float,
    regions: Regions,
    edge: Array,
    fine_edge: Array,
) -> Array:
    """Distance to the net in units of the local line width (before the width is fitted)."""
    height = edge.shape[0]
    scale = 2 * np.pi / spacing
    disorder = regions.disorder
    uneven = noise(rng, scale / 2, height)
    gaps = noise(rng, scale / 1.6, height)
    doubled = smoothstep(0.7, 1.0, noise(rng, scale / 4, height)) * smoothstep(0.4, 0.6, disorder)
    edge = np.minimum(edge, np.abs(edge - 0.13 * spacing) / np.maximum(0.8 * doubled, 0.02))
    width = np.exp((rng.uniform(0.1, 0.22) + 0.28 * disorder) * uneven)
    width = width * (1 - disorder * smoothstep(0.75, 1.1, gaps))
    share = rng.uniform(*style.fine_lines)
    shown = smoothstep(-0.3, 0.3, noise(rng, scale / 1.5, height) + 3 * (share - 0.5))
    fine_width = 0.4 * width * shown * (1 - 0.5 * disorder)
    ratio = np.minimum(edge / np.maximum(width, 0.02), fine_edge / np.maximum(fine_width, 0.02))
    ratio = ratio / spacing
    if regions.gross.max() > 0:
        ratio = ratio + regions.gross * (_chaos(rng, scale, height) - ratio)
    return np.asarray(ratio, dtype=np.float32)


def _chaos(rng: np.random.Generator, scale: float, height: int) -> Array:
    """Distance field of coarse cork without cells, with bare holes."""
    coarse = np.abs(noise(rng, scale / 2.2, height)) / 3
    crossing = np.abs(noise(rng, scale / 3.5, height)) / 2
    bare = smoothstep(0.2, 0.9, noise(rng, scale / 5, height))
    return np.minimum(coarse, crossing) + bare


def _line_width(
    rng: np.random.Generator, ratio: Array, regions: Regions, coverage: float, height: int
) -> Array:
    """Line width (H, W) at which regular, disordered and chaotic net cover the same share."""
    sample = (slice(height // 6, -height // 6, 2), slice(None, None, 2))
    distance, disorder, gross = ratio[sample], regions.disorder[sample], regions.gross[sample]
    judged = regions.neutral[sample] < 0.5

    def fitted(where: Mask, share: float) -> float:
        return float(np.quantile(distance[where], share)) if where.sum() > 50 else np.nan

    regular = fitted(judged & (disorder < 0.5) & (gross < 0.5), coverage)
    irregular = fitted(judged & (disorder >= 0.5) & (gross < 0.5), coverage)
    chaotic = fitted(gross >= 0.5, coverage * float(rng.uniform(0.9, 1.4)))
    if np.isnan(regular):
        regular = float(np.quantile(distance, coverage))
    width = np.full_like(ratio, regular)
    if not np.isnan(irregular):
        irregular = min(irregular, 1.6 * regular)  # or gaps would be filled by blots
        width = width + (irregular - regular) * smoothstep(0.2, 0.5, regions.disorder)
    if not np.isnan(chaotic):
        width = width + (chaotic - width) * regions.gross
    return np.maximum(width, 1e-4)
