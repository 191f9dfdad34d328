"""Splits that never separate the observations of one specimen.

Every function here depends on the seed and on the names of specimens or sessions, never on the
order of the rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mezoroi.datasets.dataset import SPLITS, Dataset
from mezoroi.errors import MezoroiError

Grouping = Literal["specimen", "session"]

DEFAULT_FRACTIONS: Mapping[str, float] = {"train": 0.7, "val": 0.1, "test": 0.2}
CARVED_VAL = 0.12
"""Share of the training specimens that become `val` where a dataset brings none."""

_ATTEMPTS = 50


@dataclass(frozen=True)
class _Group:
    """Observations that stay together, and the grades among them."""

    name: str
    ids: tuple[str, ...]
    grades: frozenset[str]


def assign_splits(
    dataset: Dataset,
    fractions: Mapping[str, float] = DEFAULT_FRACTIONS,
    seed: int = 0,
    group: Grouping = "specimen",
) -> Dataset:
    """Give every observation a split, by specimen and with every grade in every split.

    Groups are dealt out by iterative stratification (Sechidis, Tsoumakas and Vlahavas, "On the
    stratification of multi-label data", ECML PKDD 2011): the rarest grade first, each group to the
    split that still lacks most of that grade. A specimen with several grades counts once for each.

    Parameters
    ----------
    dataset : its present splits are replaced
    fractions : share of the groups by split, each above 0, summing to 1
    seed : of the random choice
    group : ``specimen``, or ``session`` to keep whole sessions together (sessions that share a
        specimen are joined)

    Raises
    ------
    MezoroiError
        If a grade has fewer groups than there are splits, or no way was found to put every grade
        into every split; names the grade.
    """
    unknown = set(fractions) - set(SPLITS)
    if unknown:
        raise MezoroiError(f"unknown split `{min(unknown)}`: use {', '.join(SPLITS)}")
    shares = np.array(list(fractions.values()), dtype=float)
    if shares.size == 0 or not (shares > 0).all() or abs(shares.sum() - 1) > 1e-6:
        raise MezoroiError(f"fractions {dict(fractions)} must be above 0 and add up to 1")
    groups = _groups(dataset, group)
    parts = _deal(groups, shares, seed, dataset.standard.grades, group)
    names = list(fractions)
    return dataset.with_splits(
        {name: names[part] for g, part in zip(groups, parts, strict=True) for name in g.ids}
    )


def complete_splits(dataset: Dataset, seed: int = 0, group: Grouping = "specimen") -> Dataset:
    """Add the splits that a dataset lacks and keep those it brings.

    Without any split all are assigned as by `assign_splits`; without ``val``, 12 % of the training
    specimens or sessions (at least one of every grade) move from ``train`` to ``val``.

    Raises
    ------
    MezoroiError
        If only some observations have a split, there is no ``train``, or a grade of ``train`` has
        too few specimens to give one away.
    """
    without = [o.id for o in dataset if o.split is None]
    if len(without) == len(dataset):
        return assign_splits(dataset, seed=seed, group=group)
    if without:
        raise MezoroiError(
            f"{len(without)} of {len(dataset)} observations have no split ({min(without)}): "
            "give every observation a split, or none"
        )
    if "train" not in dataset.splits:
        raise MezoroiError(f"the dataset has {', '.join(dataset.splits)} but no train: add it")
    if "val" in dataset.splits:
        return dataset
    carved = assign_splits(
        dataset.select("train"), {"train": 1 - CARVED_VAL, "val": CARVED_VAL}, seed, group
    )
    return dataset.with_splits({o.id: o.split for o in carved if o.split is not None})


def folds(
    dataset: Dataset, k: int, seed: int = 0, group: Grouping = "specimen"
) -> list[tuple[Dataset, Dataset]]:
    """k-fold cross-validation by specimen (or session), every grade in every fold.

    Returns
    -------
    k pairs (train, test), marked with these splits; the tests are disjoint and cover the dataset

    Raises
    ------
    MezoroiError
        If k < 2, or a grade has fewer than k groups; names the grade.
    """
    if k < 2:
        raise MezoroiError(f"{k} folds leave nothing to test on: use at least 2")
    groups = _groups(dataset, group)
    parts = _deal(groups, np.full(k, 1 / k), seed, dataset.standard.grades, group)
    return [
        _train_and_test(
            dataset, {i for g, p in zip(groups, parts, strict=True) if p == fold for i in g.ids}
        )
        for fold in range(k)
    ]


def hold_out_per_grade(dataset: Dataset, n_test_per_grade: int, seed: int = 0) -> Dataset:
    """Random `n_test_per_grade` specimens of each grade for test, all others for training.

    The melon paper's protocol: 122 fruits per grade, 30 drawn for test, three times. The number is
    exact where every specimen has one grade; a specimen with several counts for each of them, so
    that a grade may then have more.

    Raises
    ------
    MezoroiError
        If a grade would keep no specimen for training; names the grade.
    """
    if n_test_per_grade < 1:
        raise MezoroiError(f"{n_test_per_grade} test specimens per grade: draw at least 1")
    rng = np.random.default_rng(seed)
    groups = _groups(dataset, "specimen")
    order = [groups[i] for i in rng.permutation(len(groups))]
    members = {grade: [g for g in order if grade in g.grades] for grade in dataset.standard.grades}
    drawn: set[str] = set()
    for grade in sorted(_present(groups, dataset.standard.grades), key=lambda g: len(members[g])):
        missing = n_test_per_grade - sum(g.name in drawn for g in members[grade])
        drawn.update([g.name for g in members[grade] if g.name not in drawn][: max(0, missing)])
    for grade in _present(groups, dataset.standard.grades):
        if all(g.name in drawn for g in members[grade]):
            raise MezoroiError(
                f"grade `{grade}` has {len(members[grade])} specimens, none of which is left for "
                f"training beside {n_test_per_grade} test specimens per grade: draw fewer"
            )
    return _marked(dataset, {name for g in groups if g.name in drawn for name in g.ids})


def _train_and_test(dataset: Dataset, test_ids: set[str]) -> tuple[Dataset, Dataset]:
    marked = _marked(dataset, test_ids)
    return marked.select("train"), marked.select("test")


def _marked(dataset: Dataset, test_ids: set[str]) -> Dataset:
    return dataset.with_splits({o.id: "test" if o.id in test_ids else "train" for o in dataset})


def _groups(dataset: Dataset, group: Grouping) -> list[_Group]:
    """Groups in the order of their names."""
    if group not in ("specimen", "session"):
        raise MezoroiError(f"cannot group by `{group}`: use specimen or session")
    if not len(dataset):
        raise MezoroiError("the dataset is empty: add graded fruits")
    key = {o.specimen: o.specimen for o in dataset}
    if group == "session":
        key = _joined_sessions(dataset)
    members: dict[str, list[tuple[str, str]]] = {}
    for o in dataset:
        members.setdefault(key[o.specimen], []).append((o.id, o.grade))
    return [
        _Group(name, tuple(sorted(i for i, _ in rows)), frozenset(grade for _, grade in rows))
        for name, rows in sorted(members.items())
    ]


def _joined_sessions(dataset: Dataset) -> dict[str, str]:
    """First session, by name, of those tied to each specimen by shared specimens."""
    without = [o.id for o in dataset if o.session is None]
    if without:
        raise MezoroiError(
            f"{len(without)} observations have no session ({min(without)}): "
            "fill in the column `session` or group by specimen"
        )
    parent: dict[str, str] = {}

    def first(session: str) -> str:
        parent.setdefault(session, session)
        while parent[session] != session:
            session = parent[session]
        return session

    session_of: dict[str, str] = {}
    for o in dataset:
        session = str(o.session)
        low, high = sorted((first(session), first(session_of.setdefault(o.specimen, session))))
        parent[high] = low
    return {specimen: first(session) for specimen, session in session_of.items()}


def _present(groups: Sequence[_Group], grades: Sequence[str]) -> list[str]:
    return [grade for grade in grades if any(grade in g.grades for g in groups)]


def _deal(
    groups: Sequence[_Group],
    shares: np.ndarray,
    seed: int,
    grades: Sequence[str],
    grouping: Grouping,
) -> np.ndarray:
    """(G,) index of the part each group goes to; every grade present reaches every part."""
    present = _present(groups, grades)
    for grade in present:
        number = sum(grade in g.grades for g in groups)
        if number < len(shares):
            raise MezoroiError(
                f"grade `{grade}` has {number} {grouping}{'s' * (number != 1)}, too few for "
                f"{len(shares)} parts: add {grouping}s of this grade"
            )
    holds = np.array([[grade in g.grades for grade in present] for g in groups])
    for attempt in range(_ATTEMPTS):
        parts = _deal_once(holds, shares, np.random.default_rng([seed, attempt]))
        reached = np.array([holds[parts == part].any(axis=0) for part in range(len(shares))])
        if reached.all():
            return parts
    grade = present[int(np.flatnonzero(~reached.all(axis=0))[0])]
    raise MezoroiError(
        f"no way was found to put grade `{grade}` into each of {len(shares)} parts: "
        f"add {grouping}s of this grade"
    )


def _deal_once(holds: np.ndarray, shares: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One pass of iterative stratification over (G, grades) bool -> (G,) part indices."""
    wanted = np.array([_apportion(int(n), shares) for n in holds.sum(axis=0)], dtype=float).T
    room = _apportion(len(holds), shares).astype(float)
    parts = np.full(len(holds), -1)
    order = rng.permutation(len(holds))
    while (open_groups := order[parts[order] < 0]).size:
        left = holds[open_groups].sum(axis=0)
        rarest = int(np.argmin(np.where(left > 0, left, np.iinfo(np.int64).max)))
        for index in open_groups[holds[open_groups, rarest]]:
            keys = np.lexsort((rng.random(len(shares)), room, wanted[:, rarest]))
            part = int(keys[-1])
            parts[index] = part
            wanted[part, holds[index]] -= 1
            room[part] -= 1
    return parts


def _apportion(number: int, shares: np.ndarray) -> np.ndarray:
    """(P,) whole numbers near ``number * shares`` that add up to `number`, at least 1 each.

    Largest remainders; requires number >= P.
    """
    exact = number * shares
    counts: np.ndarray = np.maximum(1, np.floor(exact)).astype(int)
    while counts.sum() != number:
        gap = exact - counts
        if counts.sum() < number:
            counts[int(np.argmax(gap))] += 1
        else:
            counts[int(np.argmin(np.where(counts > 1, gap, np.inf)))] -= 1
    return counts
