"""Which fruits teach, what they are taken for, how hard they are; tests drawn from them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mezoroi.errors import MezoroiError
from mezoroi.practice.forms import TESTS, make_forms
from mezoroi.practice.fruits import Candidate, PracticeFruit, nearness, teachable
from mezoroi.standard import GradingStandard

STANDARD = GradingStandard.from_grades("ABCD")
NAN = float("nan")


@settings(deadline=None)  # the first example imports scipy
@given(st.lists(st.dictionaries(st.sampled_from("xyz"), st.sampled_from("ABCD")), max_size=12))
def test_only_agreed_fruits_teach(labels: list[dict[str, str]]) -> None:
    candidates = [Candidate(str(n), str(n), given) for n, given in enumerate(labels)]
    kept = {fruit.id: fruit.grade for fruit in teachable(candidates, STANDARD)}
    expected = {
        str(n): next(iter(given.values()))
        for n, given in enumerate(labels)
        if given and all(a == b for a in given.values() for b in given.values())
    }
    assert kept == expected


def test_a_consensus_settles_a_dispute_and_leaves_the_fruit_hard() -> None:
    disputed = {"Sato": "A", "Ito": "B"}
    (fruit,) = teachable([Candidate("1", "1", disputed, consensus="B")], STANDARD)
    assert (fruit.grade, fruit.rival) == ("B", "A")
    (plain,) = teachable([Candidate("1", "1", {"Sato": "B", "Ito": "B"})], STANDARD)
    assert fruit.difficulty > plain.difficulty
    assert teachable([Candidate("1", "1", disputed)], STANDARD) == []


def test_rival_and_difficulty_follow_the_margin() -> None:
    similar = [
        {"A": 0.9, "B": 0.1, "C": NAN, "D": 0.3},
        {"A": 0.9, "B": 0.8, "C": NAN, "D": 0.3},
        {"A": 0.7, "B": 0.8, "C": NAN, "D": 0.3},
    ]
    made = teachable(
        [Candidate(str(n), str(n), {"Sato": "A"}, similarity=s) for n, s in enumerate(similar)],
        STANDARD,
    )
    assert [fruit.rival for fruit in made] == ["D", "B", "B"]
    assert [fruit.difficulty for fruit in made] == pytest.approx([0, 0.5, 1])
    assert made[0].pair == ("A", "D")


def test_a_difficulty_is_the_rank_among_all_grades() -> None:
    similar = [
        ("A", {"A": 0.9, "B": 0.1}),
        ("B", {"A": 0.1, "B": 0.5}),
        ("A", {"A": 0.6, "B": 0.4}),
        ("B", {"A": 0.4, "B": 0.5}),
    ]
    made = teachable(
        [
            Candidate(str(n), str(n), {"Sato": grade}, similarity=s)
            for n, (grade, s) in enumerate(similar)
        ],
        STANDARD,
    )
    assert [fruit.difficulty for fruit in made] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    np.testing.assert_allclose(nearness([0.3, NAN, 0.3, 0.1]), [0.25, 0.5, 0.25, 1])
    assert nearness([0.2]).tolist() == [0.5]


def test_without_similarities_the_rival_is_what_was_answered_or_a_neighbour() -> None:
    made = teachable(
        [
            Candidate("1", "1", {"Sato": "B"}, answers=["D", "D", "A"]),
            Candidate("2", "2", {"Sato": "B"}),
            Candidate("3", "3", {"Sato": "D"}),
        ],
        STANDARD,
    )
    assert [fruit.rival for fruit in made] == ["D", "C", "C"]


def test_a_grade_of_another_standard_is_refused() -> None:
    with pytest.raises(MezoroiError, match="unknown grade `E`"):
        teachable([Candidate("1", "1", {"Sato": "E"})], STANDARD)


def pool(per_grade: int, views: int = 1) -> list[PracticeFruit]:
    rng = np.random.default_rng(per_grade)
    return [
        PracticeFruit(f"{grade}{n}-{view}", f"{grade}{n}", grade, "B" if grade == "A" else "A", d)
        for grade in "ABCD"
        for n, d in enumerate(rng.random(per_grade))
        for view in range(views)
    ]


@given(st.integers(1, 6), st.integers(0, 40), st.integers(0, 5))
def test_tests_are_disjoint_stratified_and_never_practised(
    per_grade: int, spare: int, seed: int
) -> None:
    fruits = pool(4 * per_grade + 1 + spare, views=2)
    forms = make_forms(fruits, STANDARD, per_grade, np.random.default_rng(seed))
    tested = [fruit.specimen for test in forms.tests.values() for fruit in test]
    assert len(tested) == len(set(tested)) == 16 * per_grade
    for test in forms.tests.values():
        assert sorted(fruit.grade for fruit in test) == sorted("ABCD" * per_grade)
    assert {f.specimen for f in forms.practice} == {f.specimen for f in fruits} - set(tested)


def test_a_fruit_of_several_grades_is_in_one_test_at_one_of_them() -> None:
    """Tomatoes photographed while they ripen: each is of every grade at some time."""
    fruits = [
        PracticeFruit(f"{n}{grade}", str(n), grade, "B" if grade == "A" else "A", n / 40)
        for n in range(40)
        for grade in "ABCD"
    ]
    forms = make_forms(fruits, STANDARD, 2, np.random.default_rng(0))
    tested = [fruit.specimen for test in forms.tests.values() for fruit in test]
    assert len(tested) == len(set(tested)) == 4 * 4 * 2
    assert not {fruit.specimen for fruit in forms.practice} & set(tested)
    with pytest.raises(MezoroiError, match=r"40 specimens .* less 36 in tests at another grade"):
        make_forms(fruits, STANDARD, 3, np.random.default_rng(0))
    scarce = [f for f in fruits if f.grade != "D" or int(f.specimen) < 9]
    forms = make_forms(scarce, STANDARD, 2, np.random.default_rng(0))
    assert "D" in {fruit.grade for fruit in forms.practice}


def test_tests_that_leave_nothing_of_a_grade_to_practise_on_are_refused() -> None:
    """The third fruit of A is also one of B, and of medium difficulty there."""
    fruits = [PracticeFruit(f"a{n}", str(n), "A", "B", 0.5) for n in range(3)]
    fruits += [
        PracticeFruit(f"b{n}", str(n), "B", "A", (0.5, 0.5, 0.1, 0.9)[n - 2]) for n in range(2, 6)
    ]
    two = GradingStandard.from_grades("AB")
    with pytest.raises(MezoroiError, match="all specimens of grade A are in tests"):
        make_forms(fruits, two, 1, np.random.default_rng(0), ("first", "second"))


def test_tests_are_matched_in_difficulty_and_speak_for_all_fruits() -> None:
    fruits = pool(120)
    forms = make_forms(fruits, STANDARD, 10, np.random.default_rng(0))
    means = [np.mean([fruit.difficulty for fruit in test]) for test in forms.tests.values()]
    assert list(forms.tests) == list(TESTS)
    assert np.ptp(means) < 0.02
    assert np.mean(means) == pytest.approx(np.mean([f.difficulty for f in fruits]), abs=0.02)


def test_too_few_specimens_for_tests() -> None:
    with pytest.raises(MezoroiError, match=r"grade A has 8 specimens .* more than 8"):
        make_forms(pool(8, views=3), STANDARD, 2, np.random.default_rng(0))
    with pytest.raises(MezoroiError, match="at least 1 per grade"):
        make_forms(pool(8), STANDARD, 0, np.random.default_rng(0))
