"""What precedence says of second places, of fruits and of fruits made of two."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import compress, product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import mezoroi as mz
from mezoroi.bundle import build_network
from mezoroi.config import Config
from mezoroi.losses.heads import head_logits, head_loss
from mezoroi.models import InputSize
from mezoroi.standard import GradeDescription, GradingStandard
from mezoroi.training import GradingModule
from mezoroi.training.rankings import Rankings, ranking_loss

Make = Callable[..., Config]


def test_the_melon_standard() -> None:
    melon = mz.GradingStandard.melon()
    found = Rankings.of(melon)
    assert _named(melon, found.weaker) == {"A": "", "B": "A", "C": "AB", "D": "ABC"}
    composed = {
        own + other: (melon.grades[int(found.first[i, j])], _names(melon, found.second[i, j]))
        for (i, own), (j, other) in product(enumerate("ABCD"), enumerate("ABCD"))
        if found.known[i, j]
    }
    # The surface of a C fruit may be an A or a B, the outline of a D fruit may be a C's.
    assert composed == {
        "AA": ("A", ""),
        "AB": ("A", ""),
        "AC": ("C", "A"),
        "BA": ("B", "A"),
        "BB": ("B", "A"),
        "BC": ("C", "B"),
        "DA": ("D", "AB"),
        "DB": ("D", "AB"),
        "DC": ("D", "C"),
    }


def test_without_an_order_nothing_is_known() -> None:
    found = Rankings.of(replace(mz.GradingStandard.melon(), ordered=False))
    assert not found.weaker.any() and not found.known.any() and not found.second.any()


@given(st.data())
def test_all_fruits_that_two_may_make(data: st.DataObject) -> None:
    """Against every pair of fruits, each of which shows any of the features that it may."""
    size = data.draw(st.integers(2, 5))
    grades = tuple("ABCDE"[:size])
    views = data.draw(
        st.lists(st.sampled_from(["surface", "outline"]), min_size=size, max_size=size)
    )
    views[data.draw(st.integers(0, size - 1))] = "surface"
    precedence = tuple(data.draw(st.permutations(grades)))
    standard = GradingStandard(
        grades=grades,
        precedence=precedence,
        descriptions={
            grade: GradeDescription({}, {}, view) for grade, view in zip(grades, views, strict=True)
        },
    )
    found = Rankings.of(standard)
    for i, j in product(range(size), repeat=2):
        own, other = grades[i], grades[j]
        made = [
            sorted({*shown, *lent}, key=precedence.index)
            for shown in _surfaces(standard, own)
            for lent in _outlines(standard, other)
        ]
        made = [features for features in made if features]
        firsts = {features[0] for features in made}
        seconds = {features[1] for features in made if len(features) > 1}
        certain = views[i] == "surface" and len(firsts) == 1 and _is_known(standard, other)
        assert bool(found.known[i, j]) == certain, (own, other)
        if certain:
            assert grades[int(found.first[i, j])] in firsts
            assert set(_names(standard, found.second[i, j])) == seconds, (own, other, made)


def module_for(standard: mz.GradingStandard, config: Config, outlines: int) -> GradingModule:
    network, head = build_network(standard, config, outlines, True, "none")
    return GradingModule(network, head, standard, config, InputSize(64, 128, True))


def test_the_loss_of_a_batch_against_a_loop(tiny: Make) -> None:
    """Every fruit, and every one with the outline of the fruit before it."""
    melon = mz.GradingStandard.melon()
    module = module_for(melon, tiny(), outlines=5)
    dim, width = module.model.surface_dim, module.model.embedding_dim
    embedding = torch.randn(7, width, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([0, 2, 3, 1, 2, 3, 1])  # A C D B C D B
    may_follow = {"A": "", "B": "A", "C": "AB", "D": "ABC"}
    # Of the surface of each with the outline before it; that of a D is not lent.
    made = {0: ("A", ""), 2: ("D", "C"), 5: ("D", "C")}
    logits = head_logits(module.head, embedding)
    own = [_cost(logits[n], g, may_follow[g]) for n, g in enumerate("ACDBCDB") if may_follow[g]]
    rows = [torch.cat([embedding[n, :dim], embedding[n - 1, dim:]]) for n in made]
    firsts = torch.tensor([melon.grades.index(first) for first, _ in made.values()])
    scores = head_logits(module.head, torch.stack(rows))
    others = [
        _cost(scores[k], first, next_ones)
        for k, (first, next_ones) in enumerate(made.values())
        if next_ones
    ]
    expected = sum(own) / len(own) + sum(others) / len(others)
    expected += float(head_loss(module.head, torch.stack(rows), firsts).detach())
    assert module.rankings is not None
    found = ranking_loss(module.head, embedding, labels, module.rankings, dim)
    assert float(found.detach()) == pytest.approx(expected, rel=1e-5)


def test_it_is_part_of_all_losses(tiny: Make) -> None:
    """And teaches the outline's part, which other fruits lend."""
    melon = mz.GradingStandard.melon()
    module = module_for(melon, tiny("loss.swap_tile=0", "loss.runner_up_weight=2"), outlines=5)
    batch = {
        "images": torch.rand(4, 3, 64, 128, generator=torch.Generator().manual_seed(2)),
        "outlines": torch.rand(4, 5, generator=torch.Generator().manual_seed(3)),
        "labels": torch.tensor([0, 1, 2, 3]),
    }
    module.eval()  # no channel is dropped

    def total() -> float:
        return float(module.losses(batch, 0).detach())

    with_it = total()
    embedding = module.run(batch).embedding
    assert module.rankings is not None
    dim = module.model.surface_dim
    cost = ranking_loss(module.head, embedding, batch["labels"], module.rankings, dim)
    module.rankings = None
    assert with_it - total() == pytest.approx(2 * float(cost.detach()), rel=1e-4)


