"""Control charts against a loop, and how often they alert, rightly and wrongly."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import numpy as np
import pytest

from mezoroi.calibrating.drift import (
    BASELINE,
    PastGrade,
    Repeat,
    comparable,
    control_chart,
    drift_of,
    hidden_repeats,
    repeats_in,
)
from mezoroi.errors import MezoroiError
from mezoroi.standard import GradingStandard

STANDARD = GradingStandard.from_grades("ABCD")
START = datetime(2026, 7, 1, tzinfo=timezone.utc)


def repeats(shifts: list[int]) -> list[Repeat]:
    return [
        Repeat(str(n), "B", "ABCD"[1 + shift], START + timedelta(days=n))
        for n, shift in enumerate(shifts)
    ]


def of(fruit: str, grade: str, at: datetime, told: str | None = None) -> PastGrade:
    """A grade of a fruit that has one picture."""
    return PastGrade(fruit, fruit, grade, at, told)


def test_the_chart_is_its_equations() -> None:
    values = np.random.default_rng(0).normal(size=40)
    chart = control_chart(values, baseline=10, smoothing=0.3, width=2.5)
    centre = values[:10].mean()
    spread = np.sqrt((sum((v - centre) ** 2 for v in values[:10]) + 1) / 10)
    reach = 2.5 * spread * np.sqrt(0.3 / 1.7 + 1 / 10)
    assert (chart.low, chart.high) == pytest.approx((centre - reach, centre + reach))
    smoothed = centre
    for at, value in enumerate(values[10:], 10):
        smoothed = 0.3 * value + 0.7 * smoothed
        assert chart.smoothed[at] == pytest.approx(smoothed)
        assert chart.alerts[at] == (abs(smoothed - centre) > reach)
    assert not chart.alerts[:10].any()


def test_few_false_alarms_and_real_drift_is_found() -> None:
    """Steady: a tenth of the grades changes. Drifting: four in ten turn stricter."""
    rng = np.random.default_rng(1)
    steady, drifting = [], []
    for _ in range(200):
        noise = rng.choice([-1, 0, 1], p=[0.05, 0.9, 0.05], size=60)
        steady.append(control_chart(noise).alerts.any())
        moved = noise.copy()
        moved[30:] = rng.choice([-1, 0, 1], p=[0.02, 0.58, 0.4], size=30)
        drifting.append(control_chart(moved).alerts[30:].any())
    assert np.mean(steady) < 0.3
    assert np.mean(drifting) > 0.85


def test_false_alarms_are_as_rare_as_the_width_promises() -> None:
    """One in 500 normal values: in 100 of them 1 - (1 - 1 / 500)^100 = 18 % see one."""
    rng = np.random.default_rng(3)
    charts = [control_chart(rng.normal(size=BASELINE + 100)) for _ in range(500)]
    assert np.mean([chart.alerts.any() for chart in charts]) == pytest.approx(0.18, abs=0.05)


def test_alerts_name_the_direction() -> None:
    usual = [0] * BASELINE
    assert drift_of(repeats([*usual, 0, 0, 0, 0]), STANDARD).alert is None
    assert drift_of(repeats([*usual, 1, 1, 1, 1]), STANDARD).alert == "stricter"
    assert drift_of(repeats([*usual, -1, -1, -1, -1]), STANDARD).alert == "milder"
    both = drift_of(repeats([*usual, 1, -1, 1, -1, 1, -1, 1, -1]), STANDARD)
    assert both.alert == "inconsistent"
    kinds = GradingStandard.from_grades("ABCD", ordered=False)
    unordered = drift_of(repeats([*usual, 1, 2, 1, 2]), kinds)
    assert unordered.shift is None and unordered.alert == "inconsistent"


def test_one_slip_after_a_perfect_baseline_is_no_drift() -> None:
    assert drift_of(repeats([0] * BASELINE + [1]), STANDARD).alert is None


def test_consistency_and_order() -> None:
    given = repeats([0, 0, 1, 0])
    found = drift_of(list(reversed(given)), STANDARD)
    assert found.consistency.value == 0.75 and found.changed is None and found.alert is None
    assert np.isnan(drift_of([], STANDARD).consistency.value)
    late = repeats([0] * BASELINE + [1] * 4)
    shuffled = [late[n] for n in np.random.default_rng(0).permutation(len(late))]
    assert drift_of(shuffled, STANDARD).alert == "stricter"


def test_repeats_are_old_and_seldom_repeated() -> None:
    day = timedelta(days=1)
    history = [
        of("old", "A", START),
        of("twice", "B", START),
        of("older", "B", START - 9 * day),
        of("twice", "C", START + day),
        of("recent", "A", START + 15 * day),
        of("old but again", "D", START),
        of("old but again", "D", START + 16 * day),
    ]
    now = START + 20 * day
    chosen = [hidden_repeats(history, now, 9, np.random.default_rng(n)) for n in range(20)]
    assert all(names[2:] == ["twice"] and set(names[:2]) == {"old", "older"} for names in chosen)
    assert len({names[0] for names in chosen}) == 2
    assert len(hidden_repeats(history, now, 1, np.random.default_rng(0))) == 1
    assert hidden_repeats([], now, 3, np.random.default_rng(0)) == []
    assert repeats_in(list(reversed(history))) == [
        Repeat("twice", "B", "C", START + day),
        Repeat("old but again", "D", "D", START + 16 * day),
    ]


def test_another_picture_of_a_fruit_is_no_repeat_but_a_memory_of_it() -> None:
    day = timedelta(days=1)
    history = [
        PastGrade("week 1", "tomato", "A", START),
        PastGrade("week 5", "tomato", "C", START + 28 * day, told="D"),
        PastGrade("week 1", "tomato", "B", START + 56 * day),
    ]
    assert repeats_in(history) == [Repeat("tomato", "A", "B", START + 56 * day)]
    assert comparable(history) == {"week 1"}
    rng = np.random.default_rng(0)
    assert hidden_repeats(history, START + 60 * day, 9, rng) == []
    assert hidden_repeats(history, START + 71 * day, 9, rng) == ["week 5", "week 1"]


def test_who_was_told_another_grade_is_not_compared_with_the_first() -> None:
    def day(number: int) -> datetime:
        return START + timedelta(days=number)

    history = [
        of("told", "D", day(0), told="A"),
        of("told", "A", day(20)),
        of("told", "B", day(40), told="A"),
        of("agreed", "B", day(0), told="B"),
        of("agreed", "C", day(20), told="B"),
        of("agreed", "B", day(40)),
        of("later", "D", day(0)),
        of("later", "D", day(20), told="A"),
        of("last", "D", day(0), told="A"),
    ]
    assert repeats_in(history) == [  # as they came
        Repeat("agreed", "B", "C", day(20)),
        Repeat("later", "D", "D", day(20)),
        Repeat("told", "A", "B", day(40)),
        Repeat("agreed", "B", "B", day(40)),
    ]
    assert comparable(history) == {"told", "agreed"}


def test_bad_input() -> None:
    with pytest.raises(MezoroiError, match="unknown grade 'E'"):
        drift_of([Repeat("1", "A", "E", START)], STANDARD)
    with pytest.raises(ValueError, match="at least 20"):
        control_chart(np.zeros(5))
    with pytest.raises(ValueError, match="smoothing lies"):
        control_chart(np.zeros(30), smoothing=0)
