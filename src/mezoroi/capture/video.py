"""Decoding videos with FFmpeg (through PyAV), one frame at a time, to upright RGB."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mezoroi.capture.images import fitted
from mezoroi.errors import MezoroiError

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.filter import Graph
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

CONVERT = "convert it to an MP4 video (H.264) or give photos"
"""The remedy for a video that cannot be read."""
_HDR_CURVES = (16, 18)  # PQ and HLG, by their numbers in ITU-T H.273
_UNNAMED_COLOURS = 2
_HD_HEIGHT = 577  # from here on, a video that does not name its colour matrix is BT.709 by custom
_BY_SUFFIX = ("image2", "tty")  # what FFmpeg takes a file for by its name alone
_THREADS = 4  # of the decoder, at most
_SHORT = 0.95  # a video that ends before this part of its stated duration is cut short,
_SHORT_SECONDS = 0.2  # not counting so many seconds


@contextmanager
def open_video(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The container and its video stream, ready to decode; every failure is one line."""
    import av

    unreadable = f"{path} is no video or photo that can be read, or is damaged: {CONVERT}"
    try:
        if path.stat().st_size == 0:
            raise MezoroiError(f"{path} is an empty file: copy it again from the camera")
        # The prefix keeps FFmpeg from taking a name such as `12:30.mp4` for an address, the
        # whitelist keeps a playlist from fetching anything over the network.
        container = av.open(
            f"file:{path}", metadata_errors="replace", options={"protocol_whitelist": "file"}
        )
    except MezoroiError:
        raise
    except FileNotFoundError as error:
        raise MezoroiError(f"{path} does not exist: check the path") from error
    except PermissionError as error:
        raise MezoroiError(f"{path} may not be read: change its permissions") from error
    except (av.FFmpegError, OSError, ValueError) as error:
        raise MezoroiError(unreadable) from error
    with container:
        # The picture on the sleeve of a sound recording is a video stream as well.
        streams = [s for s in container.streams.video if not _is_cover(s)]
        if not streams and container.streams.audio:
            raise MezoroiError(f"{path} has no pictures, only sound: give a video or photos")
        if not streams or container.format.name in _BY_SUFFIX:
            raise MezoroiError(unreadable)
        streams = [s for s in streams if s.codec_context is not None]
        if not streams:
            raise MezoroiError(f"{path} is encoded in a way that is not known: {CONVERT}")
        stream = max(streams, key=lambda s: s.width * s.height)
        stream.thread_type = "AUTO"
        # Every thread holds frames of its own, of 12 MB in a 4K video.
        stream.codec_context.thread_count = min(_THREADS, os.cpu_count() or 1)
        try:
            yield container, stream
        except av.FFmpegError as error:
            reason = error.strerror or type(error).__name__
            raise MezoroiError(f"{path} cannot be decoded ({reason}): {CONVERT}") from error


def stated_frames(container: InputContainer, stream: VideoStream) -> int:
    """How many frames the video says it has, by itself or by its duration; 0 where it does not."""
    import av

    if stream.frames or not container.duration or not stream.average_rate:
        return stream.frames
    return round(container.duration / av.time_base * stream.average_rate)


def _is_cover(stream: VideoStream) -> bool:
    from av.stream import Disposition

    return bool(stream.disposition & Disposition.attached_pic)


def decoded(
    container: InputContainer, stream: VideoStream, troubles: set[str]
) -> Iterator[VideoFrame]:
    """Every frame that decodes, adding "short" or "damaged" to `troubles` where some do not."""
    import av

    start = (container.start_time or 0) / av.time_base
    end = None
    try:
        for packet in container.demux():
            if packet.pts is not None and packet.time_base is not None:
                shown = float((packet.pts + (packet.duration or 0)) * packet.time_base)
                end = shown if end is None else max(end, shown)
            if packet.stream_index != stream.index:
                continue
            try:
                frames = stream.decode(packet)
            except av.FFmpegError:
                troubles.add("damaged")
            else:
                yield from frames
    except av.FFmpegError:
        troubles.add("short")
        with suppress(av.FFmpegError):
            yield from stream.decode(None)  # what the decoder still holds
    if container.duration and end is not None:
        duration = container.duration / av.time_base
        if end - start < _SHORT * duration - _SHORT_SECONDS:
            troubles.add("short")


