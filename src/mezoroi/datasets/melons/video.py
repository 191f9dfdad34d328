"""Rotation videos of made-up melons, with the pose of the fruit in every frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mezoroi.datasets.melons.props import (
    Hand,
    Image,
    draw_hand,
    draw_plate,
    draw_stem,
    make_background,
)
from mezoroi.datasets.melons.render import Conditions, Texture
from mezoroi.datasets.melons.scene import Fruit, Patch, make_fruit, see
from mezoroi.datasets.melons.shape import Body
from mezoroi.datasets.melons.sphere import direction, directions
from mezoroi.datasets.melons.turn import Floats, Truth, Turn, plan_turn, smooth_curve, spin
from mezoroi.errors import MezoroiError
from mezoroi.files import atomic_path

_SUBFRAMES = 6  # at most, for motion blur
_SHARP = 1.5  # pixels that the fruit may move between two of them


def render_views(
    body: Body,
    texture: Texture,
    conditions: Conditions,
    turn: Turn,
    rng: np.random.Generator,
) -> tuple[Iterator[Image], Truth]:
    """The frames of a rotation video and where the fruit is in each.

    Motion, light, things around the fruit and sensor noise have each their own stream of chance,
    so one setting of `turn` changes nothing that it does not name.

    Returns
    -------
    An iterator over `turn.frames` images (height, width, 3) uint8 RGB, rendered as they are asked
    for, and the truth.
    """
    motion, light, props, grain = rng.spawn(4)
    radius = body(directions(texture.relief.shape[0]))
    truth = plan_turn(motion, turn, float(radius.max()))
    scale = float(truth.scales.mean())
    fruit = make_fruit(body, texture, conditions, scale=scale, glare=turn.glare)
    drift = 1 + turn.exposure_drift * smooth_curve(light, turn.frames, 0.5, 1.2)
    flicker = np.deg2rad(truth.angles) + light.uniform(0, 2 * np.pi)
    gains = (drift * (1 + conditions.flicker * np.sin(flicker))) ** fruit.encoding
    # The blur of a panorama counts in its pixels; this is the same angle on the fruit.
    blur = conditions.blur * np.pi / 256 * scale
    background = make_background(props, turn.background, turn.size)
    hand = Hand.draw(props)
    ends = [float(body(direction(side * 90.0, 0.0))) for side in (1, -1)]

    def frames() -> Iterator[Image]:
        for frame in range(turn.frames):
            canvas = background.copy()
            if turn.support == "stem":
                draw_stem(canvas, truth, frame, ends[0])
            elif turn.support == "plate":
                draw_plate(canvas, truth, frame, ends[1])
            _paste(canvas, _exposed(fruit, truth, turn, frame))
            if truth.occluded[frame]:
                draw_hand(canvas, truth, frame, hand)
            noise = grain.standard_normal(turn.size, dtype=np.float32) * conditions.noise
            yield _developed(canvas, blur, float(gains[frame]), noise)

    return frames(), truth


def write_video(path: Path, frames: Iterable[Image], fps: int, *, crf: int = 16) -> None:
    """Write frames (height, width, 3) uint8 RGB as an H.264 video, whole or not at all.

    A larger `crf` gives a smaller and coarser video.

    Raises
    ------
    MezoroiError
        If there is no frame, a side is odd, or the file cannot be written.
    """
    import av

    with atomic_path(path) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        stream = None
        for image in frames:
            if stream is None:
                height, width = image.shape[:2]
                if height % 2 or width % 2:
                    raise MezoroiError(
                        f"a video cannot be {width} x {height} pixels: use even numbers"
                    )
                # One thread: the same frames always give the same file.
                options = {"crf": str(crf), "threads": "1"}
                stream = container.add_stream("libx264", rate=fps, options=options)
                stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        if stream is None:
            raise MezoroiError(f"no frame for {path}: give at least one")
        container.mux(stream.encode())


def _exposed(fruit: Fruit, truth: Truth, turn: Turn, frame: int) -> Patch:
    """The fruit as it appears in a frame, smeared by its turning while the shutter is open."""
    speed = np.gradient(truth.angles)[frame]
    travel = float(speed * turn.motion_blur)
    scale, centre = float(truth.scales[frame]), truth.centres[frame]
    count = int(np.clip(np.ceil(abs(np.deg2rad(travel)) * scale / _SHARP), 1, _SUBFRAMES))
    patches = []
    for late in (np.arange(count) + 0.5) / count - 0.5:
        pose: Floats = truth.poses[frame] @ spin(float(late) * travel, 2)
        patches.append(see(fruit, pose, centre, scale, turn.nearness, turn.size))
    return patches[0] if count == 1 else _mean(patches)


def _mean(patches: list[Patch]) -> Patch:
    """The mean of patches that differ a little in place and size."""
    top, left = min(p.top for p in patches), min(p.left for p in patches)
    bottom = max(p.top + p.opacity.shape[0] for p in patches)
    right = max(p.left + p.opacity.shape[1] for p in patches)
    image = np.zeros((bottom - top, right - left, 3), dtype=np.float32)
    opacity = np.zeros(image.shape[:2], dtype=np.float32)
    for patch in patches:
        height, width = patch.opacity.shape
        rows, columns = patch.top - top, patch.left - left
        within = np.s_[rows : rows + height, columns : columns + width]
        image[within] += np.minimum(patch.image, 1) * patch.opacity[..., None]
        opacity[within] += patch.opacity
    image /= np.maximum(opacity, np.float32(1e-6))[..., None]
    return Patch(top, left, image, (opacity / len(patches)).astype(np.float32))


def _paste(canvas: Image, patch: Patch) -> None:
    height, width = patch.opacity.shape
    within = canvas[patch.top : patch.top + height, patch.left : patch.left + width]
    fruit = np.clip(patch.image, 0, 1) * np.float32(255)
    mixed = within + patch.opacity[..., None] * (fruit - within)
    within[...] = np.rint(mixed).astype(np.uint8)


def _developed(canvas: Image, blur: float, gain: float, noise: NDArray[np.float32]) -> Image:
    """Lens blur, exposure and sensor noise."""
    smooth = cv2.GaussianBlur(canvas, (0, 0), blur) if blur > 0.2 else canvas
    noisy = smooth * np.float32(gain) + noise[..., None]
    developed: Image = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
    return developed
