"""What the page on validity shows, from the verdicts in force."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mezoroi.app.store.validity import Judged

if TYPE_CHECKING:
    from mezoroi.metrics.validity import ChartValidity, Misgrading, Share

EARLIER_ACCEPTANCE = 0.84
"""Share of grades that experts accepted from the system before (melon paper, section 1)."""
PAPERS_CHARTS = 0.976
"""Share of reasonable charts in the melon paper, table 2."""
_NUMBER = {"agree": 1, "plausible": 2, "wrong": 3}


@dataclass(frozen=True)
class Row:
    """A line of the table: a grade of Mezoroi's, an expert, or all.

    Attributes
    ----------
    name : of the grade or the expert
    graded, several : fruits that were graded so, and of these the ones that resemble several
        grades; None for an expert
    charts : of the verdicts on it
    accepted : share of grades that are the expert's
    """

    name: str
    graded: int | None
    several: int | None
    charts: ChartValidity
    accepted: Share


@dataclass(frozen=True)
class Validity:
    """All numbers of the page.

    Attributes
    ----------
    grades, total : table 2 of the melon paper
    experts : the same by expert
    accepted_blind : share of grades that are the expert's among those given blind; elsewhere too
        a blind grade counts where there is one
    misgrading : None where the grades have no order
    """

    grades: Sequence[Row]
    total: Row
    experts: Sequence[Row]
    accepted_blind: Share
    misgrading: Misgrading | None


def validity(
    judged: Sequence[Judged],
    graded: Mapping[str, tuple[int, int]],
    names: Mapping[int, str],
    grades: Sequence[str],
    *,
    is_ordered: bool,
    several_only: bool,
    costs: tuple[float, float],
) -> Validity:
    """Count verdicts.

    Parameters
    ----------
    graded : by grade, number of fruits, and of those that resemble several grades
    names : of the experts to be listed, by id
    grades : of the standard, best first
    several_only : whether charts are counted of fruits that resemble several grades alone, as in
        the paper
    costs : of one grade too good, and of one too bad
    """
    from mezoroi.metrics.validity import acceptance, chart_validity, misgrading

    answered = [
        each for each in judged if each.answer and (each.likenesses > 1 or not several_only)
    ]

    def charts(chosen: Sequence[Judged]) -> ChartValidity:
        return chart_validity(
            [_NUMBER[each.answer] for each in chosen if each.answer],
            [each.fruit_id for each in chosen],
        )

    place = {grade: number for number, grade in enumerate(grades)}
    compared = [
        each for each in judged if each.expert_grade in place and each.grade in place
    ]  # a grade of another standard is not to be compared

    def accepted(chosen: Sequence[Judged]) -> Share:
        return acceptance(
            [place[each.grade] for each in chosen],
            [place[each.expert_grade or ""] for each in chosen],
        )

    def row(
        name: str,
        counts: tuple[int | None, int | None],
        of: Callable[[Judged], bool] = lambda each: True,
    ) -> Row:
        mine = [each for each in answered if of(each)], [each for each in compared if of(each)]
        return Row(name, *counts, charts(mine[0]), accepted(mine[1]))

    listed = [*grades, *sorted(set(graded) - set(grades))]
    all_counts = sum(n for n, _ in graded.values()), sum(alike for _, alike in graded.values())
    return Validity(
        grades=[row(grade, graded.get(grade, (0, 0)), _is("grade", grade)) for grade in listed],
        total=row("", all_counts),
        experts=[row(name, (None, None), _is("expert_id", key)) for key, name in names.items()],
        accepted_blind=accepted([each for each in compared if each.is_blind]),
        misgrading=misgrading(
            [place[each.grade] for each in compared],
            [place[each.expert_grade or ""] for each in compared],
            *costs,
        )
        if is_ordered
        else None,
    )


def _is(name: str, value: object) -> Callable[[Judged], bool]:
    """Whether an attribute of a verdict has this value."""
    return lambda each: getattr(each, name) == value
