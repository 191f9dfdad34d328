"""Fruits proposed for a calibration session."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from mezoroi.calibrating.proposals import WAYS, GradedFruit, propose
from mezoroi.errors import MezoroiError
from mezoroi.standard import GradingStandard

STANDARD = GradingStandard.from_grades("ABCD")
NAN = float("nan")
FRUITS = [
    GradedFruit("plain", "1", "A", {"x": "A", "y": "A"}, {"A": 0.9, "B": 0.1, "C": NAN}, 0.9),
    GradedFruit("near", "2", "A", {"x": "A", "y": "B"}, {"A": 0.6, "B": 0.55, "C": NAN}, 0.4),
    GradedFruit("far", "3", "B", {"x": "A", "y": "D"}, {"A": 0.2, "B": 0.6, "C": 0.5}, 0.6),
    GradedFruit("alone", "4", "C", {"x": "C"}),
    GradedFruit("near again", "2", "A", {"x": "A", "y": "C"}, {"A": 0.6, "B": 0.57}, 0.5),
    GradedFruit("unseen", "5", "D", {}, {"A": NAN, "D": 0.3}),
]


def ids(way: str, count: int = 10, seed: int = 0) -> list[str]:
    chosen = propose(FRUITS, way, count, STANDARD, np.random.default_rng(seed))
    return [fruit.id for fruit in chosen]


@pytest.mark.parametrize("seed", range(4))
def test_orders_by_hand(seed: int) -> None:
    assert ids("disputed", seed=seed) == ["far", "near again"]
    assert ids("unreliable", seed=seed) == ["near", "far", "plain"]
    assert ids("border", seed=seed) == ["near again", "far", "plain"]
    assert ids("border", count=1, seed=seed) == ["near again"]


def test_a_stratified_sample_has_equally_many_of_each_grade() -> None:
    many = [GradedFruit(str(n), str(n), "AAAAAABBCD"[n % 10]) for n in range(100)]
    chosen = propose(many, "stratified", 22, STANDARD, np.random.default_rng(0))
    counts = Counter(fruit.grade for fruit in chosen)
    assert sorted(counts.values()) == [5, 5, 6, 6]
    every = propose(many, "stratified", 500, STANDARD, np.random.default_rng(0))
    assert len(every) == 100


@pytest.mark.parametrize("way", WAYS)
def test_proposals_repeat_with_the_seed_and_hold_no_specimen_twice(way: str) -> None:
    assert ids(way, seed=3) == ids(way, seed=3)
    specimens = [next(f.specimen for f in FRUITS if f.id == name) for name in ids(way)]
    assert len(specimens) == len(set(specimens))


def test_bad_requests() -> None:
    with pytest.raises(MezoroiError, match="unknown way `best`"):
        ids("best")
    with pytest.raises(MezoroiError, match="at least 1"):
        ids("border", count=0)
