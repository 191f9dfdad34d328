"""Which fruits are worth grading together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mezoroi.errors import MezoroiError
from mezoroi.metrics.agreement import disagreement, ratings_table
from mezoroi.standard import GradingStandard

DISPUTED, UNRELIABLE, BORDER, STRATIFIED = "disputed", "unreliable", "border", "stratified"
WAYS = (DISPUTED, UNRELIABLE, BORDER, STRATIFIED)


@dataclass(frozen=True)
class GradedFruit:
    """A fruit that could be proposed.

    Attributes
    ----------
    id : of the observation
    specimen : the physical fruit
    grade : what the grader decided
    labels : grades by person; may be empty
    similarity : S_g by grade, NaN where a grade was not judged
    reliability : in [0, 1], or None
    """

    id: str
    specimen: str
    grade: str
    labels: Mapping[str, str] = field(default_factory=dict)
    similarity: Mapping[str, float] = field(default_factory=dict)
    reliability: float | None = None


def propose(
    fruits: Sequence[GradedFruit],
    way: str,
    count: int,
    standard: GradingStandard,
    rng: np.random.Generator,
) -> list[GradedFruit]:
    """At most `count` fruits, one per specimen.

    Parameters
    ----------
    way : ``disputed``, by `mezoroi.metrics.disagreement` of the labels, most first; ``unreliable``,
        least reliability first; ``border``, smallest distance between the two largest similarities
        first; ``stratified``, equally many of each grade, drawn at random
    rng : breaks ties and draws; the same generator state proposes the same fruits

    Returns
    -------
    fewer than `count` where fewer can be judged that way: undisputed fruits are not proposed as
    disputed, nor those of unknown reliability or similarity as unreliable or near a border

    Raises
    ------
    MezoroiError
        If the way is unknown or the count is below 1.
    """
    if way not in WAYS:
        raise MezoroiError(f"unknown way `{way}` to propose fruits: use {', '.join(WAYS)}")
    if count < 1:
        raise MezoroiError(f"{count} fruits make no session: propose at least 1")
    mixed = [fruits[place] for place in rng.permutation(len(fruits))]
    if way == STRATIFIED:
        return _stratified(mixed, count, standard)
    ranks: dict[str, Callable[[GradedFruit], float]] = {
        DISPUTED: lambda fruit: -_dispute(fruit, standard),
        UNRELIABLE: lambda fruit: np.nan if fruit.reliability is None else fruit.reliability,
        BORDER: border_distance,
    }
    ranked = [(ranks[way](fruit), fruit) for fruit in mixed]
    known = [pair for pair in ranked if not np.isnan(pair[0])]
    if way == DISPUTED:
        known = [pair for pair in known if pair[0] < 0]
    known.sort(key=lambda pair: pair[0])
    return _one_per_specimen([fruit for _, fruit in known])[:count]


def border_distance(fruit: GradedFruit) -> float:
    """Largest similarity minus the next; NaN with fewer than two."""
    known = sorted(value for value in fruit.similarity.values() if not np.isnan(value))
    return float(known[-1] - known[-2]) if len(known) > 1 else float("nan")


def _dispute(fruit: GradedFruit, standard: GradingStandard) -> float:
    table = ratings_table([fruit.labels], standard.grades, tuple(fruit.labels) or ("nobody",))
    return float(disagreement(table.ratings, len(standard.grades), ordered=standard.ordered)[0])


def _stratified(
    fruits: Sequence[GradedFruit], count: int, standard: GradingStandard
) -> list[GradedFruit]:
    """Dealt out grade by grade, so that the numbers differ by one at most while fruits last."""
    decks = {grade: [] for grade in standard.grades}  # type: dict[str, list[GradedFruit]]
    for fruit in _one_per_specimen(fruits):
        decks[fruit.grade].append(fruit)
    chosen: list[GradedFruit] = []
    while len(chosen) < count and any(decks.values()):
        for deck in decks.values():
            if deck and len(chosen) < count:
                chosen.append(deck.pop())
    return chosen


def _one_per_specimen(fruits: Sequence[GradedFruit]) -> list[GradedFruit]:
    first: dict[str, GradedFruit] = {}
    for fruit in fruits:
        first.setdefault(fruit.specimen, fruit)
    return list(first.values())
