"""Tests without feedback: fixed sets of unseen fruits, as alike in difficulty as can be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mezoroi.errors import MezoroiError
from mezoroi.practice.fruits import PracticeFruit
from mezoroi.standard import GradingStandard

TESTS = ("pre-test", "post-test", "1 day", "1 week")


@dataclass(frozen=True)
class Forms:
    """The tests and what is left to practise on.

    Attributes
    ----------
    tests : fruits by test, in the order they are shown; the same for every learner
    practice : all fruits of specimens that occur in no test
    """

    tests: dict[str, tuple[PracticeFruit, ...]]
    practice: tuple[PracticeFruit, ...]


def make_forms(
    fruits: Sequence[PracticeFruit],
    standard: GradingStandard,
    per_grade: int,
    rng: np.random.Generator,
    tests: Sequence[str] = TESTS,
) -> Forms:
    """Divide fruits into parallel tests and practice.

    Each test has `per_grade` fruits of every grade, one per specimen. Within a grade, fruits are
    sorted by difficulty, neighbours are dealt one to each test at random, and these blocks lie
    evenly over the whole range, so that the tests are alike and speak for all fruits.

    Raises
    ------
    MezoroiError
        If a grade has too few specimens for the tests and at least one fruit of practice.
    """
    if per_grade < 1 or not tests:
        raise MezoroiError("a test without fruits measures nothing: use at least 1 per grade")
    dealt: dict[str, list[PracticeFruit]] = {name: [] for name in tests}
    for grade in standard.grades:
        own = _one_per_specimen([fruit for fruit in fruits if fruit.grade == grade], rng)
        needed = per_grade * len(tests)
        if len(own) <= needed:
            raise MezoroiError(
                f"grade {grade} has {len(own)} specimens with an agreed grade, {len(tests)} tests "
                f"and practice need more than {needed}: add fruits or make the tests shorter"
            )
        own.sort(key=lambda fruit: fruit.difficulty)
        width = len(own) / per_grade
        for number in range(per_grade):
            start = int(number * width + (width - len(tests)) / 2)
            block = own[start : start + len(tests)]
            for name, place in zip(tests, rng.permutation(len(tests)), strict=True):
                dealt[name].append(block[place])
    used = {fruit.specimen for test in dealt.values() for fruit in test}
    return Forms(
        {name: tuple(test[n] for n in rng.permutation(len(test))) for name, test in dealt.items()},
        tuple(fruit for fruit in fruits if fruit.specimen not in used),
    )


def _one_per_specimen(
    fruits: Sequence[PracticeFruit], rng: np.random.Generator
) -> list[PracticeFruit]:
    chosen: dict[str, PracticeFruit] = {}
    for place in rng.permutation(len(fruits)):
        chosen.setdefault(fruits[place].specimen, fruits[place])
    return [chosen[specimen] for specimen in sorted(chosen)]
