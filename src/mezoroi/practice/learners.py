"""Simulated newcomers: exemplar and prototype learners with limited attention, who forget.

The learner sees a fruit as a point, remembers what it was told, and answers by similarity to what
it remembers:

- similarity exp(-c sum_k w_k |x_k - y_k|) with attention weights w that sum to 1, and answers in
  proportion to summed similarity to the power gamma: the generalized context model (Nosofsky 1986;
  gamma: Ashby and Maddox 1993); a background noise in every grade's sum makes forgetting felt
  (Nosofsky, Kruschke and McKinley 1992). A prototype learner compares with the centre of each
  grade's traces instead (Smith and Minda 1998), which here weighs as much as these together.
- a trace's strength falls with its age as (1 + t / minute) ** -psi (Wickelgren 1974; Wixted and
  Carpenter 2007).
- limited attention: dimension k enters a comparison only with probability
  1 - exp(-reach K w_k), as processing time runs out (Lamberts 1995).
- after each answer the attention weights follow the gradient of the log probability of the right
  grade (Kruschke 1992), taken as if gamma were 1, in its exponentiated form, which keeps them
  positive and of sum 1 (Kruschke 2001).
- a shown map is modelled as highlighting, which draws attention to the dimension that tells the two
  grades apart (Roads, Mozer and Busey 2016); one map in five points at any dimension.

Ranges are of the order of published fits for dimensions of unit range; within it, they were set so
that newcomers who see fruits in random order grade about three in four rightly after 240 fruits
(`held-out`: about half). They were fixed, with `LEARNER_VERSION`, before any schedule was tried.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEARNER_VERSION = 1
KINDS = ("exemplar", "prototype")
VARIANTS = ("standard", "held-out")
MAP_ERROR = 0.2
MINUTE = 60.0

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]
Range = tuple[float, float]


@dataclass(frozen=True)
class Ranges:
    """Ranges that one learner's parameters are drawn from, evenly.

    Attributes
    ----------
    sensitivity : c, on weighted distances of at most about 1
    determinism : gamma
    forgetting : psi
    background : what every grade's sum holds without any trace
    noise : standard deviation of perception, in the units of the features
    reach : dimensions looked at, 1 - exp(-reach) of them when attention is even
    attention_rate : step of the attention weights per answer
    evenness : concentration of the Dirichlet distribution of the first weights
    lapse : share of answers given at random
    map_pull : share of the attention that a highlighted dimension draws, per round
    """

    sensitivity: Range = (15.0, 40.0)
    determinism: Range = (1.5, 4.0)
    forgetting: Range = (0.15, 0.35)
    background: Range = (0.01, 0.05)
    noise: Range = (0.03, 0.08)
    reach: Range = (1.0, 2.5)
    attention_rate: Range = (0.01, 0.05)
    evenness: Range = (2.0, 6.0)
    lapse: Range = (0.0, 0.05)
    map_pull: Range = (0.02, 0.1)


RANGES = {
    "standard": Ranges(),
    "held-out": Ranges(
        sensitivity=(12.0, 30.0),
        determinism=(1.2, 3.0),
        forgetting=(0.2, 0.4),
        background=(0.01, 0.06),
        noise=(0.04, 0.1),
        reach=(0.8, 2.0),
        attention_rate=(0.005, 0.03),
        evenness=(1.0, 3.0),
        lapse=(0.02, 0.08),
        map_pull=(0.01, 0.05),
    ),
}


@dataclass(frozen=True)
class Replies:
    """What L learners answered: grades (L,), how sure in (0, 1] (L,), and seconds taken (L,)."""

    given: Numbers
    confidence: Array
    seconds: Array


class Learners:
    """L learners who practise side by side, each with a memory of its own.

    Parameters
    ----------
    kind : exemplar or prototype
    variant : standard or held-out
    count : L
    dimensions : K of the fruits
    num_grades : G
    rounds : how many fruits they will be told
    rng : draws their parameters; the same generator state gives the same learners
    """

    def __init__(
        self,
        kind: str,
        variant: str,
        count: int,
        dimensions: int,
        num_grades: int,
        rounds: int,
        rng: np.random.Generator,
    ) -> None:
        if kind not in KINDS or variant not in VARIANTS:
            raise ValueError(f"kind is one of {KINDS}, variant one of {VARIANTS}")
        ranges = RANGES[variant]
        self.kind, self.num_grades = kind, num_grades
        drawn: dict[str, Array] = {}
        for name, (low, high) in vars(ranges).items():
            drawn[name] = rng.uniform(low, high, count)
        self.parameters = drawn
        self.attention = np.stack(
            [rng.dirichlet(np.full(dimensions, one)) for one in drawn["evenness"]]
        ).clip(1e-3)
        self.attention /= self.attention.sum(axis=1, keepdims=True)
        self._traces = np.zeros((count, rounds, dimensions))
        self._told = np.zeros((count, rounds), dtype=np.int64)
        self._when = np.zeros(rounds)
        self._length = 0

    def __len__(self) -> int:
        return len(self.attention)

    def look(self, features: Array, rng: np.random.Generator) -> Array:
        """What each learner perceives of its fruits (L, ..., K), of the same shape."""
        noise = self.parameters["noise"].reshape(-1, *[1] * (features.ndim - 1))
        return features + noise * rng.standard_normal(features.shape)

    def reply(self, percepts: Array, now: float, rng: np.random.Generator) -> Replies:
        """Answers to one fruit per learner, perceived as `percepts` (L, K), at `now` in seconds."""
        shares = self._shares(percepts[:, None], now, rng)[:, 0]
        lapse = self.parameters["lapse"][:, None]
        chances = (1 - lapse) * shares + lapse / self.num_grades
        draw = rng.random(len(self))[:, None]
        given = np.minimum((chances.cumsum(axis=1) < draw).sum(axis=1), self.num_grades - 1)
        ordered = np.sort(shares, axis=1)
        doubt = 1 - (ordered[:, -1] - ordered[:, -2])
        seconds = (2 + 6 * doubt) * np.exp(0.25 * rng.standard_normal(len(self)))
        return Replies(given, shares[np.arange(len(self)), given], seconds)

    def learn(
        self,
        percepts: Array,
        grades: Numbers,
        now: float,
        rng: np.random.Generator,
        highlighted: Numbers | None = None,
    ) -> None:
        """Be told the grades (L,) of what was perceived.

        Parameters
        ----------
        highlighted : (L,) dimension that maps draw attention to; -1 where none was shown
        """
        if self._length:
            self._shift_attention(percepts, grades, now, rng)
        if highlighted is not None:
            pull = np.where(highlighted >= 0, self.parameters["map_pull"], 0.0)
            self.attention *= 1 - pull[:, None]
            self.attention[np.arange(len(self)), highlighted] += pull
        self._traces[:, self._length] = percepts
        self._told[:, self._length] = grades
        self._when[self._length] = now
        self._length += 1

    def accuracy(
        self, features: Array, grades: Numbers, now: float, rng: np.random.Generator
    ) -> Array:
        """(L,) expected share of right answers to (T, K) fruits; a test leaves no trace."""
        percepts = self.look(np.broadcast_to(features, (len(self), *features.shape)), rng)
        shares = self._shares(percepts, now, rng)
        right = np.take_along_axis(shares, grades[None, :, None], axis=2)[..., 0].mean(axis=1)
        lapse = self.parameters["lapse"]
        return (1 - lapse) * right + lapse / self.num_grades

    def _strengths(self, now: float) -> Array:
        """(L, n) of the traces, each in (0, 1]."""
        age = np.maximum(now - self._when[: self._length], 0) / MINUTE
        return (1 + age)[None, :] ** -self.parameters["forgetting"][:, None]

    def _memory(self, now: float) -> tuple[Array, Array]:
        """What is compared with: points (L, m, K) and their weight by grade (L, m, G)."""
        traces = self._traces[:, : self._length]
        grades = np.arange(self.num_grades)
        by_grade = self._strengths(now)[..., None] * (self._told[:, : self._length, None] == grades)
        if self.kind == "exemplar":
            return traces, by_grade
        mass = by_grade.sum(axis=1)
        centres = np.einsum("lng,lnk->lgk", by_grade, traces, optimize=True)
        centres = centres / np.maximum(mass, 1e-12)[..., None]
        return centres, mass[:, :, None] * np.eye(self.num_grades)

    def _included(self, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.bool_]:
        """(L, T, K) which dimensions were looked at."""
        reach = self.parameters["reach"][:, None] * self.attention.shape[1]
        chance = 1 - np.exp(-reach * self.attention)
        return rng.random(shape) < chance[:, None]

    def _shares(self, percepts: Array, now: float, rng: np.random.Generator) -> Array:
        """(L, T, G) probability of each answer to (L, T, K) percepts, without lapses."""
        included = self._included(percepts.shape, rng)
        evidence = np.repeat(self.parameters["background"][:, None, None], percepts.shape[1], 1)
        evidence = np.repeat(evidence, self.num_grades, 2)
        if self._length:
            points, by_grade = self._memory(now)
            near = self._similarity(percepts, included, points)
            evidence = evidence + near @ by_grade
        raised = evidence ** self.parameters["determinism"][:, None, None]
        return np.asarray(raised / raised.sum(axis=2, keepdims=True))

    def _similarity(self, percepts: Array, included: NDArray[np.bool_], points: Array) -> Array:
        """(L, T, m) similarity of percepts (L, T, K) to points (L, m, K)."""
        weights = self.parameters["sensitivity"][:, None, None] * (
            included * self.attention[:, None]
        )
        distance = np.zeros((*percepts.shape[:2], points.shape[1]))
        for number in range(percepts.shape[2]):
            gap = np.abs(percepts[:, :, None, number] - points[:, None, :, number])
            distance += weights[:, :, None, number] * gap
        return np.exp(-distance)

    def _shift_attention(
        self, percepts: Array, grades: Numbers, now: float, rng: np.random.Generator
    ) -> None:
        """One step up the gradient, by the attention weights, of log P(right grade) at gamma 1."""
        points, by_grade = self._memory(now)
        included = self._included((len(self), 1, percepts.shape[1]), rng)
        near = self._similarity(percepts[:, None], included, points)[:, 0]
        pull = near[..., None] * by_grade  # (L, m, G)
        evidence = pull.sum(axis=1) + self.parameters["background"][:, None]
        gap = np.abs(percepts[:, None] - points) * included
        slope = -self.parameters["sensitivity"][:, None, None] * np.einsum(
            "lmg,lmk->lgk", pull, gap, optimize=True
        )
        rows = np.arange(len(percepts))
        gradient = slope[rows, grades] / evidence[rows, grades, None]
        gradient -= slope.sum(axis=1) / evidence.sum(axis=1, keepdims=True)
        step = self.parameters["attention_rate"][:, None] * gradient
        moved = self.attention * np.exp(np.clip(step, -1, 1))
        self.attention = np.maximum(moved / moved.sum(axis=1, keepdims=True), 1e-3)
        self.attention /= self.attention.sum(axis=1, keepdims=True)
