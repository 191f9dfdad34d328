"""The pieces of `mezoroi bench practice`, with few learners."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mezoroi.bench.practice import run_practice_bench
from mezoroi.bench.practice_page import practice_page
from mezoroi.bench.practice_score import (
    arms_of,
    gained,
    grader_agreement,
    reaches,
    rounds_saved,
    rounds_to_reach,
)
from mezoroi.bench.tables import MISSING
from mezoroi.errors import MezoroiError
from mezoroi.practice import all_knowing, simulation
from mezoroi.practice.course import Course
from mezoroi.practice.learners import KINDS
from mezoroi.practice.simulation import ALL_KNOWING, RANDOM

COURSE = Course(rounds=40, checked=10)


def cell(*curves: list[float]) -> dict:
    return {"curve": list(curves), "retention": {"1 week": [curve[-1] for curve in curves]}}


def test_rounds_to_reach_by_hand() -> None:
    curve = np.array([0.25, 0.5, 0.6, 0.6, 0.8])
    assert rounds_to_reach(curve, 0.55, 10) == pytest.approx(15)
    assert rounds_to_reach(curve, 0.7, 10) == pytest.approx(35)
    assert rounds_to_reach(curve, 0.2, 10) == 0
    assert rounds_to_reach(curve, 0.9, 10) == 40


def test_rounds_saved_by_hand() -> None:
    slow = cell(*[[0.2, 0.3, 0.4, 0.5, 0.6]] * 8)
    fast = cell(*[[0.2, 0.4, 0.6, 0.6, 0.6]] * 8)
    assert rounds_saved(fast, slow, 40, COURSE).value == pytest.approx(0.5)
    assert rounds_saved(slow, slow, 20, COURSE).value == pytest.approx(0)
    poor = cell(*[[0.2, 0.2, 0.2, 0.2, 0.3]] * 8)
    assert reaches(fast, slow, 40, COURSE) and not reaches(poor, slow, 40, COURSE)
    gain = gained(fast, poor, "1 week")
    assert (gain.low, gain.value, gain.high) == pytest.approx((0.3, 0.3, 0.3))


def test_learners_of_one_group_are_drawn_together() -> None:
    """Eight learners are two groups: a resample has both, or one of them twice."""
    low, high = [[0.2] * 5] * 4, [[0.2, 0.2, 0.2, 0.2, 0.8]] * 4
    gain = gained(cell(*low, *high), cell(*low, *low), "1 week")
    assert (gain.low, gain.value, gain.high) == pytest.approx((0, 0.3, 0.6))


def test_the_bench_resumes_and_says_what_was_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(all_knowing, "TRIALS", ((1, 2), (1, 1)))  # seconds instead of a minute
    page = tmp_path / "page.md"
    assert run_practice_bench("page", page, 4) == 0
    assert page.read_text(encoding="utf-8").count(MISSING) > 20
    assert not page.with_suffix(".png").exists()
    count = run_practice_bench("standard", page, 4)
    assert count == sum(len(arms_of(kind)) for kind in KINDS) == 15
    kept = tmp_path / "ledger" / "page-standard.jsonl"
    ledger = kept.read_bytes()
    assert run_practice_bench("standard", page, 4) == count
    assert kept.read_bytes() == ledger
    text = page.read_text(encoding="utf-8")
    assert "A simulation is no trial with people" in text and "(page.png)" in text
    alone = "| exemplar, standard | adaptive with map, beside random with map | "
    assert f"{alone}{MISSING}" not in text and alone in text
    assert f"{alone.replace('standard', 'held-out')}{MISSING}" in text
    assert page.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert "too few learners for an interval" in text and "nan" not in text


def test_a_bound_is_no_aim_reached_and_the_page_says_where_the_aim_exceeds_it() -> None:
    """One at twice the pace of random order, one only up to what that reaches in 120 rounds."""
    steady = [0.25 + 0.02 * number for number in range(25)]
    quick = [0.25 + 0.02 * min(2 * number, 24) for number in range(25)]
    stalls = [max(min(fast, 0.49), slow) for fast, slow in zip(quick, steady, strict=True)]
    delays = {"same day": [0.7] * 8, "1 day": [0.7] * 8, "1 week": [0.7] * 8}
    made = {
        ("standard", RANDOM): steady,
        ("standard", ALL_KNOWING): stalls,
        ("held-out", RANDOM): steady,
        ("held-out", ALL_KNOWING): quick,
    }
    cells = {
        (variant, "prototype", arm): {"curve": [c] * 8, "retention": delays, "right": [0.7] * 8}
        for (variant, arm), c in made.items()
    }
    text = practice_page(cells, 8, "page.png")
    half = "+50% (+50% to +50%)"
    assert f"| prototype, held-out | all-knowing (a bound) | {half} | {half} | {half} |" in text
    assert "The aim exceeds this bound for prototype, standard (after 180, 240).\n" in text
    del cells["standard", "prototype", ALL_KNOWING]
    text = practice_page(cells, 8, "page.png")
    assert "The aim exceeds this bound for none of the learners for whom it was run.\n" in text
    assert "this bound" not in practice_page({}, 8, "page.png")


def test_an_erring_grader_agrees_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 0.6 < grader_agreement("standard") < 0.8
    monkeypatch.setattr(simulation, "GRADER_ERROR", 0.0)
    assert grader_agreement("standard") == pytest.approx(1)


def test_an_unknown_part_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MezoroiError, match="unknown part `x`"):
        run_practice_bench("x", tmp_path / "page.md")
