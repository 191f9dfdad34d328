"""Finding the rotation under which a frame shows a known piece of a fruit's texture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.spatial.transform import Rotation

from mezoroi.capture.disks import Array, Disks
from mezoroi.capture.geometry import Floats

SCALES = (0.10, 0.05, 0.025)
"""Blur in radii at which frames are compared, coarse to fine."""
_POINTS = (350, 750, 750)  # of the sphere that are compared at each scale
_NUDGE = 0.01  # radians, for slopes
_HUBER = 1.0  # error, in spreads of the texture, beyond which it counts linearly
_CANDIDATES = 4  # of a search further than _NEAR degrees, refined
_NEAR = 12.0
_APART = float(np.cos(np.radians(13.0)))  # of two peaks of a search


@dataclass(frozen=True)
class Patch:
    """Texture at points of the unit sphere.

    Attributes
    ----------
    points : (M, 3) unit vectors
    values : (M, 3) as in `Disks`
    weights : (M,) not negative
    """

    points: Array
    values: Array
    weights: Array


@dataclass(frozen=True)
class Match:
    """How the fruit turned between two frames.

    Attributes
    ----------
    first, second : frame numbers
    rotation : (3, 3), camera coordinates of a point in `first` to those in `second`
    agreement : weighted correlation of the textures, in [-1, 1]
    information : (3, 3) how sharply the textures pin down each rotation
    """

    first: int
    second: int
    rotation: Floats
    agreement: float
    information: Floats


@dataclass(frozen=True)
class Prior:
    """Where a rotation is expected: `centre` (3, 3), and a standard deviation in degrees."""

    centre: Floats
    sigma: float

    def cost(self, rotations: Floats) -> Floats:
        """What is taken off the agreement of rotations (C, 3, 3)."""
        away = Rotation.from_matrix(rotations @ self.centre.T).magnitude()
        cost: Floats = 0.1 * np.minimum(np.degrees(away) / self.sigma, 3.0) ** 2
        return cost


def match_frames(
    pyramid: Sequence[Disks],
    first: int,
    second: int,
    guess: Floats,
    reach: float,
    step: float,
    prior: Prior | None = None,
) -> Match:
    """The rotation between two frames within `reach` degrees of `guess`.

    A first frame that shows nothing agrees with none: `guess`, with an agreement of 0.

    Parameters
    ----------
    pyramid : the frames at each of `SCALES`
    reach, step : degrees; the coarse search tries a grid of this size, 0 tries `guess` alone
    """
    patches = [_seen_in(level, first, count) for level, count in zip(pyramid, _POINTS, strict=True)]
    if not all(len(patch.points) for patch in patches):  # all of it is under glare
        return Match(first, second, guess, 0.0, np.zeros((3, 3)))
    candidates = _ball(reach, step) @ guess
    scores = agreement(patches[0], pyramid[0], second, candidates)
    if prior is not None:
        scores = scores - prior.cost(candidates)
    best: tuple[float, Match] | None = None
    for rotation in _peaks(candidates, scores, _CANDIDATES if reach > _NEAR else 1):
        for patch, level in zip(patches, pyramid, strict=True):
            rotation, information = refine(patch, level, second, rotation)
        agreed = float(agreement(patches[-1], pyramid[-1], second, rotation[None])[0])
        score = agreed - (float(prior.cost(rotation[None])[0]) if prior is not None else 0.0)
        if best is None or score > best[0]:
            best = score, Match(first, second, rotation, agreed, information)
    assert best is not None
    return best[1]


def _peaks(candidates: Floats, scores: Floats, most: int) -> list[Floats]:
    """The best candidates that are not neighbours of a better one."""
    found: list[Floats] = []
    for index in np.argsort(-scores):
        candidate = candidates[index]
        # The trace of a rotation is 1 + 2 cos(angle).
        if all(float((candidate * other).sum()) < 1 + 2 * _APART for other in found):
            found.append(candidate)
            if len(found) == most:
                break
    return found


def agreement(patch: Patch, disks: Disks, frame: int, rotations: Floats) -> Floats:
    """Correlation (C,) of a patch with a frame under rotations (C, 3, 3).

    It is shrunk where only little of the patch is in view.
    """
    seen, other = disks.sample(frame, _turned(rotations, patch.points))
    weight = patch.weights * other
    both = np.einsum("cm,cm->c", np.einsum("cmk,mk->cm", seen, patch.values), weight)
    left = weight @ (patch.values**2).sum(axis=1)
    right = np.einsum("cm,cm->c", np.einsum("cmk,cmk->cm", seen, seen), weight)
    overlap = weight.sum(axis=1) / max(1e-9, float((patch.weights**2).sum()))
    correlation = both / np.sqrt(np.maximum(left * right, 1e-12))
    result: Floats = (correlation * overlap / (overlap + 0.1)).astype(np.float64)
    return result


def refine(
    patch: Patch, disks: Disks, frame: int, rotation: Floats, steps: int = 8
) -> tuple[Floats, Floats]:
    """Gauss-Newton on the textures: the rotation (3, 3) and its information (3, 3)."""
    axes = np.concatenate([np.zeros((1, 3)), _NUDGE * np.eye(3), -_NUDGE * np.eye(3)])
    nudges = Rotation.from_rotvec(axes).as_matrix()
    information = np.zeros((3, 3))
    for _ in range(steps):
        seen, other = disks.sample(frame, _turned(nudges @ rotation, patch.points))
        slopes = ((seen[1:4] - seen[4:7]) / (2 * _NUDGE)).reshape(3, -1)
        error = seen[0] - patch.values
        robust = np.minimum(1, _HUBER / np.maximum(np.abs(error), 1e-6))
        weight = (patch.weights * other[0])[:, None] * robust
        weighted = slopes * weight.ravel()
        information = (weighted @ slopes.T).astype(np.float64)
        pull = weighted @ error.ravel()
        damping = 1e-3 * np.trace(information) + 1e-9
        step = -np.linalg.solve(information + damping * np.eye(3), pull)
        step *= min(1.0, 0.1 / max(1e-9, float(np.linalg.norm(step))))
        rotation = Rotation.from_rotvec(step).as_matrix() @ rotation
        if np.linalg.norm(step) < 2e-4:
            break
    return rotation, information


def _turned(rotations: Floats, points: Array) -> Array:
    """Points (M, 3) under rotations (C, 3, 3), as (C, M, 3)."""
    turned: Array = points @ np.swapaxes(rotations, 1, 2).astype(np.float32)
    return turned


def _seen_in(disks: Disks, frame: int, count: int) -> Patch:
    """What a frame shows, in its camera's coordinates."""
    points = _cap(count)
    values, weights = disks.sample(frame, points[None])
    kept = weights[0] > 0
    return Patch(points[kept], values[0, kept], weights[0, kept])


@lru_cache(maxsize=8)
def _cap(count: int) -> Array:
    """`count` points, evenly over the half of the sphere that faces the camera."""
    index = np.arange(count) + 0.5
    z = 1 - index / count
    angle = np.pi * (1 + 5**0.5) * index
    across = np.sqrt(1 - z**2)
    points = np.stack([across * np.cos(angle), across * np.sin(angle), z], axis=-1)
    return points.astype(np.float32)


@lru_cache(maxsize=16)
def _ball(reach: float, step: float) -> Floats:
    """Rotations (C, 3, 3) whose vectors fill a ball of `reach` degrees at `step` degrees."""
    count = int(reach // step) if step > 0 else 0
    along = np.arange(-count, count + 1) * step
    vectors = np.stack(np.meshgrid(along, along, along), axis=-1).reshape(-1, 3)
    vectors = vectors[np.linalg.norm(vectors, axis=1) <= reach + 1e-9]
    return Rotation.from_rotvec(vectors, degrees=True).as_matrix()
