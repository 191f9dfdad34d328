"""Frames are upright, whole, in the right colours and at the right time."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from mezoroi.capture.frames import Clip, read_clip
from tests.capture.clips import (
    CORNERS,
    WIDTH,
    cornered,
    corners,
    grey,
    numbers,
    ramp,
    write_video,
)


def turned(path: Path, a: int, b: int, c: int, d: int) -> Path:
    """Write the display matrix into the track header, as phones do."""
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 44
    matrix = (a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    content[at : at + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in matrix)
    path.write_bytes(bytes(content))
    return path


@pytest.mark.parametrize(
    ("matrix", "shown"),
    [
        ((1, 0, 0, 1), lambda a: a),
        ((0, 1, -1, 0), lambda a: np.rot90(a, -1)),  # a phone held upright: turn clockwise
        ((-1, 0, 0, -1), lambda a: np.rot90(a, 2)),
        ((0, -1, 1, 0), lambda a: np.rot90(a, 1)),
        ((-1, 0, 0, 1), lambda a: a[:, ::-1]),
        ((1, 0, 0, -1), lambda a: a[::-1]),
        ((0, 1, 1, 0), lambda a: a.swapaxes(0, 1)),
        ((0, -1, -1, 0), lambda a: np.rot90(a, 2).swapaxes(0, 1)),
    ],
)
def test_videos_are_turned_upright(tmp_path: Path, matrix, shown) -> None:
    path = turned(write_video(tmp_path / "clip.mp4", [cornered()] * 2), *matrix)
    clip = read_clip(path, max_side=32)
    upright = shown(cornered())
    assert clip.size == upright.shape[:2]
    for frame in clip.frames:
        assert frame.image.shape == shown(np.zeros((24, 32, 3))).shape
        assert frame.scale == 0.5
        np.testing.assert_array_equal(corners(frame.image), corners(upright))


def test_rotation_agrees_with_the_decoder(tmp_path: Path) -> None:
    path = turned(write_video(tmp_path / "clip.mp4", [cornered()]), 0, 1, -1, 0)
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).rotation == -90  # clockwise


def combed(count: int) -> Iterator[np.ndarray]:
    """A bar that moves 4 pixels between the two fields of a frame."""
    for i in range(count):
        image = grey(20)
        for field in (0, 1):
            left = 8 + 8 * i + 4 * field
            image[field::2, left : left + 12] = 230
        yield image


def combing(image: np.ndarray) -> float:
    rows = image[..., 1].astype(float)
    return float(np.abs(2 * rows[1:-1] - rows[:-2] - rows[2:]).mean())


def centre(image: np.ndarray) -> float:
    return float(np.average(np.arange(WIDTH), weights=image[..., 1].mean(axis=0) - 15))


@pytest.mark.parametrize("codec", ["mpeg2video", "libx264"])
def test_interlaced_videos_are_deinterlaced(tmp_path: Path, codec: str) -> None:
    def film(name: str, options: dict[str, str]) -> Clip:
        quality = {"qscale": "2"} if codec == "mpeg2video" else {"crf": "8"}
        path = tmp_path / name
        return read_clip(write_video(path, combed(5), codec, options={**quality, **options}))

    options = {"flags": "+ildct+ilme"}
    if codec == "libx264":
        options["x264-params"] = "tff=1"
    fields, whole = film("fields.mkv", options), film("whole.mkv", {})
    assert fields.count == whole.count == 5 and numbers(fields) == numbers(whole)
    assert [f.time for f in fields.frames] == pytest.approx([f.time for f in whole.frames])
    for field, frame in zip(fields.frames, whole.frames, strict=True):
        assert combing(frame.image) > 10
        assert combing(field.image) < 0.4 * combing(frame.image)
        # The same moment: 4 pixels to a field, 8 to the next frame.
        assert abs(centre(field.image) - centre(frame.image)) < 3


def test_variable_frame_rate(tmp_path: Path) -> None:
    ticks = [3, 4, 9, 10, 30, 31]
    path = write_video(tmp_path / "clip.mkv", ramp(6), ticks=ticks, rate=10)
    clip = read_clip(path)
    assert [f.time for f in clip.frames] == pytest.approx([(t - 3) / 10 for t in ticks])
    assert clip.notes == ()


def test_no_clock(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.h264", ramp(3), "libx264")
    assert np.isnan([frame.time for frame in read_clip(path).frames]).all()


def plane_values(red: int, green: int, blue: int, weights: tuple[float, float], full: bool):
    """Y, Cb, Cr by ITU-R BT.601 / 709 / 2020, from the weights of red and blue."""
    r, g, b = red / 255, green / 255, blue / 255
    kr, kb = weights
    y = kr * r + (1 - kr - kb) * g + kb * b
    cb, cr = (b - y) / (2 * (1 - kb)), (r - y) / (2 * (1 - kr))
    if full:
        return [round(255 * y), round(128 + 255 * cb), round(128 + 255 * cr)]
    return [round(16 + 219 * y), round(128 + 224 * cb), round(128 + 224 * cr)]


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(
    ("space", "weights", "height"),
    [
        (1, (0.2126, 0.0722), 48),
        (5, (0.299, 0.114), 48),
        (6, (0.299, 0.114), 720),
        (9, (0.2627, 0.0593), 48),
        (2, (0.299, 0.114), 48),  # not named: by custom BT.601 in small, BT.709 in HD videos
        (2, (0.2126, 0.0722), 720),
    ],
)
def test_colours(tmp_path: Path, full: bool, space: int, weights, height: int) -> None:
    colour = (200, 60, 30)

    def paint(frame: av.VideoFrame) -> None:
        values = plane_values(*colour, weights, full)
        for plane, value in zip(frame.planes, values, strict=True):
            plane.update(bytes([value]) * plane.buffer_size)
        frame.colorspace, frame.color_range = space, 2 if full else 1

    names = {1: "bt709", 2: "undef", 5: "bt470bg", 6: "smpte170m", 9: "bt2020nc"}
    options = {"x264-params": f"colormatrix={names[space]}:fullrange={'on' if full else 'off'}"}
    path = write_video(
        tmp_path / "clip.mp4",
        [grey(0, height)],
        "libx264",
        options=options | {"crf": "1"},
        colours=paint,
    )
    for most in (960, 32):
        image = read_clip(path, max_side=most).frames[0].image
        np.testing.assert_allclose(image.reshape(-1, 3).mean(0), colour, atol=4)


def test_hdr_is_noted(tmp_path: Path) -> None:
    options = {"x264-params": "transfer=arib-std-b67:colormatrix=bt2020nc"}
    path = write_video(
        tmp_path / "clip.mov", ramp(2), "libx264", pixels="yuv420p10le", options=options
    )
    (note,) = read_clip(path).notes
    assert str(path) not in note and "HDR" in note and "\n" not in note


@pytest.mark.parametrize(
    ("aspect", "size"), [(Fraction(4, 3), (48, 85)), (Fraction(1, 2), (96, 64))]
)
def test_pixels_become_square(tmp_path: Path, aspect: Fraction, size: tuple[int, int]) -> None:
    path = write_video(tmp_path / "clip.mkv", [cornered()] * 2, aspect=aspect)
    clip = read_clip(path)
    assert clip.size == clip.frames[0].image.shape[:2] == size
    np.testing.assert_array_equal(corners(clip.frames[0].image), CORNERS > 127)
