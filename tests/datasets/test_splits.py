"""Splits keep specimens together, hold every grade and depend on seed and ids only."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mezoroi.datasets import (
    Dataset,
    Observation,
    assign_splits,
    complete_splits,
    folds,
    hold_out_per_grade,
)
from mezoroi.errors import MezoroiError
from mezoroi.standard import GradingStandard

STANDARD = GradingStandard.from_grades("ABCD")


def dataset_of(rows: list[tuple[str, str]], sessions: list[str] | None = None) -> Dataset:
    """Observations 0, 1, … with the given (specimen, grade); no files behind them."""
    return Dataset(
        tuple(
            Observation(
                id=f"{i:04}.png",
                image=Path(f"{i:04}.png"),
                grade=grade,
                specimen=specimen,
                session=sessions[i] if sessions else None,
            )
            for i, (specimen, grade) in enumerate(rows)
        ),
        STANDARD,
        Path(),
    )


def fruits(per_grade: int, views: int = 1, grades: str = "ABCD") -> Dataset:
    return dataset_of(
        [(f"{g}{i}", g) for g in grades for i in range(per_grade) for _ in range(views)]
    )


def specimens_of(dataset: Dataset, split: str) -> set[str]:
    return set(dataset.select(split).specimens)


def assert_apart(dataset: Dataset) -> None:
    where: dict[str, set[str | None]] = {}
    for o in dataset:
        where.setdefault(o.specimen, set()).add(o.split)
    assert all(len(splits) == 1 and None not in splits for splits in where.values())


many_grades = st.lists(
    st.tuples(st.sets(st.sampled_from("ABCD"), min_size=1), st.integers(1, 3)), max_size=25
)


@st.composite
def datasets(draw: st.DrawFn) -> Dataset:
    """Fruits with one or several grades, each of four grades on at least six fruits."""
    rows = [(f"{g}{i}", g) for g in "ABCD" for i in range(6)]
    for i, (grades, views) in enumerate(draw(many_grades)):
        rows += [(f"mixed{i}", grade) for grade in sorted(grades) for _ in range(views)]
    return dataset_of(rows)


@settings(max_examples=60, deadline=None)
@given(datasets(), st.integers(0, 2**32 - 1), st.randoms(use_true_random=False))
def test_assign_splits_properties(dataset: Dataset, seed: int, random) -> None:
    split = assign_splits(dataset, seed=seed)
    assert [o.id for o in split] == [o.id for o in dataset]
    assert_apart(split)
    for name in ("train", "val", "test"):
        assert all(split.select(name).counts().values()), name
    order = list(range(len(dataset)))
    random.shuffle(order)
    shuffled = assign_splits(dataset.subset(order), seed=seed)
    assert {o.id: o.split for o in shuffled} == {o.id: o.split for o in split}


@settings(max_examples=40, deadline=None)
@given(datasets(), st.integers(2, 5), st.integers(0, 1000))
def test_folds_properties(dataset: Dataset, k: int, seed: int) -> None:
    pairs = folds(dataset, k, seed)
    assert len(pairs) == k
    tested = [o.id for _, test in pairs for o in test]
    assert sorted(tested) == [o.id for o in dataset]
    for train, test in pairs:
        assert not set(train.specimens) & set(test.specimens)
        assert len(train) + len(test) == len(dataset)
        assert all(test.counts().values()) and all(train.counts().values())
        assert train.splits == ("train",) and test.splits == ("test",)


@settings(max_examples=40, deadline=None)
@given(datasets(), st.integers(0, 1000))
def test_complete_splits_properties(dataset: Dataset, seed: int) -> None:
    brought = hold_out_per_grade(dataset, 2, seed)
    complete = complete_splits(brought, seed)
    assert_apart(complete)
    assert specimens_of(complete, "test") == specimens_of(brought, "test")
    assert all(complete.select("val").counts().values())
    assert all(complete.select("train").counts().values())


def test_shares_are_exact_where_every_fruit_has_one_grade() -> None:
    split = assign_splits(fruits(100, views=3))
    for name, number in (("train", 70), ("val", 10), ("test", 20)):
        chosen = specimens_of(split, name)
        assert Counter(s[0] for s in chosen) == dict.fromkeys("ABCD", number)


def test_few_fruits_still_reach_every_split() -> None:
    split = assign_splits(fruits(3))
    for name in ("train", "val", "test"):
        assert split.select(name).counts() == dict.fromkeys("ABCD", 1)


def test_seeds_differ() -> None:
    dataset = fruits(20)
    assert specimens_of(assign_splits(dataset, seed=0), "test") != specimens_of(
        assign_splits(dataset, seed=1), "test"
    )


def test_every_fruit_is_as_likely_to_be_tested() -> None:
    dataset = fruits(10)
    drawn = Counter(
        s for seed in range(300) for s in specimens_of(assign_splits(dataset, seed=seed), "test")
    )
    # binomial(300, 0.2): mean 60, standard deviation 6.9
    assert len(drawn) == 40 and min(drawn.values()) > 32 and max(drawn.values()) < 88


def test_too_few_fruits_name_the_grade() -> None:
    rows = [(f"{g}{i}", g) for g in "ABC" for i in range(5)] + [("d0", "D"), ("d1", "D")]
    dataset = dataset_of(rows)
    with pytest.raises(MezoroiError, match="grade `D` has 2 specimens, too few for 3 parts"):
        assign_splits(dataset)
    with pytest.raises(MezoroiError, match="grade `D` has 2 specimens, too few for 5 parts"):
        folds(dataset, 5)
    with pytest.raises(MezoroiError, match="grade `D` has 2 specimens, none of which is left"):
        hold_out_per_grade(dataset, 2)
    assert len(folds(dataset, 2)) == 2


def test_impossible_combinations_are_said_so() -> None:
    # three fruits, each with two of three grades: one of two parts gets a single fruit
    rows = [("p", "A"), ("p", "B"), ("q", "A"), ("q", "C"), ("r", "B"), ("r", "C")]
    with pytest.raises(MezoroiError, match="no way was found to put grade"):
        folds(dataset_of(rows), 2)


@pytest.mark.parametrize(
    ("fractions", "words"),
    [
        ({"train": 0.5, "holdout": 0.5}, "unknown split `holdout`"),
        ({"train": 0.5, "test": 0.4}, "add up to 1"),
        ({"train": 1.0, "test": 0.0}, "above 0"),
        ({"train": float("nan")}, "above 0"),
        ({}, "above 0"),
    ],
)
def test_bad_fractions(fractions: dict[str, float], words: str) -> None:
    with pytest.raises(MezoroiError, match=words):
        assign_splits(fruits(5), fractions)


def test_bad_arguments() -> None:
    with pytest.raises(MezoroiError, match="at least 2"):
        folds(fruits(5), 1)
    with pytest.raises(MezoroiError, match="draw at least 1"):
        hold_out_per_grade(fruits(5), 0)
    with pytest.raises(MezoroiError, match="specimen or session"):
        assign_splits(fruits(5), group="lot")  # type: ignore[arg-type]
    with pytest.raises(MezoroiError, match="empty"):
        assign_splits(dataset_of([]))


def test_sessions_are_left_out_whole() -> None:
    rows = [(f"{g}{i}", g) for i in range(6) for g in "ABCD"]
    sessions = [f"day{i}" for i in range(6) for _ in "ABCD"]
    for _, test in folds(dataset_of(rows, sessions), 3, group="session"):
        assert set(Counter(o.session for o in test).values()) == {4}  # all four fruits of a day
        assert len({o.session for o in test}) == 2
    with pytest.raises(MezoroiError, match="24 observations have no session"):
        folds(dataset_of(rows), 3, group="session")


def test_sessions_that_share_a_fruit_stay_together() -> None:
    rows = [(f"{g}{i}", g) for i in range(6) for g in "ABCD"] + [("A0", "A"), ("A1", "B")]
    sessions = [f"day{i}" for i in range(6) for _ in "ABCD"] + ["day1", "day2"]
    dataset = dataset_of(rows, sessions)
    for train, test in folds(dataset, 3, group="session"):
        assert not set(train.specimens) & set(test.specimens)
        joined = {"day0", "day1", "day2"}
        assert {o.session for o in test} & joined in (set(), joined)


def test_hold_out_is_the_paper_s_protocol() -> None:
    dataset = fruits(122)
    drawn = []
    for seed in range(3):
        split = hold_out_per_grade(dataset, 30, seed)
        assert split.select("train").counts() == dict.fromkeys("ABCD", 92)
        assert split.select("test").counts() == dict.fromkeys("ABCD", 30)
        drawn.append(specimens_of(split, "test"))
    assert drawn[0] != drawn[1] != drawn[2]
    order = np.random.default_rng(0).permutation(len(dataset))
    assert specimens_of(hold_out_per_grade(dataset.subset(order), 30, 2), "test") == drawn[2]


def test_complete_splits() -> None:
    dataset = fruits(50)
    assert complete_splits(dataset, 3).splits == ("train", "val", "test")
    assert complete_splits(dataset, 3) == assign_splits(dataset, seed=3)
    brought = assign_splits(dataset)
    assert complete_splits(brought) is brought
    carved = complete_splits(hold_out_per_grade(dataset, 10))
    assert carved.select("val").counts() == dict.fromkeys("ABCD", 5)  # 12 % of 40
    only_train = dataset.with_splits({o.id: "train" for o in dataset})
    assert complete_splits(only_train).splits == ("train", "val")
    with pytest.raises(MezoroiError, match="199 of 200 observations have no split"):
        complete_splits(dataset.with_splits({"0000.png": "train"}))
    with pytest.raises(MezoroiError, match="but no train"):
        complete_splits(dataset.with_splits({o.id: "test" for o in dataset}))
