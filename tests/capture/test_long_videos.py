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
