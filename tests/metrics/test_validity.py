"""Validity against the paper's own table and cases counted by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mezoroi.errors import MezoroiError
from mezoroi.metrics.validity import acceptance, chart_validity, misgrading, share

TABLE_2 = {
    "A": ((10, 7, 0), 100.0),
    "B": ((3, 2, 0), 100.0),
    "C": ((29, 8, 2), 94.9),
    "D": ((22, 1, 0), 100.0),
    "Total": ((64, 18, 2), 97.6),
}
"""Answers 1, 2, 3 and the published per cent of reasonable charts."""


@pytest.mark.parametrize(("counts", "published"), TABLE_2.values(), ids=TABLE_2)
def test_the_papers_table_is_reproduced(counts: tuple[int, int, int], published: float) -> None:
    answers = [number for number, count in enumerate(counts, start=1) for _ in range(count)]
    found = chart_validity(answers, range(len(answers)))
    assert found.answers == counts
    assert round(100 * found.per_answer.value, 1) == published
    assert found.per_fruit == found.per_answer, "every answer is on another fruit"


def test_a_fruit_counts_once_however_many_experts_judge_it() -> None:
    found = chart_validity([1, 1, 3, 2, 3, 3], [7, 7, 7, 8, 9, 9])
    assert found.answers == (2, 1, 3)
    assert (found.per_answer.count, found.per_answer.total) == (3, 6)
    assert (found.per_fruit.count, found.per_fruit.total) == (1, 3), "only fruit 8 has no 3"


def test_wilson_interval_of_a_share_by_hand() -> None:
    found = share(8, 10)
    z2 = 1.959963984540054**2
    centre = (8 + z2 / 2) / (10 + z2)
    half = math.sqrt(z2) / (10 + z2) * math.sqrt(8 * 2 / 10 + z2 / 4)
    assert found.value == 0.8
    assert (found.low, found.high) == pytest.approx((centre - half, centre + half))


def test_over_and_under_grading_are_counted_apart() -> None:
    given_grades, expert = [0, 0, 1, 3, 2, 1], [0, 2, 2, 1, 2, 0]
    found = misgrading(given_grades, expert, over_cost=10, under_cost=1)
    assert (found.compared, found.over, found.under) == (6, 2, 2)
    assert (found.over_steps, found.under_steps) == (2 + 1, 2 + 1)
    assert found.cost == 10 * 3 + 1 * 3
    assert found.cost_each == 33 / 6
    assert acceptance(given_grades, expert).count == 2


def test_nothing_judged_is_undefined() -> None:
    charts, errors = chart_validity([], []), misgrading([], [])
    assert charts.answers == (0, 0, 0)
    assert math.isnan(charts.per_answer.value) and math.isnan(acceptance([], []).value)
    assert errors.cost == 0 and math.isnan(errors.cost_each)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=30))
def test_turning_the_order_round_swaps_over_and_under(pairs: list[tuple[int, int]]) -> None:
    ours, theirs = zip(*pairs, strict=True)
    found = misgrading(ours, theirs, 3, 5)
    turned = misgrading([4 - g for g in ours], [4 - g for g in theirs], 5, 3)
    assert (found.over_steps, found.under_steps) == (turned.under_steps, turned.over_steps)
    assert found.cost == turned.cost
    assert found.over + found.under == found.compared - acceptance(ours, theirs).count


@pytest.mark.parametrize(
    "call",
    [
        lambda: chart_validity([1, 4], [1, 2]),
        lambda: chart_validity([1], [1, 2]),
        lambda: acceptance([1], [1, 2]),
        lambda: misgrading([1], [2], over_cost=-1),
        lambda: misgrading([1], [2], under_cost=math.nan),
    ],
)
def test_what_makes_no_sense_is_refused(call: object) -> None:
    with pytest.raises(MezoroiError):
        call()  # type: ignore[operator]
