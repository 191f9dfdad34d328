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

    Each test has `per_grade` fruits of every grade, and no specimen occurs twice: one that was
    photographed at several grades, as a tomato over weeks, is in one test at one of them. Within a
    grade, fruits are sorted by difficulty, neighbours are dealt one to each test at random, and
    these blocks lie evenly over the whole range, so that the tests are alike and speak for all
    fruits.

    Raises
    ------
    MezoroiError
        If a grade has too few specimens for the tests and at least one fruit of practice.
    """
    if per_grade < 1 or not tests:
        raise MezoroiError("a test without fruits measures nothing: use at least 1 per grade")
    dealt: dict[str, list[PracticeFruit]] = {name: [] for name in tests}
    used: set[str] = set()
    needed = per_grade * len(tests)
    specimens = {
        grade: {f.specimen for f in fruits if f.grade == grade} for grade in standard.grades
    }
    for grade in sorted(standard.grades, key=lambda name: len(specimens[name])):  # scarcest first
        free = [f for f in fruits if f.grade == grade and f.specimen not in used]
        own = _one_per_specimen(free, rng)
        if len(own) <= needed:
            taken = len(specimens[grade]) - len(own)
            elsewhere = f" less {taken} in tests at another grade" if taken else ""
            raise MezoroiError(
                f"grade {grade} has {len(specimens[grade])} specimens with an agreed grade"
                f"{elsewhere}, {len(tests)} tests and practice need more than {needed}: "
                "add fruits or make the tests shorter"
            )
        own.sort(key=lambda fruit: fruit.difficulty)
        width = len(own) / per_grade
        for number in range(per_grade):
            start = int(number * width + (width - len(tests)) / 2)
            block = own[start : start + len(tests)]
            for name, place in zip(tests, rng.permutation(len(tests)), strict=True):
                dealt[name].append(block[place])
            used.update(fruit.specimen for fruit in block)
    practice = tuple(fruit for fruit in fruits if fruit.specimen not in used)
    for grade in standard.grades:
        if all(fruit.grade != grade for fruit in practice):
            raise MezoroiError(
                f"all specimens of grade {grade} are in tests: add fruits or make the tests shorter"
            )
    return Forms(
        {name: tuple(test[n] for n in rng.permutation(len(test))) for name, test in dealt.items()},
        practice,
    )


def _one_per_specimen(
    fruits: Sequence[PracticeFruit], rng: np.random.Generator
) -> list[PracticeFruit]:
    chosen: dict[str, PracticeFruit] = {}
    for place in rng.permutation(len(fruits)):
        chosen.setdefault(fruits[place].specimen, fruits[place])
    return [chosen[specimen] for specimen in sorted(chosen)]
