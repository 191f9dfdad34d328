"""How a fruit turned: by hand-made matches, and end to end on rendered views of known truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mezoroi.capture.body import fit_body
from mezoroi.capture.disks import make_disks
from mezoroi.capture.poses import fit_poses, loose_frames
from mezoroi.capture.registration import SCALES, Match, match_frames
from mezoroi.capture.silhouette import find_silhouettes
from mezoroi.capture.turn import estimate_motion, find_axis
from mezoroi.datasets.melons import Turn, make_melon
from tests.capture.films import film

TURN = Turn(degrees=400, frames=34, size=(240, 320), tilt=9, roll=-4, unevenness=0.4, start=50)


def about(vector, degrees):
    """Rotations (..., 3, 3) about an axis in camera coordinates."""
    axis = np.asarray(vector, dtype=float) / np.linalg.norm(vector)
    return Rotation.from_rotvec(np.asarray(degrees)[..., None] * axis, degrees=True).as_matrix()


def apart(left, right):
    """Degrees between rotations."""
    return np.degrees(Rotation.from_matrix(left @ np.swapaxes(right, -1, -2)).magnitude())


def match(first, second, rotation, agreement=0.8):
    return Match(first, second, rotation, agreement, np.eye(3))


def chain_of(steps):
    poses = [np.eye(3)]
    for step in steps:
        poses.append(step @ poses[-1])
    return np.stack(poses)


# --- fitting poses to matches -------------------------------------------------------------------


def test_right_matches_are_kept_as_they_are():
    poses = chain_of([about((0.1, 1, 0.2), 10.0 + number % 3) for number in range(20)])
    chain = [match(i, i + 1, poses[i + 1] @ poses[i].T) for i in range(20)]
    found = fit_poses(chain, poses)
    np.testing.assert_allclose(found, poses, atol=1e-6)
    np.testing.assert_allclose(found[0], np.eye(3), atol=1e-9)


@pytest.mark.parametrize("wrong", [0, 7, 18])
def test_one_wrong_step_is_repaired_by_matches_over_it(wrong):
    truth = chain_of([about((0.05, 1, 0.1), 12.0)] * 20)
    steps = [truth[i + 1] @ truth[i].T for i in range(20)]
    steps[wrong] = about((1, 0.3, 0), 25.0) @ steps[wrong]
    chain = [match(i, i + 1, step) for i, step in enumerate(steps)]
    further = [
        match(i, i + gap, truth[i + gap] @ truth[i].T) for gap in (2, 3) for i in range(21 - gap)
    ]
    start = chain_of(steps)
    assert apart(start, truth).max() > 20
    assert apart(fit_poses([*chain, *further], start), truth).max() < 0.5


def test_a_closure_spreads_the_drift_evenly():
    count = 36
    true, drifting = about((0, 1, 0), 10.0), about((0, 1, 0), 10.5)
    start = chain_of([drifting] * count)
    chain = [match(i, i + 1, drifting) for i in range(count)]
    closure = match(0, count, np.linalg.matrix_power(true, count), agreement=1.0)
    # Many equally sure closures, so that they outweigh the chain.
    found = fit_poses([*chain, *[closure] * 300], start)
    assert apart(found[-1], found[0]) < 0.2
    steps = apart(found[1:], found[:-1])
    np.testing.assert_allclose(steps, 10.0, atol=0.02)
    # One closure as sure as each step closes all but its share of the gap.
    once = fit_poses([*chain, replace(closure, agreement=0.8)], start)
    assert apart(once[-1], once[0]) == pytest.approx(18 / (count + 1), rel=0.1)


def test_a_closure_to_the_wrong_side_is_not_believed():
    truth = chain_of([about((0, 1, 0), 10.0)] * 36)
    matches = [match(i, i + g, truth[i + g] @ truth[i].T) for g in (1, 2) for i in range(37 - g)]
    wrong = match(0, 36, about((1, 0, 0), 70.0), agreement=0.9)
    assert apart(fit_poses([*matches, wrong], truth), truth).max() < 0.5


def test_frames_that_no_believable_match_ties_to_the_others_are_loose():
    truth = chain_of([about((0, 1, 0), 10.0)] * 9)
    chain = [match(i, i + 1, truth[i + 1] @ truth[i].T) for i in range(9)]
    assert loose_frames(chain, truth, 0.3).tolist() == []
    # A step that is not believed, and one that the poses contradict.
    chain[5] = replace(chain[5], agreement=0.3)
    assert loose_frames(chain, truth, 0.3).tolist() == [6, 7, 8, 9]
    chain[0] = replace(chain[0], rotation=about((0, 1, 0), 19.0))
    assert loose_frames(chain, truth, 0.3).tolist() == [0, 6, 7, 8, 9]
    over = match(4, 7, truth[7] @ truth[4].T)
    assert loose_frames([*chain, over], truth, 0.3).tolist() == [0]
    assert loose_frames([], truth[:1], 0.0).tolist() == []


# --- the axis -----------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize("degrees", [30.0, 360.0, 800.0])
@pytest.mark.parametrize("lean", [0, 20, -20])
def test_an_upright_axis(direction, degrees, lean):
    axis = about((1, 0, 0), float(lean)) @ np.array((0.0, 1.0, 0.0))
    uneven = np.linspace(0, 1, 41) ** 1.3
    own = Rotation.random(random_state=3).as_matrix()  # the fruit's coordinates may be any
    poses = about(axis, direction * degrees * uneven) @ own
    found = find_axis(poses)
    assert found.degrees == pytest.approx(degrees)
    assert found.direction == direction
    basis = found.basis
    np.testing.assert_allclose(basis @ basis.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(basis) == pytest.approx(1)
    np.testing.assert_allclose(poses @ basis[2], np.broadcast_to(axis, (41, 3)), atol=1e-6)
    # x, the meridian of longitude 0, faces the first frame; y is to its right, as east on a map.
    facing, east = poses[0] @ basis[0], poses[0] @ basis[1]
    assert facing[2] > 0.9 and facing[0] == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose(east, (1, 0, 0), atol=1e-6)


@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize("lift", [-30, 0, 30])
def test_a_lying_axis_points_left(direction, lift):
    left = about((0, 0, 1), float(lift)) @ np.array((-1.0, 0.0, 0.0))
    poses = about(left, direction * np.linspace(0, 300, 31))
    found = find_axis(poses)
    np.testing.assert_allclose(poses[5] @ found.basis[2], left, atol=1e-6)
    assert (found.degrees, found.direction) == (pytest.approx(300), direction)


def test_back_and_forth_is_no_turn():
    there = np.concatenate([np.linspace(0, 90, 10), np.linspace(80, 0, 9)])
    found = find_axis(about((0, 1, 0), there))
    assert found.degrees == pytest.approx(0, abs=1e-6)
    assert found.swing == pytest.approx(np.ptp(there))


def test_a_single_frame_is_upright_and_still():
    found = find_axis(np.eye(3)[None])
    assert found.degrees == 0
    np.testing.assert_allclose(found.basis, [[0, 0, 1], [1, 0, 0], [0, 1, 0]], atol=1e-12)


# --- rendered views -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def melon():
    return make_melon("A", np.random.default_rng(3), height=128)


def pose_error(poses, truth):
    """Degrees (N,) after the one rotation of the fruit's coordinates that fits best."""
    between = Rotation.from_matrix(np.swapaxes(poses, 1, 2) @ truth)
    return apart(poses @ between.mean().as_matrix(), truth)


