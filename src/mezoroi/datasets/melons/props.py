"""What else a rotation video of a made-up melon shows: background, support and a hand."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mezoroi.datasets.melons.turn import Background, Floats, Truth

Image = NDArray[np.uint8]
_SUBPIXEL = 4  # bits
_SKIN = ((224, 172, 140), (198, 142, 108), (160, 110, 82))
_STEM = (96, 104, 66)


@dataclass(frozen=True)
class Hand:
    """Three fingers that come in from the side.

    Attributes
    ----------
    angle : degrees in the image from which they come, 0 from the right
    depths : (3,) how far they reach in, in equatorial radii
    skin : (3,) RGB
    """

    angle: float
    depths: Floats
    skin: Floats

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Hand:
        """A hand from the left or the right, below the middle."""
        angle = rng.uniform(-40, 10)
        return cls(
            angle=float(angle if rng.random() < 0.5 else 180 - angle),
            depths=rng.uniform(0.35, 0.7, 3),
            skin=rng.dirichlet(np.ones(3)) @ np.array(_SKIN),
        )


def make_background(rng: np.random.Generator, kind: Background, size: tuple[int, int]) -> Image:
    """What stands still behind the fruit, (height, width, 3)."""
    height, width = size
    down = np.linspace(-1, 1, height)[:, None, None]
    across = np.linspace(-1, 1, width)[None, :, None]
    tint = rng.uniform(-6, 6, 3)
    if kind == "textured":
        stripes = 14 * np.sin(across * rng.uniform(20, 50) + 2 * down)
        image = np.array((132, 112, 92)) + 3 * tint + stripes + 0 * down
        for cell in (4, 16, 64):
            grid = (height // cell + 2, width // cell + 2, 1)
            clouds = cv2.resize(rng.normal(0, 14, grid), (width, height))
            image = image + clouds[..., None]
    else:
        base, slope = (26.0, 7.0) if kind == "dark" else (212.0, 14.0)
        image = base + 0.6 * tint + slope * (across * rng.uniform(-1, 1) - down)
    return np.asarray(np.clip(np.rint(image), 0, 255), dtype=np.uint8)


def draw_stem(canvas: Image, truth: Truth, frame: int, top: float) -> None:
    """The stem and the clip that holds it from above; `top` is the fruit's polar radius."""
    pole = truth.project(frame, np.array((0.0, 0.0, top)))
    upwards = truth.poses[frame][:2, 2] * (1, -1)
    upwards /= max(1e-6, float(np.linalg.norm(upwards)))
    scale = truth.scales[frame]
    start, grip = pole - 0.2 * scale * upwards, pole + 0.1 * scale * upwards
    end = grip + 4 * scale * upwards
    _bar(canvas, start, end, 0.1 * scale, _STEM)
    _bar(canvas, grip, end, 0.22 * scale, (112, 114, 120))
    _bar(canvas, grip, end, 0.1 * scale, (150, 152, 158))


def draw_plate(canvas: Image, truth: Truth, frame: int, bottom: float) -> None:
    """The turntable, `bottom` below the fruit's centre."""
    angle = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    circle = np.stack([np.cos(angle), np.sin(angle), np.zeros_like(angle)], axis=-1)

    def disc(radius: float, depth: float) -> Floats:
        return truth.project(frame, radius * circle - (0, 0, depth))

    both = np.concatenate([disc(1.15, bottom), disc(1.15, bottom + 0.09)])
    hull = cv2.convexHull(both.astype(np.float32), returnPoints=False)[:, 0]
    _polygon(canvas, both[hull], (64, 82, 116))
    _polygon(canvas, disc(1.15, bottom), (92, 116, 158))
    _polygon(canvas, disc(0.6, bottom), (60, 76, 104))


def draw_hand(canvas: Image, truth: Truth, frame: int, hand: Hand) -> None:
    """The hand in a frame; it comes in and leaves over the frames in which it is seen."""
    seen = np.flatnonzero(truth.occluded)
    progress = np.sin(np.pi * (frame - seen[0] + 1) / (len(seen) + 1)) ** 0.5
    turn = np.deg2rad(hand.angle)
    outwards, beside = (
        np.array((np.cos(turn), -np.sin(turn))),
        np.array((np.sin(turn), np.cos(turn))),
    )
    scale, centre = truth.scales[frame], truth.centres[frame]
    for offset, depth in zip((-0.36, 0.0, 0.34), hand.depths, strict=True):
        start = centre + scale * (offset * beside + (1.15 - depth * progress) * outwards)
        end = start + 4 * scale * outwards
        for width, shade in ((0.3, 0.72), (0.25, 0.88), (0.16, 1.0)):
            colour = tuple(int(value) for value in shade * hand.skin)
            _bar(canvas, start, end, width * scale, colour, is_round=True)


def _bar(
    canvas: Image,
    start: Floats,
    end: Floats,
    width: float,
    colour: tuple[int, ...],
    *,
    is_round: bool = False,
) -> None:
    along = (end - start) / np.linalg.norm(end - start)
    beside = np.array((-along[1], along[0])) * width / 2
    angle = np.linspace(-np.pi / 2, np.pi / 2, 24 if is_round else 2)[:, None]
    bulge = width / 2 if is_round else 0.0
    tip = start + np.sin(angle) * beside - np.cos(angle) * along * bulge
    _polygon(canvas, np.concatenate([tip, [end + beside, end - beside]]), colour)


def _polygon(canvas: Image, corners: Floats, colour: tuple[int, ...]) -> None:
    """Fill a polygon of pixels (K, 2), with a smooth edge."""
    fixed = np.rint(corners * 2**_SUBPIXEL).astype(np.int32)
    cv2.fillPoly(canvas, [fixed], colour, cv2.LINE_AA, _SUBPIXEL)
