"""Simulated learners against loops in plain Python, and that they are the frozen ones."""

from __future__ import annotations

import numpy as np
import pytest

from mezoroi.practice.course import Course
from mezoroi.practice.learners import KINDS, LEARNER_VERSION, VARIANTS, Learners
from mezoroi.practice.simulation import (
    ADAPTIVE,
    ALL_KNOWING,
    ARMS,
    BLOCKED,
    ERRING,
    RANDOM,
    RANDOM_WITH_MAP,
    as_an_erring_grader_says,
    simulate,
)
from mezoroi.practice.stand_in import BORDER, SALIENCE, draw_stand_ins

SHORT = Course(rounds=40, checked=20, pool=15, test=8)
FROZEN = {
    ("exemplar", "standard"): 0.3264,
    ("exemplar", "held-out"): 0.3020,
    ("prototype", "standard"): 0.3562,
    ("prototype", "held-out"): 0.3254,
}


def taught(kind: str, count: int = 3, rounds: int = 12) -> tuple[Learners, np.ndarray]:
    """Learners who were told some fruits, and what those were."""
    rng = np.random.default_rng(1)
    fruits = draw_stand_ins("standard", 5, rng)
    learners = Learners(kind, "standard", count, 8, 4, rounds, rng)
    chosen = rng.integers(len(fruits), size=(rounds, count))
    for number, row in enumerate(chosen):
        learners.learn(fruits.features[row], fruits.grades[row], 60.0 * number, rng)
    return learners, fruits.features[:4]


def everything(learners: Learners, reach: float = 1e9) -> None:
    """Let every dimension be looked at, so that nothing is left to chance."""
    learners.parameters["reach"] = np.full(len(learners), reach)


@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_those_of_the_equations(kind: str) -> None:
    learners, fruits = taught(kind)
    everything(learners)
    shares = learners._shares(
        np.broadcast_to(fruits, (3, *fruits.shape)), 900.0, np.random.default_rng(0)
    )
    values = learners.parameters
    for person in range(3):
        c, gamma = values["sensitivity"][person], values["determinism"][person]
        for at, fruit in enumerate(fruits):
            evidence = [values["background"][person]] * 4
            strength = [
                (1 + (900 - 60 * n) / 60) ** -values["forgetting"][person] for n in range(12)
            ]
            for grade in range(4):
                own = [n for n in range(12) if learners._told[person, n] == grade]
                mass = sum(strength[n] for n in own)
                points = [learners._traces[person, n] for n in own]
                weights = [strength[n] for n in own]
                if kind == "prototype" and own:
                    centre = sum(w * p for w, p in zip(weights, points, strict=True)) / mass
                    points, weights = [centre], [mass]
                for point, weight in zip(points, weights, strict=True):
                    far = sum(learners.attention[person] * abs(fruit - point))
                    evidence[grade] += weight * np.exp(-c * far)
            raised = np.array(evidence) ** gamma
            assert shares[person, at] == pytest.approx(raised / raised.sum())


@pytest.mark.parametrize("kind", KINDS)
def test_attention_follows_the_gradient(kind: str) -> None:
    """Against finite differences of the log probability of the right grade."""
    learners, fruits = taught(kind, count=1)
    everything(learners)
    learners.parameters["determinism"] = np.ones(1)
    percept, grade, now = fruits[:1], np.array([2]), 900.0
    weights = learners.attention.copy()

    def log_share(attention: np.ndarray) -> float:
        learners.attention = attention
        shares = learners._shares(percept[:, None], now, np.random.default_rng(0))
        return float(np.log(shares[0, 0, 2]))

    slope = np.zeros(8)
    for k in range(8):
        step = np.zeros((1, 8))
        step[0, k] = 1e-6
        slope[k] = (log_share(weights + step) - log_share(weights - step)) / 2e-6
    learners.attention = weights
    learners._shift_attention(percept, grade, now, np.random.default_rng(0))
    rate = learners.parameters["attention_rate"][0]
    expected = np.maximum(weights[0] * np.exp(np.clip(rate * slope, -1, 1)), 0)
    expected = np.maximum(expected / expected.sum(), 1e-3)
    assert learners.attention[0] == pytest.approx(expected / expected.sum(), rel=1e-4)


def test_learners_forget() -> None:
    learners, _ = taught("exemplar")
    fruits = draw_stand_ins("standard", 20, np.random.default_rng(5))
    at = [
        learners.accuracy(fruits.features, fruits.grades, 720.0 + delay, np.random.default_rng(0))
        for delay in (0.0, 86400.0, 30 * 86400.0)
    ]
    assert (at[0] > at[1]).all() and (at[1] > at[2]).all() and (at[2] > 0.25).all()


