"""`unroll` end to end: pictures, places and outlines against the renderer's truth."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mezoroi.capture.images import read_image, read_outline
from mezoroi.capture.outline import outline_features
from mezoroi.capture.surface import panorama_directions
from mezoroi.capture.unrolling import Capture, unroll
from mezoroi.datasets.melons import (
    Turn,
    make_melon,
    silhouettes,
    write_video,
)
from mezoroi.datasets.melons.sphere import direction as towards
from mezoroi.datasets.melons.sphere import pixels as panorama_pixels
from mezoroi.errors import MezoroiError
from tests.capture.films import film

HEIGHT = 64
REAL = Path(__file__).parents[3] / "shared" / "data" / "fruit_rotation"
TURN = Turn(degrees=380, frames=36, size=(240, 320), tilt=7, unevenness=0.2, start=35)


@pytest.fixture(scope="module")
def melon():
    return make_melon("B", np.random.default_rng(8), height=128)


def write_frames(folder, images, names="im{}.png"):
    """Frames as PNG files; im10 comes after im9 only in natural order."""
    folder.mkdir(parents=True)
    for number, image in enumerate(images):
        content = cv2.imencode(".png", image[..., ::-1])[1]
        (folder / names.format(number)).write_bytes(content.tobytes())
    return folder


@pytest.fixture(scope="module")
def shot(melon):
    return film(melon, TURN)


@pytest.fixture(scope="module")
def folder(shot, tmp_path_factory):
    return write_frames(tmp_path_factory.mktemp("photos") / "メロン 1", shot[0])


@pytest.fixture(scope="module")
def capture(folder) -> Capture:
    return unroll(folder, height=HEIGHT)


@pytest.fixture(scope="module")
def sparse(folder) -> Capture:
    return unroll(folder, height=32, max_frames=20)


def to_truth(capture, truth):
    """The rotation from the capture's axes on the fruit to the melon's own."""
    poses = np.stack([view.pose for view in capture.views])
    wanted = truth.poses[list(capture.numbers)]
    return Rotation.from_matrix(np.swapaxes(wanted, 1, 2) @ poses).mean().as_matrix()


def albedo(melon, capture, truth):
    """What the melon is painted with, in the capture's longitudes and latitudes."""
    grid = panorama_directions(HEIGHT) @ to_truth(capture, truth).T
    rows, columns = panorama_pixels(grid.reshape(-1, 3), melon.texture.albedo.shape[0])
    texture = cv2.GaussianBlur(melon.texture.albedo, (0, 0), 1.0)
    return texture[rows, columns].reshape(HEIGHT, 2 * HEIGHT, 3)


def likeness(one, other, where):
    """Correlation of fine green texture, freed of the light's slow changes."""
    fine = []
    for image in (one, other):
        green = np.tile(np.asarray(image, dtype=np.float32)[..., 1], (1, 3))
        slow = cv2.GaussianBlur(green, (0, 0), 6.0)
        width = one.shape[1]
        fine.append((green / (slow + 1e-3))[:, width : 2 * width][where])
    return float(np.corrcoef(*fine)[0, 1])


def degrees_apart(one, other):
    return np.degrees(np.arccos(np.clip(np.dot(one, other), -1, 1)))


def best_shift(one, other, where):
    """The roll of `other` in columns under which it is most like `one`, and that likeness."""
    scores = [likeness(one, np.roll(other, k, axis=1), where) for k in range(one.shape[1])]
    return int(np.argmax(scores)), max(scores)


