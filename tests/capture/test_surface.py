"""Unrolling views of a ball whose colours are known everywhere."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from mezoroi.capture.exposure import exposure_gains
from mezoroi.capture.geometry import Ellipse, disk_to_sphere
from mezoroi.capture.surface import (
    View,
    _sample,
    _seen_at,
    _spread,
    covered_share,
    locate_on_fruit,
    panorama_directions,
    unroll_views,
)

HEIGHT = 64
RADIUS, CENTRE = 90.0, np.array((121.3, 98.6))
UPRIGHT = np.array([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]])  # fruit (x to longitude 0, z up) to camera
COSINE = 0.26  # up to which a view counts


def paint(points):
    """Smooth colours (..., 3) of a ball, different everywhere, yet as bright on all sides."""
    x, y, z = np.moveaxis(points, -1, 0)
    red = 110 + 25 * np.sin(12 * x + 1) + 25 * np.cos(11 * y + 3 * z)
    green = 130 + 30 * np.sin(10 * z + 9 * y)
    blue = 80 + 30 * np.cos(13 * y - 6 * x)
    return np.stack([red, green, blue], axis=-1)


def view_of(pose, nearness=0.0, body=None):
    """A frame of the ball, or of the ellipsoid body @ ball, drawn pixel by pixel."""
    stretch = np.eye(3) if body is None else body
    camera = (pose @ stretch)[:2]
    values, vectors = np.linalg.eigh(camera @ camera.T)
    shape = vectors @ np.diag(np.sqrt(values)) @ vectors.T
    rows = np.linalg.inv(shape) @ camera
    sphere = np.stack([rows[0], rows[1], np.cross(rows[0], rows[1])])
    ellipse = Ellipse(CENTRE, RADIUS * shape)
    pixels = np.stack(np.meshgrid(np.arange(240.0), np.arange(200.0)), axis=-1)
    seen = disk_to_sphere(ellipse.to_disk(pixels), nearness)
    inside = np.isfinite(seen[..., 2])
    on_ball = np.nan_to_num(seen) @ sphere
    towards = on_ball @ stretch.T  # where it is on the fruit, from the fruit's centre
    towards /= np.maximum(np.linalg.norm(towards, axis=-1, keepdims=True), 1e-9)
    image = np.where(inside[..., None], paint(towards), 20.0)
    squeeze = sphere @ np.linalg.inv(stretch)
    return View(np.rint(image).astype(np.uint8), ellipse, pose, squeeze)


def turned(degrees, lean=0.0):
    spin = Rotation.from_euler("z", degrees, degrees=True).as_matrix()
    return Rotation.from_euler("x", lean, degrees=True).as_matrix() @ UPRIGHT @ spin


def full_turn(nearness=0.0, lean=0.0, count=24, body=None):
    return [view_of(turned(d, lean), nearness, body) for d in np.arange(count) * 360 / count]


def difference(one, other, where):
    return np.abs(one.astype(float) - other)[where]


def test_directions_are_those_of_a_globe():
    grid = panorama_directions(HEIGHT)
    assert grid.shape == (HEIGHT, 2 * HEIGHT, 3)
    np.testing.assert_allclose(np.linalg.norm(grid, axis=-1), 1)
    assert grid[0, :, 2].min() > 0.99 and grid[-1, :, 2].max() < -0.99
    middle = grid[HEIGHT // 2 - 1 : HEIGHT // 2 + 1, HEIGHT - 1 : HEIGHT + 1].mean(axis=(0, 1))
    np.testing.assert_allclose(middle / np.linalg.norm(middle), (1, 0, 0), atol=1e-9)
    assert (grid[:, HEIGHT + 1 : 2 * HEIGHT - 1, 1] > 0).all()  # east of longitude 0


@pytest.mark.parametrize("body", [None, np.diag((1.0, 0.9, 1.2))], ids=["ball", "ellipsoid"])
@pytest.mark.parametrize(("nearness", "lean"), [(0.0, 0.0), (0.2, 10.0)])
def test_a_turn_gives_back_the_colours(nearness, lean, body):
    surface, covered = unroll_views(full_turn(nearness, lean, body=body), HEIGHT, nearness)
    assert surface.shape == (HEIGHT, 2 * HEIGHT, 3) and surface.dtype == np.uint8
    assert covered.shape == surface.shape[:2] and covered.dtype == bool
    assert covered[HEIGHT // 4 : -HEIGHT // 4].all()
    error = difference(surface, paint(panorama_directions(HEIGHT)), covered)
    assert error.mean() < 1.5 and np.quantile(error, 0.99) < 8


def test_a_turned_fruit_gives_a_rolled_picture():
    views = full_turn(count=12)
    surface, covered = unroll_views(views, HEIGHT, 0.0)
    for columns in (4, 32, 96):
        spin = Rotation.from_euler("z", columns * 180 / HEIGHT, degrees=True).as_matrix().T
        moved = [
            replace(view, pose=view.pose @ spin, squeeze=view.squeeze @ spin) for view in views
        ]
        again, still = unroll_views(moved, HEIGHT, 0.0)
        np.testing.assert_array_equal(still, np.roll(covered, columns, axis=1))
        rolled = np.roll(surface, columns, axis=1)
        away = difference(again, rolled, covered)
        assert away.max() <= 1 and (away > 0).mean() < 0.005


@pytest.mark.parametrize("nearness", [0.0, 0.1, 0.3])
def test_one_view_covers_a_cap(nearness):
    _, covered = unroll_views([view_of(turned(30.0), nearness)], 128, nearness)
    # The cap ends where the line of sight and the normal, angle a off the middle of the view,
    # make an angle of cosine 0.26: a = arccos(0.26) - arcsin(nearness sin(arccos(0.26))).
    steepest = np.arccos(COSINE)
    angle = steepest - np.arcsin(nearness * np.sin(steepest))
    assert covered_share(covered) == pytest.approx((1 - np.cos(angle)) / 2, abs=0.003)
    # Turned counterclockwise by 30 degrees, longitude -30 faces the camera.
    grid = panorama_directions(128)
    facing = np.array((np.cos(np.deg2rad(-30)), np.sin(np.deg2rad(-30)), 0))
    expected = grid @ facing > np.cos(angle)
    assert (covered != expected).mean() < 0.005


def test_covered_share():
    full = np.ones((64, 128), dtype=bool)
    assert covered_share(full) == pytest.approx(1) and covered_share(~full) == 0
    upper, left = full.copy(), full.copy()
    upper[32:], left[:, 64:] = False, False
    assert covered_share(upper) == pytest.approx(0.5)
    assert covered_share(left) == pytest.approx(0.5)
    belt = ~full
    belt[16:48] = True  # between 45 degrees south and north
    assert covered_share(belt) == pytest.approx(np.sqrt(0.5), abs=1e-3)


def test_what_is_not_covered_continues_its_surroundings():
    surface, covered = unroll_views([view_of(turned(0.0))], HEIGHT, 0.0)
    assert not covered.all()
    low, high = surface[covered].min(axis=0), surface[covered].max(axis=0)
    assert (surface[~covered] >= low).all() and (surface[~covered] <= high).all()
    alone = np.full((200, 240, 3), (90, 140, 60), dtype=np.uint8)
    plain = replace(view_of(turned(0.0)), image=alone)
    surface, _ = unroll_views([plain], HEIGHT, 0.0)
    assert difference(surface, np.array((90, 140, 60)), np.s_[:]).max() <= 1


@pytest.mark.parametrize("sigma", [3.0, 20.0, 60.0])
@pytest.mark.parametrize("height", [128, 250])
def test_a_wide_blur_is_one_of_all_pixels(sigma, height):
    rng = np.random.default_rng(0)
    field = rng.uniform(0, 255, (height, 2 * height, 3)).astype(np.float32)
    field[:, : height // 2] = 0
    expected = gaussian_filter1d(field.astype(np.float64), sigma, axis=1, mode="wrap")
    expected = gaussian_filter1d(expected, sigma, axis=0, mode="mirror")
    assert np.abs(_spread(field, sigma) - expected).max() < 2


@pytest.mark.parametrize("level", [150, 240, 255])
def test_a_white_fruit_is_white_to_its_rim(level):
    white = np.full((200, 240, 3), level, dtype=np.uint8)
    surface, _ = unroll_views([replace(view_of(turned(0.0)), image=white)], HEIGHT, 0.0)
    assert surface.min() >= level - 1


@pytest.mark.parametrize(
    ("colour", "radius"), [((255, 255, 255), 14), ((224, 172, 140), 40)], ids=["glare", "hand"]
)
def test_what_one_view_shows_alone_is_not_the_fruit(colour, radius):
    views = full_turn()
    clean, covered = unroll_views(views, HEIGHT, 0.0)
    rows, columns = np.mgrid[:200, :240]
    spot = np.hypot(columns - CENTRE[0], rows - CENTRE[1] - 10) < radius
    image = views[5].image.copy()
    image[spot] = colour
    views[5] = replace(views[5], image=image)
    away = difference(unroll_views(views, HEIGHT, 0.0)[0], clean, covered)
    # Blended as it is, a hand would show with half of its difference, 50 levels.
    assert away.max() < 25 and away.mean() < 0.3


def test_slow_changes_of_exposure_are_evened_out():
    views = full_turn()
    clean, covered = unroll_views(views, HEIGHT, 0.0)
    gains = 1 + 0.15 * np.sin(np.arange(24) * 2 * np.pi / 24)
    drifting = [
        replace(view, image=np.clip(np.rint(view.image * gain), 0, 255).astype(np.uint8))
        for view, gain in zip(views, gains, strict=True)
    ]
    away = difference(unroll_views(drifting, HEIGHT, 0.0)[0], clean, covered)
    # Uncorrected, the mean difference would be a tenth of 110 levels.
    assert away.mean() < 5


@pytest.mark.parametrize(
    ("degrees", "count", "side"), [(360, 24, 0.0), (360, 24, 0.5), (200, 14, 0.0)]
)
def test_a_pale_side_is_no_exposure(degrees, count, side):
    """Brightness that differs around the fruit is its own; a light from one side stands still."""
    views = []
    for angle in np.arange(count) * degrees / count:
        view = view_of(turned(angle))
        place = view.ellipse.to_disk(np.stack(np.meshgrid(range(240), range(200)), axis=-1))
        on_fruit = np.nan_to_num(disk_to_sphere(place)) @ view.squeeze
        light = 0.8 + side * np.clip(place[..., :1], -1, 1) * 0.5
        bright = light * (1 + 0.3 * on_fruit[..., :1])
        views.append(replace(view, image=np.rint(view.image * bright).clip(0, 255).astype("u1")))
    surface, covered = unroll_views(views, HEIGHT, 0.0)
    directions = panorama_directions(HEIGHT)
    true = 0.8 * paint(directions) * (1 + 0.3 * directions[..., :1])
    belt = covered & (np.abs(directions[..., 2]) < 0.5)
    # Brightness evened out over the views would be off by up to 25 levels on either side.
    away = surface.mean(axis=2) - true.mean(axis=2)
    pale, dark = belt & (directions[..., 0] > 0.7), belt & (directions[..., 0] < -0.7)
    assert pale.any() or dark.any()
    for part in (pale, dark):
        if part.any():
            assert abs(away[part].mean()) < 4, away[part].mean()


def test_gains_are_those_of_the_exposures():
    views = full_turn()
    low = panorama_directions(32).astype(np.float32)
    samples = [_sample(view, low, 0.0) for view in views]
    exposed = np.exp(0.15 * np.sin(np.arange(24) * 2 * np.pi / 24))
    drifting = [
        (colour * gain, cosine) for (colour, cosine), gain in zip(samples, exposed, strict=True)
    ]
    gains = exposure_gains(drifting, [_seen_at(view, low) for view in views])
    product = gains * exposed
    np.testing.assert_allclose(product / np.median(product), 1, atol=0.03)
    # Views that share nothing with others are left as they are.
    apart = exposure_gains([samples[0], samples[12]], [_seen_at(views[k], low) for k in (0, 12)])
    np.testing.assert_allclose(apart, 1)


def test_what_is_seen_under_glare_only_is_not_covered():
    view = view_of(turned(0.0))
    full = unroll_views([view], HEIGHT, 0.0)[1]
    image = view.image.copy()
    image[:, 150:] = 255
    surface, covered = unroll_views([replace(view, image=image)], HEIGHT, 0.0)
    assert covered_share(covered) < 0.8 * covered_share(full)
    assert surface.min(axis=2).max() < 225  # what is under the glare continues its surroundings
    # Another view that shows the place without glare covers it.
    both = [replace(view, image=image), view_of(turned(-30.0))]
    assert covered_share(unroll_views(both, HEIGHT, 0.0)[1]) > covered_share(full)
    white = replace(view, image=np.full_like(image, 240))
    np.testing.assert_array_equal(unroll_views([white], HEIGHT, 0.0)[1], full)


def test_blurred_views_have_little_say(monkeypatch):
    views = full_turn(count=36)
    truth = paint(panorama_directions(HEIGHT))
    blurred = [
        replace(view, image=cv2.GaussianBlur(view.image, (0, 0), 8.0)) if number % 3 == 1 else view
        for number, view in enumerate(views)
    ]

    def squared_error(chosen):
        surface, covered = unroll_views(chosen, HEIGHT, 0.0)
        return (difference(surface, truth, covered) ** 2).mean()

    found, clean = squared_error(blurred), squared_error(views)
    monkeypatch.setattr("mezoroi.capture.surface._sharpness", lambda views, *_: np.ones(len(views)))
    assert squared_error(views) == pytest.approx(clean, rel=0.02)  # sharp views are as they were
    gained = 10 * np.log10(squared_error(blurred) / found)
    assert gained > 3, gained


@pytest.mark.parametrize("nearness", [0.0, 0.2])
def test_locate(nearness):
    body = np.diag((1.1, 0.9, 1.0))
    view = view_of(turned(-40.0, 8.0), nearness, body)
    for latitude, longitude in ((0, 40), (30, 60), (-45, 20), (10, 85)):
        lat, lon = np.deg2rad((latitude, longitude))
        towards = np.array((np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)))
        colour = paint(towards)
        on_ball = view.squeeze @ towards
        on_ball /= np.linalg.norm(on_ball)
        across = on_ball[:2] * np.sqrt(1 - nearness**2) / (1 - nearness * on_ball[2])
        x, y = view.ellipse.to_pixels(across)
        np.testing.assert_allclose(view.image[round(y), round(x)], colour, atol=6)
        found = locate_on_fruit(view, x, y, nearness)
        np.testing.assert_allclose(found, (longitude, latitude), atol=1e-6)
    assert np.isnan(locate_on_fruit(view, 2.0, 2.0, nearness)).all()
