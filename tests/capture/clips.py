"""Small videos that tests write, and what is read off their frames."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from mezoroi.capture.frames import Clip, read_clip
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
