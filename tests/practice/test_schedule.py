"""What comes next, and what is remembered of an answer."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from itertools import groupby, pairwise

import numpy as np
import pytest
from fsrs import Card, Rating, Scheduler

from mezoroi.errors import MezoroiError
from mezoroi.practice.fruits import PracticeFruit, pair_of
from mezoroi.practice.schedule import (
    FruitPool,
    Pace,
    PracticeState,
    Round,
    longer_unseen,
    next_round,
    random_round,
    rate,
    record,
)

NOW = datetime(2026, 7, 1, 9, tzinfo=timezone.utc)
SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
PAIRS = [("A", "B"), ("B", "C"), ("C", "D")]


def fruits(per_pair: int = 20, views: int = 1) -> list[PracticeFruit]:
    """Of every grade with each neighbour as its rival, from plain to hard."""
    made = []
    for first, second in PAIRS:
        for grade, rival in ((first, second), (second, first)):
            for number in range(per_pair):
                specimen = f"{grade}{rival}{number}"
                made += [
                    PracticeFruit(
                        f"{specimen}-{v}", specimen, grade, rival, number / (per_pair - 1)
                    )
                    for v in range(views)
                ]
    return made


def practise(
    rounds: int,
    answer: Callable[[Round], str] = lambda shown: shown.fruit.grade,
    seed: int = 0,
    pool: FruitPool | None = None,
    pace: Pace | None = None,
) -> tuple[PracticeState, list[Round]]:
    """Rounds a quarter of a minute apart, 20 a day."""
    rng, state, seen = np.random.default_rng(seed), PracticeState(), []
    pool, pace = pool or FruitPool(fruits()), pace or Pace()
    for number in range(rounds):
        now = NOW + number // 20 * DAY + number % 20 * 15 * SECOND
        shown = next_round(state, pool, now, rng, pace)
        state = record(state, shown, answer(shown), 6.0, "fairly", now, pace)
        seen.append(shown)
    return state, seen


def test_a_specimen_does_not_come_again_within_the_stated_rounds() -> None:
    _, seen = practise(150, pool=FruitPool(fruits(20, views=3)), pace=Pace(apart=25))
    specimens = [shown.fruit.specimen for shown in seen]
    for at, specimen in enumerate(specimens):
        assert specimen not in specimens[max(0, at - 25) : at]


def test_too_few_fruits_come_again_of_those_longer_unseen() -> None:
    _, seen = practise(60, pool=FruitPool(fruits(2)))
    by_grade: dict[str, list[str]] = {}
    for shown in seen:
        by_grade.setdefault(shown.fruit.grade, []).append(shown.fruit.specimen)
    for specimens in by_grade.values():
        assert all(one != other for one, other in pairwise(specimens))


def test_a_small_pool_does_not_come_in_the_same_order_again_and_again() -> None:
    names = [f"a{number}" for number in range(7)]
    pool = [PracticeFruit(name, name, "A", "B", 0.5) for name in names]
    state = PracticeState(shown=tuple(names))
    rng = np.random.default_rng(0)
    chosen = {
        FruitPool(pool).choose("A", state, NOW, rng, Pace()).fruit.specimen for _ in range(200)
    }
    assert chosen == set(names[:4])
    twice = [PracticeFruit(f"{n}-{view}", n, "A", "B", 0.5) for n in names[:2] for view in "12"]
    assert {one.specimen for one in longer_unseen(state, twice)} == {names[0]}


def test_random_rounds_draw_grades_evenly_and_never_the_fruit_just_seen() -> None:
    many = [PracticeFruit(f"a{n}", f"a{n}", "A", "B", 0.5) for n in range(40)]
    pool = [
        *many,
        PracticeFruit("b0", "b0", "B", "A", 0.5),
        PracticeFruit("b1", "b1", "B", "A", 0.5),
    ]
    rng, state, seen = np.random.default_rng(1), PracticeState(), []
    for _ in range(400):
        shown = random_round(state, pool, rng)
        seen.append(shown.fruit)
        state = PracticeState(shown=(*state.shown, shown.fruit.specimen)[-60:])
    assert 150 < sum(fruit.grade == "B" for fruit in seen) < 250
    for grade in "AB":
        own = [fruit.specimen for fruit in seen if fruit.grade == grade]
        assert all(one != other for one, other in pairwise(own))


def test_the_same_generator_and_clock_choose_the_same() -> None:
    first, second = practise(60, seed=4), practise(60, seed=4)
    assert first[0].to_dict() == second[0].to_dict() and first[1] == second[1]
    assert practise(60, seed=5)[1] != first[1]


def test_a_state_survives_json_in_the_middle_of_practice() -> None:
    state, _ = practise(30)
    again = PracticeState.from_dict(json.loads(json.dumps(state.to_dict())))
    pool = FruitPool(fruits())
    later = NOW + 5 * DAY
    chosen = [next_round(one, pool, later, np.random.default_rng(1)) for one in (state, again)]
    assert chosen[0] == chosen[1]
    assert again.to_dict() == state.to_dict()


@pytest.mark.parametrize("content", [{}, {"pairs": [{"pair": ["A"]}]}, {"pairs": 3}, []])
def test_a_damaged_state_is_refused(content: object) -> None:
    with pytest.raises(MezoroiError, match="is damaged"):
        PracticeState.from_dict(content)  # type: ignore[arg-type]


def test_cards_are_those_of_fsrs() -> None:
    shown = Round(fruits()[0], PAIRS[0])
    state = record(PracticeState(), shown, "A", 3.0, "sure", NOW)
    state = record(state, shown, "B", 3.0, "sure", NOW + DAY)
    peer = Scheduler(enable_fuzzing=False)
    card, _ = peer.review_card(Card(card_id=1, due=NOW), Rating.Easy, NOW)
    card, _ = peer.review_card(card, Rating.Again, NOW + DAY)
    assert state.cards[PAIRS[0]].to_dict() == card.to_dict()


def test_a_wrong_answer_counts_against_the_pair_that_was_confused() -> None:
    shown = Round(PracticeFruit("x", "x", "A", "B", 0.5), ("A", "B"))
    state = record(PracticeState(), shown, "D", 6.0, "sure", NOW)
    assert set(state.cards) == {("A", "D")}
    seen = {
        next_round(state, FruitPool(fruits()), NOW + DAY, np.random.default_rng(n)).pair
        for n in range(40)
    }
    assert ("A", "D") in seen


def test_what_is_due_or_new_is_likelier() -> None:
    """Grade B has as many fruits with either neighbour; the weights say how often each comes."""
    made = [PracticeFruit(f"{r}{n}", f"{r}{n}", "B", r, 0.5) for r in "AC" for n in range(20)]
    pool, card = FruitPool(made), Card(card_id=1, due=NOW)
    for due, odds in ((NOW + DAY, np.e**2), (NOW, 1.0)):
        state = PracticeState(
            {("A", "B"): Card(card_id=1, due=due), ("B", "C"): card}, dict.fromkeys(PAIRS, 0.5)
        )
        shown = [
            pool.choose("B", state, NOW, np.random.default_rng(n), Pace(urgency=2.0)).pair
            for n in range(400)
        ]
        assert shown.count(("B", "C")) / 400 == pytest.approx(odds / (1 + odds), abs=0.07)


def test_difficulty_settles_where_the_learner_is_right_as_often_as_aimed() -> None:
    """A learner whose chance falls from 1 on plain fruits to 0.5 on the hardest."""
    chance = np.random.default_rng(8)

    def answer(shown: Round) -> str:
        right = chance.random() < 1 - 0.5 * shown.fruit.difficulty
        return shown.fruit.grade if right else shown.fruit.rival

    _, seen = practise(1200, answer, pace=Pace(aim=0.75, step=0.1))
    hardness = np.mean([shown.fruit.difficulty for shown in seen[300:]])
    assert hardness == pytest.approx(0.5, abs=0.08)


def test_pairs_are_interleaved() -> None:
    chance = np.random.default_rng(1)

    def answer(shown: Round) -> str:
        return shown.fruit.grade if chance.random() < 0.8 else shown.fruit.rival

    _, seen = practise(240, answer)
    pairs = [shown.pair for shown in seen]
    assert min(Counter(pairs)[pair] for pair in PAIRS) > 20
    assert max(len(list(run)) for _, run in groupby(pairs)) <= 10


def test_the_grade_that_came_up_less_often_is_likelier() -> None:
    made = [fruit for fruit in fruits() if fruit.grade in "AB"]
    pool, rng, pace = FruitPool(made), np.random.default_rng(0), Pace(patience=2.0)
    names = {grade: [f.specimen for f in made if f.grade == grade] for grade in "AB"}
    for counts, odds in (((5, 5), 1.0), ((7, 3), np.e**2)):
        state = PracticeState(shown=(*names["A"][: counts[0]], *names["B"][: counts[1]]))
        share = np.mean([pool.choose_grade(state, rng, pace) == "B" for _ in range(400)])
        assert share == pytest.approx(odds / (1 + odds), abs=0.07)


def test_a_new_grade_does_not_crowd_out_the_others() -> None:
    """After years with A and B, C is added to the standard."""
    made = [PracticeFruit(f"{g}{n}", f"{g}{n}", g, "B", 0.5) for g in "ABC" for n in range(40)]
    old = FruitPool([fruit for fruit in made if fruit.grade != "C"])
    state, _ = practise(200, pool=old)
    pool, rng, seen = FruitPool(made), np.random.default_rng(0), ""
    for _ in range(30):
        shown = next_round(state, pool, NOW + 20 * DAY, rng)
        state = record(state, shown, shown.fruit.grade, 6.0, "fairly", NOW + 20 * DAY)
        seen += shown.fruit.grade
    assert seen[:15].count("C") <= 9 and min(Counter(seen[15:]).values()) >= 3


@pytest.mark.parametrize(
    ("right", "seconds", "certainty", "rating"),
    [
        (False, 1.0, "sure", Rating.Again),
        (True, 1.0, "guess", Rating.Hard),
        (True, 12.0, "sure", Rating.Hard),
        (True, 6.0, "sure", Rating.Good),
        (True, 2.0, "fairly", Rating.Good),
        (True, 2.0, "sure", Rating.Easy),
    ],
)
def test_ratings(right: bool, seconds: float, certainty: str, rating: Rating) -> None:
    assert rate(right, seconds, certainty) == rating


def test_bad_input() -> None:
    with pytest.raises(MezoroiError, match="no fruit to practise on"):
        next_round(PracticeState(), FruitPool([]), NOW, np.random.default_rng(0))
    with pytest.raises(MezoroiError, match="certainty is `maybe`"):
        rate(True, 1.0, "maybe")


def test_pairs() -> None:
    assert pair_of("C", "A") == pair_of("A", "C") == ("A", "C")
