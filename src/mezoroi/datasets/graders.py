"""One grade from the labels of several graders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from mezoroi.errors import MezoroiError
from mezoroi.standard import GradingStandard


def consensus(labels: Collection[str], standard: GradingStandard) -> str:
    """The grade that several graders' labels amount to.

    The most frequent label wins. Where several are equally frequent, an ordered standard takes the
    median of all labels, of two middle ones the lower quality; an unordered standard takes the tied
    grade that comes first in precedence.

    Parameters
    ----------
    labels : one grade per grader, at least one
    standard : the standard that the labels belong to

    Raises
    ------
    MezoroiError
        If there is no label or one is not in the standard.
    """
    if not labels:
        raise MezoroiError("no grader gave a label: add one or remove the image")
    unknown = set(labels) - set(standard.grades)
    if unknown:
        raise MezoroiError(
            f"unknown grade `{min(unknown)}`: the standard has {', '.join(standard.grades)}"
        )
    frequency = Counter(labels)
    highest = max(frequency.values())
    tied = [grade for grade, number in frequency.items() if number == highest]
    if len(tied) == 1:
        return tied[0]
    if not standard.ordered:
        return standard.decide(tied)
    ranks = sorted(standard.grades.index(label) for label in labels)
    return standard.grades[ranks[len(ranks) // 2]]
