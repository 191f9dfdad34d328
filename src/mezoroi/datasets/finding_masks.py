"""Which file marks the features on an image, and which images a file may mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

from mezoroi.capture.images import IMAGE_SUFFIXES, SURFACE_NAME
from mezoroi.datasets import annotation_files
from mezoroi.datasets.dataset import Observation
from mezoroi.datasets.folders import MASKS_FOLDER
from mezoroi.datasets.rows import IMAGES_FOLDER, find_path
from mezoroi.errors import MezoroiError

COCO_NAME = "annotations.json"


def coco_files(root: Path) -> tuple[Path, ...]:
    """The COCO files in a dataset's folder: ``annotations.json`` and ``*.coco.json``."""
    named = [root / COCO_NAME, *sorted(root.glob("*.coco.json"))]
    return tuple(path for path in named if path.is_file() and annotation_files.is_coco(path))


def find_mask(image: Path, name: str, root: Path, coco: Sequence[Path]) -> Path | None:
    """The file that marks the features on an image without a column `mask`; None where none does.

    Parameters
    ----------
    name : id of the image in the dataset in `root`
    coco : the dataset's COCO files

    Raises
    ------
    MezoroiError
        If several COCO files list the image, or what may mark it is damaged.
    """
    below = Path(name.removeprefix(f"{IMAGES_FOLDER}/")).with_suffix(".png")
    png = find_path(root / MASKS_FOLDER, below.as_posix())
    sidecar = image.with_suffix(".json")
    if png.is_file() and png != image:
        return png
    if image.name == SURFACE_NAME and image.with_name("mask.png").is_file():
        return image.with_name("mask.png")
    if sidecar.is_file() and annotation_files.is_labelme(sidecar) and _may_be_of(sidecar, image):
        return sidecar
    listing = [path for path in coco if annotation_files.name_in_coco(path, name) is not None]
    if len(listing) > 1:
        both = " and ".join(path.name for path in listing)
        raise MezoroiError(f"{name} is listed in {both}: keep it in one of them")
    return listing[0] if listing else None


def images_alike_in_coco(observations: Sequence[Observation]) -> list[str]:
    """Images that one entry of a COCO file may be, as it names no folder that tells."""
    shared = Counter(item.mask for item in observations)
    alike: dict[tuple[Path, str], list[str]] = {}
    for item in observations:
        if item.mask is not None and shared[item.mask] > 1 and annotation_files.is_coco(item.mask):
            name = annotation_files.name_in_coco(item.mask, item.id)
            if name is not None:
                alike.setdefault((item.mask, name), []).append(item.id)
    return [
        f"{path} lists {name}, which may be {' or '.join(ids)}: name images by their paths"
        for (path, name), ids in alike.items()
        if len(ids) > 1
    ]


def images_sharing_a_mask(observations: Sequence[Observation], named: Collection[str]) -> list[str]:
    """Images that one PNG or labelme file may mark, as their names differ in the suffix alone.

    Parameters
    ----------
    named : ids of the images whose mask a manifest names; several may be given the same one
    """
    marked: dict[Path, list[str]] = {}
    for item in observations:
        if item.mask is not None and not annotation_files.is_coco(item.mask):
            marked.setdefault(item.mask, []).append(item.id)
    return [
        f"{path} may mark {' or '.join(ids)}: give all but one of them another name"
        for path, ids in marked.items()
        if len(ids) > 1 and not set(ids) <= set(named)
    ]


def notes_on_unused_masks(
    root: Path, observations: Sequence[Observation], coco: Sequence[Path]
) -> tuple[str, ...]:
    """One line for ``masks/`` and for each COCO file that mark what is no image of a dataset."""
    used = {item.mask.resolve() for item in observations if item.mask is not None}
    unused = sorted(
        path
        for path in (root / MASKS_FOLDER).rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES
        and not path.name.startswith(".")
        and path.resolve() not in used
    )
    notes = []
    if unused:
        first = unused[0].relative_to(root).as_posix()
        notes.append(
            f"{MASKS_FOLDER}/ holds masks of no image here ({len(unused)}, the first {first}): "
            "call a mask as its image, with the suffix .png"
        )
    for path in coco:
        found = {
            annotation_files.name_in_coco(path, item.id)
            for item in observations
            if item.mask == path
        }
        lost = [name for name in annotation_files.marked_in_coco(path) if name not in found]
        if lost:
            notes.append(
                f"{path.name} marks images that are not here ({len(lost)}, the first {lost[0]}): "
                "name images by their paths in the folder"
            )
    return tuple(notes)


def _may_be_of(labelme: Path, image: Path) -> bool:
    """False where a labelme file says that it is of another picture beside the image."""
    named = annotation_files.image_of_labelme(labelme)
    return named in ("", image.name) or not image.with_name(named).is_file()
