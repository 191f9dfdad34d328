"""Which frames are matched with which: neighbours, some steps apart, and those that come round."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from mezoroi.capture.disks import Disks
from mezoroi.capture.geometry import Floats
from mezoroi.capture.poses import rescaled
from mezoroi.capture.registration import Match, Prior, match_frames

_WIDE, _NARROW = 58.0, 10.0  # degrees that a search reaches
_SURE = 0.75  # agreement from which a narrow search needs no wide one
_DOUBTFUL = 0.4  # agreement under which a step may be wrong
_SIGMA = 12.0  # degrees, how much a step may differ from its neighbours
_LOST = 0.35  # agreement relative to the usual, under which a match is not believed
_AROUND = 5  # steps before and after that say what is usual
_GAPS = (2, 3, 5)
_FARTHEST = 50.0  # degrees between frames that still share enough of the surface
_CLOSING = 240.0  # degrees after which a side may come round again
_CLOSED = 0.6  # agreement of such frames, relative to neighbours
_MISJUDGED = (0.1, 0.25, -0.1)  # shares by which a turn may be overstated
_SURELY = 0.8  # agreement of frames found under these, relative to neighbours
_ALIKE = 12.0  # degrees between drifts that count as the same


def match_neighbours(pyramid: Sequence[Disks]) -> list[Match]:
    """The N - 1 steps between N frames."""
    chain: list[Match] = []
    for second in range(1, len(pyramid[0])):
        found = None
        if chain:
            found = match_frames(pyramid, second - 1, second, chain[-1].rotation, _NARROW, 5.0)
        if found is None or found.agreement < _SURE:
            wide = match_frames(pyramid, second - 1, second, np.eye(3), _WIDE, 6.0)
            found = wide if found is None or wide.agreement > found.agreement else found
        chain.append(found)
    return chain if len(chain) < 4 else _steadied(pyramid, chain)


def _steadied(pyramid: Sequence[Disks], chain: Sequence[Match]) -> list[Match]:
    """A step unlike those around it is searched again where these expect it.

    One that is not found there either, as behind a hand, is taken to be like them.
    """
    chain = list(chain)
    vectors = Rotation.from_matrix(np.stack([found.rotation for found in chain])).as_rotvec()
    agreed = np.array([max(0.05, found.agreement) for found in chain])
    lost = _LOST * float(np.median(agreed))
    for index, found in enumerate(chain):
        near = np.arange(max(0, index - _AROUND), min(len(chain), index + _AROUND + 1))
        near = near[near != index]
        usual = Rotation.from_rotvec(_middle(vectors[near], agreed[near] ** 2)).as_matrix()
        prior = Prior(usual, _SIGMA)
        if float(prior.cost(found.rotation[None])[0]) > 0.05 or found.agreement < lost:
            again = match_frames(pyramid, found.first, found.second, usual, 27.0, 4.5, prior)
            if again.agreement - prior.cost(again.rotation[None])[0] > (
                found.agreement - prior.cost(found.rotation[None])[0]
            ):
                chain[index] = again
        if chain[index].agreement < lost:
            chain[index] = Match(found.first, found.second, usual, 0.0, np.eye(3))
    return chain


def _middle(vectors: Floats, weights: Floats) -> Floats:
    """Weighted median (3,) of each component of vectors (M, 3)."""
    order = np.argsort(vectors, axis=0)
    share = np.cumsum(weights[order], axis=0) / weights.sum()
    chosen = order[(share >= 0.5).argmax(axis=0), range(3)]
    middle: Floats = vectors[chosen, range(3)]
    return middle


def match_further(pyramid: Sequence[Disks], poses: Floats, chain: Sequence[Match]) -> list[Match]:
    """Frames a few steps apart, so that one bad step cannot break the chain."""
    matches = []
    lost = _LOST * float(np.median([found.agreement for found in chain])) if chain else 0.0
    for gap in _GAPS:
        for first in range(len(poses) - gap):
            guess = poses[first + gap] @ poses[first].T
            if np.degrees(Rotation.from_matrix(guess).magnitude()) < _FARTHEST:
                doubtful = min(found.agreement for found in chain[first : first + gap]) < _DOUBTFUL
                reach, step = (36.0, 6.0) if doubtful else (4.0, 4.0)
                found = match_frames(pyramid, first, first + gap, guess, reach, step)
                if not doubtful or found.agreement > lost:
                    matches.append(found)
    return matches


def match_closures(
    pyramid: Sequence[Disks], poses: Floats, chain: Sequence[Match], most: int, reach: float
) -> list[Match]:
    """At most `most` pairs of frames that show the same side again after most of a turn.

    Parameters
    ----------
    reach : degrees that a search reaches
    """
    if not chain:
        return []
    steps = Rotation.from_matrix(poses[1:] @ np.swapaxes(poses[:-1], 1, 2)).magnitude()
    travelled = np.degrees(np.concatenate([[0.0], np.cumsum(steps)]))
    pairs: list[tuple[float, int, int]] = []
    for first in range(len(poses)):
        for second in range(first + 1, len(poses)):
            if travelled[second] - travelled[first] < _CLOSING:
                continue
            guess = poses[second] @ poses[first].T
            away = float(np.degrees(Rotation.from_matrix(guess).magnitude()))
            if away < _FARTHEST:
                pairs.append((away, first, second))
    usual = float(np.median([found.agreement for found in chain]))
    tried = [
        match_frames(pyramid, a, b, poses[b] @ poses[a].T, reach, 5.0)
        for _, a, b in sorted(pairs)[:most]
    ]
    return [found for found in tried if found.agreement > _CLOSED * usual]


def match_drifted(
    pyramid: Sequence[Disks], poses: Floats, chain: Sequence[Match], most: int, reach: float
) -> list[Match]:
    """The pairs of `match_closures` where `poses` may misjudge the turn by more than `reach`.

    One pair agrees somewhere by chance; at least two that tell of the same drift do not.

    Parameters
    ----------
    poses : (N, 3, 3) as followed
    chain : their N - 1 steps, whose agreement says what is usual
    most : pairs that are tried for each share of the turn that may be misjudged
    reach : degrees that a search reaches
    """
    if not chain:
        return []
    usual = float(np.median([found.agreement for found in chain]))
    best: list[Match] = []
    for share in _MISJUDGED:
        tried = match_closures(pyramid, rescaled(poses, 1 - share), chain, most, reach)
        alike = _alike([found for found in tried if found.agreement > _SURELY * usual], poses)
        if sum(found.agreement for found in alike) > sum(found.agreement for found in best):
            best = alike
    return best


def _alike(matches: Sequence[Match], poses: Floats) -> list[Match]:
    """The largest group of at least two matches that `poses` miss by about the same rotation."""
    missed = [found.rotation @ (poses[found.second] @ poses[found.first].T).T for found in matches]
    groups = [
        [
            found
            for found, other in zip(matches, missed, strict=True)
            if np.degrees(Rotation.from_matrix(one @ other.T).magnitude()) < _ALIKE
        ]
        for one in missed
    ]
    largest: list[Match] = max(groups, key=len, default=[])
    return largest if len(largest) > 1 else []
