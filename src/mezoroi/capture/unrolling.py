"""`unroll`: a video, a folder of frames or a photo becomes a surface image and an outline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mezoroi.capture.body import fit_body
from mezoroi.capture.choosing import lit_frames, whole_frames
from mezoroi.capture.disks import make_disks
from mezoroi.capture.following import following_notes
from mezoroi.capture.frames import MAX_SIDE, Clip, read_clip
from mezoroi.capture.geometry import Ellipse, Floats
from mezoroi.capture.images import OUTLINE_NAME, SURFACE_NAME
from mezoroi.capture.outline import outline_features
from mezoroi.capture.silhouette import Silhouette, find_silhouettes
from mezoroi.capture.surface import View, covered_share, locate_on_fruit, unroll_views
from mezoroi.capture.turn import estimate_motion, find_axis
from mezoroi.capture.upright import upright_outlines
from mezoroi.errors import MezoroiError
from mezoroi.files import read_json, write_bytes, write_json

COVERAGE_NAME = "coverage.png"
"""Where the surface image shows the fruit, in a capture folder: 255 covered, 0 not."""
CAPTURE_NAME = "capture.json"
"""How the fruit turned, in a capture folder."""
CAPTURE_VERSION = 9
"""Changes when a capture of the same source would come out differently."""
MAX_FRAMES = 48
SURFACE_HEIGHT = 256
MIN_HEIGHT, MAX_HEIGHT = 32, 2048
"""Rows that a surface may have; frames are reduced to 960 pixels, so more would show no more."""
_FINE = 96.0  # pixels that a fruit is wide at least, where its source has them
_MOST_BYTES = 300e6  # that the frames of a capture take
_STILL = 6.0  # degrees under which a fruit counts as not turning
_LEAST, _ENOUGH = 0.5, 0.9  # of the surface


@dataclass(frozen=True, eq=False)  # arrays have no single answer to ==
class Capture:
    """One fruit's surface and outline, and how it turned.

    Attributes
    ----------
    surface : (H, 2H, 3) uint8 RGB on longitude x latitude: row 0 at the upper end of the turn
        axis, longitude 0 (which faced the first frame) in the middle, columns running east
    coverage : (H, 2H) bool, where the surface was seen
    outline : statistics of `mezoroi.capture.outline.outline_features`, the turn axis upright
    degrees_turned : along the turn axis from the first frame used to the last, not negative; 0 for
        a single photo. What a long video turns after the last of every few frames is not in it.
    direction : 1 counterclockwise seen from the axis' upper end, -1 clockwise
    count : frames in the source
    numbers : (N,) positions in the source of the frames used
    views : the N frames used, with the fruit's silhouette and pose
    scales : (N,) pixels of a view per pixel of the source
    contours : the fruit's edge (K, 2) in pixels of each view
    silhouettes : outlines (K, 2) of the frames that the statistics come from, in the fruit's mean
        radii, y up, centred
    nearness : radius of the fruit over the camera's distance, 0 for far away
    notes : what a user should know, one line each
    """

    surface: NDArray[np.uint8]
    coverage: NDArray[np.bool_]
    outline: dict[str, float]
    degrees_turned: float
    direction: int
    count: int
    numbers: tuple[int, ...]
    views: tuple[View, ...]
    scales: tuple[float, ...]
    contours: tuple[Floats, ...]
    silhouettes: tuple[Floats, ...]
    nearness: float
    notes: tuple[str, ...]

    @property
    def covered(self) -> float:
        """Share of the fruit's surface that was seen, in [0, 1]."""
        return covered_share(self.coverage)

    def locate(self, frame: int, x: float, y: float) -> tuple[float, float]:
        """Longitude and latitude in degrees of a pixel of a frame of the source.

        Parameters
        ----------
        frame : position in the source, from 0; between frames used, the pose is interpolated, and
            after the last, where only every few frames are used, the turn is taken to go on
        x, y : pixels of the upright source frame, (0, 0) the centre of the upper left one

        Returns
        -------
        longitude in [-180, 180] and latitude in [-90, 90]; NaN where the pixel is off the fruit

        Raises
        ------
        MezoroiError
            If the frame was not captured, or what is given is not one pixel of one frame.
        """
        for name, value in (("frame", frame), ("x", x), ("y", y)):
            given = np.asarray(value)
            if given.ndim or given.dtype.kind not in "iuf":
                raise MezoroiError(f"{name} is no single number: locate pixels one by one")
        first, last = self.numbers[0], self._last()
        if not first <= frame <= last:
            raise MezoroiError(f"frame {frame} was not captured: give one from {first} to {last}")
        after = min(int(np.searchsorted(self.numbers, frame)), len(self.numbers) - 1)
        view, scale = self.views[after], self.scales[after]
        if self.numbers[after] != frame:
            view = self._between(after, frame)
        # A reduced frame's pixel centres lie between the source's.
        return locate_on_fruit(
            view, (x + 0.5) * scale - 0.5, (y + 0.5) * scale - 0.5, self.nearness
        )

    def to_dict(self) -> dict[str, Any]:
        """What `capture.json` holds: plain numbers and text."""
        return {
            "version": CAPTURE_VERSION,
            "degrees_turned": self.degrees_turned,
            "direction": self.direction,
            "covered": self.covered,
            "nearness": self.nearness,
            "frames": [
                {
                    "number": number,
                    "pose": view.pose.tolist(),
                    "centre": (view.ellipse.centre / scale).tolist(),
                    "shape": (view.ellipse.shape / scale).tolist(),
                }
                for number, view, scale in zip(self.numbers, self.views, self.scales, strict=True)
            ],
            "notes": list(self.notes),
        }

    def save(self, folder: str | Path) -> None:
        """Write ``surface.png``, ``coverage.png``, ``outline.json`` and ``capture.json``."""
        folder = Path(folder)
        _write_png(folder / SURFACE_NAME, np.ascontiguousarray(self.surface[..., ::-1]))
        _write_png(folder / COVERAGE_NAME, self.coverage.astype(np.uint8) * 255)
        write_json(folder / OUTLINE_NAME, self.outline)
        write_json(folder / CAPTURE_NAME, self.to_dict())

    def _last(self) -> int:
        """The last frame that can be located: less than a step beyond the last used."""
        if len(self.numbers) == 1:
            return self.numbers[0]
        step = min(after - before for before, after in pairwise(self.numbers))
        return min(self.numbers[-1] + step, self.count) - 1 if step > 1 else self.numbers[-1]

    def _between(self, after: int, frame: int) -> View:
        first, second = self.views[after - 1], self.views[after]
        start, end = self.numbers[after - 1], self.numbers[after]
        share = (frame - start) / (end - start)
        turned = Rotation.from_matrix(second.pose @ first.pose.T).as_rotvec()
        pose = Rotation.from_rotvec(share * turned).as_matrix() @ first.pose
        # Beyond the last frame the turn goes on, but the silhouette stays.
        share = min(share, 1.0)
        ellipse = Ellipse(
            (1 - share) * first.ellipse.centre + share * second.ellipse.centre,
            (1 - share) * first.ellipse.shape + share * second.ellipse.shape,
        )
        squeeze = (1 - share) * (first.squeeze @ first.pose.T @ pose) + share * (
            second.squeeze @ second.pose.T @ pose
        )
        return View(second.image, ellipse, pose, squeeze)


