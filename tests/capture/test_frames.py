"""Videos and folders become a few evenly spaced upright frames; every bad source is one line."""

from __future__ import annotations

import itertools
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from mezoroi.capture.frames import VIDEO_SUFFIXES, Clip, is_video, read_clip
from mezoroi.capture.images import is_photo
from mezoroi.errors import MezoroiError

HEIGHT, WIDTH = 48, 64
PNG = b"\x89PNG\r\n\x1a\n"
CORNERS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], dtype=np.uint8)


def grey(level: float, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    return np.full((height, width, 3), round(level), dtype=np.uint8)


def cornered(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Red, green / blue, white quarters: no two orientations look alike."""
    return CORNERS.repeat(height // 2, axis=0).repeat(width // 2, axis=1)


def corners(image: np.ndarray) -> np.ndarray:
    """The four quarters' colours, each channel as 0 or 1."""
    height, width = image.shape[:2]
    rows, columns = [height // 4, 3 * height // 4], [width // 4, 3 * width // 4]
    return (image[np.ix_(rows, columns)] > 127).astype(int)


def write_video(
    path: Path,
    images: Iterable[np.ndarray],
    codec: str = "mpeg4",
    *,
    pixels: str = "yuv420p",
    ticks: Iterable[int] | None = None,
    rate: int = 25,
    options: Mapping[str, str] | None = None,
    container: Mapping[str, str] | None = None,
    aspect: Fraction | None = None,
    colours: Callable[[av.VideoFrame], None] = lambda frame: None,
) -> Path:
    """Encode RGB images, the i-th shown at ``ticks[i] / rate`` seconds."""
    images = iter(images)
    first = next(images)
    with av.open(str(path), "w", options=dict(container or {})) as output:
        stream = output.add_stream(codec, rate=rate, options=dict(options or {}))
        stream.height, stream.width = first.shape[:2]
        stream.pix_fmt = pixels
        stream.codec_context.time_base = Fraction(1, rate)
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        for tick, image in zip(
            ticks or itertools.count(), itertools.chain([first], images), strict=False
        ):
            frame = av.VideoFrame.from_ndarray(image, "rgb24").reformat(format=pixels)
            colours(frame)
            frame.pts, frame.time_base = tick, Fraction(1, rate)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def write_sound(path: Path) -> Path:
    with av.open(str(path), "w") as output:
        stream = output.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 2048), np.float32), "fltp", "mono")
        frame.sample_rate = 8000
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def ramp(count: int, height: int = HEIGHT, width: int = WIDTH) -> Iterator[np.ndarray]:
    """Frames that tell their number: grey from 20 to 230."""
    return (grey(20 + 210 * i / max(1, count - 1), height, width) for i in range(count))


def numbers(clip: Clip) -> list[int]:
    return [frame.number for frame in clip.frames]


def levels(clip: Clip) -> np.ndarray:
    return np.array([frame.image.mean() for frame in clip.frames])


def refused(source: Path) -> str:
    with pytest.raises(MezoroiError) as error:
        read_clip(source)
    message = str(error.value)
    assert "\n" not in message and ": " in message and str(source) in message
    return message


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
    assert str(path) in note and "HDR" in note and "\n" not in note


@pytest.mark.parametrize(
    ("aspect", "size"), [(Fraction(4, 3), (48, 85)), (Fraction(1, 2), (96, 64))]
)
def test_pixels_become_square(tmp_path: Path, aspect: Fraction, size: tuple[int, int]) -> None:
    path = write_video(tmp_path / "clip.mkv", [cornered()] * 2, aspect=aspect)
    clip = read_clip(path)
    assert clip.size == clip.frames[0].image.shape[:2] == size
    np.testing.assert_array_equal(corners(clip.frames[0].image), CORNERS > 127)


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
    assert clip.notes == (f"{path} is cut short: the first {clip.count} frames are used",)
    assert numbers(clip) == list(range(clip.count))
    for frame, expected in zip(clip.frames, whole.frames, strict=False):
        np.testing.assert_array_equal(frame.image, expected.image)


def test_damage_in_the_middle_is_noted(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mov", [cornered()] * 12, "png", pixels="rgb24")
    pieces = path.read_bytes().split(PNG)
    path.write_bytes(PNG.join(pieces[:6]) + b"\0" * len(PNG) + PNG.join(pieces[6:]))
    clip = read_clip(path)
    (note,) = clip.notes
    assert "damaged" in note and str(path) in note and clip.count == 11
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
    assert str(tmp_path / "2.png") in note and "left out" in note
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
