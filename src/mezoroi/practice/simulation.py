"""Simulated learners under several orders of practice: how soon and how well they learn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from mezoroi.practice.all_knowing import AllKnowing
from mezoroi.practice.course import DAY, START, Course, seconds_of
from mezoroi.practice.fruits import PracticeFruit, nearness
from mezoroi.practice.learners import MAP_ERROR, Learners, Replies
from mezoroi.practice.schedule import (
    FruitPool,
    Pace,
    PracticeState,
    Round,
    next_round,
    record,
)
from mezoroi.practice.stand_in import (
    GRADES,
    StandIns,
    diagnostic_dimension,
    draw_stand_ins,
)

RANDOM, BLOCKED, RANDOM_WITH_MAP = "random", "blocked", "random with map"
PAIRS_ONLY, ADAPTIVE, WITH_MAP = "pairs only", "adaptive", "adaptive with map"
ERRING = "adaptive, erring grader"
ALL_KNOWING = "all-knowing"
ARMS = (RANDOM, BLOCKED, PAIRS_ONLY, ADAPTIVE, ERRING, RANDOM_WITH_MAP, WITH_MAP, ALL_KNOWING)
MAPPED = (RANDOM_WITH_MAP, WITH_MAP)
ANY_DIFFICULTY = 1e6
GRADER_ERROR, WRONG_RIVALS = 0.1, 0.2
"""What an erring grader says: error of a fruit's distance to the border, share of wrong rivals."""
DELAYS = {"same day": timedelta(minutes=10), "1 day": DAY, "1 week": 7 * DAY}
GROUP = 4  # learners who share a pool and a test; each group has fruits of its own


@dataclass(frozen=True)
class Outcome:
    """What L learners reached.

    Attributes
    ----------
    curve : (L, checks + 1) expected accuracy on the unseen test a day later, before the first round
        and then after every `Course.checked` rounds
    retention : by delay, (L,) expected accuracy after the last round
    right : (L, rounds) whether each answer during practice was right
    """

    curve: NDArray[np.float64]
    retention: Mapping[str, NDArray[np.float64]]
    right: NDArray[np.bool_]


def simulate(
    arm: str,
    kind: str,
    variant: str,
    count: int,
    seed: int,
    course: Course = Course(),  # noqa: B008
    pace: Pace = Pace(),  # noqa: B008
) -> Outcome:
    """Let `count` learners practise in one arm.

    The same seed gives every arm the same learners, fruits and tests.

    Parameters
    ----------
    arm : one of `ARMS`; pairs only is the adaptive schedule with fruits of any difficulty, with an
        erring grader it is told which fruits are difficult by `GRADER_ERROR` and `WRONG_RIVALS`,
        all-knowing reads the learners' minds, which no schedule can
    kind, variant : of the learners, see `mezoroi.practice.learners`
    """
    if arm not in ARMS:
        raise ValueError(f"arm is one of {ARMS}")
    sizes = [min(GROUP, count - first) for first in range(0, count, GROUP)]
    groups = [
        _simulate_group(arm, kind, variant, size, [seed, number], course, pace)
        for number, size in enumerate(sizes)
    ]
    return Outcome(
        np.concatenate([group.curve for group in groups]),
        {name: np.concatenate([group.retention[name] for group in groups]) for name in DELAYS},
        np.concatenate([group.right for group in groups]),
    )


def _simulate_group(
    arm: str, kind: str, variant: str, count: int, seed: list[int], course: Course, pace: Pace
) -> Outcome:
    world = np.random.default_rng([*seed, 0])
    pool = draw_stand_ins(variant, course.pool, world)
    test = draw_stand_ins(variant, course.test, world)
    learners = Learners(
        kind, variant, count, pool.features.shape[1], len(GRADES), course.rounds, world
    )
    order = np.random.default_rng([*seed, 1])
    known = as_an_erring_grader_says(pool, np.random.default_rng([*seed, 4]))
    teacher = _teacher(
        arm, learners, known if arm == ERRING else pool, variant, course, pace, order
    )
    mind = np.random.default_rng([*seed, 2])

    def tested(now: datetime) -> NDArray[np.float64]:
        chances = np.random.default_rng([*seed, 3])  # the same looks in every arm and reading
        return learners.accuracy(test.features, test.grades, seconds_of(now), chances)

    curve, right = [tested(START)], []
    now = START
    for number in range(course.rounds):
        now = course.time_of(number)
        fruits = teacher.choose(now)
        percepts = learners.look(pool.features[fruits], mind)
        replies = learners.reply(percepts, seconds_of(now), mind)
        truth = pool.grades[fruits]
        shown = _mapped(pool, fruits, replies, mind) if arm in MAPPED else None
        learners.learn(percepts, truth, seconds_of(now), mind, shown)
        teacher.note(replies, now)
        right.append(replies.given == truth)
        if (number + 1) % course.checked == 0:
            curve.append(tested(now + DAY))
    retention = {name: tested(now + delay) for name, delay in DELAYS.items()}
    return Outcome(np.stack(curve, axis=1), retention, np.stack(right, axis=1))


