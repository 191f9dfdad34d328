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

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from mezoroi.capture.images import read_size
from mezoroi.datasets.shapes import check_coco, check_labelme, coco_region, labelme_region
from mezoroi.errors import MezoroiError
from mezoroi.files import atomic_path
from mezoroi.standard import GradingStandard

GRADES_CHUNK = "mezoroi-grades"
"""Key of the PNG text chunk that names the bits."""

IMAGES_FOLDER = "images"
"""Folder of a dataset that its images may lie in, beside `masks`."""
_MALFORMED = (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError)


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
    if not _is_json(path):
        return _read_png(path, grade, own_grade or grade)
    content = _load_json(path)
    try:
        if "shapes" in content:
            return labelme_region(content, grade, image_size)
        entry = _coco_entry(path, image_name)
        if entry is None:
            return None
        return coco_region(content, _annotations_of(path, entry), grade, image_size)
    except _MALFORMED as error:
        raise _malformed(path, error) from error


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
    if not _is_json(path):
        return
    content = _load_json(path)
    try:
        if "shapes" in content:
            check_labelme(content, standard.grades)
        elif (entry := _coco_entry(path, image_name)) is not None:
            annotations = _annotations_of(path, entry)
            check_coco(content, annotations, standard.grades, image_size)
    except _MALFORMED as error:
        raise _malformed(path, error) from error


def is_labelme(path: Path) -> bool:
    """True where `path` is a JSON file with the shapes of one image."""
    return _holds(path, "shapes")


def is_coco(path: Path) -> bool:
    """True where `path` is a JSON file with the annotations of many images."""
    return _holds(path, "annotations") and _holds(path, "images")


def name_in_coco(path: Path, image_name: str) -> str | None:
    """How the COCO file `path` names an image; None where it does not list it."""
    try:
        entry = _coco_entry(path, image_name)
        return None if entry is None else str(entry["file_name"])
    except _MALFORMED as error:
        raise _malformed(path, error) from error


def _check_mask_size(path: Path, image_size: tuple[int, int], image_name: str | None) -> None:
    found = _declared_size(path, image_name)
    if found is not None and found != tuple(image_size):
        raise MezoroiError(
            f"{path} is a mask of {found[1]} x {found[0]} pixels for an image of "
            f"{image_size[1]} x {image_size[0]}: mark the image itself, not a resized copy"
        )


def _declared_size(path: Path, image_name: str | None) -> tuple[int, int] | None:
    if not _is_json(path):
        return read_size(path)
    content = _load_json(path)
    try:
        if "shapes" in content:
            height, width = content.get("imageHeight"), content.get("imageWidth")
        else:
            entry = _coco_entry(path, image_name) or {}
            height, width = entry.get("height"), entry.get("width")
        return (int(height), int(width)) if height and width else None
    except _MALFORMED as error:
        raise _malformed(path, error) from error


def _named_grades(path: Path) -> set[str]:
    """Grades or labels that the file names; empty for a PNG without named bits."""
    if not _is_json(path):
        with _open_png(path) as image:
            return set(_bit_names(image))
    content = _load_json(path)
    try:
        if "shapes" in content:
            return {str(shape["label"]) for shape in content["shapes"]}
        return {str(category["name"]) for category in content["categories"]}
    except _MALFORMED as error:
        raise _malformed(path, error) from error


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


def _is_json(path: Path) -> bool:
    return path.suffix.lower() == ".json"


def _holds(path: Path, key: str) -> bool:
    return _is_json(path) and key in _load_json(path)


def _load_json(path: Path) -> dict[str, Any]:
    """Content of a JSON object; parsed once as long as the file does not change."""
    try:
        stamp = path.stat()
    except OSError as error:
        raise MezoroiError(f"{path} does not exist: check the path of the mask") from error
    return _parse_json(path, stamp.st_mtime_ns, stamp.st_size)


@lru_cache(maxsize=8)
def _parse_json(path: Path, _modified: int, _size: int) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise MezoroiError(f"{path} cannot be read as JSON ({error}): export it again") from error
    if not isinstance(content, dict):
        raise MezoroiError(f"{path} is neither COCO nor labelme: export it again")
    return content


def _coco_entry(path: Path, image_name: str | None) -> dict[str, Any] | None:
    """The COCO entry of an image: by its path, else by its file name where that is unique.

    An entry whose path leads to an image of the dataset is of that one, whatever else is called
    the same.
    """
    if image_name is None:
        raise MezoroiError(f"{path} covers many images: say which one with image_name")
    stamp = path.stat()
    by_path, by_file_name = _coco_index(path, stamp.st_mtime_ns, stamp.st_size)
    name = image_name.replace("\\", "/")
    entries = by_path.get(name) or by_path.get(name.removeprefix(f"{IMAGES_FOLDER}/")) or []
    if not entries:
        entries = by_file_name.get(name.rpartition("/")[2], [])
        entries = [entry for entry in entries if not _leads_to_image(path.parent, entry)]
    if len(entries) > 1:
        raise MezoroiError(f"{path} lists several images called {name}: name them by their paths")
    return entries[0] if entries else None


def _leads_to_image(root: Path, entry: dict[str, Any]) -> bool:
    name = _slashed(entry)
    return any((folder / name).is_file() for folder in (root, root / IMAGES_FOLDER))


def _slashed(entry: dict[str, Any]) -> str:
    return str(entry["file_name"]).replace("\\", "/")


_Entries = dict[str, list[dict[str, Any]]]


@lru_cache(maxsize=8)
def _coco_index(path: Path, modified: int, size: int) -> tuple[_Entries, _Entries]:
    """The entries by their paths, and by their file names alone."""
    by_path: _Entries = {}
    by_file_name: _Entries = {}
    for entry in _parse_json(path, modified, size)["images"]:
        by_path.setdefault(_slashed(entry), []).append(entry)
        by_file_name.setdefault(_slashed(entry).rpartition("/")[2], []).append(entry)
    return by_path, by_file_name


def _annotations_of(path: Path, entry: dict[str, Any]) -> list[dict[str, Any]]:
    stamp = path.stat()
    return _coco_annotations(path, stamp.st_mtime_ns, stamp.st_size).get(entry["id"], [])


@lru_cache(maxsize=8)
def _coco_annotations(path: Path, modified: int, size: int) -> dict[Any, list[dict[str, Any]]]:
    """The annotations by the id of their image."""
    found: dict[Any, list[dict[str, Any]]] = {}
    for annotation in _parse_json(path, modified, size)["annotations"]:
        found.setdefault(annotation["image_id"], []).append(annotation)
    return found


def _malformed(path: Path, error: Exception) -> MezoroiError:
    if isinstance(error, MezoroiError):
        return MezoroiError(str(error) if str(path) in str(error) else f"{path}: {error}")
    return MezoroiError(
        f"{path} is not as COCO or labelme describe it ({type(error).__name__}: {error}): "
        "export it again"
    )
