"""`load_dataset`: a manifest or a folder of grades becomes a checked `Dataset`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from mezoroi.capture.images import (
    OUTLINE_NAME,
    SURFACE_NAME,
    check_image,
    read_image,
    read_outline,
)
from mezoroi.capture.unrolling import is_of_one_view
from mezoroi.cells import as_day
from mezoroi.datasets import masks
from mezoroi.datasets.dataset import SPLITS, Dataset, DatasetError, Observation
from mezoroi.datasets.finding_masks import (
    coco_files,
    find_mask,
    images_alike_in_coco,
    images_sharing_a_mask,
    notes_on_unused_masks,
)
from mezoroi.datasets.folders import folder_rows
from mezoroi.datasets.graders import consensus
from mezoroi.datasets.manifest import (
    MANIFEST_NAMES,
    TABLE_SUFFIXES,
    add_grader_labels,
    manifest_rows,
)
from mezoroi.datasets.odd import notes_on_odd_images
from mezoroi.datasets.order import best_first, note_on_order
from mezoroi.datasets.repeats import notes_on_same_pictures, settle_repeated_rows
from mezoroi.datasets.rows import Row, Rows, observation_id
from mezoroi.errors import MezoroiError
from mezoroi.standard import GradingStandard

STANDARD_NAME = "standard.yaml"


def load_dataset(
    path: str | Path,
    standard: GradingStandard | None = None,
    *,
    verify: bool = False,
    trainable: bool = True,
) -> Dataset:
    """Read graded fruits from a manifest or a folder.

    Parameters
    ----------
    path : a CSV, TSV or Parquet manifest (see `mezoroi.datasets.manifest`), a folder holding
        ``manifest.csv`` or ``manifest.parquet``, or a folder of grade folders (see
        `mezoroi.datasets.folders`)
    standard : the grading standard; default ``standard.yaml`` in the same folder, else the grades
        found, in the order of `best_first`
    verify : decode every image rather than only its header (and its end, for JPEG and PNG)
    trainable : also require two grades and two specimens in every grade of the standard; set it
        False for images that are only graded or evaluated

    Returns
    -------
    Dataset
        In the order of the manifest, or by path. Masks are taken from the ``mask`` column, else
        from ``masks/`` (PNG, same path below it), ``mask.png`` in a capture folder, labelme's
        ``<image>.json`` or a COCO file (``annotations.json``, ``*.coco.json``) in the folder.
        A specimen that is not named is the image itself. An image listed twice is kept once, or
        left out where the grades differ; `Dataset.notes` says so, and names the same picture under
        two specimens, masks of no image here, and where it is `trainable` what only some images
        lack.

    Raises
    ------
    DatasetError
        Listing every problem found, in its `problems`.
    """
    path = Path(path)
    found, notes = settle_repeated_rows(_find_rows(path))
    if standard is None:
        beside = found.root / STANDARD_NAME
        if beside.is_file():
            standard = GradingStandard.from_yaml(beside)
    problems = list(found.problems)
    if standard is None:
        if len(found.grades) < 2:
            only = f"only one grade (`{min(found.grades)}`)" if found.grades else "no grade"
            raise DatasetError(
                found.name,
                [*problems, f"{only} is present: add fruits of another grade, or a {STANDARD_NAME}"]
                if found.grades or not problems
                else problems,
            )
        try:
            standard = GradingStandard.from_grades(best_first(found.grades))
        except MezoroiError as error:
            raise DatasetError(found.name, [*problems, str(error)]) from error
        if trainable:
            notes = (note_on_order(standard.grades), *notes)

    coco = _coco_files(found.root)
    observations: list[Observation] = []
    named: set[str] = set()
    for row in found.rows:
        observation = _observation(row, found.root, standard, coco, verify, problems)
        if observation is not None:
            observations.append(observation)
            named |= {observation.id} if row.mask is not None else set()
    problems += _separated_specimens(found.rows)
    problems += images_alike_in_coco(observations)
    problems += images_sharing_a_mask(observations, named)
    if trainable:
        problems += _scarce_grades(found, observations, standard)
    if problems:
        raise DatasetError(found.name, problems)
    notes += notes_on_same_pictures(observations)
    try:
        notes += notes_on_unused_masks(found.root, observations, coco)
    except MezoroiError as error:
        raise _alone(error) from error
    if trainable:
        notes += notes_on_odd_images(observations)
    return Dataset(tuple(observations), standard, found.root, notes)


def load_graded(path: str | Path, standard: GradingStandard) -> Dataset:
    """`load_dataset` of fruits that a grader is tried on, be they of a single grade.

    Parameters
    ----------
    standard : the grader's, for data that bring none of their own and no other grades

    Raises
    ------
    DatasetError
        As `load_dataset`.
    """
    path = Path(path)
    root = path if path.is_dir() else path.parent
    brings_one = (root / STANDARD_NAME).is_file()
    fits = not brings_one and _find_rows(path).grades <= set(standard.grades)
    return load_dataset(path, standard if fits else None, trainable=False)


class Unusable(NamedTuple):
    """What of a dataset cannot be used.

    Attributes
    ----------
    source : the image, or the place of the dataset
    problem : one line, naming the row
    """

    source: Path
    problem: str


def load_usable(
    path: str | Path, standard: GradingStandard
) -> tuple[list[Observation], list[Unusable]]:
    """What of a manifest or a folder can be used by a given standard, and what cannot.

    Raises
    ------
    DatasetError
        If the manifest cannot be read at all.
    """
    path = Path(path)
    found, notes = settle_repeated_rows(_find_rows(path))
    coco = _coco_files(found.root)
    unusable = [Unusable(path, line) for line in (*found.problems, *notes)]
    observations = []
    for row in found.rows:
        problems: list[str] = []
        observation = _observation(row, found.root, standard, coco, False, problems)
        if observation is None:
            unusable.append(Unusable(row.image, "; ".join(problems)))
        else:
            observations.append(observation)
    return observations, unusable


def brings_grades(path: str | Path, grades: Iterable[str]) -> bool:
    """True for a manifest, a folder with one, and a folder whose folders are all of `grades`."""
    path = Path(path)
    if not path.is_dir():
        return path.suffix.lower() in TABLE_SUFFIXES
    if any((path / name).is_file() for name in MANIFEST_NAMES):
        return True
    named = folder_rows(path).grades
    return bool(named) and named <= set(grades)


def _find_rows(path: Path) -> Rows:
    try:
        if path.is_dir():
            manifest = next((path / n for n in MANIFEST_NAMES if (path / n).is_file()), None)
            found = folder_rows(path) if manifest is None else manifest_rows(manifest)
        elif path.suffix.lower() in TABLE_SUFFIXES:
            found = manifest_rows(path)
        elif not path.exists():
            raise MezoroiError(f"{path} does not exist: give a folder of grades or a manifest")
        else:
            raise MezoroiError(f"{path} is no dataset: give a folder of grades or a manifest")
        return add_grader_labels(found)
    except DatasetError:
        raise
    except MezoroiError as error:
        raise _alone(error) from error
    except OSError as error:
        raise _alone(f"{path} cannot be read ({error.strerror or error}): check it") from error


def _alone(reason: object) -> DatasetError:
    """A DatasetError whose only problem already names its file."""
    return DatasetError("", [str(reason)])


def _observation(
    row: Row,
    root: Path,
    standard: GradingStandard,
    coco: Sequence[Path],
    verify: bool,
    problems: list[str],
) -> Observation | None:
    """The checked observation, or None after adding its problems."""
    before = len(problems)
    image = row.image / SURFACE_NAME if (row.image / SURFACE_NAME).is_file() else row.image
    name = observation_id(image, root)
    size: tuple[int, int] | None = None
    try:
        size = check_image(image)
        if verify:
            read_image(image)
    except MezoroiError as error:
        problems.append(_located(row, error))
    grade = _grade(row, standard, problems)
    try:
        as_day(row.extra.get("date"))
    except MezoroiError as error:
        problems.append(_located(row, error))
    if row.split and row.split not in SPLITS:
        problems.append(f"{row.where}: unknown split `{row.split}`: use {', '.join(SPLITS)}")
    mask = row.mask
    outline = None
    try:
        if mask is None:
            mask = find_mask(image, name, root, coco)
        if mask is not None and size is not None:
            masks.check_mask(mask, standard, size, name)
    except MezoroiError as error:
        problems.append(_located(row, error))
    try:
        beside = image.with_name(OUTLINE_NAME) if image.name == SURFACE_NAME else None
        file = row.outline or (beside if beside is not None and beside.is_file() else None)
        # A grading does not take it either.
        outline = None if file is None or is_of_one_view(file) else read_outline(file)
    except MezoroiError as error:
        problems.append(_located(row, error))
    if len(problems) > before or grade is None:
        return None
    return Observation(
        id=name,
        image=image,
        grade=grade,
        specimen=row.specimen or name,
        split=row.split or None,
        mask=mask,
        session=row.session or None,
        outline=outline,
        labels=row.labels,
        extra=row.extra,
    )


def _grade(row: Row, standard: GradingStandard, problems: list[str]) -> str | None:
    known = ", ".join(standard.grades)
    before = len(problems)
    for grader, label in row.labels.items():
        if label not in standard.grades:
            problems.append(
                f"{row.where}: {grader} gave the unknown grade `{label}`: the standard has {known}"
            )
    if row.grade and row.grade not in standard.grades:
        problems.append(f"{row.where}: unknown grade `{row.grade}`: the standard has {known}")
    if not row.grade and not row.labels:
        problems.append(f"{row.where} has no grade: fill in its grade")
    if len(problems) > before:
        return None
    return row.grade or consensus(list(row.labels.values()), standard)


def _located(row: Row, error: MezoroiError) -> str:
    return str(error) if row.where in str(error) else f"{row.where}: {error}"


def _coco_files(root: Path) -> tuple[Path, ...]:
    try:
        return coco_files(root)
    except MezoroiError as error:
        raise _alone(error) from error


def _separated_specimens(rows: Iterable[Row]) -> list[str]:
    splits: dict[str, set[str]] = {}
    for row in rows:
        if row.specimen and row.split in SPLITS:
            splits.setdefault(row.specimen, set()).add(row.split)
    return [
        f"specimen `{specimen}` is in {' and '.join(s for s in SPLITS if s in names)}: "
        "keep all its images in one split"
        for specimen, names in sorted(splits.items())
        if len(names) > 1
    ]


def _scarce_grades(
    found: Rows, observations: Sequence[Observation], standard: GradingStandard
) -> list[str]:
    """Grades with too few specimens, counting rows that failed another check as well."""
    kept = {o.id: o.grade for o in observations}
    specimens: dict[str, set[str]] = {grade: set() for grade in standard.grades}
    for row in found.rows:
        name = observation_id(row.image, found.root)
        grade = row.grade or kept.get(name, "")
        if grade in specimens:
            specimens[grade].add(row.specimen or name)
    counts = Counter({grade: len(names) for grade, names in specimens.items()})
    present = [grade for grade, number in counts.items() if number]
    if len(present) == 1:
        return [f"only one grade (`{present[0]}`) is present: add fruits of another grade"]
    return [
        f"grade `{grade}` has {counts[grade]} specimen{'s' * (counts[grade] != 1)}: at least "
        "4 of every grade are needed, or 2 and splits of your own"
        for grade in standard.grades
        if counts[grade] < 2
    ]
