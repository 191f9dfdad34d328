"""Silhouettes against the renderer's truth, and pictures that show no single whole fruit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from mezoroi.capture import silhouette
from mezoroi.capture.images import read_image
from mezoroi.capture.silhouette import MIN_DIAMETER, find_silhouettes
from mezoroi.datasets.melons import Turn, make_melon
from mezoroi.datasets.melons.sphere import directions
from mezoroi.errors import MezoroiError
from mezoroi.reliability.judge import fruit_in_photo
from tests.capture.films import film

TURN = Turn(degrees=360, frames=6, size=(240, 320), tilt=8, hand_jitter=1.0, start=20)
DATA = Path(__file__).parents[3] / "shared" / "data"
TILE = DATA / "magnetic_tile" / "images" / "crack" / "exp1_num_342140.jpg"
SKIN = (140, 160, 95)


@pytest.fixture(scope="module")
def melon():
    return make_melon("A", np.random.default_rng(11), height=128)


def true_outline(melon, truth, frame):
    """The hull of the whole body's projection; a body without bumps is as good as convex."""
    towards = directions(128).reshape(-1, 3).astype(np.float64)
    points = towards * melon.body(towards)[:, None]
    return cv2.convexHull(truth.project(frame, points).astype(np.float32))


def distances(contour, outline):
    """Pixels (K,) from points to the true outline, positive inside."""
    return np.array([cv2.pointPolygonTest(outline, (x, y), True) for x, y in contour])


