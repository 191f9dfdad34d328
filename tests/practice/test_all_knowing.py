"""The teacher who reads minds: what it sees, what it leaves alone, and that it helps."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from mezoroi.practice import simulation
from mezoroi.practice.all_knowing import TRIALS, AllKnowing, Mind
from mezoroi.practice.course import Course, seconds_of
from mezoroi.practice.learners import KINDS, Learners
from mezoroi.practice.simulation import ALL_KNOWING, RANDOM, simulate
from mezoroi.practice.stand_in import StandIns, draw_stand_ins

COURSE = Course(rounds=70, checked=70, pool=20, test=50)
APART = 60


def lesson(
    kind: str = "prototype", count: int = 2, told: int = 6
) -> tuple[Learners, StandIns, AllKnowing]:
    """Learners who were told some fruits, the pool, and their teacher."""
    world = np.random.default_rng(1)
    pool = draw_stand_ins("standard", COURSE.pool, world)
    learners = Learners(kind, "standard", count, 8, 4, COURSE.rounds, world)
    for number in range(told):
        fruits = world.integers(len(pool), size=count)
        learners.learn(pool.features[fruits], pool.grades[fruits], 15.0 * number, world)
    return learners, pool, AllKnowing(learners, pool, "standard", APART, np.random.default_rng(2))


def mind(learners: Learners) -> dict[str, np.ndarray]:
    """All that a learner is and knows."""
    state = {**vars(learners), **learners.parameters}
    return {name: np.array(v) for name, v in state.items() if name not in ("parameters", "kind")}


def test_it_teaches_more_than_random_order() -> None:
    best = simulate(ALL_KNOWING, "prototype", "standard", 4, 1, COURSE).curve[:, -1]
    random = simulate(RANDOM, "prototype", "standard", 4, 1, COURSE).curve[:, -1]
    assert best.mean() > random.mean() + 0.02


def test_the_same_seed_chooses_the_same_fruits() -> None:
    short = Course(rounds=12, checked=6, pool=10, test=8)
    first, again, other = (
        simulate(ALL_KNOWING, "prototype", "standard", 2, seed, short) for seed in (3, 3, 4)
    )
    assert (first.curve == again.curve).all() and (first.right == again.right).all()
    assert (first.curve != other.curve).any() and first.curve[:, 0] == pytest.approx(0.25)


def test_no_fruit_comes_again_within_sixty_rounds() -> None:
    _, _, teacher = lesson()
    rounds = []
    for number in range(COURSE.rounds):
        rounds.append(teacher.choose(COURSE.time_of(number)))
        teacher.note(None, COURSE.time_of(number))  # type: ignore[arg-type]
    shown = np.stack(rounds, axis=1)
    for fruits in shown:
        for first in range(COURSE.rounds - APART):
            assert len(set(fruits[first : first + APART + 1])) == APART + 1
    assert len(set(shown[0])) < COURSE.rounds, "a fruit may come again later"


def test_the_fruit_shown_longest_ago_comes_again_where_the_pool_is_small() -> None:
    learners, pool, _ = lesson(count=1)
    few = StandIns(pool.features[:3], pool.grades[:3], pool.rivals[:3], pool.margins[:3])
    teacher = AllKnowing(learners, few, "standard", APART, np.random.default_rng(2))
    shown = []
    for number in range(9):
        shown.append(int(teacher.choose(COURSE.time_of(number))[0]))
        teacher.note(None, COURSE.time_of(number))  # type: ignore[arg-type]
    assert sorted(shown[:3]) == [0, 1, 2] and shown == shown[:3] * 3


@pytest.mark.parametrize("kind", KINDS)
def test_choosing_changes_no_learner(kind: str) -> None:
    learners, _, teacher = lesson(kind)
    before = copy.deepcopy(mind(learners))
    teacher.choose(COURSE.time_of(6))
    own = Mind(learners, 0)
    own.learn(np.ones((1, 8)), np.array([2]), 99.0, np.random.default_rng(0))
    after = mind(learners)
    assert before.keys() == after.keys() and "attention" in after and "_traces" in after
    assert all((before[name] == after[name]).all() for name in before)


def test_looking_ahead_leaves_the_learners_chances_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Learners in random order do the same when an all-knowing teacher looks on."""
    short = Course(rounds=6, checked=2, pool=5, test=8)
    alone = simulate(RANDOM, "exemplar", "standard", 2, 1, short)
    make = simulation._teacher

    def watched(arm: str, *rest: Any) -> Any:
        order = make(arm, *rest)
        watcher = make(ALL_KNOWING, *rest[:-1], np.random.default_rng(9))
        choose = order.choose
        order.choose = lambda now: (watcher.choose(now), choose(now))[1]  # type: ignore
        return order

    monkeypatch.setattr(simulation, "_teacher", watched)
    seen = simulate(RANDOM, "exemplar", "standard", 2, 1, short)
    assert (alone.curve == seen.curve).all() and (alone.right == seen.right).all()


@pytest.mark.parametrize("told", [0, 6])
@pytest.mark.parametrize("kind", KINDS)
def test_it_foresees_what_learning_brings_with_the_same_looks(kind: str, told: int) -> None:
    """Against the learner taught each fruit in turn, all with the looks of one seed."""
    learners, pool, teacher = lesson(kind, told=told)
    graded = draw_stand_ins("standard", 10, np.random.default_rng(3))
    options, now = np.array([5, 25, 30, 70]), COURSE.time_of(6)
    teacher._rng = np.random.default_rng(4)
    foreseen = teacher._foresee(1, options, graded, now)
    reached = []
    for option in options:
        alone, rng = Mind(learners, 1), np.random.default_rng(4)
        fruit, later = slice(option, option + 1), seconds_of(now) + 86400
        alone.learn(pool.features[fruit], pool.grades[fruit], seconds_of(now), rng)
        reached += list(alone.accuracy(graded.features, graded.grades, later, rng))
    assert foreseen == pytest.approx(reached, abs=1e-12) and len(set(reached)) == 4


def test_it_shows_what_it_foresees_to_teach_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """The best of the first trial takes part in the second, whose best is shown."""
    _, pool, teacher = lesson()
    tried = []

    def foresee(number: int, options: np.ndarray, graded: StandIns, now: object) -> np.ndarray:
        tried.append((len(options), len(graded)))
        worth = options if len(tried) % 2 else -options
        return worth / len(pool)

    monkeypatch.setattr(teacher, "_foresee", foresee)
    (few, kept), (more, _) = TRIALS
    assert list(teacher.choose(COURSE.time_of(0))) == [len(pool) - kept] * 2
    assert tried == [(len(pool), 4 * few), (kept, 4 * more)] * 2