def as_an_erring_grader_says(pool: StandIns, rng: np.random.Generator) -> StandIns:
    """The fruits as a schedule knows them from a grader that errs; see `GRADER_ERROR`."""
    margins = pool.margins + GRADER_ERROR * rng.standard_normal(len(pool))
    ahead = rng.integers(1, len(GRADES) - 1, len(pool))
    ahead += ahead >= (pool.rivals - pool.grades) % len(GRADES)  # not the true rival
    others = (pool.grades + ahead) % len(GRADES)
    is_wrong = rng.random(len(pool)) < WRONG_RIVALS
    return replace(pool, margins=margins, rivals=np.where(is_wrong, others, pool.rivals))


def _mapped(
    pool: StandIns, fruits: NDArray[np.int64], replies: Replies, rng: np.random.Generator
) -> NDArray[np.int64]:
    """(L,) the dimension in which the maps of the right grade and of the one given differ.

    -1 after a right answer, when there is one map and nothing to compare it with.
    """
    truth = pool.grades[fruits]
    right = replies.given == truth
    other = np.where(right, pool.rivals[fruits], replies.given)
    astray = rng.random(len(fruits)) < MAP_ERROR
    anywhere = rng.integers(pool.features.shape[1], size=len(fruits))
    return np.where(right, -1, np.where(astray, anywhere, diagnostic_dimension(truth, other)))


class _FixedOrder:
    """Decks dealt before the first round: shuffled, or shuffled within one grade after another."""

    def __init__(
        self, pool: StandIns, count: int, course: Course, blocked: bool, rng: np.random.Generator
    ) -> None:
        decks = [_deck(pool, course.rounds, blocked, rng) for _ in range(count)]
        self._decks = np.stack(decks)
        self._round = 0

    def choose(self, now: datetime) -> NDArray[np.int64]:
        """(L,) the next card of every deck."""
        return self._decks[:, self._round]

    def note(self, replies: Replies, now: datetime) -> None:
        """Answers change nothing."""
        self._round += 1


def _deck(
    pool: StandIns, rounds: int, blocked: bool, rng: np.random.Generator
) -> NDArray[np.int64]:
    """(rounds,) fruits; as many of each grade in both orders, none twice before all were shown."""
    share = -(-rounds // len(GRADES))
    by_grade = []
    for grade in range(len(GRADES)):
        own = np.flatnonzero(pool.grades == grade)
        shuffles = [rng.permutation(own) for _ in range(-(-share // len(own)))]
        by_grade.append(np.concatenate(shuffles)[:share])
    if blocked:
        return np.concatenate([by_grade[grade] for grade in rng.permutation(len(GRADES))])[:rounds]
    return rng.permutation(np.concatenate(by_grade))[:rounds]


class _Adaptive:
    """The schedule of the app, as it is, for each learner."""

    def __init__(self, pool: StandIns, count: int, pace: Pace, rng: np.random.Generator) -> None:
        hardness = nearness(pool.margins)
        self._number = {str(n): n for n in range(len(pool))}
        self._pool = FruitPool(
            [
                PracticeFruit(
                    str(n), str(n), GRADES[pool.grades[n]], GRADES[pool.rivals[n]], hardness[n]
                )
                for n in range(len(pool))
            ]
        )
        self._pace, self._rng = pace, rng
        self._states = [PracticeState() for _ in range(count)]
        self._rounds: list[Round] = []

    def choose(self, now: datetime) -> NDArray[np.int64]:
        """(L,) what the schedule shows each learner."""
        self._rounds = [
            next_round(state, self._pool, now, self._rng, self._pace) for state in self._states
        ]
        return np.array([self._number[shown.fruit.id] for shown in self._rounds])

    def note(self, replies: Replies, now: datetime) -> None:
        """Record each learner's answer."""
        certainties = np.select(
            [replies.confidence > 0.8, replies.confidence > 0.55], ["sure", "fairly"], "guess"
        )
        self._states = [
            record(state, shown, GRADES[given], float(seconds), str(certainty), now, self._pace)
            for state, shown, given, seconds, certainty in zip(
                self._states,
                self._rounds,
                replies.given,
                replies.seconds,
                certainties,
                strict=True,
            )
        ]


def _teacher(
    arm: str,
    learners: Learners,
    pool: StandIns,
    variant: str,
    course: Course,
    pace: Pace,
    rng: np.random.Generator,
) -> _FixedOrder | _Adaptive | AllKnowing:
    if arm in (RANDOM, BLOCKED, RANDOM_WITH_MAP):
        return _FixedOrder(pool, len(learners), course, arm == BLOCKED, rng)
    if arm == ALL_KNOWING:
        return AllKnowing(learners, pool, variant, pace.apart, rng)
    if arm == PAIRS_ONLY:
        pace = replace(pace, spread=ANY_DIFFICULTY)
    return _Adaptive(pool, len(learners), pace, rng)
