"""Outline statistics against closed forms and invariances."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ellipe

from mezoroi.capture.outline import FEATURES, outline_features, radii_of, steady_outlines
from mezoroi.errors import MezoroiError

SQUARE = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=float)


def polar(radius, points=720):
    angle = np.arange(points) * 2 * np.pi / points
    r = np.broadcast_to(radius(angle), angle.shape)
    return np.stack([r * np.cos(angle), r * np.sin(angle)], axis=1)


def ellipse(a, b, points=720):
    angle = np.arange(points) * 2 * np.pi / points
    return np.stack([a * np.cos(angle), b * np.sin(angle)], axis=1)


def rotated(polygon, degrees):
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return polygon @ np.array([[c, s], [-s, c]])


def steadied(contours, turned=None):
    turned = np.zeros(len(contours)) if turned is None else turned
    radii = np.stack([radii_of(contour) for contour in contours])
    return steady_outlines(radii, turned, np.arange(len(contours)))


def test_circle():
    found = outline_features([ellipse(1, 1)])
    assert found["height_width"] == pytest.approx(1)
    assert found["roundness"] == pytest.approx(1, abs=1e-4)
    assert found["solidity"] == pytest.approx(1)
    for name in ("flatness", "elongation", "asymmetry_left_right", "asymmetry_top_bottom"):
        assert found[name] == pytest.approx(0, abs=1e-6)
    assert found["bumpiness"] == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize(("a", "b"), [(1, 0.8), (1, 1.3), (5, 2)])
def test_ellipse(a, b):
    found = outline_features([ellipse(a, b)])
    major, minor = max(a, b), min(a, b)
    perimeter = 4 * major * ellipe(1 - (minor / major) ** 2)
    assert found["height_width"] == pytest.approx(b / a)
    assert found["flatness"] == pytest.approx(max(0, 1 - b / a))
    assert found["elongation"] == pytest.approx(max(0, b / a - 1))
    assert found["roundness"] == pytest.approx(4 * np.pi * np.pi * a * b / perimeter**2, rel=1e-3)
    assert found["asymmetry_left_right"] == pytest.approx(0, abs=1e-6)


def test_square_and_notch():
    found = outline_features([SQUARE])
    assert found["roundness"] == pytest.approx(np.pi / 4)
    assert found["solidity"] == pytest.approx(1)
    notched = np.array([[0, 0], [4, 0], [4, 4], [2, 2], [0, 4]], dtype=float)
    assert outline_features([notched])["solidity"] == pytest.approx(0.75)


def test_waves_on_a_circle_are_bumps():
    for size in (0.01, 0.03):
        found = outline_features([polar(lambda a, size=size: 1 + size * np.cos(9 * a))])
        assert found["bumpiness"] == pytest.approx(size / np.sqrt(2), rel=0.1)
    low = outline_features([polar(lambda a: 1 + 0.03 * np.cos(2 * a))])
    assert low["bumpiness"] < 0.002


def test_asymmetry_names_the_right_side():
    side = outline_features([polar(lambda a: 1 + 0.1 * np.exp(8 * (np.cos(a) - 1)))])
    assert side["asymmetry_left_right"] > 0.01
    assert side["asymmetry_top_bottom"] == pytest.approx(0, abs=1e-6)
    top = outline_features([polar(lambda a: 1 + 0.1 * np.exp(8 * (np.sin(a) - 1)))])
    assert top["asymmetry_top_bottom"] == pytest.approx(side["asymmetry_left_right"], rel=1e-3)
    assert top["asymmetry_left_right"] == pytest.approx(0, abs=1e-6)


def test_mean_and_variation_over_the_turn():
    found = outline_features([ellipse(1, 0.8), ellipse(1, 1.2)])
    assert set(found) == set(FEATURES) | {f"{name}_variation" for name in FEATURES}
    assert found["height_width"] == pytest.approx(1.0)
    assert found["height_width_variation"] == pytest.approx(0.2)
    assert found["flatness"] == pytest.approx(0.1)


@given(
    turn=st.floats(0, 360),
    scale=st.floats(1e-3, 1e4),
    shift=st.tuples(st.floats(-100, 100), st.floats(-100, 100)),
    seed=st.integers(0, 50),
)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_invariances(turn, scale, shift, seed):
    phase, size = np.random.default_rng(seed).uniform(0, 6, 2) * (1, 0.01)
    shape = polar(lambda a: 1 + 0.1 * np.cos(2 * a + phase) + size * np.cos(7 * a), points=180)
    plain = outline_features([shape])
    # A far shift of a tiny fruit loses digits: the shift is counted in radii.
    moved = outline_features([scale * (shape + shift)])
    assert moved == pytest.approx(plain, rel=1e-6, abs=1e-6)
    assert outline_features([shape[::-1]]) == pytest.approx(plain, rel=1e-6, abs=1e-6)
    again = outline_features([rotated(shape, turn)])
    for name in ("roundness", "bumpiness", "solidity"):
        assert again[name] == pytest.approx(plain[name], rel=1e-3, abs=1e-5)


@pytest.mark.parametrize(
    ("silhouettes", "message"),
    [
        ([], "no silhouette"),
        ([SQUARE, SQUARE[:2]], "silhouette 1 has fewer than 3"),
        ([np.zeros((5, 2))], "fewer than 3 distinct"),
        ([np.array([[0, 0], [1, 1], [2, 2], [3, 3]])], "no area"),
        ([np.where(SQUARE == 1, np.nan, SQUARE)], "NaN"),
        ([np.zeros((4, 3))], r"shape \(4, 3\)"),
    ],
)
def test_unusable_silhouettes(silhouettes, message):
    with pytest.raises(MezoroiError, match=message):
        outline_features(silhouettes)


@pytest.mark.parametrize("seed", range(5))
def test_smoothing_takes_the_jags_and_leaves_the_shape(seed):
    def lobed(angle):  # flat, with a pear's slope and a bump as wide as a thumb
        bump = 0.04 * np.exp(-(((angle - 2) / 0.3) ** 2))
        return 1 + 0.06 * np.cos(2 * angle) + 0.02 * np.cos(3 * angle) + bump

    noise = 0.01 * np.random.default_rng(seed).normal(size=256)
    jagged = polar(lambda angle: lobed(angle) + noise, points=256)
    true = outline_features([polar(lobed)])
    before, after = outline_features([jagged]), outline_features(steadied([jagged]))
    for name in ("roundness", "solidity"):
        assert abs(after[name] - true[name]) <= 0.2 * abs(before[name] - true[name])
    assert after["height_width"] == pytest.approx(true["height_width"], abs=0.01)
    assert before["roundness"] < true["roundness"] - 0.05 < after["roundness"]


def test_smoothing_a_clean_ellipse_changes_nothing_that_matters():
    found = outline_features(steadied([ellipse(1.0, 0.8)]))
    true = outline_features([ellipse(1.0, 0.8)])
    for name in FEATURES:
        assert found[name] == pytest.approx(true[name], abs=2e-3)


@pytest.mark.parametrize("pole", [90, 270])
@pytest.mark.parametrize("height", [0.1, -0.06])
def test_what_hangs_on_the_turn_axis_is_no_part_of_the_fruit(pole, height):
    def pear(angle):
        return 1 + 0.08 * np.cos(2 * angle) + 0.03 * np.sin(3 * angle)

    def stemmed(angle):
        away = np.abs((np.rad2deg(angle) - pole + 180) % 360 - 180)
        return pear(angle) + height * np.maximum(0, 1 - away / 14)

    true = outline_features([polar(pear, points=256)])
    found = outline_features(steadied([polar(stemmed, points=256)]))
    for name in FEATURES:
        assert found[name] == pytest.approx(true[name], abs=4e-3), name


TURNED = np.deg2rad(np.arange(0, 360, 8))


def bumped(view):
    """A silhouette of a body with a bump that comes round, seen from `view` radians."""

    def radius(angle):
        side = 0.05 * np.sin(view) * np.exp(-(((angle - 0.3) / 0.4) ** 2))
        behind = 0.05 * np.sin(view + np.pi) * np.exp(-(((np.pi - angle - 0.3) / 0.4) ** 2))
        return 1 + np.maximum(side, 0) + np.maximum(behind, 0) + 0.05 * np.cos(2 * angle)

    return polar(radius, points=256)


def test_what_single_frames_get_wrong_is_left_out():
    true = [bumped(view) for view in TURNED]
    wrong = [contour.copy() for contour in true]
    for view in range(0, len(TURNED), 5):
        wrong[view][60:110] *= 0.85
    found = outline_features(steadied(wrong, TURNED))
    for name, value in outline_features(steadied(true, TURNED)).items():
        assert found[name] == pytest.approx(value, abs=1e-3), name
    assert outline_features(wrong)["roundness"] < found["roundness"] - 0.005


def test_a_bump_that_comes_round_stays():
    true = outline_features([bumped(view) for view in TURNED])
    found = outline_features(steadied([bumped(view) for view in TURNED], TURNED))
    for name in ("asymmetry_left_right", "bumpiness", "height_width"):
        assert found[name] == pytest.approx(true[name], rel=0.05)


def test_the_view_from_behind_is_the_mirror_image():
    views = np.deg2rad([0.0, 180.0, 180.0])
    lopsided = polar(lambda angle: 1 + 0.1 * np.cos(angle), points=256)
    mirrored = lopsided * (-1, 1)
    for outline, own in zip(
        steadied([lopsided, mirrored, mirrored], views),
        (lopsided, mirrored, mirrored),
        strict=True,
    ):
        assert radii_of(outline) == pytest.approx(radii_of(own), abs=2e-3)
