"""Which images make a set."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mezoroi import MezoroiError
from mezoroi.augment import NO_PART, draw_sets, negative_classes
from mezoroi.augment.sets import require_sets


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(
    st.lists(st.integers(-1, 4), min_size=1, max_size=30),
    st.integers(0, 10**6),
    st.floats(0, 1),
    st.booleans(),
    st.integers(2, 5),
)
@settings(max_examples=120, deadline=None)
def test_every_set_is_one_of_its_kind(
    classes: list[int], seed: int, share: float, skip: bool, parts: int
) -> None:
    labels = torch.tensor(classes)
    refs = torch.randint(len(classes), (7,), generator=seeded(seed))
    negatives = negative_classes(5, skip)
    sets = draw_sets(
        labels,
        refs,
        seeded(seed),
        positive_share=share,
        negatives=negatives,
        num_parts=parts,
    )
    assert torch.equal(refs[sets.rows], sets.refs)
    reach = 1 if skip else 0
    for row in range(len(sets)):
        ref = int(sets.refs[row])
        own = classes[ref]
        assert own != NO_PART
        lenders = [int(sets.first[row]), *sets.second[row].tolist()]
        if sets.positive[row]:
            assert all(classes[one] == own and one != ref for one in lenders)
            assert int(sets.complete[row]) == ref
        else:
            for one in (*lenders, int(sets.complete[row])):
                assert abs(classes[one] - own) > reach and classes[one] != NO_PART
        one, two = sets.second_parts[row].tolist()
        assert one != two and min(one, two) >= 0 and max(one, two) < parts
        assert 0 <= int(sets.first_part[row]) < parts
    # Whoever can have a set has one, where both kinds are wanted.
    if 0 < share < 1:
        able = 0
        for ref in refs.tolist():
            own = classes[ref]
            others = [c for n, c in enumerate(classes) if n != ref and c != NO_PART]
            able += own != NO_PART and (own in others or any(abs(c - own) > reach for c in others))
        assert len(sets) == able


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_shares_of_positive_sets(share: float) -> None:
    labels = torch.arange(40) % 4
    counts = [
        int(draw_sets(labels, torch.arange(10), seeded(seed), positive_share=share).positive.sum())
        for seed in range(60)
    ]
    # Rounded up or down at random, so that small batches hold the share on average.
    assert set(counts) <= {int(np.floor(10 * share)), int(np.ceil(10 * share))}
    assert np.mean(counts) / 10 == pytest.approx(share, abs=0.03)


def test_lenders_are_drawn_equally_often() -> None:
    labels = torch.tensor([0] * 3 + [1] * 2 + [2] * 5)
    drawn = torch.zeros(10)
    for seed in range(300):
        sets = draw_sets(labels, torch.zeros(8, dtype=torch.long), seeded(seed), positive_share=0.0)
        drawn += torch.bincount(sets.first, minlength=10)
    expected = 300 * 8 / 7
    assert drawn[:3].sum() == 0
    np.testing.assert_allclose(drawn[3:], expected, atol=5 * np.sqrt(expected))


def test_a_class_with_one_image_has_negative_sets_only() -> None:
    labels = torch.tensor([0, 1, 1])
    sets = draw_sets(labels, torch.tensor([0] * 20), seeded(0), positive_share=0.9)
    assert len(sets) == 20 and not sets.positive.any()
    assert len(draw_sets(labels, torch.tensor([0]), seeded(0), positive_share=1.0)) == 0


def test_what_cannot_make_sets_is_refused_in_one_line() -> None:
    one = torch.tensor([0, 0, NO_PART])
    with pytest.raises(MezoroiError, match="1 grades whose parts can be exchanged and no two"):
        require_sets(one, negative_classes(2), 0.5)
    neighbours = torch.tensor([0, 0, 1, 1])
    with pytest.raises(MezoroiError, match=r"set parts\.skip_neighbours=false"):
        require_sets(neighbours, negative_classes(2, skip_neighbours=True), 0.5)
    single = torch.tensor([0, 1, 2])
    with pytest.raises(MezoroiError, match="two images of a grade"):
        require_sets(single, negative_classes(3), 0.5)
    with pytest.raises(MezoroiError):
        require_sets(torch.tensor([NO_PART]), negative_classes(2), 0.5)
    require_sets(single, negative_classes(3), 0.0)
    require_sets(one, negative_classes(2), 1.0)


def test_nothing_to_draw_from_has_no_sets() -> None:
    empty = torch.zeros(0, dtype=torch.long)
    assert len(draw_sets(empty, empty, torch.Generator().manual_seed(0))) == 0
