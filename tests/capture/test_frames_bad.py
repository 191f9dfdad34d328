"""Damaged, empty and foreign sources: what decodes is used, the rest is one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mezoroi.capture.frames import is_video, read_clip
from mezoroi.errors import MezoroiError
from tests.capture.clips import (
    CORNERS,
    HEIGHT,
    PNG,
    WIDTH,
    cornered,
    corners,
    grey,
    numbers,
    ramp,
    refused,
    write_sound,
    write_video,
)


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", "libx264"), ("a.mov", "libx265"), ("a.mkv", "libx264"), ("a.avi", "mpeg4")],
)
def test_a_truncated_video_gives_what_decodes(tmp_path: Path, name: str, codec: str) -> None:
    generator = np.random.default_rng(0)
    noise = [generator.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8) for _ in range(60)]
    options = {"g": "10", **({"x265-params": "log-level=none"} if codec == "libx265" else {})}
    container = {"movflags": "faststart"} if name[-2:] in ("p4", "ov") else {}
    path = write_video(tmp_path / name, noise, codec, options=options, container=container)
    whole = read_clip(path)
    assert whole.count == 60 and whole.notes == ()
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    clip = read_clip(path)
    assert 10 < clip.count < 50
    assert clip.notes == (f"the video is cut short: the first {clip.count} frames are used",)
    assert numbers(clip) == list(range(clip.count))
    for frame, expected in zip(clip.frames, whole.frames, strict=False):
        np.testing.assert_array_equal(frame.image, expected.image)


def test_damage_in_the_middle_is_noted(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mov", [cornered()] * 12, "png", pixels="rgb24")
    pieces = path.read_bytes().split(PNG)
    path.write_bytes(PNG.join(pieces[:6]) + b"\0" * len(PNG) + PNG.join(pieces[6:]))
    clip = read_clip(path)
    (note,) = clip.notes
    assert "damaged" in note and str(path) not in note and clip.count == 11
    for frame in clip.frames:
        np.testing.assert_array_equal(corners(frame.image), CORNERS > 127)


def test_bad_files_are_one_line(tmp_path: Path) -> None:
    assert "does not exist" in refused(tmp_path / "none.mp4")
    (tmp_path / "empty.mov").touch()
    assert "is an empty file" in refused(tmp_path / "empty.mov")
    for name in ("text.mp4", "text.txt", "text.jpg", "text"):
        (tmp_path / name).write_text("not a video\n" * 50)
        refused(tmp_path / name)
        assert is_video(tmp_path / name) == name.endswith(".mp4")
    assert "sound" in refused(write_sound(tmp_path / "sound.m4a"))
    assert "sound" in refused(write_sound(tmp_path / "sound.mp4"))
    assert not is_video(tmp_path / "sound.m4a") and not is_video(tmp_path)
    headless = write_video(tmp_path / "headless.mp4", ramp(6))  # its index is at the end
    headless.write_bytes(headless.read_bytes()[:-200])
    assert "damaged" in refused(headless)
    small = write_video(tmp_path / "small.mkv", [grey(9, 6, 6)], "ffv1", pixels="yuv444p")
    assert "6 x 6" in refused(small)
    Image.fromarray(cornered()).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:60])
    assert "image" in refused(tmp_path / "cut.png")


def test_a_video_without_frames(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mov", ramp(3), "png", pixels="rgb24")
    path.write_bytes(path.read_bytes().replace(PNG, b"\0" * len(PNG)))
    assert "without any frame" in refused(path)


def test_playlists_fetch_nothing(tmp_path: Path) -> None:
    path = tmp_path / "list.mp4"
    path.write_text("#EXTM3U\n#EXTINF:5,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n")
    refused(path)


def test_settings_out_of_range(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", ramp(2))
    with pytest.raises(MezoroiError, match="max_frames"):
        read_clip(path, max_frames=0)
    with pytest.raises(MezoroiError, match="max_side"):
        read_clip(path, max_side=7)
