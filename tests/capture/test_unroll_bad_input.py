"""Whatever cannot be unrolled is one line that says why and what to do."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import av
import cv2
import numpy as np
import pytest

from mezoroi.capture.frames import Clip, Frame
from mezoroi.capture.unrolling import _finer_side, unroll
from mezoroi.datasets.melons import Turn, make_melon, write_video
from mezoroi.errors import MezoroiError
from tests.capture.films import film


@pytest.fixture(scope="module")
def views():
    """Twelve frames, 30 degrees apart."""
    melon = make_melon("A", np.random.default_rng(5), height=64)
    turn = Turn(degrees=330, frames=12, size=(160, 200), nearness=0.0)
    return film(melon, turn)[0]


@pytest.fixture(scope="module")
def plain(views, tmp_path_factory):
    """Their capture; as text, im10 and im11 would come before im2."""
    return unroll(write_frames(tmp_path_factory.mktemp("views") / "plain", views), height=32)


@pytest.fixture(autouse=True)
def quiet():
    """No warning of NumPy or OpenCV reaches the user."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def write_frames(folder, images, names=None):
    folder.mkdir()
    for number, image in enumerate(images):
        name = f"im{number}.png" if names is None else names[number]
        (folder / name).write_bytes(cv2.imencode(".png", image[..., ::-1])[1].tobytes())
    return folder


def ball(x=100, y=80, radius=60, size=(160, 200), background=25):
    image = np.full((*size, 3), background, dtype=np.uint8)
    cv2.circle(image, (x, y), radius, (140, 160, 95), -1, cv2.LINE_AA)
    grain = np.random.default_rng(0).normal(0, 1.5, image.shape)
    return np.clip(np.rint(image + grain), 0, 255).astype(np.uint8)


def complaint(source, **options):
    """The one line that unrolling a source ends with; it names the source."""
    with pytest.raises(MezoroiError) as error:
        unroll(source, **options)
    line = str(error.value)
    assert "\n" not in line and str(source) in line and ": " in line.replace(str(source), "")
    return line


def test_not_a_video(tmp_path):
    assert "does not exist" in complaint(tmp_path / "none.mp4")
    for name in ("text.mp4", "text.jpg", "text"):
        (tmp_path / name).write_text("neither a video nor a photo\n" * 20)
        complaint(tmp_path / name)
    (tmp_path / "empty.mp4").touch()
    complaint(tmp_path / "empty.mp4")
    (tmp_path / "folder").mkdir()
    assert "no photo" in complaint(tmp_path / "folder")
    (tmp_path / "folder" / "notes.txt").write_text("im0.png")
    assert "no photo" in complaint(tmp_path / "folder")


def test_a_video_without_frames(tmp_path):
    path = tmp_path / "none.mp4"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("mpeg4", rate=25)
        stream.height, stream.width, stream.pix_fmt = 160, 200, "yuv420p"
        output.mux(stream.encode(None))
    complaint(path)


def test_a_video_of_one_frame_is_a_photo(views, tmp_path):
    write_video(tmp_path / "one.mp4", views[:1], 15)
    film = unroll(tmp_path / "one.mp4", height=32)
    photo = unroll(next(write_frames(tmp_path / "one", views[:1]).iterdir()), height=32)
    for found in (film, photo):
        assert found.degrees_turned == 0 and found.numbers == (0,)
        assert found.notes[-1].startswith("a single photo shows one side only")
    np.testing.assert_array_equal(film.coverage, photo.coverage)
    assert np.abs(film.surface.astype(float) - photo.surface).mean() < 6


def test_frames_of_different_sizes(views, tmp_path):
    mixed = [
        cv2.resize(view, None, fx=1.25, fy=1.25) if number % 2 else view
        for number, view in enumerate(views[:8])
    ]
    found = unroll(write_frames(tmp_path / "mixed", mixed), height=32)
    assert found.degrees_turned == pytest.approx(210, abs=6)
    radius = [view.ellipse.radius for view in found.views]
    np.testing.assert_allclose(radius[1::2], 1.25 * np.array(radius[::2]), rtol=0.02)


