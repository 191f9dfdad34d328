"""Which grade a fruit's maps point at."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mezoroi as mz
from mezoroi.signs import pointed_grade, sign_limits

MELON = mz.GradingStandard.melon()  # D > C > B > A, C by the outline
SURFACE = MELON.surface_grades
NAN = float("nan")
LIMITS = np.array([[NAN, NAN], [0.4, 0.6], [NAN, NAN], [0.3, 0.5]])


def pointed(grade: str, **signs: float) -> str | None:
    return pointed_grade(grade, [signs[name] for name in SURFACE], LIMITS, MELON, SURFACE)


@pytest.mark.parametrize(
    ("grade", "signs", "expected"),
    [
        # A small sign is enough for the grade that takes precedence, whatever else is there.
        ("D", {"A": 0.9, "B": 0.9, "D": 0.3}, "D"),
        ("D", {"A": 0.9, "B": 0.4, "D": 0.29}, "B"),
        ("D", {"A": 0.9, "B": 0.39, "D": 0.29}, "A"),
        # Between the limits nothing is said.
        ("B", {"A": 0.9, "B": 0.4, "D": 0.5}, "B"),
        ("B", {"A": 0.1, "B": 0.9, "D": 0.51}, "D"),
        ("A", {"A": 0.9, "B": 0.6, "D": 0.5}, "A"),
        ("A", {"A": 0.9, "B": 0.61, "D": 0.5}, "B"),
        ("A", {"A": 0.9, "B": 0.9, "D": 0.9}, "D"),
        # Nothing is weaker than A, and so nothing can be pointed at instead.
        ("A", {"A": 0.0, "B": 0.0, "D": 0.0}, "A"),
        # On the surface only D speaks against a grade judged on the outline.
        ("C", {"A": 0.1, "B": 0.9, "D": 0.5}, None),
        ("C", {"A": 0.1, "B": 0.9, "D": 0.51}, "D"),
    ],
)
def test_precedence_decides_what_the_map_points_at(
    grade: str, signs: dict[str, float], expected: str | None
) -> None:
    assert pointed(grade, **signs) == expected


@given(st.lists(st.floats(0, 1), min_size=3, max_size=3), st.sampled_from("ABD"))
def test_without_limits_the_map_agrees(signs: list[float], grade: str) -> None:
    unknown = np.full((4, 2), NAN)
    assert pointed_grade(grade, signs, unknown, MELON, SURFACE) == grade
    assert pointed_grade(grade, [], unknown, MELON, []) is None


def test_limits_are_percentiles_over_fruits_with_the_grade_and_without() -> None:
    labels = np.repeat([0, 1, 2, 3], 41)
    generator = np.random.default_rng(3)
    signs = generator.uniform(0, 1, (164, 3))
    limits = sign_limits(signs, labels, MELON)
    assert limits.shape == (4, 2)
    assert np.isnan(limits[[0, 2]]).all()

    # By hand: of 41 sorted values the 5th percentile is number 2, counted from 0.
    own = np.sort(signs[labels == 3, 2])[2]
    # D takes precedence over A, B and C: 123 fruits, whose 95th percentile is number 115.9.
    ranked = np.sort(signs[labels < 3, 2])
    without = ranked[115] + 0.9 * (ranked[116] - ranked[115])
    assert limits[3] == pytest.approx(sorted([own, without]))
    # B only over A: a C may well have a B's net.
    own, without = np.sort(signs[labels == 1, 1])[2], np.sort(signs[labels == 0, 1])[38]
    assert limits[1] == pytest.approx(sorted([own, without]))


def test_where_the_signs_are_apart_every_fruit_keeps_its_grade() -> None:
    labels = np.repeat([0, 3], 20)
    signs = np.zeros((40, 3))
    signs[:20, 2], signs[20:, 2] = np.linspace(0.1, 0.3, 20), np.linspace(0.7, 0.9, 20)
    low, high = sign_limits(signs, labels, MELON)[3]
    assert 0.28 < low < 0.3 and 0.7 < high < 0.72
    limits = sign_limits(signs, labels, MELON)
    for label, row in zip(labels, signs, strict=True):
        grade = MELON.grades[label]
        assert pointed_grade(grade, row.tolist(), limits, MELON, SURFACE) == grade


def test_a_grade_that_was_not_held_out_has_no_limits() -> None:
    labels = np.array([0, 0, 1, 1])
    limits = sign_limits(np.full((4, 3), 0.5), labels, MELON)
    assert np.isnan(limits[3]).all() and not np.isnan(limits[1]).any()
