"""Which file marks the features on an image, and which images a file may mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from mezoroi.capture.images import SURFACE_NAME
from mezoroi.datasets import masks
from mezoroi.datasets.dataset import Observation
from mezoroi.datasets.folders import MASKS_FOLDER


def find_mask(image: Path, name: str, root: Path, coco: Path | None) -> Path | None:
    """The file that marks the features on an image without a column `mask`; None where none does.

    Parameters
    ----------
    name : id of the image in the dataset in `root`
    coco : the dataset's COCO file, if it has one
    """
    below = name.removeprefix(f"{masks.IMAGES_FOLDER}/")
    png = (root / MASKS_FOLDER / below).with_suffix(".png")
    sidecar = image.with_suffix(".json")
    if png.is_file() and png != image:
        return png
    if image.name == SURFACE_NAME and image.with_name("mask.png").is_file():
        return image.with_name("mask.png")
    if sidecar.is_file() and masks.is_labelme(sidecar):
        return sidecar
    return coco if coco is not None and masks.name_in_coco(coco, name) is not None else None


def images_alike_in_coco(observations: Sequence[Observation]) -> list[str]:
    """Images that one entry of a COCO file may be, as it names no folder that tells."""
    shared = Counter(item.mask for item in observations)
    alike: dict[tuple[Path, str], list[str]] = {}
    for item in observations:
        if item.mask is not None and shared[item.mask] > 1 and masks.is_coco(item.mask):
            name = masks.name_in_coco(item.mask, item.id)
            if name is not None:
                alike.setdefault((item.mask, name), []).append(item.id)
    return [
        f"{path} lists {name}, which may be {' or '.join(ids)}: name images by their paths"
        for (path, name), ids in alike.items()
        if len(ids) > 1
    ]
