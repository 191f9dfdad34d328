"""`unroll`: a video, a folder of frames or a photo becomes a surface image and an outline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation, Slerp

from mezoroi.capture.body import fit_body
from mezoroi.capture.disks import make_disks
from mezoroi.capture.frames import Clip, read_clip
from mezoroi.capture.geometry import Ellipse, Floats
from mezoroi.capture.images import OUTLINE_NAME, SURFACE_NAME
from mezoroi.capture.outline import outline_features, radii_of, steady_outlines
from mezoroi.capture.silhouette import Silhouette, find_silhouettes
from mezoroi.capture.surface import View, covered_share, locate_on_fruit, unroll_views
from mezoroi.capture.turn import estimate_motion, find_axis
from mezoroi.errors import MezoroiError
from mezoroi.files import write_bytes, write_json

COVERAGE_NAME = "coverage.png"
"""Where the surface image shows the fruit, in a capture folder: 255 covered, 0 not."""
CAPTURE_NAME = "capture.json"
"""How the fruit turned, in a capture folder."""
CAPTURE_VERSION = 7
"""Changes when a capture of the same source would come out differently."""
MAX_FRAMES = 48
SURFACE_HEIGHT = 256
_OUTLINE_VIEWS = 24
_CUT = 0.12  # share of the outline beyond the frame's edge at which a view is of no use
_STILL = 6.0  # degrees under which a fruit counts as not turning
_LEAST, _ENOUGH = 0.5, 0.9  # of the surface
_PLAIN = 0.2  # agreement of neighbouring frames under which poses are unsure


@dataclass(frozen=True)
class Capture:
    """One fruit's surface and outline, and how it turned.

    Attributes
    ----------
    surface : (H, 2H, 3) uint8 RGB on longitude x latitude: row 0 at the upper end of the turn
        axis, longitude 0 (which faced the first frame) in the middle, columns running east
    coverage : (H, 2H) bool, where the surface was seen
    outline : statistics of `mezoroi.capture.outline.outline_features`, the turn axis upright
    degrees_turned : along the turn axis, not negative; 0 for a single photo
    direction : 1 counterclockwise seen from the axis' upper end, -1 clockwise
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
        frame : position in the source, from 0; between frames used, the pose is interpolated
        x, y : pixels of the upright source frame, (0, 0) the centre of the upper left one

        Returns
        -------
        longitude in [-180, 180] and latitude in [-90, 90]; NaN where the pixel is off the fruit

        Raises
        ------
        MezoroiError
            If the source has no such frame between the first and the last used.
        """
        if not self.numbers[0] <= frame <= self.numbers[-1]:
            raise MezoroiError(
                f"frame {frame} was not captured: give one from {self.numbers[0]} "
                f"to {self.numbers[-1]}"
            )
        after = int(np.searchsorted(self.numbers, frame))
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

    def _between(self, after: int, frame: int) -> View:
        first, second = self.views[after - 1], self.views[after]
        start, end = self.numbers[after - 1], self.numbers[after]
        share = (frame - start) / (end - start)
        pair = Rotation.from_matrix(np.stack([first.pose, second.pose]))
        pose = Slerp([0.0, 1.0], pair)(share).as_matrix()
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
    height : rows of the surface image, at least 32; it is twice as wide, so a row and a column
        are 180 / height degrees
    max_frames : the most frames used, at least 1

    Raises
    ------
    MezoroiError
        If the source cannot be read; if there is no fruit, more than one, one smaller than 64
        pixels or one that leaves the frame; if it does not turn, or shows less than half of its
        surface.
    """
    if height < 32:
        raise MezoroiError(f"a surface cannot be {height} high: give at least 32 rows")
    clip = read_clip(source, max_frames=max_frames)
    try:
        return _unroll_clip(clip, height)
    except MezoroiError as error:
        raise MezoroiError(f"{source}: {error}") from error


