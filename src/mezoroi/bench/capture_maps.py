"""Published surface maps (fsmap_gt): the same points on our surface and on the authors'."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mezoroi.bench.capture_angles import (
    Floats,
    align,
    angles_between,
    directions_of,
    locate_all,
)
from mezoroi.bench.capture_score import sample_panorama
from mezoroi.bench.ledger import Ledger
from mezoroi.capture.images import read_image
from mezoroi.capture.unrolling import Capture, unroll
from mezoroi.errors import MezoroiError
from mezoroi.files import write_bytes
from mezoroi.progress import Progress, silent

MAPS = {
    "mandarin": ("objM0005", "objM0008"),
    "orange": ("obj0001", "obj0013"),
    "tomato": ("vistas0003", "vistas0004", "vistas0008"),
    "Fruits360DataSet": ("objClementine", "objLime", "objOrange", "objPeach2"),
}
"""The authors' fruits by set."""
PICTURED = ("mandarin/objM0008", "orange/obj0001", "tomato/vistas0003")
_MAP_HEIGHT = 180  # pixels, of 1 degree


def map_settings(fruit: str) -> dict[str, Any]:
    """What identifies the cell of a fruit, such as ``orange/obj0001``, in the ledger."""
    return {"bench": "capture", "part": "maps", "fruit": fruit}


def run_maps(data: Path, work: Path, ledger: Ledger, progress: Progress = silent) -> None:
    """Unroll every fruit that the ledger does not have yet, and compare it with its map.

    Our surface and theirs, one above the other, are written to `work` for `PICTURED`.
    """
    if not data.is_dir():
        raise MezoroiError(f"{data} does not exist: give the folder of data sets with --shared")
    names = [f"{kind}/{fruit}" for kind, fruits in MAPS.items() for fruit in fruits]
    for number, name in enumerate(names):
        picture = work / f"surface-{name.replace('/', '-')}.png" if name in PICTURED else None
        ledger.compute(map_settings(name), partial(compare_map, data / name, picture))
        progress("maps", number + 1, len(names))


def compare_map(folder: Path, picture: Path | None = None) -> dict[str, Any]:
    """Unroll one fruit and compare the annotated points with the authors' map.

    Returns
    -------
    ``error`` (None for a fruit that unrolls), ``degrees_turned``, ``width`` of the map, ``angles``:
    degrees between both places of every point, the map taken for 1 degree per pixel, ``stretched``:
    the same, its width taken for 360 degrees, and ``authors``: degrees between the map's columns
    and the two that the source does not document
    """
    points = read_points(folder.parent / "groundTruthData.txt", folder.name)
    try:
        capture = _unroll_views(folder)
    except MezoroiError as error:
        return {"error": str(error)}
    theirs = read_image(folder / f"{folder.name}_map.png")
    width = theirs.shape[1]
    ours = locate_all(capture, points[:, 0], points[:, 1:3])
    on_map = map_directions(points[:, 3:5])
    rotation = align(ours, on_map)
    stretched = map_directions(points[:, 3:5], 360 / width)
    if picture is not None:
        write_bytes(picture, _side_by_side(capture, rotation, theirs))
    return {
        "error": None,
        "degrees_turned": capture.degrees_turned,
        "width": width,
        "angles": angles_between(ours @ rotation.T, on_map).tolist(),
        "stretched": angles_between(ours @ align(ours, stretched).T, stretched).tolist(),
        "authors": angles_between(map_directions(points[:, 5:7]), on_map).tolist(),
    }


def read_points(path: Path, fruit: str) -> Floats:
    """Points (M, 7) of a fruit: view, x and y in it, x and y on the map, two more columns."""
    lines = (line.split(",") for line in path.read_text(encoding="utf-8").splitlines())
    found = [[float(value) for value in line[1:8]] for line in lines if line[0].strip() == fruit]
    return np.array(found, dtype=np.float64).reshape(-1, 7)


def map_directions(pixels: Floats, degrees_per_column: float = 1.0) -> Floats:
    """Unit vectors (..., 3) of pixels (..., 2) of a map, north up."""
    longitude = (pixels[..., 0] + 0.5) * degrees_per_column
    latitude = 90 - (pixels[..., 1] + 0.5) * 180 / _MAP_HEIGHT
    return directions_of(longitude, latitude)


def _unroll_views(folder: Path) -> Capture:
    """Unroll the views of a folder in which the map lies too."""
    with tempfile.TemporaryDirectory() as views:
        for path in folder.glob("IM*"):
            (Path(views) / path.name).symlink_to(path.resolve())
        return unroll(views)


def _side_by_side(capture: Capture, rotation: Floats, theirs: np.ndarray) -> bytes:
    """PNG of our surface, turned to the axes of the authors' map, above that map."""
    height, width = theirs.shape[:2]
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    towards = map_directions(np.stack([x, y], axis=-1).astype(np.float64))
    ours = sample_panorama(capture.surface, towards @ rotation)
    joint = np.vstack([ours, np.full((4, width, 3), 255, np.uint8), theirs])
    content = cv2.imencode(".png", np.ascontiguousarray(joint[..., ::-1]))[1]
    return content.tobytes()