@pytest.mark.parametrize(
    "turn",
    [
        replace(TURN, direction=1, nearness=0.1),
        replace(TURN, direction=-1, nearness=0.0, tilt=-6, background="textured"),
    ],
    ids=["ccw-near", "cw-far"],
)
def test_an_uneven_turn_is_followed(melon, turn):
    frames, truth = film(melon, turn)
    ellipses = [found.ellipse for found in find_silhouettes(frames)]
    motion = estimate_motion(make_disks(frames, ellipses))
    assert motion.poses.shape == (34, 3, 3) and motion.agreement.shape == (33,)
    if turn.nearness == 0:
        assert motion.nearness == 0
    else:
        assert motion.nearness == pytest.approx(turn.nearness, abs=0.05)
    _, turned = fit_body(ellipses, motion.poses)
    error = pose_error(turned, truth.poses)
    assert np.sqrt((error**2).mean()) < 1
    assert error.max() < 2
    axis = find_axis(turned)
    assert axis.degrees == pytest.approx(400, abs=3)
    assert axis.direction == turn.direction
    up = turned[0] @ axis.basis[2]
    assert np.degrees(np.arccos(up @ truth.poses[0][:, 2])) < 2
    # The angle from frame to frame is as uneven as it was.
    steps = np.abs(np.diff(truth.angles))
    assert np.ptp(steps) > 4
    assert np.corrcoef(apart(turned[1:], turned[:-1]), steps)[0, 1] > 0.98