def _unroll_clip(clip: Clip, height: int) -> Capture:
    images = [frame.image for frame in clip.frames]
    silhouettes = find_silhouettes(images)
    usable = [index for index, found in enumerate(silhouettes) if found.cut <= _CUT]
    if 2 * len(usable) < len(silhouettes):
        raise MezoroiError("the fruit leaves the frame: keep all of it in the picture")
    notes = list(clip.notes)
    if len(usable) < len(silhouettes):
        lost = len(silhouettes) - len(usable)
        notes.append(f"the fruit leaves the frame in {lost} of {len(silhouettes)} frames used")
    images = [images[index] for index in usable]
    found = [silhouettes[index] for index in usable]
    ellipses = [silhouette.ellipse for silhouette in found]
    motion = estimate_motion(make_disks(images, ellipses))
    body, turned = fit_body(ellipses, motion.poses)
    axis = find_axis(turned)
    poses = turned @ axis.basis.T
    squeezes = motion.poses @ np.linalg.inv(body) @ axis.basis.T
    views = tuple(map(View, images, ellipses, poses, squeezes))
    if len(views) > 1 and axis.degrees < _STILL:
        raise MezoroiError("the fruit does not turn: turn it once around while filming")
    surface, coverage = unroll_views(views, height, motion.nearness)
    share = covered_share(coverage)
    shown = f"{share:.0%} of the surface was seen, over a turn of {axis.degrees:.0f} degrees"
    if len(views) > 1 and share < _LEAST:
        raise MezoroiError(f"only {shown}: turn the fruit once around")
    if len(views) == 1:
        notes.append("a single photo shows one side only: film the whole turn to judge the rest")
    elif share < _ENOUGH:
        notes.append(f"only {shown}: the rest was not judged")
    if len(views) > 1 and float(np.median(motion.agreement)) < _PLAIN:
        notes.append("the surface is too plain to follow well: the unrolled picture may be off")
    outlines = _upright_outlines(found, poses)
    return Capture(
        surface=surface,
        coverage=coverage,
        outline=outline_features(outlines),
        degrees_turned=axis.degrees,
        direction=axis.direction,
        numbers=tuple(clip.frames[index].number for index in usable),
        views=views,
        scales=tuple(clip.frames[index].scale for index in usable),
        contours=tuple(silhouette.contour for silhouette in found),
        silhouettes=tuple(outlines),
        nearness=motion.nearness,
        notes=tuple(notes),
    )


def _upright_outlines(silhouettes: Sequence[Silhouette], poses: Floats) -> list[Floats]:
    """Silhouettes with the turn axis upright, evenly over the turn, in mean radii."""
    radius = float(np.mean([found.ellipse.radius for found in silhouettes]))
    kept = _whole(silhouettes)
    radii = []
    for index in kept:
        found = silhouettes[index]
        leaning = poses[index, :2, 2]
        leaning = leaning / max(1e-9, float(np.linalg.norm(leaning)))
        upright = np.array([[leaning[1], -leaning[0]], [leaning[0], leaning[1]]])
        offset = (found.contour - found.ellipse.centre) * (1.0, -1.0)
        radii.append(radii_of(offset @ upright.T / radius))
    turned = _turned(poses[kept])
    return steady_outlines(np.array(radii), turned, _evenly(turned))


def _whole(silhouettes: Sequence[Silhouette]) -> list[int]:
    """Frames that show all of the fruit, about as large as usual; all where there is none."""
    size = np.array([found.ellipse.radius for found in silhouettes])
    usual = np.abs(size / np.median(size) - 1) < 0.25
    kept = np.flatnonzero(usual & np.array([found.cut == 0 for found in silhouettes]))
    return kept.tolist() if len(kept) else list(range(len(silhouettes)))


def _turned(poses: Floats) -> Floats:
    """(V,) radians turned before each of V poses."""
    if len(poses) < 2:
        return np.zeros(len(poses))
    steps = Rotation.from_matrix(poses[1:] @ np.swapaxes(poses[:-1], 1, 2)).magnitude()
    return np.concatenate([[0.0], np.cumsum(steps)])


def _evenly(turned: Floats) -> NDArray[np.intp]:
    """Frames evenly over the turn, so that a slow stretch does not count more."""
    wanted = np.linspace(0, turned[-1], min(_OUTLINE_VIEWS, len(turned)))
    nearest = np.abs(turned[:, None] - wanted).argmin(axis=0)
    return np.unique(nearest)


def _write_png(path: Path, image: NDArray[np.uint8]) -> None:
    ready, content = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 6])
    if not ready:
        raise MezoroiError(f"cannot write {path}: the image cannot be encoded")
    write_bytes(path, content.tobytes())
