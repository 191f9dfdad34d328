"""How a rotation video of a made-up melon is shot, and where the fruit is in every frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mezoroi.errors import MezoroiError

Floats = NDArray[np.float64]
Background = Literal["dark", "light", "textured"]
Support = Literal["none", "stem", "plate"]
# Body axes (x to longitude 0, y to longitude 90, z to the stem) to camera axes.
_UPRIGHT = np.array(((0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 0.0, 0.0)))


@dataclass(frozen=True)
class Turn:
    """How a rotation video is shot; the defaults are a clean full turn.

    Attributes
    ----------
    degrees : angle turned from the first to the last frame
    direction : 1 turns counterclockwise seen from the stem end, -1 clockwise
    start : longitude in degrees that faces the camera in the first frame
    unevenness : greatest relative deviation of the speed from its mean, in [0, 1)
    tilt : degrees by which the stem end leans towards the viewer
    roll : degrees by which the axis leans to the left in the image
    hand_jitter : smooth random shift of the fruit, standard deviation in pixels, and a little scale
    motion_blur : exposure time as a share of the frame interval, in [0, 1]
    exposure_drift : greatest relative slow change of the light, in [0, 1)
    glare : strength of the lamp's reflection; 1 saturates
    occluded : share of the frames, in one piece, in which a hand covers part of the fruit
    background : what lies behind the fruit, at rest
    support : a clip that holds the stem from above, a turntable plate below, or nothing
    nearness : equatorial radius over the distance of the camera
    fill : diameter of the fruit over the shorter side of the frame
    frames, fps : number of frames and frames per second
    size : height and width of the frames in pixels
    """

    degrees: float = 360.0
    direction: Literal[1, -1] = 1
    start: float = 0.0
    unevenness: float = 0.0
    tilt: float = 0.0
    roll: float = 0.0
    hand_jitter: float = 0.0
    motion_blur: float = 0.0
    exposure_drift: float = 0.0
    glare: float = 0.0
    occluded: float = 0.0
    background: Background = "dark"
    support: Support = "none"
    nearness: float = 0.1
    fill: float = 0.78
    frames: int = 120
    fps: int = 30
    size: tuple[int, int] = (480, 640)

    def __post_init__(self) -> None:
        """Refuse what cannot be shot."""
        usable = {
            "direction": self.direction in (1, -1),
            "unevenness": 0 <= self.unevenness < 1,
            "hand_jitter": self.hand_jitter >= 0,
            "motion_blur": 0 <= self.motion_blur <= 1,
            "exposure_drift": 0 <= self.exposure_drift < 1,
            "glare": self.glare >= 0,
            "occluded": 0 <= self.occluded <= 1,
            "background": self.background in get_args(Background),
            "support": self.support in get_args(Support),
            "nearness": 0 <= self.nearness <= 0.5,
            "fill": 0 < self.fill <= 1,
            "frames": self.frames >= 2,
            "fps": self.fps >= 1,
            "size": min(self.size) >= 16 and not any(side % 2 for side in self.size),
        }
        for name, is_usable in usable.items():
            if not is_usable:
                raise MezoroiError(
                    f"a melon cannot be filmed with {name} {getattr(self, name)}: see Turn"
                )


@dataclass(frozen=True)
class Truth:
    """Where the fruit is in every frame.

    Attributes
    ----------
    poses : (N, 3, 3) rotations from body axes (z to the stem, x to longitude 0) to camera axes
        (x right, y up, z towards the viewer)
    centres : (N, 2) pixels of the fruit's centre, x right, y down
    scales : (N,) pixels per equatorial radius
    angles : (N,) degrees turned since the first frame, of the sign of the direction
    occluded : (N,) bool, a hand is in the frame
    nearness : equatorial radius over the distance of the camera
    """

    poses: Floats
    centres: Floats
    scales: Floats
    angles: Floats
    occluded: NDArray[np.bool_]
    nearness: float

    def project(self, frame: int, points: NDArray[np.floating]) -> Floats:
        """Pixels (..., 2) of body points (..., 3) in equatorial radii, seen or hidden."""
        turned = np.asarray(points, dtype=np.float64) @ self.poses[frame].T
        across = turned[..., :2] / (1 - self.nearness * turned[..., 2:])
        pixels: Floats = self.centres[frame] + self.scales[frame] * across * (1, -1)
        return pixels


def draw_turn(
    rng: np.random.Generator,
    *,
    frames: int = 120,
    fps: int = 15,
    size: tuple[int, int] = (480, 640),
) -> Turn:
    """A full turn with a moderate mix of everything that goes wrong in a packing house."""
    backgrounds, supports = get_args(Background), get_args(Support)
    glare, occluded = rng.uniform(0.2, 0.8), rng.uniform(0.04, 0.12)
    has_glare, has_hand = rng.random() < 0.5, rng.random() < 0.25
    return Turn(
        degrees=float(rng.uniform(360, 400)),
        direction=1 if rng.random() < 0.5 else -1,
        start=float(rng.uniform(-180, 180)),
        unevenness=float(rng.uniform(0, 0.4)),
        tilt=float(rng.uniform(-4, 14)),
        roll=float(rng.normal(0, 2.5)),
        hand_jitter=float(rng.uniform(0, 0.006)) * min(size),
        motion_blur=float(rng.uniform(0, 0.3)),
        exposure_drift=float(rng.uniform(0, 0.12)),
        glare=float(glare) if has_glare else 0.0,
        occluded=float(occluded) if has_hand else 0.0,
        background=backgrounds[int(rng.integers(len(backgrounds)))],
        support=supports[int(rng.integers(len(supports)))],
        nearness=float(rng.uniform(0.04, 0.2)),
        fill=float(rng.uniform(0.68, 0.8)),
        frames=frames,
        fps=fps,
        size=size,
    )


def plan_turn(rng: np.random.Generator, turn: Turn, reach: float) -> Truth:
    """Where a fruit of largest radius `reach`, in equatorial radii, is in every frame.

    The same chance is drawn whatever the strengths are, so that one can be changed alone.
    """
    speed = 1 + turn.unevenness * smooth_curve(rng, turn.frames, 1.0, 3.0)
    steps = (speed[1:] + speed[:-1]) / 2
    share = np.concatenate([[0.0], np.cumsum(steps) / steps.sum()])
    angles = turn.direction * turn.degrees * share
    seconds = turn.frames / turn.fps
    shift = np.stack([smooth_curve(rng, turn.frames, *_band(seconds)) for _ in range(3)], axis=-1)
    shift *= turn.hand_jitter / np.sqrt((shift**2).mean(axis=0))
    height, width = turn.size
    seen = reach / np.sqrt(1 - min(0.9, turn.nearness * reach) ** 2)
    scale = turn.fill * min(turn.size) / (2 * seen)
    hidden = round(turn.occluded * turn.frames)
    first = int(rng.random() * (turn.frames - hidden + 1))
    lean = spin(turn.roll, 2) @ spin(turn.tilt, 0) @ _UPRIGHT
    return Truth(
        poses=lean @ spin(angles - turn.start, 2),
        centres=np.array(((width - 1) / 2, (height - 1) / 2)) + shift[:, :2],
        scales=scale + 0.3 * shift[:, 2],
        angles=angles,
        occluded=(np.arange(turn.frames) >= first) & (np.arange(turn.frames) < first + hidden),
        nearness=turn.nearness,
    )


def spin(degrees: float | Floats, axis: int) -> Floats:
    """Rotations (..., 3, 3) by `degrees` (...) about axis 0, 1 or 2."""
    angle = np.deg2rad(np.asarray(degrees, dtype=np.float64))
    first, second = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.zeros((*angle.shape, 3, 3))
    matrix[..., axis, axis] = 1
    matrix[..., first, first] = matrix[..., second, second] = np.cos(angle)
    matrix[..., second, first] = np.sin(angle)
    matrix[..., first, second] = -np.sin(angle)
    return matrix


def smooth_curve(rng: np.random.Generator, count: int, low: float, high: float) -> Floats:
    """A smooth random curve (count,) of `low` to `high` periods, within -1 and 1 and reaching one.

    Its mean is near 0.
    """
    periods = rng.uniform(low, high, 5)
    phases = rng.uniform(0, 2 * np.pi, 5)
    time = np.linspace(0, 1, count)[:, None]
    waves = np.sin(2 * np.pi * periods * time + phases).sum(axis=1)
    curve: Floats = waves / max(1e-9, float(np.abs(waves).max()))
    return curve


def _band(seconds: float) -> tuple[float, float]:
    """Periods in a video of `seconds` of a hand that sways 0.4 to 1.5 times a second."""
    return 0.4 * seconds, 1.5 * seconds