@pytest.mark.parametrize(
    ("change", "most"),
    [
        ({}, 0.3),
        ({"background": "light"}, 0.5),
        ({"background": "textured"}, 1.0),
        ({"support": "stem"}, 0.6),
        ({"support": "plate"}, 0.6),
        ({"support": "plate", "background": "textured", "exposure_drift": 0.12}, 1.0),
        ({"support": "plate", "hand_jitter": 4.0, "tilt": 3.0, "roll": 4.0}, 1.0),
        ({"nearness": 0.3, "background": "light"}, 0.5),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_the_contour_is_the_fruits_edge(melon, change, most):
    frames, truth = film(melon, replace(TURN, **change))
    for number, found in list(enumerate(find_silhouettes(frames)))[::2]:
        outline = true_outline(melon, truth, number)
        away = distances(found.contour, outline)
        assert np.abs(away).mean() < most, (number, np.abs(away).mean())
        assert found.sure.all() and found.cut == 0
        # Counterclockwise from the right, as seen in the picture.
        offset = (found.contour - found.ellipse.centre) * (1, -1)
        angle = np.unwrap(np.arctan2(offset[:, 1], offset[:, 0]))
        assert abs(angle[0]) < 0.1 and (np.diff(angle) > 0).mean() > 0.99
        area = cv2.contourArea(outline)
        assert found.ellipse.radius == pytest.approx(np.sqrt(area / np.pi), rel=0.015)


def test_one_photo_is_as_good(melon):
    frames, truth = film(melon, replace(TURN, frames=2, fill=0.6))
    for number in range(2):
        (found,) = find_silhouettes([frames[number]])
        away = distances(found.contour, true_outline(melon, truth, number))
        assert np.abs(away).mean() < 0.5


def test_frames_may_differ_in_size(melon):
    (first, second), truth = film(melon, replace(TURN, frames=2))
    wide = cv2.copyMakeBorder(second, 10, 20, 30, 40, cv2.BORDER_REPLICATE)
    alone = find_silhouettes([first, second])
    padded = find_silhouettes([first, wide])
    np.testing.assert_array_equal(alone[0].contour, padded[0].contour)
    shift = np.array((30, 10))
    np.testing.assert_allclose(padded[1].ellipse.centre, alone[1].ellipse.centre + shift, atol=1)
    away = distances(padded[1].contour - shift, true_outline(melon, truth, 1))
    assert np.abs(away).mean() < 0.6


def test_a_hand_in_a_few_frames_is_not_the_fruit(melon):
    frames, truth = film(melon, replace(TURN, frames=12, occluded=0.17))
    found = find_silhouettes(frames)
    assert 0 < truth.occluded.sum() < 4
    for number in np.flatnonzero(truth.occluded):
        area = cv2.contourArea(true_outline(melon, truth, number))
        assert found[number].ellipse.radius == pytest.approx(np.sqrt(area / np.pi), rel=0.05)
        shift = found[number].ellipse.centre - truth.centres[number]
        assert np.linalg.norm(shift) < 0.05 * found[number].ellipse.radius


@pytest.mark.parametrize("background", ["dark", "light"])
def test_a_hand_before_the_edge_is_not_in_the_outline(melon, background):
    turn = replace(TURN, frames=30, background=background, support="plate", occluded=0.1)
    frames, truth = film(melon, turn)
    found = find_silhouettes(frames)
    assert truth.occluded.sum() == 3
    for number in np.flatnonzero(truth.occluded):
        outline = true_outline(melon, truth, number)
        away = distances(found[number].contour, outline)
        assert -away.min() < 0.03 * np.sqrt(cv2.contourArea(outline) / np.pi)


def test_a_frame_without_the_fruit_is_told_and_a_dark_one_is_not(melon):
    turn = replace(TURN, frames=8, background="textured", exposure_drift=0.4, glare=0.8)
    frames, _ = film(melon, turn)
    frames[3] = np.roll(frames[3], 160, axis=1)  # the fruit's halves at both ends of the frame
    assert [number for number, found in enumerate(find_silhouettes(frames)) if found.cut] == [3]


def test_nothing_is_left_to_chance(melon):
    frames, _ = film(melon, replace(TURN, frames=5, background="textured"))
    first, second = find_silhouettes(frames), find_silhouettes(frames)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.contour, other.contour)


def scene(*balls, size=(240, 320), background=25, noise=1.5):
    """Plain balls (x, y, radius) before a plain background."""
    image = np.full((*size, 3), background, dtype=np.float64)
    rows, columns = np.mgrid[: size[0], : size[1]]
    for x, y, radius in balls:
        share = np.clip(0.5 + radius - np.hypot(columns - x, rows - y), 0, 1)[..., None]
        image += share * (np.array(SKIN) - image)
    grain = np.random.default_rng(0).normal(0, noise, image.shape)
    return np.clip(np.rint(image + grain), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("background", [0, 25, 128, 255])
@pytest.mark.parametrize("noise", [0.0, 1.5])
def test_a_plain_ball(background, noise):
    (found,) = find_silhouettes([scene((150, 110, 80), background=background, noise=noise)])
    radius = np.linalg.norm(found.contour - (150, 110), axis=1)
    assert np.abs(radius - 80).mean() < 0.4
    np.testing.assert_allclose(found.ellipse.centre, (150, 110), atol=0.2)
    np.testing.assert_allclose(found.ellipse.shape, 80 * np.eye(2), atol=0.4)


def test_a_ball_cut_by_the_edge_is_told():
    (found,) = find_silhouettes([scene((160, 60, 75))])
    assert 0.1 < found.cut < 0.3
    assert not found.sure[found.contour[:, 1] < 1].any()
    np.testing.assert_allclose(found.ellipse.centre, (160, 60), atol=2)
    assert found.ellipse.radius == pytest.approx(75, rel=0.02)


@pytest.mark.parametrize("frames", [1, 6])
@pytest.mark.parametrize(
    ("image", "words"),
    [
        (scene(), "no fruit"),
        (scene(noise=0.0), "no fruit"),
        (scene(noise=0.0, background=0), "no fruit"),
        (scene((90, 120, 60), (230, 120, 60)), "two fruits"),
        (scene((160, 120, 20)), "the fruit is only [34][0-9] pixels wide"),
    ],
    ids=["empty", "one colour", "black", "two", "small"],
)
def test_no_single_fruit_is_one_line(image, words, frames):
    with pytest.raises(MezoroiError, match=words) as error:
        find_silhouettes([image] * frames)
    assert "\n" not in str(error.value) and ": " in str(error.value)


@pytest.mark.parametrize("frames", [1, 5])
def test_a_guess_that_fills_the_picture_is_no_fruit(monkeypatch, frames):
    image = scene((160, 120, 80))
    mask, evidence = silhouette._first_guess([image], 1.0)
    full = np.full_like(mask, 255)
    monkeypatch.setattr(silhouette, "_first_guess", lambda images, scale: (full, evidence))
    with pytest.raises(MezoroiError, match="no fruit stands out"):
        find_silhouettes([image] * frames)


@pytest.mark.skipif(not TILE.is_file(), reason="magnetic_tile is not in ../shared/data")
def test_a_photo_of_no_fruit_has_none():
    """The first guess is a crack, which runs to the edges, and an ellipse far too large."""
    assert fruit_in_photo(read_image(TILE)) is None


def test_the_smallest_fruit():
    large = scene((160, 120, MIN_DIAMETER // 2 + 3))
    assert find_silhouettes([large])[0].ellipse.radius == pytest.approx(MIN_DIAMETER / 2 + 3, abs=1)
    with pytest.raises(MezoroiError, match=f"go closer, to {MIN_DIAMETER}"):
        find_silhouettes([scene((160, 120, MIN_DIAMETER // 2 - 4))])


@pytest.mark.parametrize("frames", [1, 6])
def test_a_fruit_is_as_small_as_in_its_source(frames):
    reduced = [scene((160, 120, 20))] * frames
    assert find_silhouettes(reduced, [0.5] * frames)[0].ellipse.radius == pytest.approx(20, abs=1)
    with pytest.raises(MezoroiError, match=r"the fruit is only 5[0-9] pixels wide"):
        find_silhouettes(reduced, [0.75] * frames)
