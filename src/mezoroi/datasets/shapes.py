"""Regions drawn in COCO and labelme files, as pixels.

A pixel belongs to a shape when its centre does: column c, row r has its centre at
(c + 0.5, r + 0.5), so a rectangle from (10, 10) to (20, 20) covers exactly 100 pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mezoroi.errors import MezoroiError


def labelme_region(content: dict[str, Any], grade: str, size: tuple[int, int]) -> np.ndarray | None:
    """(H, W) bool: union of the shapes labelled `grade`; None where there is none."""
    shapes = [shape for shape in content["shapes"] if str(shape["label"]) == grade]
    if not shapes:
        return None
    region = np.zeros(size, dtype=bool)
    for shape in shapes:
        region |= _labelme_shape(shape, size)
    return region


def coco_region(
    content: dict[str, Any], image_id: Any, grade: str, size: tuple[int, int]
) -> np.ndarray | None:
    """(H, W) bool: union of an image's annotations of `grade`; None where no category is it."""
    wanted = {entry["id"] for entry in content["categories"] if str(entry["name"]) == grade}
    if not wanted:
        return None
    region = np.zeros(size, dtype=bool)
    for annotation in content["annotations"]:
        if annotation["image_id"] == image_id and annotation["category_id"] in wanted:
            region |= _coco_segmentation(annotation["segmentation"], size)
    return region


def fill_polygon(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W) bool: pixels whose centres lie in a polygon.

    Parameters
    ----------
    points : (P, 2) corners as (x, y) in pixels, P >= 3
    size : (H, W)
    """
    from skimage.draw import polygon

    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 3:
        raise MezoroiError("a polygon has fewer than 3 corners: draw it again")
    if not np.isfinite(points).all():
        raise MezoroiError("a polygon has a corner that is no number: draw it again")
    region = np.zeros(size, dtype=bool)
    rows, columns = polygon(points[:, 1] - 0.5, points[:, 0] - 0.5, shape=size)
    region[rows, columns] = True
    return region


def decode_runs(counts: list[int], size: tuple[int, int]) -> np.ndarray:
    """(H, W) bool from COCO run lengths: zeros first, alternating, column by column."""
    lengths = np.asarray(counts, dtype=np.int64)
    if lengths.size == 0 or lengths.min() < 0 or lengths.sum() != size[0] * size[1]:
        raise MezoroiError("run lengths do not add up to the image's size: export the file again")
    values = np.arange(lengths.size) % 2 == 1
    return np.repeat(values, lengths).reshape(size[1], size[0]).T


def expand_counts(text: str) -> list[int]:
    """Run lengths from COCO's compressed text.

    Six bits a character (from ``0``), five of them value and one "more follows", least significant
    first and signed; from the fourth on, a number is the difference to the one two before it.
    """
    counts: list[int] = []
    value = shift = 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64:
            raise MezoroiError("compressed run lengths are damaged: export the file again")
        value |= (code & 31) << shift
        shift += 5
        if code & 32:
            continue
        if code & 16:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value = shift = 0
    if shift:
        raise MezoroiError("compressed run lengths end too early: export the file again")
    return counts


def _labelme_shape(shape: dict[str, Any], size: tuple[int, int]) -> np.ndarray:
    kind = shape.get("shape_type") or "polygon"
    points = np.asarray(shape["points"], dtype=float)
    if kind == "polygon":
        return fill_polygon(points, size)
    if kind == "rectangle":
        (left, top), (right, bottom) = points
        corners = [[left, top], [right, top], [right, bottom], [left, bottom]]
        return fill_polygon(np.array(corners), size)
    if kind == "circle":
        centre, edge = points
        rows, columns = np.ogrid[: size[0], : size[1]]
        squared = (columns + 0.5 - centre[0]) ** 2 + (rows + 0.5 - centre[1]) ** 2
        return np.asarray(squared <= ((edge - centre) ** 2).sum(), dtype=bool)
    raise MezoroiError(f"shape `{kind}` marks no region: draw polygons, rectangles or circles")


def _coco_segmentation(segmentation: Any, size: tuple[int, int]) -> np.ndarray:
    if isinstance(segmentation, list):
        region = np.zeros(size, dtype=bool)
        for flat in segmentation:
            region |= fill_polygon(np.asarray(flat, dtype=float).reshape(-1, 2), size)
        return region
    if tuple(segmentation["size"]) != tuple(size):
        raise MezoroiError("run lengths are for an image of another size: export the file again")
    counts = segmentation["counts"]
    return decode_runs(expand_counts(counts) if isinstance(counts, str) else counts, size)
