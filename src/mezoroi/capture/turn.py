"""How a fruit turned over a capture: from image content, without assuming speed or axis.

Neighbouring frames are matched, then frames further apart, then those that come round again; a
robust least-squares fit of one rotation per frame to all matches spreads the drift over the turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from mezoroi.capture.disks import Disks
from mezoroi.capture.geometry import Floats
from mezoroi.capture.matching import (
    match_closures,
    match_drifted,
    match_further,
    match_neighbours,
)
from mezoroi.capture.poses import chained, fit_poses, loose_frames, steps_of
from mezoroi.capture.registration import SCALES, Match, match_frames

_EXCESS = 0.01  # of the turn, from which the camera was nearer or farther than taken for
_CORRECTIONS = 2  # of how near the camera was
_ROUND = np.pi  # radians between frames of which the later one came round again
_TIED = 0.3  # agreement relative to the usual, above which a match ties two frames together
_NEARNESSES = (0.0, 0.1, 0.2, 0.3)
_NEARNESS_PAIRS = 8  # of each distance, on which nearness is told
_NEARNESS_DEGREES = (24.0, 36.0)
_NEARNESS_GAIN = 0.008  # agreement, under which a camera counts as far away


@dataclass(frozen=True)
class Motion:
    """How the unit sphere that a fruit is squeezed into turned in N frames.

    Attributes
    ----------
    poses : (N, 3, 3) sphere to camera
    agreement : (N - 1,) correlation of neighbouring frames
    nearness : radius of the fruit over the camera's distance, 0 for far away
    loose : positions of the frames whose poses no match ties to those of most others
    """

    poses: Floats
    agreement: Floats
    nearness: float
    loose: tuple[int, ...]


@dataclass(frozen=True)
class Axis:
    """What a fruit turned about.

    Attributes
    ----------
    basis : (3, 3) rows x, y, z in the fruit's coordinates: z is the turn axis, its end that appears
        higher (or, lying, further left); x is the meridian that faces the first frame
    degrees : how far it turned, not negative
    direction : 1 counterclockwise seen from the axis' upper end, -1 clockwise
    swing : degrees between the frames that are furthest apart, more than `degrees` where it also
        turned back
    turned : (N,) degrees turned before each frame, counterclockwise; less again where it turned
        back
    """

    basis: Floats
    degrees: float
    direction: int
    swing: float
    turned: Floats


def estimate_motion(disks: Disks) -> Motion:
    """The rotation of every frame of at least one.

    Parameters
    ----------
    disks : the frames' textures, in order, as seen from far away
    """
    pyramid = [disks.blurred(scale) for scale in SCALES]
    found = match_neighbours(pyramid)
    nearness = _estimate_nearness(pyramid, found)
    level, chain, matches, poses = _follow(pyramid, found, nearness)
    for _ in range(_CORRECTIONS):
        closing = _come_round(level, poses, chain)
        nearer = float(np.clip(nearness + _excess(poses, closing), 0.0, _NEARNESSES[-1]))
        if abs(nearer - nearness) <= _EXCESS:
            break
        nearness = nearer
        level, chain, matches, poses = _follow(pyramid, found, nearness)
    else:
        closing = _come_round(level, poses, chain)
    poses = fit_poses([*matches, *closing], poses)
    closing = match_closures(level, poses, chain, 24, 8.0)
    matches = [*matches, *closing]
    poses = fit_poses(matches, poses)
    agreement = np.array([found.agreement for found in chain])
    least = _TIED * float(np.median(agreement)) if chain else 0.0
    loose = loose_frames(matches, poses, least)
    return Motion(poses, agreement, nearness, tuple(loose.tolist()))


def _follow(
    pyramid: Sequence[Disks], chain: Sequence[Match], nearness: float
) -> tuple[list[Disks], list[Match], list[Match], Floats]:
    """Frames, steps, all matches and poses as seen by a camera so near."""
    level = [replace(disks, nearness=nearness) for disks in pyramid]
    steps = list(chain)
    if nearness > 0:
        steps = [
            match_frames(level, found.first, found.second, found.rotation, 0.0, 1.0)
            for found in chain
        ]
    poses = chained(steps)
    matches = [*steps, *match_further(level, poses, steps)]
    return level, steps, matches, fit_poses(matches, poses)


def _come_round(level: Sequence[Disks], poses: Floats, chain: Sequence[Match]) -> list[Match]:
    """A few far searches: by the end of the turn the poses may have drifted a long way."""
    found = match_closures(level, poses, chain, 4, 40.0)
    return found or match_drifted(level, poses, chain, 4, 40.0)


def _excess(poses: Floats, closing: Sequence[Match]) -> float:
    """Share by which `poses` overstate the turn, by frames that came round again; 0 without any.

    A camera taken for farther away than it is, by some part of the fruit's radius, overstates
    rotations by about that part.
    """
    if not closing:
        return 0.0
    steps = steps_of(poses)
    total = steps.sum(axis=0)
    axis = total / max(1e-9, float(np.linalg.norm(total)))
    travelled = np.concatenate([[0.0], np.cumsum(steps @ axis)])
    shares = []
    for found in closing:
        between = poses[found.second] @ poses[found.first].T
        missing = Rotation.from_matrix(found.rotation @ between.T).as_rotvec() @ axis
        turned = travelled[found.second] - travelled[found.first]
        # What was turned forth and back overstates nothing.
        if abs(turned) > _ROUND:
            shares.append(-missing / turned)
    return float(np.median(shares)) if shares else 0.0


def _estimate_nearness(pyramid: Sequence[Disks], chain: Sequence[Match]) -> float:
    """Radius of the fruit over the camera's distance: that under which frames agree best.

    A camera close by shows less than half of the fruit; taking it for far away would overstate
    every rotation.
    """
    poses = chained(chain)
    pairs: list[tuple[int, int, Floats]] = []
    for first in range(0, len(chain), max(1, len(chain) // _NEARNESS_PAIRS)):
        for degrees in _NEARNESS_DEGREES:
            for second in range(first + 1, len(poses)):
                guess = poses[second] @ poses[first].T
                if np.degrees(Rotation.from_matrix(guess).magnitude()) > degrees:
                    pairs.append((first, second, guess))
                    break
    if not pairs:
        return 0.0
    found = []
    for nearness in _NEARNESSES:
        near = [replace(level, nearness=nearness) for level in pyramid]
        found.append([match_frames(near, a, b, guess, 4.0, 4.0).agreement for a, b, guess in pairs])
    # A pair that is matched wrongly says nothing.
    table = np.array(found)
    known = table.max(axis=0) > 0.5 * np.median(table.max(axis=0))
    table = table[:, known]
    scores = table.mean(axis=1)
    best = int(np.argmax(scores))
    gains = table[best] - table[0]
    # Plain fruits agree a little better under one nearness or another by chance.
    doubt = float(gains.std(ddof=1)) / np.sqrt(len(gains)) if len(gains) > 2 else np.inf
    if best == 0 or gains.mean() < max(doubt, _NEARNESS_GAIN):
        return 0.0
    if best == len(scores) - 1:
        return _NEARNESSES[best]
    left, middle, right = scores[best - 1 : best + 2]
    bend = left - 2 * middle + right
    shift = 0.5 * (left - right) / bend if bend < 0 else 0.0
    return float(_NEARNESSES[best] + (_NEARNESSES[1] - _NEARNESSES[0]) * shift)


def find_axis(poses: Floats) -> Axis:
    """The axis that takes up most of the turning of a fruit with these poses (N, 3, 3)."""
    if len(poses) == 1:
        basis = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]]) @ poses[0]
        return Axis(basis, 0.0, 1, 0.0, np.zeros(1))
    seen = steps_of(poses)
    on_fruit = np.einsum("nji,nj->ni", poses[:-1], seen)
    axis = _principal(on_fruit)
    shown = (poses @ axis).mean(axis=0)
    up = shown[1] if abs(shown[1]) >= abs(shown[0]) else -shown[0]
    axis, shown = (axis, shown) if up > 0 else (-axis, -shown)
    facing = poses[0].T @ np.array([0.0, 0.0, 1.0])
    east = np.cross(axis, facing)
    if np.linalg.norm(east) < 1e-6:
        east = np.cross(axis, [0.0, 1.0, 0.0])
    east = east / np.linalg.norm(east)
    # A fruit may roll about an axis that stays with the camera, not with the fruit.
    fixed = _principal(seen)
    steps = np.degrees(seen @ (fixed if fixed @ shown > 0 else -fixed))
    turned = np.concatenate([[0.0], np.cumsum(steps)])
    basis = np.stack([np.cross(east, axis), east, axis])
    direction = 1 if turned[-1] >= 0 else -1
    return Axis(basis, abs(float(turned[-1])), direction, float(np.ptp(turned)), turned)


def _principal(vectors: Floats) -> Floats:
    axis: Floats = np.linalg.eigh(vectors.T @ vectors)[1][:, -1]
    return axis