def progressive(frames: Iterable[VideoFrame]) -> Iterator[VideoFrame]:
    """The same frames, deinterlaced from the first interlaced one on."""
    graph: Graph | None = None
    layout = None
    for frame in frames:
        if layout != (frame.width, frame.height, frame.format.name):
            if graph is not None:
                yield from _pushed(graph, None)
            graph = None
        if graph is None and frame.interlaced_frame:
            layout = (frame.width, frame.height, frame.format.name)
            graph = _deinterlacer(frame)
        if graph is None:
            yield frame
        else:
            yield from _pushed(graph, frame)
    if graph is not None:
        yield from _pushed(graph, None)


def _deinterlacer(frame: VideoFrame) -> Graph:
    from av.filter import Graph

    graph = Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
    )
    # One frame out for each one in; frames that are marked as progressive pass untouched.
    filtering = graph.add("bwdif", "mode=send_frame:deint=interlaced")
    graph.link_nodes(source, filtering, graph.add("buffersink")).configure()
    return graph


def _pushed(graph: Graph, frame: VideoFrame | None) -> Iterator[VideoFrame]:
    """Push a frame, or None at the end, and pull what is ready."""
    import av

    graph.vpush(frame)
    while True:
        try:
            yield graph.vpull()
        except (av.BlockingIOError, av.EOFError):
            return


def is_hdr(frame: VideoFrame) -> bool:
    """Whether the frame is HDR (PQ or HLG): shown as it is, its colours look pale."""
    return frame.color_trc in _HDR_CURVES


def source_size(frame: VideoFrame, aspect: Fraction | None) -> tuple[int, int]:
    """Height and width in pixels of the upright frame with square pixels.

    Parameters
    ----------
    aspect : width of a stored pixel by its height; None for 1. The shorter side is stretched.
    """
    height, width = frame.height, frame.width
    if aspect is not None and 0 < aspect < 1:
        height = round(height / aspect)
    elif aspect is not None and aspect > 1:
        width = round(width * aspect)
    return (width, height) if _display(frame)[0] else (height, width)


def upright_rgb(frame: VideoFrame, size: tuple[int, int], max_side: int) -> np.ndarray:
    """The frame as (H, W, 3) uint8 RGB, upright.

    Parameters
    ----------
    size : (height, width) from `source_size`
    max_side : longest side of the result in pixels; it is reduced while its colours are converted
    """
    transposed, flip_x, flip_y = _display(frame)
    height, width = fitted(size, max_side) or size
    unnamed = frame.colorspace == _UNNAMED_COLOURS and frame.height >= _HD_HEIGHT
    rgb = frame.reformat(
        width=height if transposed else width,
        height=width if transposed else height,
        format="rgb24",
        src_colorspace="ITU709" if unnamed else None,
        interpolation="AREA",
    ).to_ndarray()
    if transposed:
        rgb = rgb.swapaxes(0, 1)
    rgb = rgb[:: -1 if flip_y else 1, :: -1 if flip_x else 1]
    return np.ascontiguousarray(rgb, dtype=np.uint8)


def small_grey(frame: VideoFrame, side: int) -> np.ndarray:
    """The frame as it is stored, as a grey picture (side, side) uint8."""
    grey = frame.reformat(width=side, height=side, format="gray", interpolation="AREA")
    return np.ascontiguousarray(grey.to_ndarray(), dtype=np.uint8)


def _display(frame: VideoFrame) -> tuple[bool, bool, bool]:
    """How to turn a stored frame upright: transpose it, then flip it along x, along y.

    Read from the display matrix rather than `frame.rotation`, which cannot tell a mirrored frame
    from one that is upside down. Stored (x, y) is shown at (ax + cy, bx + dy).
    """
    from av.sidedata.sidedata import Type

    found: Any = frame.side_data  # PyAV's own types know only one of its keys
    try:
        matrix = bytes(found[Type.DISPLAYMATRIX])
    except KeyError:
        return False, False, False
    a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()
    transposed = abs(b) > abs(a)
    return (True, c < 0, b < 0) if transposed else (False, a < 0, d < 0)
