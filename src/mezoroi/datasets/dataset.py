"""Graded observations in memory: what every later room reads, whatever layout they came from."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mezoroi.capture.images import is_panorama, read_size
from mezoroi.datasets.masks import read_mask
from mezoroi.errors import MezoroiError
from mezoroi.files import content_hash
from mezoroi.standard import GradingStandard

SPLITS = ("train", "val", "calibration", "test")
"""Names a split may have, in the order they are used."""


class DatasetError(MezoroiError):
    """Everything that is wrong with a dataset, found in one go.

    Attributes
    ----------
    problems : one line per problem, each naming its file or row
    """

    def __init__(self, where: str, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        number = len(self.problems)
        if number == 1:
            only = self.problems[0]
            summary = only if only.startswith(where) else f"{where}: {only}"
        else:
            summary = (
                f"{where} has {number} problems, the first: {self.problems[0]} "
                f"(and {number - 1} more): correct them and run again"
            )
        super().__init__(summary)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore_error, (str(self), self.problems)


def _restore_error(summary: str, problems: tuple[str, ...]) -> DatasetError:
    error = DatasetError.__new__(DatasetError)
    error.args = (summary,)
    error.problems = problems
    return error


@dataclass(frozen=True)
class Observation:
    """One capture with its grade.

    Attributes
    ----------
    id : path of the image relative to the dataset's root, in POSIX form; unique in a dataset
    image : path of the photo or surface image
    grade : a grade of the dataset's standard
    specimen : the physical fruit
    split : one of `SPLITS`, or None
    mask : file that marks grade features, see `mezoroi.datasets.read_mask`
    session : harvest or capture session
    outline : shape statistics by name
    labels : grade by grader, where several graders graded the fruit
    extra : further columns of the manifest
    """

    id: str
    image: Path
    grade: str
    specimen: str
    split: str | None = None
    mask: Path | None = None
    session: str | None = None
    outline: Mapping[str, float] | None = field(default=None, hash=False)
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Dataset:
    """Observations and the grading standard they were graded by.

    Attributes
    ----------
    observations : the rows; their ids are unique and their grades are in the standard
    standard : the grading standard
    root : folder that the ids are relative to
    notes : one line on each oddity that was settled while loading
    """

    observations: tuple[Observation, ...]
    standard: GradingStandard
    root: Path
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        repeated = [name for name, n in Counter(o.id for o in self).items() if n > 1]
        if repeated:
            raise MezoroiError(f"observation `{repeated[0]}` is listed twice: remove one")
        for observation in self:
            if observation.grade not in self.standard.grades:
                raise MezoroiError(
                    f"{observation.id}: unknown grade `{observation.grade}`: "
                    f"the standard has {', '.join(self.standard.grades)}"
                )
            if observation.split is not None and observation.split not in SPLITS:
                raise MezoroiError(
                    f"{observation.id}: unknown split `{observation.split}`: "
                    f"use {', '.join(SPLITS)}"
                )

    def __len__(self) -> int:
        return len(self.observations)

    def __iter__(self) -> Iterator[Observation]:
        return iter(self.observations)

    @cached_property
    def labels(self) -> np.ndarray:
        """(N,) int64: index of each observation's grade in ``standard.grades``."""
        index = {grade: i for i, grade in enumerate(self.standard.grades)}
        return np.array([index[o.grade] for o in self], dtype=np.int64)

    @property
    def specimens(self) -> tuple[str, ...]:
        """(N,): the specimen of each observation, in row order (so names repeat)."""
        return tuple(o.specimen for o in self)

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits that occur, in the order of `SPLITS`."""
        present = {o.split for o in self}
        return tuple(name for name in SPLITS if name in present)

    def select(self, split: str) -> Dataset:
        """The observations of one split.

        Raises
        ------
        MezoroiError
            If no observation is in `split`; names the splits that exist.
        """
        chosen = tuple(o for o in self if o.split == split)
        if not chosen:
            existing = ", ".join(self.splits) or "none: assign splits first"
            raise MezoroiError(f"the dataset has no split `{split}`: it has {existing}")
        return replace(self, observations=chosen)

    def subset(self, indices: Iterable[int] | np.ndarray) -> Dataset:
        """The observations at `indices`, in that order (a boolean mask of length N works too)."""
        positions = np.asarray(indices if isinstance(indices, np.ndarray) else list(indices))
        if positions.dtype == bool:
            if positions.shape != (len(self),):
                raise MezoroiError(
                    f"the mask has shape {positions.shape}: give one value per observation, "
                    f"({len(self)},)"
                )
            positions = np.flatnonzero(positions)
        return replace(self, observations=tuple(self.observations[int(i)] for i in positions))

    def counts(self) -> dict[str, int]:
        """Number of observations of every grade of the standard, best grade first."""
        found = Counter(o.grade for o in self)
        return {grade: found[grade] for grade in self.standard.grades}

    def with_splits(self, splits: Mapping[str, str]) -> Dataset:
        """The same dataset with the splits given by id; ids that are not named keep theirs.

        Raises
        ------
        MezoroiError
            If an id is not in the dataset or a split name is unknown.
        """
        unknown = set(splits) - {o.id for o in self}
        if unknown:
            raise MezoroiError(f"no observation has the id `{min(unknown)}`: correct the splits")
        rows = tuple(replace(o, split=splits.get(o.id, o.split)) for o in self)
        return replace(self, observations=rows)

    def mask_of(self, observation: Observation, grade: str | None = None) -> np.ndarray | None:
        """Where `observation` shows the features of `grade` (default: its own grade).

        Returns
        -------
        (H, W) bool of the upright image's size, or None where nothing was marked for that grade
        """
        if observation.mask is None:
            return None
        return read_mask(
            observation.mask,
            grade or observation.grade,
            self.standard,
            read_size(observation.image),
            image_name=observation.id,
            own_grade=observation.grade,
        )

    @property
    def has_outlines(self) -> bool:
        """True where every observation has an outline, all with the same statistics."""
        if not self.observations or self.observations[0].outline is None:
            return False
        names = set(self.observations[0].outline)
        return all(o.outline is not None and set(o.outline) == names for o in self)

    @property
    def outline_names(self) -> tuple[str, ...]:
        """Sorted names of the outline statistics; empty where `has_outlines` is False."""
        if not self.has_outlines:
            return ()
        return tuple(sorted(self.observations[0].outline or ()))

    def outline_matrix(self) -> np.ndarray:
        """(N, F) float32: outline statistics in the order of `outline_names`.

        Raises
        ------
        MezoroiError
            If an observation has no outline or other statistics than the rest.
        """
        if not self.has_outlines:
            first = self.observations[0].outline if self.observations else None
            odd = next((o.id for o in self if o.outline is None or first is None), None)
            reason = f"{odd} has no outline" if odd else "outlines hold different statistics"
            raise MezoroiError(f"{reason}: capture all fruits with the same version")
        names = self.outline_names
        rows = [[(o.outline or {})[name] for name in names] for o in self]
        return np.array(rows, dtype=np.float32)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hexadecimal) of ids, grades, splits, outlines and the files' contents.

        Neither the order of the rows nor the place of the folder matters.
        """
        hashes: dict[Path, str] = {}

        def hashed(path: Path | None) -> str | None:
            if path is None:
                return None
            if path not in hashes:
                try:
                    hashes[path] = content_hash(path)
                except OSError as error:
                    raise MezoroiError(
                        f"{path} cannot be read ({error.strerror or error}): restore the file"
                    ) from error
            return hashes[path]

        rows = [
            [
                o.id,
                o.grade,
                o.split,
                hashed(o.image),
                hashed(o.mask),
                None if o.outline is None else sorted(o.outline.items()),
            ]
            for o in sorted(self, key=lambda o: o.id)
        ]
        text = json.dumps(rows, ensure_ascii=True, separators=(",", ":"))
        return hashlib.sha256(text.encode("ascii")).hexdigest()

    @cached_property
    def is_panorama(self) -> bool:
        """True where every image is twice as wide as high, within 2 % (headers only)."""
        if not self.observations:
            return False
        return all(is_panorama(*read_size(o.image)) for o in self)
