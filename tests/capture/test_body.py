"""True proportions from silhouettes, against ellipsoids that are turned by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.spatial.transform import Rotation

from mezoroi.capture.body import fit_body
from mezoroi.capture.geometry import Ellipse

RADIUS = 90.0


def turning(degrees, count, lean=(0.0, 0.0), about=None):
    """Rotations of a fruit turned about the upright axis, which then leans."""
    angle = np.linspace(0, degrees, count)
    spun = Rotation.from_rotvec(angle[:, None] * (0.0, 1.0, 0.0), degrees=True)
    start = Rotation.identity() if about is None else about
    leaning = Rotation.from_euler("xz", lean, degrees=True)
    return (leaning * spun * start).as_matrix()


def observe(axes, turned, seed=0):
    """Silhouettes of an ellipsoid, and the turning of the sphere each is squeezed into.

    The sphere's own axes are any: only how it turns can be seen, so they are drawn at random.
    """
    body = np.diag(axes)
    own = Rotation.random(random_state=seed).as_matrix()
    ellipses, poses = [], []
    for rotation in turned:
        camera = (rotation @ body)[:2]
        shape = np.real(sqrtm(camera @ camera.T))
        rows = np.linalg.inv(shape) @ camera
        pose = np.stack([rows[0], rows[1], np.cross(rows[0], rows[1])])
        ellipses.append(Ellipse(np.array((160.0, 120.0)), RADIUS * shape))
        poses.append(pose @ own)
    return ellipses, np.stack(poses), own


CASES = {
    "sphere": ((1.0, 1.0, 1.0), None),
    "flat, upright": ((1.0, 0.75, 1.0), None),
    "long, upright": ((1.0, 1.35, 1.0), None),
    "long, lying": ((1.3, 1.0, 1.0), None),
    "three axes, askew": ((1.2, 0.85, 1.0), Rotation.from_euler("xyz", (20, 40, 30), degrees=True)),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("lean", [(0, 0), (12, -7)])
def test_proportions_and_turning_are_found(name, lean):
    axes, about = CASES[name]
    turned = turning(380, 36, lean, about)
    ellipses, poses, own = observe(axes, turned)
    body, found = fit_body(ellipses, poses)
    mean = np.mean([ellipse.radius for ellipse in ellipses]) / RADIUS
    np.testing.assert_allclose(body, body.T, atol=1e-12)
    expected = np.sort(axes) / mean
    np.testing.assert_allclose(np.linalg.eigvalsh(body), expected, rtol=0.012)
    # In the sphere's own axes, the fruit is diag(axes) turned into them, and so are its poses.
    np.testing.assert_allclose(body, own.T @ np.diag(axes) @ own / mean, atol=0.02)
    away = Rotation.from_matrix(found @ (turned @ own).transpose(0, 2, 1)).magnitude()
    assert np.degrees(away).max() < 0.6


def test_poses_alone_would_be_wrong():
    """The sphere that a long fruit is squeezed into does not turn as the fruit does."""
    turned = turning(360, 36, about=Rotation.from_euler("z", 60, degrees=True))
    ellipses, poses, own = observe((1.4, 1.0, 1.0), turned)
    away = Rotation.from_matrix(poses @ (turned @ own).transpose(0, 2, 1)).magnitude()
    assert np.degrees(away).max() > 5
    _, found = fit_body(ellipses, poses)
    away = Rotation.from_matrix(found @ (turned @ own).transpose(0, 2, 1)).magnitude()
    assert np.degrees(away).max() < 0.6


def test_size_in_the_picture_does_not_matter():
    turned = turning(360, 24)
    ellipses, poses, _ = observe((1.2, 0.9, 1.0), turned)
    body, found = fit_body(ellipses, poses)
    larger = [Ellipse(ellipse.centre + 50, 3 * ellipse.shape) for ellipse in ellipses]
    again, same = fit_body(larger, poses)
    np.testing.assert_allclose(again, body, atol=1e-9)
    np.testing.assert_allclose(same, found, atol=1e-9)


def test_noise_in_the_silhouettes_is_averaged():
    turned = turning(360, 48, (8, 0))
    ellipses, poses, _ = observe((1.0, 0.8, 1.0), turned)
    rng = np.random.default_rng(3)
    noisy = []
    for ellipse in ellipses:
        error = rng.normal(0, 0.01 * RADIUS, (2, 2))
        noisy.append(Ellipse(ellipse.centre, ellipse.shape + (error + error.T) / 2))
    shaken = Rotation.from_rotvec(rng.normal(0, 0.5, (48, 3)), degrees=True).as_matrix()
    values = np.linalg.eigvalsh(fit_body(noisy, shaken @ poses)[0])
    np.testing.assert_allclose(values / values[-1], (0.8, 1, 1), atol=0.03)


def test_a_short_turn_leaves_a_believable_body():
    turned = turning(8, 3)
    ellipses, poses, _ = observe((1.0, 0.9, 1.0), turned)
    body, found = fit_body(ellipses, poses)
    assert (np.linalg.eigvalsh(body) >= 0.5).all() and (np.linalg.eigvalsh(body) <= 2).all()
    np.testing.assert_allclose(np.linalg.det(found), 1, atol=1e-9)


def test_one_frame_gives_no_proportions():
    turned = turning(0, 1)
    ellipses, poses, _ = observe((1.3, 0.8, 1.0), turned)
    body, found = fit_body(ellipses, poses)
    np.testing.assert_array_equal(body, np.eye(3))
    np.testing.assert_array_equal(found, poses)