def test_a_test_leaves_no_trace() -> None:
    learners, fruits = taught("exemplar")
    before = learners.attention.copy(), learners._length
    learners.accuracy(fruits, np.arange(4), 800.0, np.random.default_rng(0))
    assert (learners.attention == before[0]).all() and learners._length == before[1]


def test_a_map_draws_attention() -> None:
    learners, fruits = taught("exemplar", rounds=12)
    other, _ = taught("exemplar", rounds=12)
    for one in (learners, other):
        one._length = 5
    pointed = np.array([6, 6, -1])
    where = np.zeros(3, dtype=np.int64)
    learners.learn(fruits[:3], where, 999.0, np.random.default_rng(0), pointed)
    other.learn(fruits[:3], where, 999.0, np.random.default_rng(0))
    assert (learners.attention[:2, 6] > other.attention[:2, 6]).all()
    assert (learners.attention[2] == other.attention[2]).all()
    assert learners.attention.sum(axis=1) == pytest.approx(1)


@pytest.mark.parametrize("variant", VARIANTS)
def test_stand_ins_are_graded_by_precedence(variant: str) -> None:
    fruits = draw_stand_ins(variant, 50, np.random.default_rng(0))
    shown = fruits.features[:, :3] / np.array(SALIENCE[variant])[:3] > BORDER
    for present, grade in zip(shown, fruits.grades, strict=True):
        assert grade == (3 if present[2] else 2 if present[1] else 1 if present[0] else 0)
    assert (fruits.rivals != fruits.grades).all() and (fruits.margins > 0).all()


def test_the_learners_are_the_frozen_ones() -> None:
    """Change these figures only together with LEARNER_VERSION, and tune no schedule afterwards."""
    figures = {
        (kind, variant): simulate(RANDOM, kind, variant, 8, 1, SHORT).curve.mean()
        for kind in KINDS
        for variant in VARIANTS
    }
    assert LEARNER_VERSION == 1
    assert figures == pytest.approx(FROZEN, abs=0.0005)


@pytest.mark.parametrize("arm", [arm for arm in ARMS if arm != ALL_KNOWING])
def test_simulations_repeat_and_begin_at_chance(arm: str) -> None:
    first, again = (simulate(arm, "exemplar", "standard", 5, 3, SHORT) for _ in range(2))
    assert (first.curve == again.curve).all() and first.curve.shape == (5, 3)
    assert first.curve[:, 0] == pytest.approx(0.25)
    assert set(first.retention) == {"same day", "1 day", "1 week"}


def test_every_arm_has_the_same_learners_and_blocked_order_is_blocked() -> None:
    blocked = simulate(BLOCKED, "exemplar", "standard", 8, 3, SHORT)
    mixed = simulate(RANDOM, "exemplar", "standard", 8, 3, SHORT)
    within = blocked.right[:, [5, 6, 7, 8, 9]].mean(), mixed.right[:, [5, 6, 7, 8, 9]].mean()
    assert within[0] > within[1] + 0.2
    assert blocked.curve[:, 1].mean() < mixed.curve[:, 1].mean()


def test_unknown_names() -> None:
    with pytest.raises(ValueError, match="arm is one of"):
        simulate("best", "exemplar", "standard", 4, 0)
    with pytest.raises(ValueError, match="kind is one of"):
        simulate(RANDOM, "neural", "standard", 4, 0)


def test_an_erring_grader_misplaces_fruits_and_names_other_rivals() -> None:
    fruits = draw_stand_ins("standard", 500, np.random.default_rng(2))
    said = as_an_erring_grader_says(fruits, np.random.default_rng(3))
    assert 0.09 < (said.margins - fruits.margins).std() < 0.11
    assert 0.17 < (said.rivals != fruits.rivals).mean() < 0.23
    assert (said.rivals != said.grades).all()
    np.testing.assert_array_equal(said.grades, fruits.grades)


def test_an_erring_grader_leads_to_other_fruits() -> None:
    known, said = (simulate(arm, "exemplar", "standard", 4, 3, SHORT) for arm in (ADAPTIVE, ERRING))
    assert (known.right != said.right).any()


def test_maps_change_what_is_learned_not_the_order() -> None:
    """Random order asks the same fruits, of which a map after an error makes more."""
    arms = (RANDOM, RANDOM_WITH_MAP)
    bare, shown = (simulate(arm, "prototype", "held-out", 12, 3, SHORT) for arm in arms)
    np.testing.assert_array_equal(bare.right[:, 0], shown.right[:, 0])
    assert shown.curve[:, -1].mean() > bare.curve[:, -1].mean() + 0.02