def unroll(
    source: str | Path, *, height: int = SURFACE_HEIGHT, max_frames: int = MAX_FRAMES
) -> Capture:
    """Unroll a turning fruit.

    Parameters
    ----------
    source : path of a video, of a folder of frames in natural order (im2 before im10), or of a
        single photo, of which the visible half is unrolled
    height : rows of the surface image, 32 to 2048; it is twice as wide, so a row and a column
        are 180 / height degrees
    max_frames : the most frames used, at least 1

    Raises
    ------
    MezoroiError
        If the source cannot be read; if there is no fruit, more than one, one smaller than 64
        pixels, overexposed or one that leaves the frame; if it does not turn, cannot be followed,
        or shows less than half of its surface.
    """
    if not MIN_HEIGHT <= height <= MAX_HEIGHT:
        rows = f"{MIN_HEIGHT} to {MAX_HEIGHT} rows"
        raise MezoroiError(f"a surface cannot be {height} high: give {rows}")
    clip = read_clip(source, max_frames=max_frames)
    with _naming(source, clip.notes):
        silhouettes = _silhouettes_in(clip)
    side = _finer_side(clip, silhouettes)
    if side > MAX_SIDE:
        clip = read_clip(source, max_frames=max_frames, max_side=side)
    with _naming(source, clip.notes):
        silhouettes = silhouettes if side <= MAX_SIDE else _silhouettes_in(clip)
        return _unroll_clip(clip, silhouettes, height)


