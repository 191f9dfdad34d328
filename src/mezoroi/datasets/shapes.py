"""Regions drawn in COCO and labelme files, as pixels.

A pixel belongs to a shape when its centre does: column c, row r has its centre at
(c + 0.5, r + 0.5), so a rectangle from (10, 10) to (20, 20) covers exactly 100 pixels.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
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


def check_labelme(content: dict[str, Any], grades: Collection[str]) -> None:
    """Raise MezoroiError where `labelme_region` of one of the grades would."""
    for shape in content["shapes"]:
        if str(shape["label"]) in grades:
            _labelme_points(shape)


def coco_region(
    content: dict[str, Any], annotations: Iterable[Any], grade: str, size: tuple[int, int]
) -> np.ndarray | None:
    """(H, W) bool: union of an image's annotations of `grade`; None where no category is it."""
    wanted = {entry["id"] for entry in content["categories"] if str(entry["name"]) == grade}
    if not wanted:
        return None
    region = np.zeros(size, dtype=bool)
    for annotation in annotations:
        if annotation["category_id"] in wanted:
            region |= _coco_segmentation(annotation["segmentation"], size)
    return region


def check_coco(
    content: dict[str, Any],
    annotations: Iterable[Any],
    grades: Collection[str],
    size: tuple[int, int],
) -> None:
    """Raise MezoroiError where `coco_region` of one of the grades would."""
    wanted = {entry["id"] for entry in content["categories"] if str(entry["name"]) in grades}
    for annotation in annotations:
        if annotation["category_id"] in wanted:
            segmentation = annotation["segmentation"]
            if isinstance(segmentation, list):
                _coco_polygons(segmentation)
            else:
                _coco_runs(segmentation, size)


def fill_polygon(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W) bool: pixels whose centres lie in a polygon.

    Parameters
    ----------
    points : (P, 2) corners as (x, y) in pixels, P >= 3
    size : (H, W)
    """
    from skimage.draw import polygon

    _check_corners(points)
    region = np.zeros(size, dtype=bool)
    rows, columns = polygon(points[:, 1] - 0.5, points[:, 0] - 0.5, shape=size)
    region[rows, columns] = True
    return region


def decode_runs(counts: list[int], size: tuple[int, int]) -> np.ndarray:
    """(H, W) bool from COCO run lengths: zeros first, alternating, column by column."""
    lengths = _checked_runs(counts, size)
    values = np.arange(lengths.size) % 2 == 1
    return np.repeat(values, lengths).reshape(size[1], size[0]).T


def _checked_runs(counts: list[int], size: tuple[int, int]) -> np.ndarray:
    lengths = np.asarray(counts, dtype=np.int64)
    if lengths.size == 0 or lengths.min() < 0 or lengths.sum() != size[0] * size[1]:
        raise MezoroiError("run lengths do not add up to the image's size: export the file again")
    return lengths


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


def _check_corners(points: np.ndarray) -> None:
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 3:
        raise MezoroiError("a polygon has fewer than 3 corners: draw it again")
    if not np.isfinite(points).all():
        raise MezoroiError("a polygon has a corner that is no number: draw it again")


def _labelme_points(shape: dict[str, Any]) -> tuple[bool, np.ndarray]:
    """Whether a shape is a circle, and its centre and edge, or else its corners as (x, y)."""
    kind = shape.get("shape_type") or "polygon"
    points = np.asarray(shape["points"], dtype=float)
    if kind == "circle":
        if points.shape != (2, 2) or not np.isfinite(points).all():
            raise MezoroiError("a circle is not a centre and a point of its edge: draw it again")
        return True, points
    if kind == "rectangle":
        (left, top), (right, bottom) = points
        points = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    elif kind != "polygon":
        raise MezoroiError(f"shape `{kind}` marks no region: draw polygons, rectangles or circles")
    _check_corners(points)
    return False, points


def _labelme_shape(shape: dict[str, Any], size: tuple[int, int]) -> np.ndarray:
    is_circle, points = _labelme_points(shape)
    if not is_circle:
        return fill_polygon(points, size)
    centre, edge = points
    rows, columns = np.ogrid[: size[0], : size[1]]
    squared = (columns + 0.5 - centre[0]) ** 2 + (rows + 0.5 - centre[1]) ** 2
    return np.asarray(squared <= ((edge - centre) ** 2).sum(), dtype=bool)


def _coco_segmentation(segmentation: Any, size: tuple[int, int]) -> np.ndarray:
    if not isinstance(segmentation, list):
        return decode_runs(_coco_runs(segmentation, size), size)
    region = np.zeros(size, dtype=bool)
    for corners in _coco_polygons(segmentation):
        region |= fill_polygon(corners, size)
    return region


def _coco_polygons(segmentation: list[Any]) -> list[np.ndarray]:
    if not segmentation:
        raise MezoroiError("an annotation has a box and no region: draw polygons")
    polygons = [np.asarray(flat, dtype=float).reshape(-1, 2) for flat in segmentation]
    for corners in polygons:
        _check_corners(corners)
    return polygons


def _coco_runs(segmentation: Any, size: tuple[int, int]) -> list[int]:
    if tuple(segmentation["size"]) != tuple(size):
        raise MezoroiError("run lengths are for an image of another size: export the file again")
    counts = segmentation["counts"]
    runs: list[int] = expand_counts(counts) if isinstance(counts, str) else counts
    _checked_runs(runs, size)
    return runs
