"""Which fruit shows a feature of the outline."""

from __future__ import annotations

from mezoroi.practice.features import clearest
from mezoroi.standard import GradingStandard
from mezoroi.standard_features import ShownBy

MELON = GradingStandard.melon()
TRUE = {number: 0.95 + 0.01 * number for number in range(10)}  # of grades A, B and D
GRADES = {number: "ABD"[number % 3] for number in range(10)} | {20: "C", 21: "C", 22: "C"}
LOW, HIGH = ShownBy("height_width", "low"), ShownBy("height_width", "high")


def test_the_flattest_and_the_longest_fruit_of_the_grade_are_shown() -> None:
    values = {**TRUE, 20: 0.8, 21: 0.85, 22: 1.2}
    assert clearest(values, GRADES, MELON, "C", LOW) == 20
    assert clearest(values, GRADES, MELON, "C", HIGH) == 22


def test_a_fruit_that_does_not_show_the_feature_stands_for_none() -> None:
    values = {**TRUE, 20: 0.8, 21: 0.85, 22: 1.02}
    assert clearest(values, GRADES, MELON, "C", HIGH) is None, "longer than most, but true in shape"
    assert clearest({**values, 22: 1.035}, GRADES, MELON, "C", HIGH) == 22, "all but one of ten"


def test_what_is_true_in_shape_is_seen_against_what_is_not() -> None:
    round_end = ShownBy("roundness", "high")
    values = {0: 0.97, 3: 0.99, 1: 0.995, 20: 0.9, 21: 0.8}
    assert clearest(values, GRADES, MELON, "A", round_end) == 3, "a rounder B says nothing of A"
    assert clearest({**values, 20: 0.999}, GRADES, MELON, "A", round_end) is None


def test_without_a_measurement_nothing_is_shown() -> None:
    assert clearest({}, GRADES, MELON, "C", LOW) is None
    assert clearest({20: float("nan"), 1: 1.0}, GRADES, MELON, "C", LOW) is None
    assert clearest({20: 0.9}, GRADES, MELON, "C", LOW) == 20, "nothing to compare with"
    assert clearest({21: 0.9, 20: 0.9}, GRADES, MELON, "C", LOW) == 20, "the same every time"
