"""Annotation files: JSON as COCO and labelme write it, and which image it is of."""

from __future__ import annotations

import json
import unicodedata
from functools import lru_cache
from pathlib import Path
from typing import Any

from mezoroi.datasets.rows import IMAGES_FOLDER, find_path
from mezoroi.errors import MezoroiError

MALFORMED = (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError)
"""What reading a file of another make raises; `malformed` says it in one line."""


def is_labelme(path: Path) -> bool:
    """True where `path` is a JSON file with the shapes of one image."""
    return _holds(path, "shapes")


def is_coco(path: Path) -> bool:
    """True where `path` is a JSON file with the annotations of many images."""
    return _holds(path, "annotations") and _holds(path, "images")


def name_in_coco(path: Path, image_name: str) -> str | None:
    """How the COCO file `path` names an image; None where it does not list it."""
    try:
        entry = coco_entry(path, image_name)
        return None if entry is None else str(entry["file_name"])
    except MALFORMED as error:
        raise malformed(path, error) from error


def marked_in_coco(path: Path) -> list[str]:
    """Names of the images that a COCO file has annotations of, in its order."""
    content = load_json(path)
    try:
        marked = {annotation["image_id"] for annotation in content["annotations"]}
        return [str(entry["file_name"]) for entry in content["images"] if entry["id"] in marked]
    except MALFORMED as error:
        raise malformed(path, error) from error


def image_of_labelme(path: Path) -> str:
    """File name of the image that a labelme file says it is of; empty where it does not say."""
    return _file_name(str(load_json(path).get("imagePath") or ""))


def is_json(path: Path) -> bool:
    """True where a file is called as JSON."""
    return path.suffix.lower() == ".json"


def _holds(path: Path, key: str) -> bool:
    content = _json_in(path) if is_json(path) else None
    return isinstance(content, dict) and key in content


def load_json(path: Path) -> dict[str, Any]:
    """Content of a JSON object.

    Raises
    ------
    MezoroiError
        If the file is missing, damaged or holds anything else.
    """
    content = _json_in(path)
    if not isinstance(content, dict):
        raise MezoroiError(f"{path} is neither COCO nor labelme: export it again")
    return content


def _json_in(path: Path) -> Any:
    """Content of a JSON file; parsed once as long as the file does not change."""
    try:
        stamp = path.stat()
    except OSError as error:
        raise MezoroiError(f"{path} does not exist: check the path of the mask") from error
    return _parse_json(path, stamp.st_mtime_ns, stamp.st_size)


@lru_cache(maxsize=8)
def _parse_json(path: Path, _modified: int, _size: int) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise MezoroiError(f"{path} cannot be read as JSON ({error}): export it again") from error


def coco_entry(path: Path, image_name: str | None) -> dict[str, Any] | None:
    """The COCO entry of an image: by its path, else by its file name where that is unique.

    An entry whose path leads to an image of the dataset is of that one, whatever else is called
    the same.
    """
    if image_name is None:
        raise MezoroiError(f"{path} covers many images: say which one with image_name")
    stamp = path.stat()
    by_path, by_file_name = _coco_index(path, stamp.st_mtime_ns, stamp.st_size)
    name = _slashed(image_name)
    entries = by_path.get(name) or by_path.get(name.removeprefix(f"{IMAGES_FOLDER}/")) or []
    if not entries:
        entries = by_file_name.get(_file_name(name), [])
        entries = [entry for entry in entries if not _leads_to_image(path.parent, entry)]
    if len(entries) > 1:
        raise MezoroiError(f"{path} lists several images called {name}: name them by their paths")
    return entries[0] if entries else None


def _leads_to_image(root: Path, entry: dict[str, Any]) -> bool:
    name = str(entry["file_name"])
    return any(find_path(folder, name).is_file() for folder in (root, root / IMAGES_FOLDER))


def _slashed(name: str) -> str:
    """A path as ids are written: with slashes, in composed Unicode."""
    return unicodedata.normalize("NFC", name.replace("\\", "/"))


def _file_name(name: str) -> str:
    return _slashed(name).rpartition("/")[2]


_Entries = dict[str, list[dict[str, Any]]]


@lru_cache(maxsize=8)
def _coco_index(path: Path, modified: int, size: int) -> tuple[_Entries, _Entries]:
    """The entries by their paths, and by their file names alone."""
    by_path: _Entries = {}
    by_file_name: _Entries = {}
    for entry in _parse_json(path, modified, size)["images"]:
        name = str(entry["file_name"])
        by_path.setdefault(_slashed(name), []).append(entry)
        by_file_name.setdefault(_file_name(name), []).append(entry)
    return by_path, by_file_name


def annotations_of(path: Path, entry: dict[str, Any]) -> list[dict[str, Any]]:
    """The annotations of an entry of a COCO file, as `coco_entry` found it."""
    stamp = path.stat()
    return _coco_annotations(path, stamp.st_mtime_ns, stamp.st_size).get(entry["id"], [])


@lru_cache(maxsize=8)
def _coco_annotations(path: Path, modified: int, size: int) -> dict[Any, list[dict[str, Any]]]:
    """The annotations by the id of their image."""
    found: dict[Any, list[dict[str, Any]]] = {}
    for annotation in _parse_json(path, modified, size)["annotations"]:
        found.setdefault(annotation["image_id"], []).append(annotation)
    return found


def malformed(path: Path, error: Exception) -> MezoroiError:
    """One line on one of `MALFORMED`, naming the file."""
    if isinstance(error, MezoroiError):
        return MezoroiError(str(error) if str(path) in str(error) else f"{path}: {error}")
    return MezoroiError(
        f"{path} is not as COCO or labelme describe it ({type(error).__name__}: {error}): "
        "export it again"
    )
