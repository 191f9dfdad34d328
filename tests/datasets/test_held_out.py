"""Which fruits the likeness thresholds come from, and what is said where there are none."""

from __future__ import annotations

from pathlib import Path

from mezoroi.datasets import Dataset, Observation
from mezoroi.datasets.held_out import held_out_fruits, notes_on_held_out
from mezoroi.standard import GradingStandard


def dataset_of(*fruits: str) -> Dataset:
    """Observations named, graded and split as in ``A1 val``; no files behind them."""
    rows = [fruit.split() for fruit in fruits]
    return Dataset(
        tuple(
            Observation(name, Path(f"/nowhere/{name}"), name[0], name, split=split)
            for name, split in rows
        ),
        GradingStandard.from_grades("ABC"),
        Path("/nowhere"),
    )


def test_calibration_fruits_come_before_val_fruits_of_the_same_grade() -> None:
    fruits = ("A1 train", "A2 val", "A3 calibration", "B1 val", "B2 test", "C1 calibration")
    chosen = held_out_fruits(dataset_of(*fruits))
    assert [item.id for item in chosen] == ["A3", "B1", "C1"]


def test_a_grade_without_held_out_fruit_is_noted() -> None:
    (note,) = notes_on_held_out(dataset_of("A1 val", "B1 train", "C1 test"))
    assert note.startswith("no val or calibration fruit of B, C: their likeness threshold is ")
    assert notes_on_held_out(dataset_of("A1 val", "B1 calibration", "C1 val")) == ()


def test_a_val_that_the_training_makes_is_not_judged() -> None:
    assert notes_on_held_out(dataset_of("A1 train", "B1 train", "C1 test")) == ()