@contextmanager
def _naming(source: str | Path, notes: Sequence[str]) -> Iterator[None]:
    """Errors inside say what they are about, and the first note on it, which may be the cause."""
    try:
        yield
    except MezoroiError as error:
        besides = f"; note that {notes[0]}" if notes else ""
        raise MezoroiError(f"{source}: {error}{besides}") from error


def read_capture(path: Path) -> tuple[tuple[str, ...], int | None]:
    """Notes of a saved ``capture.json``, and the number of views; none where there is no file.

    Raises
    ------
    MezoroiError
        If it is damaged.
    """
    if not path.is_file():
        return (), None
    remedy = "capture the fruit again"
    content = read_json(path, remedy)
    try:
        return tuple(map(str, content["notes"])), len(content["frames"])
    except (TypeError, KeyError) as error:
        raise MezoroiError(f"{path} is not a capture's: {remedy}") from error


def is_of_one_view(outline: Path) -> bool:
    """Whether an outline's file lies in the folder of a capture of a single photo.

    One view says little about the shape over a turn: no grading and no training takes it.

    Raises
    ------
    MezoroiError
        If the ``capture.json`` beside it is damaged.
    """
    return read_capture(outline.with_name(CAPTURE_NAME))[1] == 1


def _silhouettes_in(clip: Clip) -> list[Silhouette]:
    images = [frame.image for frame in clip.frames]
    return find_silhouettes(images, [frame.scale for frame in clip.frames])


def _finer_side(clip: Clip, silhouettes: Sequence[Silhouette]) -> int:
    """The longest side at which a small fruit in a large picture is wide enough, in pixels.

    No more than what memory holds of all frames.
    """
    wide = float(np.median([2 * found.ellipse.radius for found in silhouettes]))
    reduced = min(frame.scale for frame in clip.frames)
    wished = int(np.ceil(MAX_SIDE * min(_FINE / wide, 1 / reduced)))
    shape = min(clip.size) / max(clip.size)
    return min(wished, int(np.sqrt(_MOST_BYTES / (3 * len(clip.frames) * shape))))


def _unroll_clip(clip: Clip, silhouettes: Sequence[Silhouette], height: int) -> Capture:
    usable, lost = whole_frames(silhouettes, [frame.number for frame in clip.frames])
    images = [clip.frames[index].image for index in usable]
    disks = make_disks(images, [silhouettes[index].ellipse for index in usable])
    lit, dazzled = lit_frames(disks, [clip.frames[index].number for index in usable])
    notes = [*clip.notes, *lost, *dazzled]
    usable = [usable[index] for index in lit]
    numbers = tuple(clip.frames[index].number for index in usable)
    images = [clip.frames[index].image for index in usable]
    found = [silhouettes[index] for index in usable]
    ellipses = [silhouette.ellipse for silhouette in found]
    motion = estimate_motion(disks.take(lit))
    body, turned = fit_body(ellipses, motion.poses)
    axis = find_axis(turned)
    poses = turned @ axis.basis.T
    squeezes = motion.poses @ np.linalg.inv(body) @ axis.basis.T
    views = tuple(map(View, images, ellipses, poses, squeezes))
    if len(views) > 1 and axis.swing < _STILL:
        raise MezoroiError("the fruit does not turn: turn it once around while filming")
    doubts = following_notes(motion, numbers)
    surface, coverage = unroll_views(views, height, motion.nearness)
    share = covered_share(coverage)
    shown = f"{share:.0%} of the surface was seen, over a turn of {axis.swing:.0f} degrees"
    if len(views) > 1 and share < _LEAST:
        raise MezoroiError(f"only {shown}: turn the fruit once around")
    if len(views) == 1:
        notes.append("a single photo shows one side only: film the whole turn to judge the rest")
    elif share < _ENOUGH:
        notes.append(f"only {shown}: the rest is filled in and uncertain")
    notes += doubts
    outlines = upright_outlines(found, poses, np.radians(axis.turned))
    return Capture(
        surface=surface,
        coverage=coverage,
        outline=outline_features(outlines),
        degrees_turned=axis.degrees,
        direction=axis.direction,
        count=clip.count,
        numbers=numbers,
        views=views,
        scales=tuple(clip.frames[index].scale for index in usable),
        contours=tuple(silhouette.contour for silhouette in found),
        silhouettes=tuple(outlines),
        nearness=motion.nearness,
        notes=tuple(notes),
    )


def _write_png(path: Path, image: NDArray[np.uint8]) -> None:
    ready, content = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 6])
    if not ready:
        raise MezoroiError(f"cannot write {path}: the image cannot be encoded")
    write_bytes(path, content.tobytes())