def test_two_views_far_apart_are_matched(melon):
    turn = replace(TURN, degrees=50, frames=2, nearness=0.0, tilt=0, roll=0, unevenness=0)
    frames, truth = film(melon, turn)
    disks = make_disks(frames, [found.ellipse for found in find_silhouettes(frames)])
    pyramid = [disks.blurred(scale) for scale in SCALES]
    found = match_frames(pyramid, 0, 1, np.eye(3), 58.0, 6.0)
    assert (found.first, found.second) == (0, 1)
    assert apart(found.rotation, truth.poses[1] @ truth.poses[0].T) < 2
    assert -1 <= found.agreement <= 1 and found.agreement > 0.3
    back = match_frames(pyramid, 1, 0, found.rotation.T, 5.0, 5.0)
    assert apart(back.rotation, found.rotation.T) < 1
    # A search that does not reach so far does not find it, and says so by its agreement.
    short = match_frames(pyramid, 0, 1, np.eye(3), 10.0, 5.0)
    assert short.agreement < found.agreement - 0.2


def test_a_fruit_may_stand_still_for_most_of_the_time(melon):
    frames, truth = film(melon, replace(TURN, degrees=150, frames=12, nearness=0.0, unevenness=0))
    rng = np.random.default_rng(1)
    still = [
        np.clip(frames[0] + rng.normal(0, 1.5, frames[0].shape), 0, 255).astype(np.uint8)
        for _ in range(16)
    ]
    ellipses = [found.ellipse for found in find_silhouettes([*still, *frames])]
    poses = fit_body(ellipses, estimate_motion(make_disks([*still, *frames], ellipses)).poses)[1]
    wanted = np.concatenate([np.repeat(truth.poses[:1], 16, axis=0), truth.poses])
    assert np.sqrt((pose_error(poses, wanted) ** 2).mean()) < 1


@pytest.mark.parametrize("count", [3, 8])
def test_a_still_fruit_and_a_single_view(melon, count):
    frames, _ = film(melon, replace(TURN, degrees=0, frames=count, nearness=0.0))
    disks = make_disks(frames, [found.ellipse for found in find_silhouettes(frames)])
    motion = estimate_motion(disks)
    assert apart(motion.poses, np.eye(3)).max() < 0.7
    assert (motion.agreement > 0.8).all() and motion.nearness == 0
    one = estimate_motion(replace(disks, texture=disks.texture[:1]))
    np.testing.assert_array_equal(one.poses, np.eye(3)[None])
    assert one.agreement.shape == (0,) and one.nearness == 0


def test_the_disk_is_filled_with_the_fruit_and_nothing_else(melon):
    frames, _ = film(melon, replace(TURN, frames=2, nearness=0.0, background="light"))
    disks = make_disks(frames, [found.ellipse for found in find_silhouettes(frames)])
    points = np.array([[[0.0, 0.0, 1.0], [0.95, 0.0, -0.312], [0.999, 0.0, 0.04]]])
    values, weights = disks.sample(0, points)
    assert weights[0, 0] > 0.7 and weights[0, 1] == 0 and weights[0, 2] == 0
    assert np.isfinite(values).all() and np.abs(disks.values).max() <= 3


def test_a_frame_that_shows_nothing_agrees_with_none():
    frames, _ = film(make_melon("A", np.random.default_rng(3), height=64), replace(TURN, frames=2))
    disks = make_disks(frames, [found.ellipse for found in find_silhouettes(frames)])
    assert (disks.shown > 0.9).all() and len(disks.take([1])) == 1
    texture = disks.texture.copy()
    texture[0, ..., 3] = 0
    dazzled = replace(disks, texture=texture)
    assert dazzled.shown[0] == 0
    pyramid = [dazzled.blurred(scale) for scale in SCALES]
    for first, second in ((0, 1), (1, 0)):
        found = match_frames(pyramid, first, second, np.eye(3), 10.0, 5.0)
        assert found.agreement == 0 and np.isfinite(found.rotation).all()
