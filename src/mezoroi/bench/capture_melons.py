"""Made-up melons filmed under everything that goes wrong, one condition at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mezoroi.bench.capture_score import (
    evened,
    outline_errors,
    pose_errors,
    psnr,
    sample_panorama,
)
from mezoroi.bench.ledger import Ledger, cell_key
from mezoroi.capture.outline import outline_features
from mezoroi.capture.surface import panorama_directions
from mezoroi.capture.unrolling import unroll
from mezoroi.datasets.melons import (
    GENERATOR_VERSION,
    Conditions,
    Turn,
    indexed_melon,
    render_views,
    silhouettes,
    write_video,
)
from mezoroi.datasets.melons.render import render_surface
from mezoroi.datasets.melons.styles import style_of
from mezoroi.errors import MezoroiError
from mezoroi.progress import Progress, silent

SEED = 3012
"""Of melons that no method was tuned on."""
PER_CONDITION, PER_CONDITION_HELD_OUT = 4, 1
_STRIDE = 13  # more than the conditions, so that every one gets other melons, of all grades


@dataclass(frozen=True)
class Shot:
    """A condition: how the turn differs from a clean full one."""

    name: str
    turn: Mapping[str, Any]


_ALONE = (
    Shot("plain", {}),
    Shot("uneven speed, up to 50 %", {"unevenness": 0.5}),
    Shot("330 degrees", {"degrees": 330.0}),
    Shot("400 degrees", {"degrees": 400.0}),
    Shot("clockwise", {"direction": -1}),
    Shot("tilt of 10 degrees", {"tilt": 10.0}),
    Shot("hand jitter of 4 pixels", {"hand_jitter": 4.0}),
    Shot("motion blur, half of the interval", {"motion_blur": 0.5}),
    Shot("exposure drift of 25 %", {"exposure_drift": 0.25}),
    Shot("glare", {"glare": 0.8}),
    Shot("hand in 10 % of the frames", {"occluded": 0.1}),
)
_TOGETHER = {name: value for shot in _ALONE for name, value in shot.turn.items()}
SHOTS = (
    *_ALONE,
    Shot("all together", _TOGETHER | {"background": "textured", "support": "plate"}),
)


def melon_settings(shot: Shot, number: int, variant: str = "standard") -> dict[str, Any]:
    """What identifies the cell of one melon in the ledger."""
    return {
        "bench": "capture",
        "part": "melons",
        "generator": GENERATOR_VERSION,
        "seed": SEED,
        "variant": variant,
        "turn": dict(shot.turn),
        "number": number,
    }


def melon_plan(per_condition: int = PER_CONDITION) -> list[tuple[Shot, int, str]]:
    """Every melon to film: its condition, its number there, and the generator's variant."""
    plan = [(shot, number, "standard") for number in range(per_condition) for shot in SHOTS]
    held_out = range(PER_CONDITION_HELD_OUT)
    return plan + [(shot, number, "held-out") for number in held_out for shot in SHOTS]


def run_melons(
    work: Path, ledger: Ledger, progress: Progress = silent, per_condition: int = PER_CONDITION
) -> None:
    """Film and unroll every melon that the ledger does not have yet."""
    plan = melon_plan(per_condition)
    for done, (shot, number, variant) in enumerate(plan, 1):
        settings = melon_settings(shot, number, variant)
        index = _STRIDE * number + SHOTS.index(shot)
        turn = Turn(**{"frames": 120, "fps": 15, **shot.turn})
        video = work / f"{cell_key(settings)}.mp4"
        ledger.compute(settings, partial(measure_melon, index, variant, turn, video))
        progress("melons filmed", done, len(plan))


def measure_melon(index: int, variant: str, turn: Turn, video: Path) -> dict[str, Any]:
    """Film one melon to `video`, unroll it, and compare with the truth; the video is removed.

    Returns
    -------
    ``error`` (None if it unrolls); ``pose``: root mean square in degrees; ``degrees``: error of the
    angle turned; ``direction``: whether it was found; ``covered``; ``psnr`` in the covered area,
    ``psnr_evened`` after brightness and contrast are fitted; ``relative`` and ``absolute`` errors
    of the outline's features
    """
    melon, _ = indexed_melon(index, SEED, variant=variant)
    rng = np.random.default_rng([SEED, index])
    # The phase of flicker differs between video and panorama; drifting light has its own row.
    conditions = replace(Conditions.draw(rng, style_of(variant)), flicker=0.0)
    frames, truth = render_views(melon.body, melon.texture, conditions, turn, rng)
    try:
        write_video(video, frames, turn.fps)
        capture = unroll(video)
    except MezoroiError as error:
        return {"error": str(error).removeprefix(f"{video}: ")}
    finally:
        video.unlink(missing_ok=True)
    numbers = list(capture.numbers)
    errors, alignment = pose_errors(
        np.stack([view.pose for view in capture.views]), truth.poses[numbers]
    )
    surface = render_surface(rng, melon.texture, replace(conditions, noise=0.0))
    towards = panorama_directions(capture.surface.shape[0]) @ alignment.T
    true_surface = sample_panorama(surface, towards)
    turned = abs(float(truth.angles[numbers[-1]] - truth.angles[numbers[0]]))
    relative, absolute = outline_errors(capture.outline, outline_features(silhouettes(melon.body)))
    shown = capture.coverage
    return {
        "error": None,
        "pose": float(np.sqrt((errors**2).mean())),
        "degrees": abs(capture.degrees_turned - turned),
        "direction": capture.direction == turn.direction,
        "covered": capture.covered,
        "psnr": psnr(capture.surface, true_surface, shown),
        "psnr_evened": psnr(evened(capture.surface, true_surface, shown), true_surface, shown),
        "relative": relative,
        "absolute": absolute,
    }
