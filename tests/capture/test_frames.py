"""Videos and folders become a few evenly spaced frames."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mezoroi.capture.frames import VIDEO_SUFFIXES, is_video, read_clip
from mezoroi.capture.images import is_photo
from tests.capture.clips import (
    CORNERS,
    HEIGHT,
    WIDTH,
    cornered,
    corners,
    grey,
    levels,
    numbers,
    ramp,
    refused,
    write_video,
)


@pytest.mark.parametrize(
    ("name", "codec", "pixels"),
    [
        ("clip.mp4", "libx264", "yuv420p"),
        ("clip.mov", "libx265", "yuv420p10le"),
        ("clip.avi", "mjpeg", "yuvj420p"),
        ("clip.mkv", "ffv1", "yuv444p"),
        ("clip.webm", "libvpx-vp9", "yuv420p"),
        ("clip.mpg", "mpeg2video", "yuv420p"),
        ("clip.mts", "libx264", "yuv420p"),
    ],
)
def test_containers_and_codecs(tmp_path: Path, name: str, codec: str, pixels: str) -> None:
    options = {"x265-params": "log-level=none"} if codec == "libx265" else None
    path = write_video(tmp_path / name, ramp(6), codec, pixels=pixels, options=options)
    clip = read_clip(path)
    assert is_video(path) and path.suffix in VIDEO_SUFFIXES
    assert clip.count == 6 and clip.size == (HEIGHT, WIDTH) and clip.notes == ()
    assert numbers(clip) == list(range(6))
    np.testing.assert_allclose([f.time for f in clip.frames], np.arange(6) / 25, atol=2e-3)
    np.testing.assert_allclose(levels(clip), 20 + 42 * np.arange(6), atol=4)
    for frame in clip.frames:
        assert frame.image.shape == (HEIGHT, WIDTH, 3) and frame.image.dtype == np.uint8
        assert frame.image.flags.c_contiguous and frame.scale == 1


def test_content_decides_not_the_name(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", ramp(2))
    for name in ("clip.jpg", "12:30 メロン%d", "-i"):
        other = tmp_path / name
        other.write_bytes(path.read_bytes())
        assert is_video(other) and not is_photo(other)
        assert read_clip(str(other)).count == 2
    photo = tmp_path / "photo.mp4"
    Image.fromarray(cornered()).save(photo, format="PNG")
    assert not is_video(photo)
    assert read_clip(photo).count == 1


def test_a_long_video_is_thinned_evenly(tmp_path: Path) -> None:
    count = 1000
    path = write_video(tmp_path / "long.mp4", ramp(count, 32, 32))
    clip = read_clip(path, max_frames=96)
    assert clip.count == count
    assert numbers(clip) == list(range(0, count, 16))
    assert 48 < len(clip.frames) <= 96
    expected = 20 + 210 * np.arange(0, count, 16) / (count - 1)
    np.testing.assert_allclose(levels(clip), expected, atol=4)
    np.testing.assert_allclose([f.time for f in clip.frames], np.arange(0, count, 16) / 25)


@pytest.mark.parametrize("most", [1, 2, 3, 7, 20])
@pytest.mark.parametrize("count", [1, 2, 7, 20])
def test_more_than_half_of_the_most_remain(tmp_path: Path, most: int, count: int) -> None:
    video = write_video(tmp_path / "clip.avi", ramp(count, 16, 16), "mjpeg", pixels="yuvj420p")
    folder = tmp_path / "photos"
    folder.mkdir()
    for i, image in enumerate(ramp(count, 16, 16)):
        Image.fromarray(image).save(folder / f"im{i}.png")
    for source in (video, folder):
        found = numbers(read_clip(source, max_frames=most))
        assert len(found) == count if count <= most else most / 2 < len(found) <= most
        assert found[0] == 0 and len(set(np.diff(found))) <= 1
        assert read_clip(source, max_frames=most).count == count


def test_memory_does_not_grow_with_length(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", ramp(200, 240, 320))
    read_clip(path, max_frames=4)
    tracemalloc.start()
    try:
        read_clip(path, max_frames=4)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * 240 * 320 * 3


def test_kept_frames_are_reduced(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", [cornered(240, 320)] * 2)
    clip = read_clip(path, max_side=80)
    assert clip.size == (240, 320)
    for frame in clip.frames:
        assert frame.image.shape == (60, 80, 3) and frame.scale == 0.25
        np.testing.assert_array_equal(corners(frame.image), CORNERS > 127)
    assert read_clip(path, max_side=321).frames[0].image.shape == (240, 320, 3)


def test_folders_are_read_in_natural_order(tmp_path: Path) -> None:
    for number in (10, 2, 1, 33):
        Image.fromarray(grey(5 * number)).save(tmp_path / f"im{number}.png")
    Image.fromarray(grey(255)).save(tmp_path / "._im3.png")
    (tmp_path / "notes.txt").write_text("no photo")
    (tmp_path / "inner.png").mkdir()
    clip = read_clip(tmp_path)
    np.testing.assert_array_equal(levels(clip), [5, 10, 50, 165])
    assert clip.count == 4 and clip.notes == () and clip.size == (HEIGHT, WIDTH)
    assert np.isnan([frame.time for frame in clip.frames]).all()


def test_photos_of_different_sizes(tmp_path: Path) -> None:
    Image.fromarray(cornered(80, 160)).save(tmp_path / "1.png")
    Image.fromarray(cornered(40, 20)).save(tmp_path / "2.png")
    Image.fromarray(cornered(20, 10)).save(tmp_path / "3.png")
    clip = read_clip(tmp_path, max_side=20)
    assert [f.image.shape[:2] for f in clip.frames] == [(10, 20), (20, 10), (20, 10)]
    assert [f.scale for f in clip.frames] == [0.125, 0.5, 1]
    assert clip.size == (80, 160)


def test_unreadable_photos_are_left_out_with_a_note(tmp_path: Path) -> None:
    for number in range(4):
        Image.fromarray(grey(50 * number)).save(tmp_path / f"{number}.png")
    (tmp_path / "2.png").write_text("no photo")
    clip = read_clip(tmp_path)
    assert numbers(clip) == [0, 1, 3] and clip.count == 4
    (note,) = clip.notes
    assert "left out: 2.png is" in note and "left out" in note
    for path in tmp_path.iterdir():
        path.write_text("no photo")
    assert "can be read" in refused(tmp_path)


def test_folder_without_photos(tmp_path: Path) -> None:
    assert "no photo" in refused(tmp_path)


def test_one_photo(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    Image.fromarray(cornered()).save(path)
    clip = read_clip(path, max_side=32)
    (frame,) = clip.frames
    assert frame.number == 0 and np.isnan(frame.time) and frame.scale == 0.5
    assert clip.count == 1 and clip.size == (HEIGHT, WIDTH) and clip.notes == ()
    np.testing.assert_array_equal(corners(frame.image), CORNERS > 127)


def test_photos_are_told_without_ffmpeg(tmp_path: Path) -> None:
    Image.fromarray(cornered()).save(tmp_path / "photo.png")
    code = (
        "import sys; from mezoroi.capture.frames import is_video; "
        "print(is_video(sys.argv[1]), 'av' in sys.modules, 'pillow_heif' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "photo.png")]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout.split() == ["False", "False", "False"]
