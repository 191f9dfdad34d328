"""How a fruit turned over a capture: from image content, without assuming speed or axis.

Neighbouring frames are matched, then frames further apart, then those that come round again; a
robust least-squares fit of one rotation per frame to all matches spreads the drift over the turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from mezoroi.capture.disks import Disks
from mezoroi.capture.geometry import Floats
from mezoroi.capture.registration import SCALES, Match, Prior, match_frames

_WIDE, _NARROW = 58.0, 10.0  # degrees that a search reaches
_SURE = 0.75  # agreement from which a narrow search needs no wide one
_DOUBTFUL = 0.4  # agreement under which a step may be wrong
_SIGMA = 12.0  # degrees, how much a step may differ from its neighbours
_GAPS = (2, 3, 5)
_FARTHEST = 50.0  # degrees between frames that still share enough of the surface
_TOLERANCE = np.radians(4.0)  # disagreement from which a match counts as wrong
_NEARNESSES = (0.0, 0.1, 0.2, 0.3)


@dataclass(frozen=True)
class Motion:
    """The turn of a fruit in N frames.

    Attributes
    ----------
    poses : (N, 3, 3) fruit to camera; the fruit's z is its turn axis, the end that appears higher
        (or, lying, further left); x is the longitude that faces the first frame
    degrees : how far it turned, along the axis; not negative
    direction : 1 counterclockwise seen from the axis' upper end, -1 clockwise
    agreement : (N - 1,) correlation of neighbouring frames under these poses' matches
    """

    poses: Floats
    degrees: float
    direction: int
    agreement: Floats


def estimate_motion(disks: Disks) -> Motion:
    """The rotation of every frame of at least one.

    Parameters
    ----------
    disks : the frames' textures, in order
    """
    count = len(disks)
    pyramid = [disks.blurred(scale) for scale in SCALES]
    chain = _match_neighbours(pyramid)
    poses = np.eye(3)[None]
    for found in chain:
        poses = np.concatenate([poses, (found.rotation @ poses[-1])[None]])
    matches = [*chain, *_match_further(pyramid, poses, chain)]
    poses = fit_poses(matches, poses)
    usual = float(np.median([found.agreement for found in chain])) if chain else 0.0
    closing = [found for found in _match_closures(pyramid, poses) if found.agreement > 0.6 * usual]
    if closing:
        poses = fit_poses([*matches, *closing], poses)
    return _along_axis(poses, np.array([found.agreement for found in chain][: count - 1]))


def estimate_nearness(disks: Disks) -> float:
    """Radius of the fruit over the camera's distance: that under which frames agree best.

    A camera close by shows less than half of the fruit; taking it for far away would overstate
    every rotation.
    """
    count = len(disks)
    level = [disks.blurred(scale) for scale in SCALES]
    pairs: list[tuple[int, int, Floats]] = []
    for first in range(0, count - 1, max(1, count // 6)):
        guess, second = np.eye(3), first
        while second + 1 < count:
            step = match_frames(level, second, second + 1, np.eye(3), _WIDE, 6.0)
            guess, second = step.rotation @ guess, second + 1
            if np.degrees(Rotation.from_matrix(guess).magnitude()) > 24:
                pairs.append((first, second, guess))
                break
            if second - first > 8:
                break
    if not pairs:
        return 0.0
    scores = []
    for nearness in _NEARNESSES:
        near = [Disks(d.values, d.weights, nearness) for d in level]
        found = [match_frames(near, a, b, guess, 6.0, 3.0).agreement for a, b, guess in pairs]
        scores.append(float(np.mean(found)))
    best = int(np.argmax(scores))
    if 0 < best < len(scores) - 1:
        left, middle, right = scores[best - 1 : best + 2]
        bend = left - 2 * middle + right
        shift = 0.5 * (left - right) / bend if bend < 0 else 0.0
        return float(_NEARNESSES[best] + 0.1 * shift)
    return float(_NEARNESSES[best])


def fit_poses(matches: Sequence[Match], poses: Floats, rounds: int = 20) -> Floats:
    """Rotations (N, 3, 3) that agree best with all matches.

    Gauss-Newton with Geman-McClure weights, so that wrong matches lose their say; the first frame
    stays where it is.
    """
    count = len(poses)
    poses = poses.copy()
    for number in range(rounds):
        # A wide tolerance first: one wrong step must not make later, right matches look wrong.
        tolerance = max(_TOLERANCE, np.radians(40.0) * 0.7**number)
        normal = 1e-9 * np.eye(3 * count)
        pull = np.zeros(3 * count)
        normal[:3, :3] += 1e3 * np.eye(3)
        for found in matches:
            between = poses[found.second] @ poses[found.first].T
            error = Rotation.from_matrix(between @ found.rotation.T).as_rotvec()
            robust = (tolerance**2 / (tolerance**2 + error @ error)) ** 2
            trace = np.trace(found.information) + 1e-9
            weight = robust * (
                max(0.0, found.agreement) ** 2 * found.information / trace + 1e-3 * np.eye(3)
            )
            i = slice(3 * found.first, 3 * found.first + 3)
            j = slice(3 * found.second, 3 * found.second + 3)
            normal[i, i] += between.T @ weight @ between
            normal[j, j] += weight
            normal[i, j] -= between.T @ weight
            normal[j, i] -= weight @ between
            pull[i] -= between.T @ weight @ error
            pull[j] += weight @ error
        step = -np.linalg.solve(normal, pull).reshape(-1, 3)
        poses = Rotation.from_rotvec(step).as_matrix() @ poses
        if tolerance == _TOLERANCE and np.abs(step).max() < 1e-5:
            break
    return poses


def _match_neighbours(pyramid: Sequence[Disks]) -> list[Match]:
    chain: list[Match] = []
    for second in range(1, len(pyramid[0])):
        found = None
        if chain:
            found = match_frames(pyramid, second - 1, second, chain[-1].rotation, _NARROW, 5.0)
        if found is None or found.agreement < _SURE:
            wide = match_frames(pyramid, second - 1, second, np.eye(3), _WIDE, 6.0)
            found = wide if found is None or wide.agreement > found.agreement else found
        chain.append(found)
    if len(chain) < 4:
        return chain
    # A step unlike those around it is searched again where these expect it.
    vectors = Rotation.from_matrix(np.stack([found.rotation for found in chain])).as_rotvec()
    for index, found in enumerate(chain):
        around = np.delete(vectors[max(0, index - 3) : index + 4], min(index, 3), axis=0)
        usual = Rotation.from_rotvec(np.median(around, axis=0)).as_matrix()
        prior = Prior(usual, _SIGMA)
        if float(prior.cost(found.rotation[None])[0]) > 0.05:
            again = match_frames(pyramid, found.first, found.second, usual, 27.0, 4.5, prior)
            if again.agreement - prior.cost(again.rotation[None])[0] > (
                found.agreement - prior.cost(found.rotation[None])[0]
            ):
                chain[index] = again
    return chain


def _match_further(pyramid: Sequence[Disks], poses: Floats, chain: Sequence[Match]) -> list[Match]:
    """Frames a few steps apart, so that one bad step cannot break the chain."""
    matches = []
    for gap in _GAPS:
        for first in range(len(poses) - gap):
            guess = poses[first + gap] @ poses[first].T
            if np.degrees(Rotation.from_matrix(guess).magnitude()) < _FARTHEST:
                doubtful = min(found.agreement for found in chain[first : first + gap]) < _DOUBTFUL
                reach, step = (36.0, 6.0) if doubtful else (4.0, 4.0)
                matches.append(match_frames(pyramid, first, first + gap, guess, reach, step))
    return matches


def _match_closures(pyramid: Sequence[Disks], poses: Floats, most: int = 24) -> list[Match]:
    """Frames that show the same side again after most of a turn."""
    count = len(poses)
    steps = Rotation.from_matrix(poses[1:] @ np.swapaxes(poses[:-1], 1, 2)).magnitude()
    travelled = np.degrees(np.concatenate([[0.0], np.cumsum(steps)]))
    found: list[tuple[float, int, int]] = []
    for first in range(count):
        for second in range(first + 1, count):
            if travelled[second] - travelled[first] < 240:
                continue
            guess = poses[second] @ poses[first].T
            away = float(np.degrees(Rotation.from_matrix(guess).magnitude()))
            if away < 40:
                found.append((away, first, second))
    chosen = sorted(found)[:most]
    return [match_frames(pyramid, a, b, poses[b] @ poses[a].T, 18.0, 4.5) for _, a, b in chosen]


def _along_axis(poses: Floats, agreement: Floats) -> Motion:
    """The same poses with the fruit's z along the turn axis."""
    if len(poses) == 1:
        return Motion(np.array([[[0.0, 1, 0], [0, 0, 1], [1, 0, 0]]]), 0.0, 1, agreement)
    between = poses[1:] @ np.swapaxes(poses[:-1], 1, 2)
    vectors = Rotation.from_matrix(between).as_rotvec()
    on_fruit = np.einsum("nji,nj->ni", poses[:-1], vectors)
    # The axis that takes up most of the turning, whichever way it went.
    axis = np.linalg.eigh(on_fruit.T @ on_fruit)[1][:, -1]
    shown = (poses @ axis).mean(axis=0)
    up = shown[1] if abs(shown[1]) >= abs(shown[0]) else -shown[0]
    axis = axis if up > 0 else -axis
    facing = poses[0].T @ np.array([0.0, 0.0, 1.0])
    east = np.cross(axis, facing)
    if np.linalg.norm(east) < 1e-6:
        east = np.cross(axis, np.array([0.0, 1.0, 0.0]))
    east = east / np.linalg.norm(east)
    frame = np.stack([np.cross(east, axis), east, axis])
    fixed = np.linalg.eigh(vectors.T @ vectors)[1][:, -1]
    fixed = fixed if (poses @ axis).mean(axis=0) @ fixed > 0 else -fixed
    turned = float((vectors @ fixed).sum())
    return Motion(
        poses @ frame.T, abs(float(np.degrees(turned))), 1 if turned >= 0 else -1, agreement
    )
