"""Disk and sphere against a camera built by hand, and ellipses against known ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from mezoroi.capture.geometry import (
    Ellipse,
    disk_to_sphere,
    fit_ellipse,
    sphere_to_disk,
    visibility,
)

NEARNESSES = (0.0, 0.05, 0.2, 0.5, 0.8)


def sphere_points(seed, count=400):
    points = np.random.default_rng(seed).normal(size=(count, 3))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def disk_points(seed, count=400, reach=0.999):
    rng = np.random.default_rng(seed)
    radius, angle = reach * np.sqrt(rng.random(count)), rng.uniform(0, 2 * np.pi, count)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def first_hits(disk, nearness):
    """Where rays through the disk of the silhouette first meet the unit sphere."""
    if nearness == 0:
        start = np.concatenate([disk, np.full((len(disk), 1), 5.0)], axis=1)
        along = np.broadcast_to((0.0, 0.0, -1.0), start.shape)
    else:
        away = 1 / nearness
        start = np.broadcast_to((0.0, 0.0, away), (len(disk), 3))
        # The tangent cone touches the sphere where sin(half angle) = 1 / away.
        slope = np.tan(np.arcsin(1 / away))
        along = np.concatenate([disk * slope, -np.ones((len(disk), 1))], axis=1)
        along = along / np.linalg.norm(along, axis=1, keepdims=True)
    middle = (start * along).sum(axis=1)
    depth = -middle - np.sqrt(middle**2 - (start**2).sum(axis=1) + 1)
    return start + depth[:, None] * along


@pytest.mark.parametrize("nearness", NEARNESSES)
def test_the_disk_shows_what_rays_meet(nearness):
    disk = disk_points(0)
    points = disk_to_sphere(disk, nearness)
    np.testing.assert_allclose(points, first_hits(disk, nearness), atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1, atol=1e-12)
    np.testing.assert_allclose(sphere_to_disk(points, nearness), disk, atol=1e-12)
    assert (visibility(points, nearness) > 0).all()


@pytest.mark.parametrize("nearness", NEARNESSES)
def test_visibility_is_the_cosine_of_the_line_of_sight(nearness):
    points = sphere_points(1)
    away = 1e7 if nearness == 0 else 1 / nearness
    sight = np.array((0.0, 0.0, away)) - points
    cosine = (sight * points).sum(axis=1) / np.linalg.norm(sight, axis=1)
    np.testing.assert_allclose(visibility(points, nearness), cosine, atol=1e-6)
    seen = cosine > 1e-3
    back = disk_to_sphere(sphere_to_disk(points[seen], nearness), nearness)
    np.testing.assert_allclose(back, points[seen], atol=1e-9)


@pytest.mark.parametrize("nearness", NEARNESSES)
def test_the_rim_is_the_silhouette(nearness):
    angle = np.linspace(0, 2 * np.pi, 50)
    rim = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    points = disk_to_sphere(rim * (1 - 1e-14), nearness)
    np.testing.assert_allclose(visibility(points, nearness), 0, atol=1e-6)
    np.testing.assert_allclose(points[:, 2], nearness, atol=1e-6)
    assert np.isnan(disk_to_sphere(rim * 1.001, nearness)[:, 2]).all()


def silhouette_of(shape, count=200):
    """Contour (count, 2), y up, of the ellipsoid shape @ sphere seen along z."""
    angle = np.arange(count) * 2 * np.pi / count
    normal = np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
    on_sphere = normal @ shape  # where the normal, shape^-T u, is level
    on_sphere /= np.linalg.norm(on_sphere, axis=1, keepdims=True)
    return (on_sphere @ shape.T)[:, :2]


@given(
    axes=st.tuples(*[st.floats(0.4, 2.5)] * 3),
    seed=st.integers(0, 10_000),
    centre=st.tuples(st.floats(0, 500), st.floats(0, 500)),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_any_ellipsoid_squeezed_to_the_disk_is_a_turned_sphere(axes, seed, centre):
    shape = 80 * Rotation.random(random_state=seed).as_matrix() @ np.diag(axes)
    flip = np.array((1.0, -1.0))
    found = fit_ellipse(silhouette_of(shape) * flip + centre)
    np.testing.assert_allclose(found.centre, centre, atol=1e-6)
    on_sphere = sphere_points(seed, 60)
    facing = (on_sphere @ np.linalg.inv(shape))[:, 2]
    on_sphere = on_sphere[facing > 0.05 * np.abs(facing).max()]
    pixels = (on_sphere @ shape.T)[:, :2] * flip + centre
    seen = disk_to_sphere(found.to_disk(pixels))
    # The rotation that fits best moves every point where it is seen, without a mirror.
    rotation, _ = Rotation.align_vectors(seen, on_sphere)
    np.testing.assert_allclose(rotation.apply(on_sphere), seen, atol=1e-5)


def ellipse_contour(a, b, degrees, centre, count=256):
    """Pixels of an ellipse whose axis `a` rises by `degrees` from the right."""
    turn, angle = np.deg2rad(degrees), np.arange(count) * 2 * np.pi / count
    along, beside = a * np.cos(angle), b * np.sin(angle)
    x = along * np.cos(turn) - beside * np.sin(turn)
    y = along * np.sin(turn) + beside * np.cos(turn)
    return np.stack([centre[0] + x, centre[1] - y], axis=1)


def assert_is(found: Ellipse, a, b, degrees, centre, atol):
    turn = np.deg2rad(degrees)
    axes = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    np.testing.assert_allclose(found.centre, centre, atol=atol)
    np.testing.assert_allclose(found.shape, axes.T @ np.diag([a, b]) @ axes, atol=atol)
    assert found.radius == pytest.approx(np.sqrt(a * b), abs=atol)


@pytest.mark.parametrize(
    ("a", "b", "degrees"), [(90, 90, 0), (100, 70, 25), (60, 110, -70), (200, 110, 140)]
)
def test_fit_ellipse(a, b, degrees):
    centre = (152.3, 98.7)
    contour = ellipse_contour(a, b, degrees, centre)
    found = fit_ellipse(contour)
    assert_is(found, a, b, degrees, centre, 1e-6)
    np.testing.assert_allclose(np.linalg.norm(found.to_disk(contour), axis=1), 1, atol=1e-8)
    np.testing.assert_allclose(found.to_pixels(found.to_disk(contour)), contour, atol=1e-9)

    rng = np.random.default_rng(a)
    noisy = contour + rng.normal(0, 0.5, contour.shape)
    assert_is(fit_ellipse(noisy), a, b, degrees, centre, 0.4)

    stem = noisy.copy()
    stem[60:72] = centre + 1.4 * (stem[60:72] - centre)  # 12 of 256 points on a stem
    stem[150:160] = centre + 0.8 * (stem[150:160] - centre)  # a dent
    assert_is(fit_ellipse(stem), a, b, degrees, centre, 0.6)

    weights = np.ones(len(noisy))
    weights[100:130] = 0
    cut = noisy.copy()
    cut[100:130] = centre  # must have no say at all
    assert_is(fit_ellipse(cut, weights), a, b, degrees, centre, 0.8)


def test_a_cut_at_the_edge_loses_its_say():
    centre = (100.0, 60.0)
    contour = ellipse_contour(80, 64, 0, centre)
    contour[:, 1] = np.maximum(contour[:, 1], 3.0)  # the frame's upper edge cuts a cap off
    assert 0.05 < (contour[:, 1] == 3.0).mean() < 0.25
    assert_is(fit_ellipse(contour), 80, 64, 0, centre, 0.5)
