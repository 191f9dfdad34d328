"""One rotation per frame from rotations between pairs of frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial.transform import Rotation

from mezoroi.capture.geometry import Floats
from mezoroi.capture.registration import Match

_TOLERANCE = np.radians(4.0)  # disagreement from which a match counts as wrong
_KEPT = np.radians(8.0)  # disagreement under which the poses still keep to a match


def chained(chain: Sequence[Match]) -> Floats:
    """Poses (N, 3, 3) by one step after the other, the first as it is."""
    poses = [np.eye(3)]
    for found in chain:
        poses.append(found.rotation @ poses[-1])
    return np.stack(poses)


def steps_of(poses: Floats) -> Floats:
    """Rotation vectors (N - 1, 3) in radians from each of N poses to the next, as seen."""
    steps: Floats = Rotation.from_matrix(poses[1:] @ np.swapaxes(poses[:-1], 1, 2)).as_rotvec()
    return steps


def rescaled(poses: Floats, share: float) -> Floats:
    """Poses (N, 3, 3) of a turn of at least one step, each `share` of the one in `poses`."""
    turned = [poses[0]]
    for step in Rotation.from_rotvec(share * steps_of(poses)).as_matrix():
        turned.append(step @ turned[-1])
    return np.stack(turned)


def fit_poses(matches: Sequence[Match], poses: Floats, rounds: int = 20) -> Floats:
    """Rotations (N, 3, 3) that agree best with all matches.

    Gauss-Newton with Geman-McClure weights, so that wrong matches lose their say; the first frame
    stays where it is.

    Parameters
    ----------
    poses : (N, 3, 3) where to begin
    rounds : the most steps
    """
    if not matches:
        return poses
    count = len(poses)
    first = np.array([found.first for found in matches])
    second = np.array([found.second for found in matches])
    wanted = np.stack([found.rotation for found in matches])
    information = np.stack([found.information for found in matches])
    trace = np.trace(information, axis1=1, axis2=2)[:, None, None] + 1e-9
    agreement = np.array([max(0.0, found.agreement) for found in matches])[:, None, None]
    usual = agreement**2 * information / trace + 1e-3 * np.eye(3)
    for number in range(rounds):
        # A wide tolerance first: one wrong step must not make later, right matches look wrong.
        tolerance = max(_TOLERANCE, np.radians(40.0) * 0.7**number)
        between = poses[second] @ np.swapaxes(poses[first], 1, 2)
        error = Rotation.from_matrix(between @ np.swapaxes(wanted, 1, 2)).as_rotvec()
        robust = (tolerance**2 / (tolerance**2 + (error**2).sum(axis=1))) ** 2
        weight = robust[:, None, None] * usual
        crossed = np.swapaxes(between, 1, 2) @ weight
        blocks = np.zeros((count, count, 3, 3))
        blocks[range(count), range(count)] = 1e-9 * np.eye(3)
        blocks[0, 0] += 1e3 * np.eye(3)
        np.add.at(blocks, (first, first), crossed @ between)
        np.add.at(blocks, (second, second), weight)
        np.add.at(blocks, (first, second), -crossed)
        np.add.at(blocks, (second, first), -np.swapaxes(crossed, 1, 2))
        pull = np.zeros((count, 3))
        np.add.at(pull, first, -np.einsum("mij,mj->mi", crossed, error))
        np.add.at(pull, second, np.einsum("mij,mj->mi", weight, error))
        normal = blocks.swapaxes(1, 2).reshape(3 * count, 3 * count)
        step = -np.linalg.solve(normal, pull.ravel()).reshape(-1, 3)
        poses = Rotation.from_rotvec(step).as_matrix() @ poses
        if tolerance == _TOLERANCE and np.abs(step).max() < 1e-5:
            break
    return poses


def loose_frames(matches: Sequence[Match], poses: Floats, least: float) -> NDArray[np.intp]:
    """Positions of the frames that no match ties to the largest piece of the turn.

    Parameters
    ----------
    poses : (N, 3, 3) as fitted to the matches; those that they contradict tie nothing
    least : agreement above which a match is believed
    """
    ties = []
    for found in matches:
        between = poses[found.second] @ poses[found.first].T
        error = Rotation.from_matrix(between @ found.rotation.T).magnitude()
        if found.agreement > least and error < _KEPT:
            ties.append((found.first, found.second))
    first, second = np.array(ties, dtype=int).reshape(-1, 2).T
    table = coo_array((np.ones(len(ties)), (first, second)), shape=(len(poses), len(poses)))
    piece = connected_components(table, directed=False)[1]
    return np.flatnonzero(piece != np.bincount(piece).argmax())