def test_the_surface_is_the_melons(melon, shot, capture):
    assert capture.surface.shape == (HEIGHT, 2 * HEIGHT, 3)
    assert capture.surface.dtype == np.uint8 and capture.coverage.dtype == bool
    assert capture.covered > 0.9 and capture.notes == ()
    assert capture.numbers == tuple(range(36))
    assert capture.degrees_turned == pytest.approx(380, abs=4)
    assert capture.direction == 1
    assert capture.nearness == pytest.approx(TURN.nearness, abs=0.05)
    turned = to_truth(capture, shot[1])
    # The upper end of the axis is the stem; longitude 0 faced the first frame.
    assert np.degrees(np.arccos(turned[2, 2])) < 2
    facing = turned.T @ towards(0, TURN.start)
    assert abs(np.degrees(np.arctan2(facing[1], facing[0]))) < 2
    belt = capture.coverage.copy()
    belt[: HEIGHT // 6], belt[-HEIGHT // 6 :] = False, False
    painted = albedo(melon, capture, shot[1])
    # The relief's shading is not painted, so that the likeness stays below 1.
    assert likeness(capture.surface, painted, belt) > 0.6
    assert likeness(capture.surface, painted[:, ::-1], belt) < 0.2
    assert likeness(capture.surface, np.roll(painted, 3, axis=1), belt) < 0.3


def test_a_video_gives_the_same(shot, capture, tmp_path):
    write_video(tmp_path / "melon.mp4", shot[0][::2], 15)
    filmed = unroll(tmp_path / "melon.mp4", height=HEIGHT)
    assert filmed.degrees_turned == pytest.approx(shot[1].angles[34], abs=3)
    assert filmed.covered == pytest.approx(capture.covered, abs=0.02)
    both = capture.coverage & filmed.coverage
    assert likeness(capture.surface, filmed.surface, both) > 0.95
    for name in ("height_width", "roundness"):
        assert filmed.outline[name] == pytest.approx(capture.outline[name], rel=0.01)


def test_two_calls_give_the_same_bytes(folder, sparse):
    again = unroll(folder, height=32, max_frames=20)
    assert again.surface.tobytes() == sparse.surface.tobytes()
    assert again.coverage.tobytes() == sparse.coverage.tobytes()
    assert again.outline == sparse.outline
    assert again.to_dict() == sparse.to_dict()


def test_a_reversed_film_turns_the_other_way(shot, capture, tmp_path):
    back = unroll(write_frames(tmp_path / "back", shot[0][::-2]), height=HEIGHT)
    assert back.direction == -capture.direction
    assert back.degrees_turned == pytest.approx(380 - shot[1].angles[1], abs=3)
    belt = np.zeros_like(capture.coverage)
    belt[HEIGHT // 6 : -HEIGHT // 6] = True
    shift, same = best_shift(capture.surface, back.surface, belt)
    assert same > 0.9
    # Longitude 0 now faces what was the last frame, a turn of 380 degrees later.
    assert shift * 180 / HEIGHT == pytest.approx(-380 % 360, abs=4)
    assert best_shift(capture.surface, back.surface[:, ::-1], belt)[1] < 0.4
    assert best_shift(capture.surface, back.surface[::-1], belt)[1] < 0.4


def test_turning_on_and_on_repeats_nothing(melon, tmp_path):
    frames, truth = film(melon, replace(TURN, degrees=560, frames=32, direction=-1, unevenness=0))
    found = unroll(write_frames(tmp_path / "long", frames), height=HEIGHT)
    assert found.degrees_turned == pytest.approx(560, abs=8)
    assert found.direction == -1 and found.covered > 0.9
    belt = np.zeros_like(found.coverage)
    belt[HEIGHT // 6 : -HEIGHT // 6] = True
    assert likeness(found.surface, albedo(melon, found, truth), belt) > 0.6


def test_the_outline_is_the_melons(melon, capture):
    true = outline_features(silhouettes(melon.body))
    for name in ("height_width", "roundness", "solidity"):
        assert capture.outline[name] == pytest.approx(true[name], rel=0.02)
    assert capture.outline["bumpiness"] == pytest.approx(true["bumpiness"], abs=0.005)
    assert set(capture.outline) == set(true)
    assert all(polygon.shape[1] == 2 for polygon in capture.silhouettes)
    assert outline_features(capture.silhouettes) == pytest.approx(capture.outline)


@pytest.mark.parametrize("change", [{}, {"background": "textured"}, {"occluded": 0.1}], ids=str)
def test_a_bump_counts_in_the_few_views_that_show_it(melon, tmp_path, change):
    bump = {
        "bump_directions": np.array([[0.9, 0.0, 0.43]], dtype=np.float32),
        "bump_heights": np.array([0.13], dtype=np.float32),
        "bump_widths": np.array([0.28], dtype=np.float32),
    }
    bumped = replace(melon, body=replace(melon.body, **bump))
    frames, _ = film(bumped, replace(TURN, **change))
    found = unroll(write_frames(tmp_path / "bumped", frames), height=HEIGHT).outline
    true = outline_features(silhouettes(bumped.body))
    for name in ("asymmetry_left_right", "asymmetry_top_bottom", "bumpiness"):
        assert found[name] == pytest.approx(true[name], rel=0.25)
        varies = f"{name}_variation"
        assert found[varies] == pytest.approx(true[varies], rel=0.35)


def test_a_photo_shows_one_side(shot, tmp_path, capture):
    photo = next(write_frames(tmp_path / "one", shot[0][:1]).iterdir())
    found = unroll(photo, height=HEIGHT)
    assert found.degrees_turned == 0 and found.nearness == 0
    assert found.numbers == (0,)
    # A far camera sees the cap of cosines above 0.26, in the middle of the picture.
    assert found.covered == pytest.approx((1 - 0.26) / 2, abs=0.005)
    assert found.coverage[HEIGHT // 2, HEIGHT] and not found.coverage[:, 0].any()
    np.testing.assert_array_equal(found.coverage, found.coverage[:, ::-1])
    assert any("single photo" in note for note in found.notes)
    assert found.outline["height_width"] == pytest.approx(capture.outline["height_width"], abs=0.05)
    with pytest.raises(MezoroiError, match="frame 1 was not captured"):
        found.locate(1, 100, 100)


def test_too_little_of_a_turn(melon, tmp_path):
    frames, _ = film(melon, replace(TURN, degrees=230, frames=16, unevenness=0))
    found = unroll(write_frames(tmp_path / "most", frames), height=HEIGHT)
    assert 0.5 < found.covered < 0.9
    (note,) = found.notes
    assert f"only {found.covered:.0%}" in note and "filled in and uncertain" in note
    assert found.degrees_turned == pytest.approx(230, abs=4)
    few = write_frames(tmp_path / "few", frames[:3])
    with pytest.raises(MezoroiError, match="turn the fruit once around") as error:
        unroll(few, height=HEIGHT)
    assert str(few) in str(error.value) and "\n" not in str(error.value)
    still = write_frames(tmp_path / "still", [frames[0], frames[0], frames[0]])
    with pytest.raises(MezoroiError, match="does not turn"):
        unroll(still, height=HEIGHT)


def located(capture, truth, melon, place, frame):
    """Where the capture finds a spot of the melon in a frame, as a unit vector on the melon."""
    x, y = truth.project(frame, place * melon.body(place))
    longitude, latitude = capture.locate(frame, x, y)
    return to_truth(capture, truth) @ towards(latitude, longitude)


@pytest.mark.parametrize(("latitude", "longitude"), [(0, 30), (35, -120), (-30, 150)])
def test_a_spot_is_found_again(melon, shot, capture, latitude, longitude):
    truth, place = shot[1], towards(latitude, longitude)
    seen = [frame for frame in range(36) if (truth.poses[frame] @ place)[2] > 0.55]
    assert len(seen) >= 8
    found = np.array([located(capture, truth, melon, place, frame) for frame in seen])
    away = [degrees_apart(spot, place) for spot in found]
    assert np.mean(away) < 1.5 and max(away) < 3
    centre = found.mean(axis=0) / np.linalg.norm(found.mean(axis=0))
    assert np.mean([degrees_apart(spot, centre) for spot in found]) < 1.5


@pytest.mark.parametrize(
    ("name", "pixel"),
    [
        ("frame", ("0", 100, 100)),
        ("frame", ([0, 1], 100, 100)),
        ("x", (0, np.array([100, 101]), 100)),
        ("x", (0, None, 100)),
        ("y", (0, 100, np.array([[100.0]]))),
    ],
)
def test_pixels_are_located_one_by_one(capture, name, pixel):
    with pytest.raises(MezoroiError, match=f"^{name} is no single number: "):
        capture.locate(*pixel)


def test_numbers_of_numpy_are_located_as_pythons(capture):
    expected = capture.locate(0, 100, 90)
    assert np.isfinite(expected).all()
    assert capture.locate(np.int64(0), np.float32(100), np.array(90)) == expected


def front_of(truth, frame):
    """The place of the melon that faces the camera in a frame."""
    return truth.poses[frame].T @ (np.array((0.2, 0.1, 0.97)) / np.linalg.norm((0.2, 0.1, 0.97)))


def test_between_and_beyond_the_frames_used(melon, shot, sparse):
    assert sparse.numbers == tuple(range(0, 36, 2))
    truth, place = shot[1], towards(10, 30)
    seen = [f for f in range(1, 34, 2) if (truth.poses[f] @ place)[2] > 0.55]
    away = [degrees_apart(located(sparse, truth, melon, place, f), place) for f in seen]
    assert len(away) >= 4 and np.mean(away) < 2
    # Frame 35 comes after the last one used: the turn is taken to go on.
    place = front_of(truth, 35)
    assert degrees_apart(located(sparse, truth, melon, place, 35), place) < 3
    for frame in (-1, 36, 400):
        with pytest.raises(MezoroiError, match=f"frame {frame} was not captured"):
            sparse.locate(frame, 100, 100)
    assert np.isnan(sparse.locate(0, 3, 3)).all() and np.isnan(sparse.locate(1, 3, 3)).all()


def test_pixels_are_those_of_the_source(shot, capture, tmp_path):
    """A frame too large to be used as it is is located in its own pixels."""
    large = [cv2.resize(image, (1280, 960), interpolation=cv2.INTER_CUBIC) for image in shot[0][:1]]
    found = unroll(next(write_frames(tmp_path / "large", large).iterdir()), height=32)
    small = unroll(next(write_frames(tmp_path / "small", shot[0][:1]).iterdir()), height=32)
    assert found.scales == (0.75,) and small.scales == (1.0,)
    for x, y in ((160, 120), (120, 90), (200, 150)):
        expected = small.locate(0, x, y)
        np.testing.assert_allclose(found.locate(0, 4 * x + 1.5, 4 * y + 1.5), expected, atol=0.8)


def test_saving(capture, tmp_path):
    out = tmp_path / "撮影" / "果実 1"
    capture.save(out)
    capture.save(out)  # over what stands there
    names = ["capture.json", "coverage.png", "outline.json", "surface.png"]
    assert sorted(path.name for path in out.iterdir()) == names
    np.testing.assert_array_equal(read_image(out / "surface.png"), capture.surface)
    coverage = read_image(out / "coverage.png")[..., 0]
    np.testing.assert_array_equal(coverage, capture.coverage * 255)
    assert read_outline(out / "outline.json") == pytest.approx(capture.outline)
    written = json.loads((out / "capture.json").read_text(encoding="utf-8"))
    assert written == json.loads(json.dumps(capture.to_dict()))
    assert written["direction"] == 1 and len(written["frames"]) == 36
    (tmp_path / "file").touch()
    with pytest.raises(MezoroiError, match="cannot write"):
        capture.save(tmp_path / "file")


@pytest.mark.skipif(not REAL.is_dir(), reason=f"no real fruits in {REAL}")
@pytest.mark.parametrize("fruit", ["tomatoes/obj0005", "oranges/obj0003"])
def test_real_fruits(fruit):
    found = unroll(REAL / fruit, height=HEIGHT)
    assert found.covered > 0.8
    assert 250 < found.degrees_turned < 600
    assert 0.6 < found.outline["height_width"] < 1.6
    assert found.outline["solidity"] > 0.95
    assert found.surface[found.coverage].mean() > 30  # the fruit, not its black background
