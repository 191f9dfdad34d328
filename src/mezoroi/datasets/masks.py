"""Masks: where on an image an expert saw the features of a grade.

Three formats are read, told apart by content:

PNG
    With a text chunk ``mezoroi-grades`` = ``A,B,D``, bit k of each pixel belongs to the k-th named
    grade, so that regions may overlap (this is what `write_mask` writes). Without the chunk every
    non-zero pixel belongs to the observation's own grade (0/255 masks).
COCO
    ``category`` names are grades; polygons and both kinds of run-length encoding.
labelme
    Labels are grades; polygons, rectangles and circles.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

from mezoroi.capture.images import read_size
from mezoroi.datasets.annotation_files import (
    MALFORMED,
    annotations_of,
    coco_entry,
    is_json,
    load_json,
    malformed,
)
from mezoroi.datasets.shapes import check_coco, check_labelme, coco_region, labelme_region
from mezoroi.errors import MezoroiError
from mezoroi.files import atomic_path
from mezoroi.standard import GradingStandard

GRADES_CHUNK = "mezoroi-grades"
"""Key of the PNG text chunk that names the bits."""


def read_mask(
    path: str | Path,
    grade: str,
    standard: GradingStandard,
    image_size: tuple[int, int],
    image_name: str | None = None,
    own_grade: str | None = None,
) -> np.ndarray | None:
    """Region of an image that shows the features of one grade.

    Parameters
    ----------
    path : PNG mask, COCO file or labelme file
    grade : the grade asked for
    standard : the standard that `grade` belongs to
    image_size : (H, W) of the upright image in pixels
    image_name : path or name of the image; needed for COCO, which covers many images
    own_grade : grade of the observation, which a PNG without named bits belongs to
        (default: `grade`)

    Returns
    -------
    (H, W) bool, or None where the file says nothing about this grade on this image. All False
    means that the grade was looked for and not found.

    Raises
    ------
    MezoroiError
        If the file is missing, damaged, in no known format or of another size than the image.
    """
    path = Path(path)
    standard.view_of(grade)
    _check_mask_size(path, image_size, image_name)
    if not is_json(path):
        return _read_png(path, grade, own_grade or grade)
    content = load_json(path)
    try:
        if "shapes" in content:
            return labelme_region(content, grade, image_size)
        entry = coco_entry(path, image_name)
        if entry is None:
            return None
        return coco_region(content, annotations_of(path, entry), grade, image_size)
    except MALFORMED as error:
        raise malformed(path, error) from error


def write_mask(path: str | Path, masks: Mapping[str, np.ndarray]) -> None:
    """Write the regions of several grades as one PNG that `read_mask` reads, atomically.

    Parameters
    ----------
    path : ends in ``.png``
    masks : (H, W) bool by grade, all of one size; the k-th grade becomes bit k (value 2**k), at
        most 8 grades in 8 bits or 16 in 16 bits

    Raises
    ------
    MezoroiError
        If `masks` is empty, sizes differ, there are too many grades, or a name holds a comma.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise MezoroiError(f"{path} is no PNG file: give a mask the suffix .png")
    if not 1 <= len(masks) <= 16:
        raise MezoroiError(f"a mask file holds 1 to 16 grades, not {len(masks)}: split it up")
    shapes = {np.shape(mask) for mask in masks.values()}
    if len(shapes) != 1 or len(next(iter(shapes))) != 2:
        raise MezoroiError(f"masks have shapes {sorted(shapes)}: give (H, W) arrays of one size")
    for grade, mask in masks.items():
        if "," in grade or not grade.strip():
            raise MezoroiError(f"grade `{grade}` cannot be named in a mask: rename it")
        if np.asarray(mask).dtype != bool:
            raise MezoroiError(f"the mask of grade `{grade}` is not boolean: give mask > 0")
    flags = np.zeros(next(iter(shapes)), dtype=np.uint8 if len(masks) <= 8 else np.uint16)
    for bit, mask in enumerate(masks.values()):
        flags |= np.asarray(mask).astype(flags.dtype) << flags.dtype.type(bit)
    chunk = PngImagePlugin.PngInfo()
    chunk.add_text(GRADES_CHUNK, ",".join(masks))
    with atomic_path(path) as temporary:
        Image.fromarray(flags).save(temporary, format="PNG", pnginfo=chunk, optimize=True)