@pytest.mark.parametrize(
    ("setting", "outlines", "ordered", "asks"),
    [
        ("loss.runner_up_weight=0.5", 5, True, True),
        ("loss.runner_up_weight=0", 5, True, False),
        ("model.channels_per_grade=0", 5, True, False),  # plain fine-tuning stays plain
        ("loss.runner_up_weight=0.5", 0, True, False),
        ("loss.runner_up_weight=0.5", 5, False, False),
    ],
)
def test_where_it_is_asked(
    tiny: Make, setting: str, outlines: int, ordered: bool, asks: bool
) -> None:
    standard = replace(mz.GradingStandard.melon(), ordered=ordered)
    module = module_for(standard, tiny(setting), outlines)
    assert (module.rankings is not None) == asks


def _cost(scores: torch.Tensor, first: str, may_follow: str) -> float:
    weights = dict(zip("ABCD", scores.detach().exp().tolist(), strict=True))
    del weights[first]
    return -math.log(sum(weights[grade] for grade in may_follow) / sum(weights.values()))


def _is_known(standard: GradingStandard, grade: str) -> bool:
    return grade in standard.outline_grades or len(_outlines(standard, grade)) == 1


def _weaker(standard: GradingStandard, grade: str) -> list[str]:
    return list(standard.precedence[standard.precedence.index(grade) + 1 :])


def _surfaces(standard: GradingStandard, grade: str) -> list[set[str]]:
    """What the surface of a fruit of a surface grade may show."""
    return _with_any({grade}, _weaker(standard, grade), standard.surface_grades)


def _outlines(standard: GradingStandard, grade: str) -> list[set[str]]:
    """What the outline of a fruit of a grade may show."""
    own = {grade} & set(standard.outline_grades)
    return _with_any(own, _weaker(standard, grade), standard.outline_grades)


def _with_any(own: set[str], weaker: list[str], of_view: tuple[str, ...]) -> list[set[str]]:
    """`own` with every subset of the weaker grades of a view."""
    others = [grade for grade in weaker if grade in of_view]
    shown = product([False, True], repeat=len(others))
    return [own | set(compress(others, each)) for each in shown]


def _named(standard: GradingStandard, table: torch.Tensor) -> dict[str, str]:
    return {grade: _names(standard, row) for grade, row in zip(standard.grades, table, strict=True)}


def _names(standard: GradingStandard, row: torch.Tensor) -> str:
    return "".join(grade for grade, is_there in zip(standard.grades, row, strict=True) if is_there)
