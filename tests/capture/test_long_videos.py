"""Of a long video only the frames that are kept are converted."""

from __future__ import annotations

import numpy as np
import pytest

from mezoroi.capture import frames
from mezoroi.capture.frames import read_clip
from mezoroi.datasets.melons import write_video

COUNT = 50


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("long") / "film.mp4"
    grey = np.linspace(20, 230, COUNT).astype(np.uint8)
    write_video(path, [np.full((64, 96, 3), level, np.uint8) for level in grey], 25)
    return path


@pytest.fixture
def converted(monkeypatch):
    """One entry for each frame that is converted to RGB."""
    calls, convert = [], frames.upright_rgb
    monkeypatch.setattr(frames, "upright_rgb", lambda *a: (calls.append(1), convert(*a))[1])
    return calls


@pytest.mark.parametrize(("most", "stride"), [(1, 64), (7, 8), (12, 8), (13, 4), (50, 1)])
def test_only_what_is_kept_is_converted(video, converted, most, stride):
    clip = read_clip(video, max_frames=most)
    assert [frame.number for frame in clip.frames] == list(range(0, COUNT, stride))
    assert clip.count == COUNT and len(converted) == len(clip.frames)


@pytest.mark.parametrize("stated", [0, 10, 500, 100_000])
def test_what_a_video_states_of_its_length_need_not_be_true(video, monkeypatch, stated):
    monkeypatch.setattr(frames, "stated_frames", lambda *_: stated)
    found = [frame.number for frame in read_clip(video, max_frames=12).frames]
    assert found == list(range(0, COUNT, 8))


@pytest.mark.parametrize("level", [200, 50])
def test_a_still_stretch_does_not_take_the_frames_of_the_turn(tmp_path, level):
    """A square that moves for 30 of 430 frames, in noise, slower at first."""
    rng = np.random.default_rng(0)
    place = np.interp(np.arange(430), [199, 214, 229], [0, 60, 150]).astype(int)
    images = []
    for left in place:
        image = np.full((120, 200, 3), 40.0)
        image[30:70, left : left + 40] = level
        images.append(np.clip(image + rng.normal(0, 2, image.shape), 0, 255).astype(np.uint8))
    write_video(tmp_path / "film.mp4", images, 25)
    clip = read_clip(tmp_path / "film.mp4", max_frames=24)
    found = np.array([frame.number for frame in clip.frames])
    assert len(found) <= 24 and found[0] == 0 and found[-1] == 429
    assert ((found >= 199) & (found <= 230)).sum() >= 10
    # What stands still is still seen now and then, and no step of the turn is a long one.
    assert np.diff(found).max() <= 3 * 429 / 23
    assert np.diff(place[found]).max() <= 36


@pytest.mark.filterwarnings("error")
def test_an_even_turn_is_thinned_evenly(tmp_path):
    assert frames_used_of(tmp_path, np.arange(100)) == list(range(0, 100, 8))
    # A film of nothing at all, too.
    assert frames_used_of(tmp_path, np.zeros(100, int)) == list(range(0, 100, 8))


def test_an_even_turn_is_read_once(video, monkeypatch):
    opened, read = [], frames.decoded
    monkeypatch.setattr(frames, "decoded", lambda *a: (opened.append(1), read(*a))[1])
    read_clip(video, max_frames=12)
    assert len(opened) == 1


def frames_used_of(folder, place):
    images = []
    for left in place:
        image = np.full((120, 200, 3), 40, np.uint8)
        image[30:70, left : left + 40] = 200
        images.append(image)
    write_video(folder / "film.mp4", images, 25)
    clip = read_clip(folder / "film.mp4", max_frames=16)
    return [frame.number for frame in clip.frames]


def test_a_passing_hand_does_not_take_the_frames_of_the_turn(tmp_path):
    """Stripes that turn evenly, and for a tenth of the time something bright in their midst."""
    rng = np.random.default_rng(1)
    stripes = np.repeat(rng.integers(60, 120, 60), 8).astype(np.uint8)
    images = []
    for number in range(120):
        image = np.full((120, 200, 3), 40, np.uint8)
        image[20:100, 60:140] = np.roll(stripes, -4 * number)[None, :80, None]
        if 76 <= number < 88:
            image[:, 12 * (number - 76) : 12 * (number - 76) + 60] = 220
        images.append(image)
    write_video(tmp_path / "film.mp4", images, 25)
    clip = read_clip(tmp_path / "film.mp4", max_frames=48)
    found = np.array([frame.number for frame in clip.frames])
    assert 24 <= len(found) <= 48
    assert np.diff(found).max() <= 8
    hidden = (found >= 76) & (found < 88)
    assert hidden.sum() <= 0.25 * len(found)