def check_mask(
    path: Path, standard: GradingStandard, image_size: tuple[int, int], image_name: str
) -> None:
    """Raise MezoroiError where `read_mask` would fail; the pixels of a PNG are not decoded."""
    _check_mask_size(path, image_size, image_name)
    named = _named_grades(path)
    if named and not set(named) & set(standard.grades):
        raise MezoroiError(
            f"{path} marks {', '.join(sorted(named)[:5])}, none of which is a grade: "
            f"the standard has {', '.join(standard.grades)}"
        )
    if not is_json(path):
        return
    content = load_json(path)
    try:
        if "shapes" in content:
            check_labelme(content, standard.grades)
        elif (entry := coco_entry(path, image_name)) is not None:
            annotations = annotations_of(path, entry)
            check_coco(content, annotations, standard.grades, image_size)
    except MALFORMED as error:
        raise malformed(path, error) from error


def _check_mask_size(path: Path, image_size: tuple[int, int], image_name: str | None) -> None:
    found = _declared_size(path, image_name)
    if found is not None and found != tuple(image_size):
        raise MezoroiError(
            f"{path} is a mask of {found[1]} x {found[0]} pixels for an image of "
            f"{image_size[1]} x {image_size[0]}: mark the image itself, not a resized copy"
        )


def _declared_size(path: Path, image_name: str | None) -> tuple[int, int] | None:
    if not is_json(path):
        return read_size(path)
    content = load_json(path)
    try:
        if "shapes" in content:
            height, width = content.get("imageHeight"), content.get("imageWidth")
        else:
            entry = coco_entry(path, image_name) or {}
            height, width = entry.get("height"), entry.get("width")
        return (int(height), int(width)) if height and width else None
    except MALFORMED as error:
        raise malformed(path, error) from error


def _named_grades(path: Path) -> set[str]:
    """Grades or labels that the file names; empty for a PNG without named bits."""
    if not is_json(path):
        with _open_png(path) as image:
            return set(_bit_names(image))
    content = load_json(path)
    try:
        if "shapes" in content:
            return {str(shape["label"]) for shape in content["shapes"]}
        return {str(category["name"]) for category in content["categories"]}
    except MALFORMED as error:
        raise malformed(path, error) from error


def _open_png(path: Path) -> PngImagePlugin.PngImageFile:
    try:
        return PngImagePlugin.PngImageFile(path)
    except FileNotFoundError as error:
        raise MezoroiError(f"{path} does not exist: check the path of the mask") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise MezoroiError(
            f"{path} is neither PNG, COCO nor labelme: save the mask as PNG"
        ) from error


def _bit_names(image: Image.Image) -> tuple[str, ...]:
    named = image.info.get(GRADES_CHUNK)
    return tuple(str(named).split(",")) if named else ()


def _read_png(path: Path, grade: str, own_grade: str) -> np.ndarray | None:
    with _open_png(path) as image:
        names = _bit_names(image)
        try:
            pixels = np.asarray(image)
        except (OSError, SyntaxError, ValueError) as error:
            raise MezoroiError(f"{path} is a damaged mask ({error}): save it again") from error
        mode = image.mode
    if names:
        if grade not in names:
            return None
        return np.asarray((pixels.astype(np.int64) >> names.index(grade)) & 1, dtype=bool)
    if grade != own_grade:
        return None
    if mode in ("LA", "RGBA"):
        if pixels[..., -1].min() < 255:
            raise MezoroiError(f"{path} is transparent in places: save the mask as greyscale PNG")
        pixels = pixels[..., :-1]
    return np.asarray(pixels.any(axis=-1) if pixels.ndim == 3 else pixels != 0, dtype=bool)
