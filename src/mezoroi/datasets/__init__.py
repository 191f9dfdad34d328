"""Graded fruits: manifests, folders, masks and splits."""

from __future__ import annotations

from mezoroi.datasets.dataset import SPLITS, Dataset, DatasetError, Observation
from mezoroi.datasets.graders import consensus
from mezoroi.datasets.loading import (
    Unusable,
    brings_grades,
    load_dataset,
    load_graded,
    load_usable,
)
from mezoroi.datasets.masks import read_mask, write_mask
from mezoroi.datasets.repeats import same_pictures, without_same_pictures
from mezoroi.datasets.splits import (
    assign_splits,
    complete_splits,
    folds,
    hold_out_per_grade,
)

__all__ = [
    "SPLITS",
    "Dataset",
    "DatasetError",
    "Observation",
    "Unusable",
    "assign_splits",
    "brings_grades",
    "complete_splits",
    "consensus",
    "folds",
    "hold_out_per_grade",
    "load_dataset",
    "load_graded",
    "load_usable",
    "read_mask",
    "same_pictures",
    "without_same_pictures",
    "write_mask",
]
