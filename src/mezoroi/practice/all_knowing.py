"""A teacher who reads the learners' minds: about what an order of practice can save at all."""

from __future__ import annotations

from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from mezoroi.practice.course import DAY, seconds_of
from mezoroi.practice.learners import MINUTE, Learners, Replies
from mezoroi.practice.stand_in import StandIns, draw_stand_ins

TRIALS = ((25, 24), (100, 1))  # other fruits per grade, and how many options stay


class AllKnowing:
    """Shows each learner the fruit after which it would grade best a day later.

    It knows what only a simulation can: the learners' parameters, memory and attention. It works
    out how a learner would grade other fruits, drawn anew every time, had it been told each fruit
    that was not shown lately; those that teach most are tried again with more of them. What it
    cannot foresee are looks to come, and it plans one round ahead: a plan for the whole course may
    do better.

    Parameters
    ----------
    learners : L, whose minds are read and not changed
    pool : N fruits to practise on
    variant : of the other fruits
    apart : rounds within which no fruit is shown twice; if the pool is too small for that, the one
        shown longest ago comes again
    rng : draws those fruits and the looks at them
    """

    def __init__(
        self,
        learners: Learners,
        pool: StandIns,
        variant: str,
        apart: int,
        rng: np.random.Generator,
    ) -> None:
        self._learners, self._pool, self._variant = learners, pool, variant
        self._apart, self._rng = apart, rng
        self._round = 0
        self._last_shown = np.full((len(learners), len(pool)), -1)

    def choose(self, now: datetime) -> NDArray[np.int64]:
        """(L,) what would teach each learner most."""
        fruits = np.array([self._best(number, now) for number in range(len(self._learners))])
        self._last_shown[np.arange(len(fruits)), fruits] = self._round
        return fruits

    def note(self, replies: Replies, now: datetime) -> None:
        """Answers tell nothing new to who reads minds."""
        self._round += 1

    def _best(self, number: int, now: datetime) -> np.int64:
        options = self._options(number)
        for per_grade, keep in TRIALS:
            graded = draw_stand_ins(self._variant, per_grade, self._rng)
            reached = self._foresee(number, options, graded, now)
            options = options[np.argsort(-reached, kind="stable")[:keep]]
        return options[0]

    def _options(self, number: int) -> NDArray[np.int64]:
        """The fruits that were not shown lately."""
        count = max(len(self._pool) - min(self._round, self._apart), 1)
        return np.argsort(self._last_shown[number], kind="stable")[:count]

    def _foresee(
        self, number: int, options: NDArray[np.int64], graded: StandIns, now: datetime
    ) -> NDArray[np.float64]:
        """(M,) accuracy a day later, had the learner been told one of M fruits now."""
        features, grades = self._pool.features[options], self._pool.grades[options]
        mind = Mind(self._learners, number)
        return mind.accuracy_after(
            features, grades, seconds_of(now), graded, seconds_of(now + DAY), self._rng
        )


class Mind(Learners):
    """A copy of one learner's, to think ahead in once; the learner itself stays as it is."""

    def __init__(self, learners: Learners, number: int) -> None:
        vars(self).update(vars(learners))
        own = slice(number, number + 1)
        self.parameters = {name: values[own] for name, values in learners.parameters.items()}
        self.attention, self._when = learners.attention[own].copy(), learners._when.copy()
        self._traces, self._told = learners._traces[own].copy(), learners._told[own].copy()

    def accuracy_after(
        self,
        features: NDArray[np.float64],
        grades: NDArray[np.int64],
        now: float,
        graded: StandIns,
        later: float,
        rng: np.random.Generator,
    ) -> NDArray[np.float64]:
        """(M,) `accuracy` at `later`, had one of M fruits been told at `now`, perceived as it is.

        As if M copies of the learner had each learned one fruit and then graded with the same
        looks, for less: how far the graded fruits are from what was remembered before is worked out
        once for all of them.
        """
        if self._length:
            self._shift_attention(features, grades, now, rng)  # from one into M
        percepts = self.look(graded.features[None], rng)
        included = self._included(percepts.shape, rng)
        weights = -self.parameters["sensitivity"] * self.attention[:, None] * included  # (M, T, K)
        (points,), (by_grade,) = self._memory(later)
        gaps = np.abs(percepts[0, :, :, None] - points.T)  # (T, K, m)
        evidence = np.exp(weights.transpose(1, 0, 2) @ gaps) @ by_grade  # (T, M, G)

        strength = (1 + (later - now) / MINUTE) ** -self.parameters["forgetting"]
        told = grades[:, None] == np.arange(self.num_grades)
        if self.kind == "prototype":  # the fruit moves its grade's centre
            evidence = evidence * ~told
            mass = by_grade.diagonal()[grades, None]
            features = (mass * points[grades] + strength * features) / (mass + strength)
            strength = mass[:, 0] + strength
        far = np.einsum("mtk,mtk->tm", weights, np.abs(percepts - features[:, None]))
        evidence = evidence + (strength * np.exp(far))[..., None] * told
        evidence += self.parameters["background"]

        raised = evidence ** self.parameters["determinism"]
        right = raised[np.arange(len(graded)), :, graded.grades] / raised.sum(axis=2)
        lapse = self.parameters["lapse"]
        return (1 - lapse) * right.mean(axis=0) + lapse / self.num_grades
