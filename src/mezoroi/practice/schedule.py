"""What comes next: an FSRS card per pair of grades and learner, a fresh fruit every time.

What is learned is not a photo but where the border between two grades runs, so that a card belongs
to a pair of grades that is easily confused. Which pair comes next follows from the cards (FSRS-6 of
the package `fsrs`); how hard a fruit of that pair may be follows a weighted staircase
(Kaernbach 1991), which settles where the learner is right as often as `Pace.aim` says.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any, cast

import numpy as np
from fsrs import Card, Rating, Scheduler
from fsrs.card import CardDict

from mezoroi.errors import MezoroiError
from mezoroi.practice.fruits import Pair, PracticeFruit, pair_of

CERTAINTIES = ("guess", "fairly", "sure")


@dataclass(frozen=True)
class Pace:
    """How practice goes on.

    Attributes
    ----------
    apart : rounds within which no specimen is shown twice
    old_share : share of rounds on a pair that is not due, so that old pairs are mixed in
    aim : share of right answers that the difficulty is steered towards, in (0, 1)
    step : how far one answer moves the difficulty, in (0, 1]
    spread : how far, on the scale of difficulty, a chosen fruit may lie from the one aimed at
    patience : surplus of fruits of one grade that makes the other of its pair e times likelier
    quick_seconds, slow_seconds : answers this quick are easy, this slow are hard
    """

    apart: int = 60
    old_share: float = 0.3
    aim: float = 0.75
    step: float = 0.2
    spread: float = 0.1
    patience: float = 3.0
    quick_seconds: float = 4.0
    slow_seconds: float = 12.0


@dataclass(frozen=True)
class PracticeState:
    """What the schedule knows of one learner; `to_dict` is plain JSON.

    Attributes
    ----------
    cards : FSRS card by pair; a pair without one has not come up yet
    levels : difficulty in [0, 1] that the learner manages, by pair
    seen : fruits shown so far, by grade
    shown : specimens shown last, latest at the end
    """

    cards: Mapping[Pair, Card] = field(default_factory=dict)
    levels: Mapping[Pair, float] = field(default_factory=dict)
    seen: Mapping[str, int] = field(default_factory=dict)
    shown: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; the inverse of `from_dict`."""
        return {
            "pairs": [
                {
                    "pair": list(pair),
                    "level": self.levels.get(pair, 0.0),
                    "card": dict(self.cards[pair].to_dict()),
                }
                for pair in self.cards
            ],
            "seen": dict(self.seen),
            "shown": list(self.shown),
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> PracticeState:
        """Read what `to_dict` gave.

        Raises
        ------
        MezoroiError
            If `content` is something else.
        """
        try:
            entries = {(str(e["pair"][0]), str(e["pair"][1])): e for e in content["pairs"]}
            return cls(
                {
                    pair: Card.from_dict(cast(CardDict, entry["card"]))
                    for pair, entry in entries.items()
                },
                {pair: float(entry["level"]) for pair, entry in entries.items()},
                {str(grade): int(count) for grade, count in content["seen"].items()},
                tuple(str(name) for name in content["shown"]),
            )
        except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
            raise MezoroiError(
                f"a learner's practice state is damaged ({error!r}): begin that learner anew"
            ) from error


@dataclass(frozen=True)
class Round:
    """One fruit to grade, and the pair of grades it was chosen for."""

    fruit: PracticeFruit
    pair: Pair


def next_round(
    state: PracticeState,
    pool: FruitPool,
    pairs: Sequence[Pair],
    now: datetime,
    rng: np.random.Generator,
    pace: Pace = Pace(),
) -> Round:
    """Choose what the learner grades next.

    Parameters
    ----------
    pool : the fruits that may teach, less those of the tests
    pairs : those to begin with, such as `neighbouring_pairs`; others join as they are confused
    now : in UTC
    rng : the same generator state chooses the same fruit
    """
    known = [*pairs, *(pair for pair in state.cards if pair not in pairs)]
    possible = [pair for pair in known if pool.holds(pair)]
    if not possible:
        raise MezoroiError("no fruit to practise on: add fruits with an agreed expert grade")
    pair = _choose_pair(state, possible, now, rng, pace)
    return Round(pool.choose(pair, state, rng, pace), pair)


def _choose_pair(
    state: PracticeState,
    pairs: Sequence[Pair],
    now: datetime,
    rng: np.random.Generator,
    pace: Pace,
) -> Pair:
    """The pair that is due longest; else a new one; else one that is weak. Some rounds: any old."""
    begun = [pair for pair in pairs if pair in state.cards]
    new = [pair for pair in pairs if pair not in state.cards]
    due = [pair for pair in begun if state.cards[pair].due <= now]
    if begun and (rng.random() < pace.old_share or not (due or new)):
        weakness = np.array([1.05 - state.levels.get(pair, 0.0) for pair in begun])
        return begun[int(rng.choice(len(begun), p=weakness / weakness.sum()))]
    if due:
        return min(due, key=lambda pair: state.cards[pair].due)
    return new[0]


def record(
    state: PracticeState,
    shown: Round,
    given: str,
    seconds: float,
    certainty: str,
    now: datetime,
    pace: Pace = Pace(),
) -> PracticeState:
    """The state after an answer.

    A wrong answer counts against the pair that was really confused: the right grade and the one
    given, which thereby gets a card if it had none.

    Parameters
    ----------
    given : the grade the learner chose
    seconds : that the answer took
    certainty : how sure the learner was: guess, fairly or sure
    now : in UTC
    """
    right = given == shown.fruit.grade
    pair = shown.pair if right else pair_of(shown.fruit.grade, given)
    grade = shown.fruit.grade
    card = state.cards.get(pair) or Card(card_id=len(state.cards) + 1, due=now)
    rating = rate(right, seconds, certainty, pace)
    card, _ = _scheduler().review_card(card, rating, now)
    move = pace.step * (1 - pace.aim if right else -pace.aim)
    level = min(1.0, max(0.0, state.levels.get(pair, 0.0) + move))
    return replace(
        state,
        cards={**state.cards, pair: card},
        levels={**state.levels, pair: level},
        seen={**state.seen, grade: state.seen.get(grade, 0) + 1},
        shown=(*state.shown, shown.fruit.specimen)[-pace.apart :],
    )


def rate(right: bool, seconds: float, certainty: str, pace: Pace = Pace()) -> Rating:
    """FSRS rating of an answer.

    Again when wrong; Hard when right but guessed or slow; Easy when right, sure and quick; else
    Good.
    """
    if certainty not in CERTAINTIES:
        raise MezoroiError(f"certainty is `{certainty}`: use {', '.join(CERTAINTIES)}")
    if not right:
        return Rating.Again
    if certainty == "guess" or seconds >= pace.slow_seconds:
        return Rating.Hard
    if certainty == "sure" and seconds <= pace.quick_seconds:
        return Rating.Easy
    return Rating.Good


class FruitPool:
    """The fruits of practice, sorted by pair for choosing quickly."""

    def __init__(self, fruits: Sequence[PracticeFruit]) -> None:
        self._by_pair: dict[Pair, dict[str, list[PracticeFruit]]] = {}
        self._by_grade: dict[str, list[PracticeFruit]] = {}
        for fruit in fruits:
            by_grade = self._by_pair.setdefault(fruit.pair, {})
            by_grade.setdefault(fruit.grade, []).append(fruit)
            self._by_grade.setdefault(fruit.grade, []).append(fruit)

    def holds(self, pair: Pair) -> bool:
        """Whether there is a fruit of either grade."""
        return any(grade in self._by_grade for grade in pair)

    def choose(
        self, pair: Pair, state: PracticeState, rng: np.random.Generator, pace: Pace
    ) -> PracticeFruit:
        """A fruit of the pair near the learner's level in difficulty, not shown lately.

        The grade that came up less often is the likelier, so that the learner comes to expect no
        grade. Fruits of the pair come first, then others of the grade; where all were shown lately,
        the one shown longest ago.
        """
        grades = [grade for grade in pair if grade in self._by_grade]
        odds = np.array([math.exp(-state.seen.get(grade, 0) / pace.patience) for grade in grades])
        grade = grades[int(rng.choice(len(grades), p=odds / odds.sum()))]
        recent, level = set(state.shown), state.levels.get(pair, 0.0)
        own = self._by_pair.get(pair, {}).get(grade, [])
        for fruits in (own, self._by_grade[grade]):
            fresh = [fruit for fruit in fruits if fruit.specimen not in recent]
            if fresh:
                gaps = np.array([abs(fruit.difficulty - level) for fruit in fresh])
                weights = np.exp(-0.5 * ((gaps - gaps.min()) / pace.spread) ** 2)
                return fresh[int(rng.choice(len(fresh), p=weights / weights.sum()))]
        latest = {specimen: place for place, specimen in enumerate(state.shown)}
        return min(self._by_grade[grade], key=lambda fruit: latest[fruit.specimen])


@cache
def _scheduler() -> Scheduler:
    """Without fuzz, which would draw from the global random generator."""
    return Scheduler(
        learning_steps=(timedelta(minutes=1), timedelta(minutes=10)), enable_fuzzing=False
    )
