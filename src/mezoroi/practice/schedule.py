"""What comes next: an FSRS card per pair of grades and learner, a fresh fruit every time.

What is learned is not a photo but where the border between two grades runs, so that a card belongs
to a pair of grades that is easily confused. Grades come equally often. Of one grade's fruits, those
of pairs that are due (FSRS-6 of the package `fsrs`) are likelier; how hard a fruit may be follows a
weighted staircase for its pair (Kaernbach 1991), which settles where the learner is right as often
as `Pace.aim` says.
"""

from __future__ import annotations

from collections import Counter
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
_LATELY = 5  # rounds per grade, over which grades are kept balanced


@dataclass(frozen=True)
class Pace:
    """How practice goes on.

    Attributes
    ----------
    apart : rounds within which no specimen is shown twice
    aim : share of right answers that the difficulty is steered towards, in (0, 1)
    step : how far one answer moves the difficulty, in (0, 1]
    spread : how far, on the scale of difficulty, a chosen fruit may lie from the one aimed at
    patience : surplus of fruits of one grade that makes any other e times likelier
    urgency : a fruit of a pair that is due is e to this power likelier than of one that is not
    quick_seconds, slow_seconds : answers this quick are easy, this slow are hard
    """

    apart: int = 60
    aim: float = 0.75
    step: float = 0.2
    spread: float = 0.1
    patience: float = 1.0
    urgency: float = 1.0
    quick_seconds: float = 4.0
    slow_seconds: float = 12.0


@dataclass(frozen=True)
class PracticeState:
    """What the schedule knows of one learner; `to_dict` is plain JSON.

    Attributes
    ----------
    cards : FSRS card by pair; a pair without one has not come up yet
    levels : difficulty in [0, 1] that the learner manages, by pair
    shown : specimens shown last, latest at the end
    """

    cards: Mapping[Pair, Card] = field(default_factory=dict)
    levels: Mapping[Pair, float] = field(default_factory=dict)
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
    now: datetime,
    rng: np.random.Generator,
    pace: Pace = Pace(),
) -> Round:
    """Choose what the learner grades next: a grade, then one of its fruits.

    Parameters
    ----------
    pool : the fruits that may teach, less those of the tests
    now : in UTC
    rng : the same generator state chooses the same fruit
    """
    return pool.choose(pool.choose_grade(state, rng, pace), state, now, rng, pace)


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
    card = state.cards.get(pair) or Card(card_id=len(state.cards) + 1, due=now)
    rating = rate(right, seconds, certainty, pace)
    card, _ = _scheduler().review_card(card, rating, now)
    move = pace.step * (1 - pace.aim if right else -pace.aim)
    level = min(1.0, max(0.0, state.levels.get(pair, 0.0) + move))
    return replace(
        state,
        cards={**state.cards, pair: card},
        levels={**state.levels, pair: level},
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
    """The fruits of practice, by grade."""

    def __init__(self, fruits: Sequence[PracticeFruit]) -> None:
        self._by_grade: dict[str, list[PracticeFruit]] = {}
        for fruit in fruits:
            self._by_grade.setdefault(fruit.grade, []).append(fruit)
        self._grade = {fruit.specimen: fruit.grade for fruit in fruits}

    def choose_grade(self, state: PracticeState, rng: np.random.Generator, pace: Pace) -> str:
        """The grade of the next fruit: likelier if it came up less often of late.

        That holds over all grades, so that the learner comes to expect none and none is learned
        at the cost of another.
        """
        grades = list(self._by_grade)
        if not grades:
            raise MezoroiError("no fruit to practise on: add fruits with an agreed expert grade")
        lately = Counter(self._grade.get(name) for name in state.shown[-_LATELY * len(grades) :])
        seen = np.array([lately[grade] for grade in grades])
        odds = np.exp((seen.min() - seen) / pace.patience)
        return grades[int(rng.choice(len(grades), p=odds / odds.sum()))]

    def choose(
        self,
        grade: str,
        state: PracticeState,
        now: datetime,
        rng: np.random.Generator,
        pace: Pace,
    ) -> Round:
        """A fruit of a grade that was not shown lately; where all were, one of the longer unseen.

        A fruit is the likelier, the nearer its difficulty is to the learner's level in its pair,
        and if that pair is new or due. A pair that is due and has no fruit of its own may be
        practised with any of the grade.
        """
        fruits, recent = self._by_grade[grade], set(state.shown)
        fresh = [fruit for fruit in fruits if fruit.specimen not in recent]
        fresh = fresh or longer_unseen(state, fruits)
        own = {fruit.pair for fruit in fruits}
        waiting = {pair for pair, card in state.cards.items() if card.due > now}
        bare = [pair for pair in state.cards if grade in pair and pair not in own | waiting]
        options = [Round(fruit, fruit.pair) for fruit in fresh]
        options += [Round(fruit, pair) for pair in bare for fruit in fresh]
        levels = np.array([state.levels.get(option.pair, 0.0) for option in options])
        gaps = np.abs(np.array([option.fruit.difficulty for option in options]) - levels)
        cost = 0.5 * ((gaps - gaps.min()) / pace.spread) ** 2
        cost += pace.urgency * np.array([option.pair in waiting for option in options])
        weights = np.exp(cost.min() - cost)
        return options[int(rng.choice(len(options), p=weights / weights.sum()))]


def random_round(
    state: PracticeState, fruits: Sequence[PracticeFruit], rng: np.random.Generator
) -> Round:
    """What a study compares with: any grade, then any of its fruits that was not shown lately."""
    grades = list(dict.fromkeys(fruit.grade for fruit in fruits))
    grade = grades[int(rng.integers(len(grades)))]
    own = [fruit for fruit in fruits if fruit.grade == grade]
    fresh = [fruit for fruit in own if fruit.specimen not in state.shown]
    fresh = fresh or longer_unseen(state, own)
    fruit = fresh[int(rng.integers(len(fresh)))]
    return Round(fruit, fruit.pair)


def longer_unseen(state: PracticeState, fruits: Sequence[PracticeFruit]) -> list[PracticeFruit]:
    """Of fruits that were all shown lately, the half of their specimens shown longer ago.

    More than one where there are some, so that a small pool does not come in the same order again
    and again; the one just seen is not among them.
    """
    latest = {specimen: place for place, specimen in enumerate(state.shown)}
    order = sorted({fruit.specimen for fruit in fruits}, key=lambda name: latest[name])
    half = set(order[: (len(order) + 1) // 2])
    return [fruit for fruit in fruits if fruit.specimen in half]


@cache
def _scheduler() -> Scheduler:
    """Without fuzz, which would draw from the global random generator."""
    return Scheduler(
        learning_steps=(timedelta(minutes=1), timedelta(minutes=10)), enable_fuzzing=False
    )