def test_frames_are_taken_in_natural_order(views, plain, tmp_path):
    names = [f"im{number:02}.png" for number in range(12)]
    padded = unroll(write_frames(tmp_path / "padded", views, names), height=32)
    assert padded.surface.tobytes() == plain.surface.tobytes()
    assert padded.to_dict() == plain.to_dict()
    assert plain.degrees_turned == pytest.approx(330, abs=6)


def test_a_photo_that_cannot_be_read_is_noted(views, tmp_path):
    folder = write_frames(tmp_path / "photos", views[:8])
    (folder / "im3.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    found = unroll(folder, height=32)
    assert found.numbers == (0, 1, 2, *range(4, 8))
    assert any("im3.png" in note for note in found.notes)


def test_an_error_says_what_of_the_source_could_not_be_read(views, tmp_path):
    """Where most of a film is lost, to turn the fruit once around is no remedy by itself."""
    folder = write_frames(tmp_path / "photos", views[:3])
    (folder / "im2.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    line = complaint(folder, height=32)
    assert "turn the fruit once around; note that a photo is left out: im2.png is" in line


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (ball(radius=12), "the fruit is only 2[0-9] pixels wide: go closer"),
        (ball(x=45, y=80, radius=35), None),
        (ball(y=5), "leaves the frame"),
        (ball(x=0), "leaves the frame"),
        (ball(radius=0), "no fruit stands out"),
        (np.zeros((160, 200, 3), np.uint8), "no fruit stands out"),
        (np.full((160, 200, 3), 255, np.uint8), "no fruit stands out"),
        (np.full((8, 8, 3), 90, np.uint8), "no fruit stands out"),
        (np.maximum(ball(50, 80, 40), ball(150, 80, 40)), "two fruits"),
    ],
    ids=["small", "fits", "above", "beside", "empty", "black", "white", "tiny", "two"],
)
def test_a_photo_of_no_single_whole_fruit(image, words, tmp_path):
    photo = next(write_frames(tmp_path / "one", [image]).iterdir())
    if words is None:
        assert unroll(photo, height=32).covered > 0.3
    else:
        with pytest.raises(MezoroiError, match=words):
            unroll(photo, height=32)
        complaint(photo)


@pytest.mark.parametrize("radius", [95, 110, 140, 200])
def test_a_fruit_larger_than_the_frame(radius, tmp_path):
    line = complaint(next(write_frames(tmp_path / "one", [ball(radius=radius)]).iterdir()))
    assert "go closer" not in line


def test_noise_and_stripes_are_no_traceback(tmp_path):
    rng = np.random.default_rng(0)
    stripes = np.zeros((160, 200, 3), np.uint8)
    stripes[:, ::20] = 255
    gradient = np.tile(np.linspace(0, 255, 200), (160, 1))[..., None].repeat(3, axis=2)
    images = [
        rng.integers(0, 256, (160, 200, 3), dtype=np.uint8),
        stripes,
        gradient.astype(np.uint8),
        np.eye(160, 200, dtype=np.uint8)[..., None].repeat(3, axis=2) * 255,
    ]
    for number, image in enumerate(images):
        folder = write_frames(tmp_path / str(number), [image] * 6)
        complaint(folder, height=32)


def test_frames_that_do_not_hang_together_are_no_turn(views, tmp_path):
    as_text = [views[number] for number in sorted(range(12), key=str)]
    line = complaint(write_frames(tmp_path / "text", as_text), height=32)
    assert "the turn cannot be followed at frame 4: " in line
    turned = [np.ascontiguousarray(np.rot90(view)) for view in views[6:]]
    line = complaint(write_frames(tmp_path / "turned", [*views[:6], *turned]), height=32)
    assert "the turn cannot be followed at frame 6: " in line


def test_a_step_that_cannot_be_followed_is_noted(tmp_path):
    melon = make_melon("A", np.random.default_rng(5), height=64)
    frames = film(melon, Turn(degrees=276, frames=24, size=(160, 200), nearness=0.0))[0]
    whole = unroll(write_frames(tmp_path / "whole", frames), height=32)
    assert not [note for note in whole.notes if "followed" in note]
    skipped = unroll(write_frames(tmp_path / "skipped", [*frames[:15], *frames[21:]]), height=32)
    note = "the turn could not be followed at frame 15: the unrolled picture and the degrees "
    assert [found for found in skipped.notes if found.startswith(note)]


