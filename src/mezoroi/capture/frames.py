"""A fruit filmed or photographed from many sides, as a few RGB frames.

Videos are decoded by FFmpeg (through PyAV) one frame at a time, so memory does not grow with their
length: which frames are used is decided on small pictures, and few others are converted.
"""

from __future__ import annotations

import sys
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mezoroi.capture.images import (
    IMAGE_SUFFIXES,
    MIN_SIDE,
    check_size,
    is_photo,
    read_image,
    read_size,
)
from mezoroi.capture.pace import Looks, frames_to_use, stride_for
from mezoroi.capture.video import (
    CONVERT,
    decoded,
    is_hdr,
    open_video,
    progressive,
    source_size,
    stated_frames,
    upright_rgb,
)
from mezoroi.errors import MezoroiError
from mezoroi.files import natural_key

MAX_SIDE = 960
"""Longest side of a frame, in pixels, unless more is asked for."""
VIDEO_SUFFIXES = (
    ".mp4",
    ".mov",
    ".m4v",
    ".avi",
    ".mkv",
    ".webm",
    ".mts",
    ".mpg",
    ".mpeg",
    ".3gp",
    ".wmv",
)


@dataclass(frozen=True)
class Frame:
    """One view of the fruit.

    Attributes
    ----------
    number : position in the source, from 0
    time : seconds after the first frame; NaN where the source has no clock
    image : (H, W, 3) uint8 RGB, upright, reduced
    scale : pixels of `image` per source pixel, at most 1
    """

    number: int
    time: float
    image: np.ndarray
    scale: float


@dataclass(frozen=True)
class Clip:
    """Frames of one source, in its order.

    Attributes
    ----------
    frames : at least one
    count : frames in the source, as far as it could be read
    size : (height, width) in pixels of the first frame in the source, upright and with square
        pixels; the photos of a folder may differ
    notes : what a user should know about the source, one line each
    """

    frames: tuple[Frame, ...]
    count: int
    size: tuple[int, int]
    notes: tuple[str, ...] = ()


def is_video(path: str | Path) -> bool:
    """Whether a path is to be read as a video: by its content, or else by its suffix.

    Photos are told by their first bytes and files named as a video are taken for one, both without
    loading FFmpeg; only other files are opened with it.
    """
    path = Path(path)
    if path.is_dir() or is_photo(path):
        return False
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return True
    try:
        with open_video(path):
            return True
    except MezoroiError:
        return False


def read_clip(source: str | Path, *, max_frames: int = 96, max_side: int = MAX_SIDE) -> Clip:
    """Read a video, a folder of photos in natural order (im2 before im10), or one photo.

    Parameters
    ----------
    source : the path; a file is taken for what its content is, whatever its suffix
    max_frames : the most frames to keep, at least 1; of more, every 2nd, 4th, 8th ... is kept, so
        that more than half as many remain; of a video that stands still in places, and not in
        others, more where more changes
    max_side : longest side of a kept frame in pixels, at least `MIN_SIDE`; larger ones are reduced

    Raises
    ------
    MezoroiError
        If the source is missing, empty, neither of these, or has no frame that can be read. Of a
        damaged video the frames that decode are used, of a folder the photos that can be read, and
        `Clip.notes` says so.
    """
    if max_frames < 1:
        raise MezoroiError(f"max_frames is {max_frames}: give at least 1")
    if max_side < MIN_SIDE:
        raise MezoroiError(f"max_side is {max_side}: give at least {MIN_SIDE} pixels")
    path = Path(source)
    if path.is_dir():
        return _read_folder(path, max_frames, max_side)
    if is_photo(path):
        return Clip((_read_photo(path, 0, max_side),), 1, read_size(path))
    return _read_video(path, max_frames, max_side)


def _read_photo(path: Path, number: int, max_side: int) -> Frame:
    image = read_image(path, max_side)
    return Frame(number, float("nan"), image, max(image.shape) / max(read_size(path)))


def _read_folder(folder: Path, max_frames: int, max_side: int) -> Clip:
    try:
        paths = [path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES]
    except OSError as error:
        raise MezoroiError(
            f"{folder} cannot be read ({error.strerror or error}): check its permissions"
        ) from error
    paths = sorted(
        (path for path in paths if path.is_file() and not path.name.startswith(".")),
        key=lambda path: (natural_key(path.name), path.name),
    )
    if not paths:
        raise MezoroiError(f"{folder} holds no photo: give a folder of photos, or a video")
    stride = stride_for(len(paths), max_frames)
    frames, notes = [], []
    for number in range(0, len(paths), stride):
        try:
            frames.append(_read_photo(paths[number], number, max_side))
        except MezoroiError as error:
            # A capture is kept for its content: its notes hold whatever the folder is called.
            reason = str(error).replace(str(paths[number]), paths[number].name)
            notes.append(f"a photo is left out: {reason}")
    if not frames:
        first = notes[0].removeprefix("a photo is left out: ")
        raise MezoroiError(f"{folder} holds no photo that can be read, the first: {first}")
    return Clip(tuple(frames), len(paths), read_size(paths[frames[0].number]), tuple(notes))


def _read_video(path: Path, max_frames: int, max_side: int) -> Clip:
    """Evenly spaced frames; where these turn out not to suit the video, it is read again."""
    with open_video(path) as (container, stream):
        stated = stated_frames(container, stream)
    looks = Looks()
    every = range(0, sys.maxsize, stride_for(stated, max_frames))
    clip = _decode(path, every, max_frames, max_side, looks)
    wanted = frames_to_use(looks, clip.count, max_frames)
    if wanted != [frame.number for frame in clip.frames]:
        clip = _decode(path, wanted, max_frames, max_side)
    if not clip.frames:
        raise MezoroiError(f"{path} is a video without any frame that can be read: {CONVERT}")
    return clip


def _decode(
    path: Path,
    wanted: Container[int],
    max_frames: int,
    max_side: int,
    looks: Looks | None = None,
) -> Clip:
    """The wanted frames, or every 2nd, 4th ... of them where they are too many; or none."""
    kept: list[Frame] = []
    troubles: set[str] = set()
    count, stride, start, size = 0, 1, float("nan"), (0, 0)
    with open_video(path) as (container, stream):
        for number, raw in enumerate(progressive(decoded(container, stream, troubles))):
            if raw.is_corrupt:
                troubles.add("damaged")
                continue
            count = number + 1
            if looks is not None:
                looks.add(number, raw)
            if number % stride or number not in wanted:
                continue
            time = float("nan") if raw.time is None else float(raw.time)
            height, width = source_size(raw, stream.sample_aspect_ratio)
            check_size(str(path), height, width)
            image = upright_rgb(raw, (height, width), max_side)
            if not kept:
                start, size = time, (height, width)
                if is_hdr(raw):
                    troubles.add("HDR")
            scale = max(image.shape) / max(height, width)
            kept.append(Frame(number, time - start, image, scale))
            if len(kept) > max_frames:
                stride *= 2
                kept = [frame for frame in kept if frame.number % stride == 0]
    return Clip(tuple(kept), count, size, _notes(count, troubles))


def _notes(count: int, troubles: set[str]) -> tuple[str, ...]:
    notes = []
    if "short" in troubles:
        frames = "first frame is" if count == 1 else f"first {count} frames are"
        notes.append(f"the video is cut short: the {frames} used")
    elif "damaged" in troubles:
        notes.append("the video is damaged in places: only the frames that can be read are used")
    if "HDR" in troubles:
        notes.append("the video is HDR, its colours look pale: film with HDR switched off")
    return tuple(notes)
