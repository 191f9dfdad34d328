"""What a new grader learns from, wherever it comes from: fruits of the app, and a dataset."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mezoroi.app.blobs import Blobs
from mezoroi.app.store.expert_grades import ExpertGraded
from mezoroi.app.store.specimens import FROM_DATASET, FRUIT
from mezoroi.capture.images import read_size
from mezoroi.datasets import Dataset, read_mask, write_mask
from mezoroi.files import content_hash
from mezoroi.standard import GradingStandard


@dataclass(frozen=True)
class Example:
    """One observation for the new grader's dataset.

    Attributes
    ----------
    name : of its files, without suffix
    specimen : the physical fruit
    keys : SHA-256 of its image, and of the upload that it was made from: graders know it by them
    mask : file that `mezoroi.datasets.read_mask` reads, or None
    split : the one that its dataset gives it, or None
    listed_as : its name in a mask file of many images
    """

    name: str
    specimen: str
    grade: str
    image: Path
    keys: tuple[str, ...]
    outline: Mapping[str, float] | None
    mask: Path | None
    split: str | None = None
    listed_as: str = ""


def of_fruit(fruit: ExpertGraded, blobs: Blobs) -> Example:
    """A fruit of the app, by the picture that was graded."""
    name = f"{FRUIT}{fruit.fruit_id}"
    return Example(
        name=name,
        specimen=name,
        grade=fruit.grade,
        image=blobs.picture(fruit.picture),
        keys=(fruit.content, Path(fruit.picture).stem),
        outline=fruit.outline,
        mask=blobs.picture(fruit.mask) if fruit.mask else None,
    )


def of_dataset(dataset: Dataset) -> list[Example]:
    """The observations of a dataset."""
    return [
        Example(
            name=f"data-{number}",
            specimen=f"{FROM_DATASET}{item.specimen}",
            grade=item.grade,
            image=item.image,
            keys=(content_hash(item.image),),
            outline=item.outline,
            mask=item.mask,
            split=item.split,
            listed_as=item.id,
        )
        for number, item in enumerate(dataset, start=1)
    ]


def each_once(
    fruits: Sequence[Example], earlier: Sequence[Example]
) -> tuple[list[Example], list[Example]]:
    """Leave out of two sources what is in both.

    A fruit of the app that says no more than the dataset does is left out of the app's; one with
    another grade, or with a painted mask, takes the dataset's place.

    Returns
    -------
    the fruits of the app, and the observations of the dataset
    """
    by_key = {key: fruit for fruit in fruits for key in fruit.keys}
    kept, twins = [], set()
    for item in earlier:
        twin = next((by_key[key] for key in item.keys if key in by_key), None)
        if twin is None:
            kept.append(item)
            continue
        twins.add(twin.name)
        if twin.grade == item.grade and twin.mask is None:
            kept.append(item)
        else:
            kept.append(
                replace(
                    item,
                    grade=twin.grade,
                    image=twin.image,
                    keys=item.keys + twin.keys,
                    mask=twin.mask,
                )
            )
    return [fruit for fruit in fruits if fruit.name not in twins], kept


def copy_to(source: Path, target: Path) -> None:
    """Copy a file into a folder that may have to be made."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def write_mask_of(example: Example, standard: GradingStandard, folder: Path) -> str:
    """Write its mask as PNG, as the dataset has it; returns its path in `folder`, or nothing."""
    if example.mask is None:
        return ""
    name = f"masks/{example.name}.png"
    if example.mask.suffix.lower() != ".json":
        copy_to(example.mask, folder / name)
        return name
    size = read_size(example.image)
    regions = {
        grade: region
        for grade in standard.grades
        if (
            region := read_mask(
                example.mask, grade, standard, size, example.listed_as, example.grade
            )
        )
        is not None
    }
    if not regions:
        return ""
    write_mask(folder / name, regions)
    return name