def around(folder, count, seed):
    """Photos spread evenly around a melon."""
    melon = make_melon("A", np.random.default_rng(seed), height=128)
    turn = Turn(degrees=360 - 360 / count, frames=count, size=(160, 200), nearness=0.1)
    return write_frames(folder, film(melon, turn)[0])


def test_photos_far_apart_say_so(tmp_path):
    closer = "take them at most 50 degrees apart"
    assert closer in unroll(around(tmp_path / "four", 4, 5), height=32).notes[-1]
    assert closer in complaint(around(tmp_path / "five", 5, 6), height=32)
    notes = unroll(around(tmp_path / "eight", 8, 5), height=32).notes
    assert not [note for note in notes if closer in note or "followed" in note]


@pytest.mark.parametrize("count", [2, 5, 6])
def test_a_fruit_that_does_not_turn(views, tmp_path, count):
    folder = write_frames(tmp_path / "still", [views[0]] * count)
    assert "does not turn" in complaint(folder, height=32)


@pytest.mark.parametrize("degrees", [2.0, -4.0])
def test_a_fruit_that_hardly_turns(tmp_path, degrees):
    melon = make_melon("A", np.random.default_rng(5), height=64)
    turn = Turn(
        degrees=abs(degrees), direction=int(np.sign(degrees)), frames=8, size=(160, 200), glare=0.5
    )
    folder = write_frames(tmp_path / "hardly", film(melon, turn)[0])
    assert "does not turn: turn it once around" in complaint(folder, height=32)


def test_a_fruit_that_leaves_in_some_frames(views, tmp_path):
    images = [view[:, :135] if number == 6 else view for number, view in enumerate(views[:7])]
    found = unroll(write_frames(tmp_path / "some", images), height=32)
    assert found.numbers == tuple(range(6))
    assert "the fruit leaves the frame in 1 of 7 frames used" in found.notes
    assert found.degrees_turned == pytest.approx(150, abs=6)
    with pytest.raises(MezoroiError, match="leaves the frame"):
        unroll(write_frames(tmp_path / "all", [view[:, :135] for view in views]), height=32)


def glared(image, radius=75):
    return cv2.circle(image.copy(), (100, 80), radius, (255, 255, 255), -1)


@pytest.mark.parametrize("lost", [[0], [3], [11]])
@pytest.mark.parametrize("radius", [50, 60, 75])
def test_a_frame_under_glare_all_over_is_left_out(views, plain, tmp_path, lost, radius):
    images = [glared(view, radius) if n in lost else view for n, view in enumerate(views)]
    found = unroll(write_frames(tmp_path / "glare", images), height=32)
    assert found.covered > 0.85
    if radius == 75:
        assert set(found.numbers) == set(range(12)) - set(lost)
        named = ", ".join(map(str, lost))
        assert [note for note in found.notes if f"of 12 frames used (number {named})" in note]
        assert not [note for note in found.notes if "leaves the frame" in note]


def test_a_gap_of_a_quarter_turn_is_not_guessed(views, tmp_path):
    images = [glared(view) if n in (5, 6) else view for n, view in enumerate(views)]
    line = complaint(write_frames(tmp_path / "gap", images), height=32)
    assert "the turn cannot be followed at frame 7: " in line


def test_an_overexposed_fruit_is_one_line(views, tmp_path):
    photo = next(write_frames(tmp_path / "one", [glared(views[0], 60)]).iterdir())
    assert "the fruit is overexposed" in complaint(photo, height=32)
    # Two frames, one of them without anything to compare.
    pair = unroll(write_frames(tmp_path / "two", [glared(views[0], 60), views[1]]), height=32)
    assert pair.numbers == (1,)
    assert "the fruit is overexposed in 1 of 2 frames used (number 0)" in pair.notes
    assert "overexposed" in complaint(
        write_frames(tmp_path / "all", [glared(view, 60) for view in views]), height=32
    )
    # One frame of a turn is no photo of one side.
    most = [view if number == 3 else glared(view, 60) for number, view in enumerate(views)]
    assert "overexposed" in complaint(write_frames(tmp_path / "most", most), height=32)


