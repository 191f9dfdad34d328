"""The fruits that likeness thresholds come from: those that a grader did not learn from."""

from __future__ import annotations

from dataclasses import replace

from mezoroi.datasets.dataset import Dataset


def held_out_fruits(dataset: Dataset) -> Dataset:
    """Of every grade its calibration fruits, else its val fruits."""
    calibrated = {item.grade for item in dataset if item.split == "calibration"}
    chosen = tuple(
        item
        for item in dataset
        if item.split == ("calibration" if item.grade in calibrated else "val")
    )
    return replace(dataset, observations=chosen)


def notes_on_held_out(dataset: Dataset) -> tuple[str, ...]:
    """One line where the splits that a dataset brings hold out no fruit of a grade.

    A val that a training makes holds every grade.
    """
    if "val" not in dataset.splits:
        return ()
    missing = [grade for grade, count in held_out_fruits(dataset).counts().items() if not count]
    if not missing:
        return ()
    return (
        f"no val or calibration fruit of {', '.join(missing)}: their likeness threshold is the "
        "median of the other grades'; add such fruits to val",
    )
