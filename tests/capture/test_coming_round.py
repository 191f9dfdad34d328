"""Frames that come round again, on rendered views whose turn is misjudged more and more."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mezoroi.capture.disks import make_disks
from mezoroi.capture.matching import match_closures, match_drifted
from mezoroi.capture.poses import rescaled
from mezoroi.capture.registration import SCALES, Match
from mezoroi.capture.silhouette import find_silhouettes
from mezoroi.capture.turn import estimate_motion
from mezoroi.datasets.melons import Turn, make_melon
from tests.capture.films import film

TURN = Turn(degrees=400, frames=28, size=(240, 320), tilt=4, nearness=0.1)


def disks_of(seed, nearness=TURN.nearness):
    melon = make_melon("A", np.random.default_rng(seed), height=128)
    frames, truth = film(melon, replace(TURN, nearness=nearness))
    ellipses = [found.ellipse for found in find_silhouettes(frames)]
    return replace(make_disks(frames, ellipses), nearness=nearness), truth.poses


@pytest.fixture(scope="module")
def round_trip():
    return disks_of(3)


def degrees(rotations):
    return np.degrees(Rotation.from_matrix(rotations).magnitude())


def steps_of(poses, agreement=0.8):
    between = poses[1:] @ np.swapaxes(poses[:-1], 1, 2)
    return [Match(i, i + 1, step, agreement, np.eye(3)) for i, step in enumerate(between)]


def errors(matches, truth):
    return [degrees(m.rotation @ (truth[m.second] @ truth[m.first].T).T) for m in matches]


def test_every_step_of_a_turn_is_rescaled(round_trip):
    _, truth = round_trip
    same = rescaled(truth, 1.0)
    np.testing.assert_allclose(same, truth, atol=1e-6)
    longer = rescaled(truth, 1.2)
    np.testing.assert_allclose(longer[0], truth[0])
    steps = [degrees(poses[1:] @ np.swapaxes(poses[:-1], 1, 2)) for poses in (truth, longer)]
    np.testing.assert_allclose(steps[1], 1.2 * steps[0], rtol=1e-6)


@pytest.mark.parametrize("share", [1.22, 0.84])
def test_a_turn_that_is_misjudged_by_far_still_comes_round(round_trip, share):
    disks, truth = round_trip
    pyramid = [disks.blurred(scale) for scale in SCALES]
    misjudged = rescaled(truth, share)
    chain = steps_of(misjudged)
    near = match_closures(pyramid, misjudged, chain, 4, 40.0)
    assert min(errors(near, truth), default=90.0) > 10
    found = match_drifted(pyramid, misjudged, chain, 4, 40.0)
    assert len(found) >= 2 and max(errors(found, truth)) < 4


def test_what_does_not_come_round_is_not_taken_to(round_trip):
    disks, truth = round_trip
    other, _ = disks_of(4)
    # The second half of the film is of another melon.
    texture = np.concatenate([disks.texture[:14], other.texture[14:]])
    pyramid = [replace(disks, texture=texture).blurred(scale) for scale in SCALES]
    chain = steps_of(truth)
    assert match_drifted(pyramid, truth, chain, 4, 40.0) == []
    assert match_drifted(pyramid, truth[:1], [], 4, 40.0) == []


def drifted(monkeypatch, found, usual=0.8):
    """What `match_drifted` keeps of rotations about y, in degrees, and their agreements."""
    poses = np.stack([np.eye(3)] * 5)
    matches = [
        Match(0, second, Rotation.from_rotvec([0, np.radians(turn), 0]).as_matrix(), agreed, poses)
        for second, (turn, agreed) in enumerate(found, 1)
    ]
    monkeypatch.setattr("mezoroi.capture.matching.match_closures", lambda *_: matches)
    kept = match_drifted([], poses, steps_of(poses, usual), 4, 40.0)
    return [found[match.second - 1] for match in kept]


def test_only_what_agrees_well_and_tells_of_one_drift_is_kept(monkeypatch):
    assert drifted(monkeypatch, [(30, 0.7), (38, 0.7)]) == [(30, 0.7), (38, 0.7)]
    # One alone, two of which one agrees too little, two that tell of different drifts.
    assert drifted(monkeypatch, [(30, 0.9)]) == []
    assert drifted(monkeypatch, [(30, 0.9), (31, 0.6)]) == []
    assert drifted(monkeypatch, [(30, 0.9), (45, 0.9)]) == []
    odd = [(-50, 0.9), (30, 0.7), (36, 0.7), (34, 0.6)]
    assert drifted(monkeypatch, odd) == [(30, 0.7), (36, 0.7)]


@pytest.mark.parametrize("nearness", [0.2, 0.27])
def test_a_camera_close_by_is_told_by_the_turn_alone(monkeypatch, nearness):
    """Where frames do not tell how near it is, and so the turn is overstated by far."""
    disks, truth = disks_of(3, nearness=nearness)
    monkeypatch.setattr("mezoroi.capture.turn._estimate_nearness", lambda *_: 0.0)
    motion = estimate_motion(replace(disks, nearness=0.0))
    assert motion.nearness == pytest.approx(nearness, abs=0.03)
    between = Rotation.from_matrix(np.swapaxes(motion.poses, 1, 2) @ truth)
    assert degrees(motion.poses @ between.mean().as_matrix() @ np.swapaxes(truth, 1, 2)).max() < 3


def test_after_the_last_correction_frames_are_searched_as_they_then_lie(monkeypatch, round_trip):
    searched = []
    monkeypatch.setattr(
        "mezoroi.capture.turn._come_round",
        lambda level, poses, chain: searched.append(level[0].nearness) or [],
    )
    monkeypatch.setattr("mezoroi.capture.turn._estimate_nearness", lambda *_: 0.1)
    monkeypatch.setattr("mezoroi.capture.turn._excess", lambda *_: 0.05)
    motion = estimate_motion(round_trip[0])
    assert searched == pytest.approx([0.1, 0.15, 0.2]) and motion.nearness == searched[-1]