def test_one_bad_photo_among_several_sizes_is_noted(views, tmp_path):
    images = [
        cv2.resize(view, None, fx=1.25, fy=1.25) if number % 2 else view
        for number, view in enumerate(views)
    ]
    images[4] = np.full_like(images[4], 25)
    found = unroll(write_frames(tmp_path / "mixed", images), height=32)
    assert found.numbers == (*range(4), *range(5, 12))
    note = "no fruit stands out from the background in 1 of 12 frames used (number 4)"
    assert note in found.notes


def test_a_hidden_fruit_does_not_leave_the_frame(views, tmp_path):
    images = list(views)
    images[4] = np.full_like(images[4], 25)
    found = unroll(write_frames(tmp_path / "gone", images), height=32)
    assert "the fruit is hidden or gone in 1 of 12 frames used (number 4)" in found.notes


def test_memory_bounds_how_finely_a_small_fruit_is_read():
    frames = tuple(Frame(n, 0.0, np.zeros((54, 96, 3), np.uint8), 0.25) for n in range(48))
    clip = Clip(frames, 48, (2160, 3840))
    found = [SimpleNamespace(ellipse=SimpleNamespace(radius=9.0))] * 48
    side = _finer_side(clip, found)
    assert side > 960 and 3 * 48 * side * side * 2160 / 3840 <= 300e6
    # A few frames are read as finely as the fruit needs it.
    few = Clip(frames[:6], 6, (2160, 3840))
    assert _finer_side(few, found[:6]) == 3840


@pytest.mark.parametrize("noise", [2.0, 5.0])
def test_a_plain_fruit_that_stands_still_is_no_turn(tmp_path, noise):
    rng = np.random.default_rng(0)
    still = ball().astype(np.float64)
    images = [
        np.clip(still + rng.normal(0, noise, still.shape), 0, 255).astype(np.uint8)
        for _ in range(12)
    ]
    complaint(write_frames(tmp_path / "still", images), height=32)


def test_a_turn_forth_and_back_is_a_turn(tmp_path):
    melon = make_melon("A", np.random.default_rng(5), height=64)
    there = film(melon, Turn(degrees=350, frames=24, size=(160, 200), nearness=0.0))[0][:20]
    found = unroll(write_frames(tmp_path / "back", [*there, *there[-2::-1]]), height=32)
    assert found.degrees_turned == pytest.approx(0, abs=6)
    assert found.covered > 0.9


def test_the_outline_of_a_turn_forth_and_back_is_that_of_one_way(tmp_path):
    """A side that comes round again turning back is not taken for the one behind it."""
    melon = make_melon("C", np.random.default_rng(6), height=128)
    there = film(melon, Turn(degrees=345, frames=24, size=(240, 320), nearness=0.0))[0]
    one_way = unroll(write_frames(tmp_path / "there", there), height=32).outline
    back = unroll(write_frames(tmp_path / "back", [*there, *there[-2::-1]]), height=32).outline
    for name in ("asymmetry_left_right", "asymmetry_top_bottom", "height_width_variation"):
        assert back[name] == pytest.approx(one_way[name], rel=0.15)


@pytest.mark.parametrize("count", [1, 6])
def test_a_fruit_is_judged_by_the_pixels_of_its_source(views, tmp_path, count):
    """A fruit 130 pixels wide in a picture of 3840, a quarter of which is looked at first."""
    large = []
    for view in views[:count]:
        image = np.empty((2160, 3840, 3), np.uint8)
        image[:] = view[2, 2]
        image[900:1060, 1700:1900] = view
        large.append(image)
    found = unroll(write_frames(tmp_path / "large", large), height=32)
    small = unroll(write_frames(tmp_path / "small", views[:count]), height=32)
    assert found.degrees_turned == pytest.approx(small.degrees_turned, abs=3)
    assert found.covered == pytest.approx(small.covered, abs=0.03)
    np.testing.assert_allclose(
        found.locate(0, 1700 + 90, 900 + 70), small.locate(0, 90, 70), atol=3
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"height": 31}, "31 high: give 32 to 2048 rows"),
        ({"height": 0}, "32 to 2048"),
        ({"height": 2049}, "2049 high: give 32 to 2048 rows"),
        ({"max_frames": 0}, "1"),
    ],
)
def test_unusable_options(views, tmp_path, options, words):
    photo = next(write_frames(tmp_path / "one", views[:1]).iterdir())
    with pytest.raises(MezoroiError, match=words) as error:
        unroll(photo, **options)
    assert "\n" not in str(error.value)
