"""How long unrolling a video takes, what the time goes to, and how much memory it needs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, ParamSpec, TypeVar

import cv2
import numpy as np

from mezoroi.bench.ledger import Ledger
from mezoroi.capture.disks import make_disks
from mezoroi.capture.frames import read_clip
from mezoroi.capture.silhouette import find_silhouettes
from mezoroi.capture.surface import unroll_views
from mezoroi.capture.turn import estimate_motion
from mezoroi.capture.unrolling import MAX_FRAMES, SURFACE_HEIGHT, unroll
from mezoroi.datasets.melons import Turn, indexed_melon, render_views, write_video
from mezoroi.datasets.melons.render import Conditions
from mezoroi.datasets.melons.styles import style_of

SECONDS, FPS, SIZE = 8, 30, (720, 1280)
LARGE = (2160, 3840)
"""Height and width of the video that memory is measured with."""
ROUNDS = 3
_SEED = 3003
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def speed_settings() -> dict[str, Any]:
    """What identifies the speed cell in the ledger."""
    return {
        "bench": "capture",
        "part": "speed",
        "video": [SECONDS, FPS, *SIZE],
        "large": [*LARGE],
        "rounds": ROUNDS,
        "cores": os.cpu_count(),
        "threads": cv2.getNumThreads(),
    }


def run_speed(work: Path, ledger: Ledger) -> None:
    """Measure what the ledger does not have yet."""

    def measure() -> dict[str, Any]:
        video = work / "speed.mp4"
        turn = Turn(frames=SECONDS * FPS, fps=FPS, size=SIZE, support="plate")
        melon, _ = indexed_melon(0, _SEED)
        rng = np.random.default_rng(_SEED)
        conditions = Conditions.draw(rng, style_of("standard"))
        write_video(video, render_views(melon.body, melon.texture, conditions, turn, rng)[0], FPS)
        large = work / "speed-large.mp4"
        enlarge(video, large)
        return measure_speed(video, ROUNDS) | {"memory": measure_memory(large)}

    ledger.compute(speed_settings(), measure)


def measure_speed(video: Path, rounds: int) -> dict[str, Any]:
    """Median seconds of unrolling a video, and of its stages run one by one.

    Returns
    -------
    ``total``, and in ``stages`` seconds by name; ``rest`` is what the stages leave of the total
    """
    totals: list[float] = []
    stages: dict[str, list[float]] = {}
    for _ in range(rounds):
        capture = _timed(totals, unroll, video)
        reading = stages.setdefault("reading and decoding", [])
        clip = _timed(reading, read_clip, video, max_frames=MAX_FRAMES)
        images = [frame.image for frame in clip.frames]
        found = _timed(stages.setdefault("silhouettes", []), find_silhouettes, images)
        ellipses = [silhouette.ellipse for silhouette in found]
        disks = _timed(stages.setdefault("squeezing into disks", []), make_disks, images, ellipses)
        _timed(stages.setdefault("turn", []), estimate_motion, disks)
        blending = stages.setdefault("surface", [])
        _timed(blending, unroll_views, capture.views, SURFACE_HEIGHT, capture.nearness)
    total = median(totals)
    each = {name: median(seconds) for name, seconds in stages.items()}
    return {"total": total, "stages": each | {"rest": total - sum(each.values())}}


def enlarge(video: Path, large: Path) -> None:
    """Write the same video at the size `LARGE`."""
    import av

    with av.open(str(video)) as container:
        frames = container.decode(video=0)
        height, width = LARGE
        wide = (frame.to_ndarray(format="rgb24", width=width, height=height) for frame in frames)
        write_video(large, (np.asarray(image, dtype=np.uint8) for image in wide), FPS)


def measure_memory(video: Path) -> dict[str, float]:
    """Megabytes that a process of its own holds at most while it unrolls a video.

    Returns
    -------
    ``peak``, and ``imported``, which it holds before it begins
    """
    # Linux hands ru_maxrss on to a child program; VmHWM is this program's own.
    script = (
        "import re, sys; from pathlib import Path; from mezoroi.capture import unroll; import av\n"
        "status = lambda: Path('/proc/self/status').read_text()\n"
        "most = lambda: int(re.search(r'VmHWM:\\s+(\\d+) kB', status())[1]) / 1024\n"
        "print(most()); unroll(sys.argv[1]); print(most())"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, str(video)], check=True, capture_output=True, text=True
    )
    imported, peak = map(float, run.stdout.split())
    return {"imported": imported, "peak": peak}


def _timed(
    seconds: list[float],
    work: Callable[Arguments, Result],
    *args: Arguments.args,
    **options: Arguments.kwargs,
) -> Result:
    """Call `work` and append how long it took to `seconds`."""
    start = time.perf_counter()
    result = work(*args, **options)
    seconds.append(time.perf_counter() - start)
    return result
