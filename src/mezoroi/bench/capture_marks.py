"""Real fruit (fruit_rotation): hand-marked points against the surface they are mapped to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mezoroi.bench.capture_angles import Floats, angles_between, locate_all
from mezoroi.bench.capture_noise import measure_noise
from mezoroi.bench.ledger import Ledger
from mezoroi.capture.geometry import Ellipse, disk_to_sphere
from mezoroi.capture.unrolling import unroll
from mezoroi.errors import MezoroiError
from mezoroi.progress import Progress, silent

FRUITS = {
    kind: tuple(f"{kind}/obj{number:04d}" for number in numbers)
    for kind, numbers in (
        ("mandarins", range(15)),
        ("oranges", range(1, 11)),
        ("tomatoes", range(11)),
    )
}
"""The set's fruits by kind; five mandarins have no marks."""
UNROLLED, CONSTANT, STRIP = "unrolled", "constant step", "strip mosaic"
Silhouettes = Mapping[int, Ellipse]
Baseline = Callable[[Silhouettes, float, int, Floats], Floats]


def fruit_settings(fruit: str) -> dict[str, Any]:
    """What identifies the cell of a fruit, such as ``oranges/obj0001``, in the ledger."""
    return {"bench": "capture", "part": "fruit", "fruit": fruit}


def run_fruit(data: Path, ledger: Ledger, progress: Progress = silent) -> None:
    """Unroll every fruit that the ledger does not have yet, and measure its marks."""
    if not data.is_dir():
        raise MezoroiError(f"{data} does not exist: give the folder of data sets with --shared")
    names = [name for kind in FRUITS.values() for name in kind]
    for number, name in enumerate(names):
        ledger.compute(fruit_settings(name), partial(measure_fruit, data / name))
        progress("fruits", number + 1, len(names))


def measure_fruit(folder: Path) -> dict[str, Any]:
    """Unroll one fruit and compare its marks, by `Capture.locate` and by the two baselines.

    Returns
    -------
    ``error`` (None for a fruit that unrolls), ``degrees_turned``, ``covered``, ``angles``: degrees
    between the two points of every mark, by method; NaN where one is off the fruit; ``noise``: see
    `measure_noise`, or None
    """
    marks = read_marks(folder.parent / "ground_truth.txt", folder.name)
    try:
        capture = unroll(folder)
    except MezoroiError as error:
        return {"error": str(error)}
    silhouettes = {
        number: Ellipse(view.ellipse.centre / scale, view.ellipse.shape / scale)
        for number, view, scale in zip(capture.numbers, capture.views, capture.scales, strict=True)
    }
    starts = locate_all(capture, marks[:, 0], marks[:, 2:4])
    ends = locate_all(capture, marks[:, 1], marks[:, 4:6])
    step = 360 / len(list(folder.glob("im*.png")))
    angles = {UNROLLED: angles_between(starts, ends)}
    for name, baseline in ((CONSTANT, place_by_constant_step), (STRIP, place_on_strips)):
        angles[name] = baseline_angles(baseline, silhouettes, step, marks)
    poses = {n: view.squeeze for n, view in zip(capture.numbers, capture.views, strict=True)}
    return {
        "error": None,
        "degrees_turned": capture.degrees_turned,
        "covered": capture.covered,
        "angles": {name: found.tolist() for name, found in angles.items()},
        "noise": measure_noise(marks, silhouettes, poses, capture.nearness),
    }


def read_marks(path: Path, fruit: str) -> Floats:
    """Marks (M, 6) of a fruit: frame, other frame, x and y in the one, x and y in the other."""
    lines = (line.split(",") for line in path.read_text(encoding="utf-8").splitlines())
    found = [[float(value) for value in line[1:7]] for line in lines if line[0].strip() == fruit]
    return np.array(found, dtype=np.float64).reshape(-1, 6)


def baseline_angles(
    baseline: Baseline, silhouettes: Silhouettes, step: float, marks: Floats
) -> Floats:
    """Degrees between the two points of every mark under a baseline; NaN without a silhouette."""
    found = []
    for first, second, x, y, other_x, other_y in marks:
        if int(first) not in silhouettes or int(second) not in silhouettes:
            found.append(np.nan)
            continue
        start = baseline(silhouettes, step, int(first), np.array([x, y]))
        end = baseline(silhouettes, step, int(second), np.array([other_x, other_y]))
        found.append(float(angles_between(start, end)))
    return np.array(found)


def place_by_constant_step(
    silhouettes: Silhouettes, step: float, frame: int, pixel: Floats
) -> Floats:
    """The point of a sphere (3,) that turns by `step` degrees per frame about the image's x axis.

    The sphere has the centre and the area of the silhouette; a pixel beyond it counts as its edge.
    """
    across = _from_centre(silhouettes[frame], pixel)
    across = across / max(1.0, float(np.linalg.norm(across)) / 0.9999)
    x, y, z = disk_to_sphere(across)
    angle = np.radians(step * frame)
    # The front of the fruit moves down in the frames.
    return np.array(
        [x, np.cos(angle) * y + np.sin(angle) * z, np.cos(angle) * z - np.sin(angle) * y]
    )


def place_on_strips(silhouettes: Silhouettes, step: float, frame: int, pixel: Floats) -> Floats:
    """The direction (3,) from the fruit's centre to a pixel's place on a mosaic of strips.

    The mosaic is wound around a cylinder of the silhouette's mean radius, whose axis is the image's
    x axis: along it a pixel's column counts, around it the frame's constant step plus the pixel's
    row from the centre line, both as they are.
    """
    x, y = _from_centre(silhouettes[frame], pixel)
    around = y + np.radians(step * frame)
    return np.array([x, np.sin(around), np.cos(around)])


def _from_centre(ellipse: Ellipse, pixel: Floats) -> Floats:
    """A pixel from the silhouette's centre in its mean radii, y up."""
    found: Floats = (pixel - ellipse.centre) * (1.0, -1.0) / ellipse.radius
    return found
