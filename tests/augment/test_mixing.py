"""Exchanged parts and mixed batches, against loops over pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mezoroi.augment import CELLS, PIXELS, Source, box_iou, mix_batch, replace_parts
from mezoroi.augment.boxes import box_area, inside

WHOLE = [0.0, 0.0, 1.0, 1.0]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def eighths(draw: st.DrawFn, wraps: bool) -> list[float]:
    """A box whose edges lie on eighths."""
    width = draw(st.integers(1, 8))
    x0 = draw(st.integers(0, 7 if wraps else 8 - width))
    height = draw(st.integers(1, 8))
    y0 = draw(st.integers(0, 8 - height))
    return [x0 / 8, y0 / 8, (x0 + width) / 8, (y0 + height) / 8]


boxes_on_grid = st.composite(eighths)


@given(boxes_on_grid(True), st.sampled_from([1, 2, 3]), st.sampled_from([PIXELS, CELLS]))
@settings(max_examples=60, deadline=None)
def test_a_box_holds_the_values_within_its_edges_round_the_seam(
    box: list[float], factor: int, offset: float
) -> None:
    side = 8 * factor
    found = inside(torch.tensor(box), side, side, offset)
    for row in range(side):
        for column in range(side):
            y, x = (row + offset) / side, (column + offset) / side
            across = any(box[0] - 1e-9 <= x + turn < box[2] - 1e-9 for turn in (0, 1))
            expected = across and box[1] - 1e-9 <= y < box[3] - 1e-9
            assert bool(found[row, column]) == expected


def test_a_box_between_values_holds_the_nearest() -> None:
    box = torch.tensor([0.30, 0.30, 0.31, 0.31])
    found = inside(box, 4, 4, PIXELS)
    assert found.nonzero().tolist() == [[1, 1]]


@given(boxes_on_grid(True), boxes_on_grid(True))
@settings(max_examples=60, deadline=None)
def test_overlap_is_that_of_the_cells(one: list[float], other: list[float]) -> None:
    first, second = (inside(torch.tensor(box), 8, 8, PIXELS) for box in (one, other))
    expected = (first & second).sum() / (first | second).sum()
    found = box_iou(torch.tensor(one), torch.tensor(other))
    assert found.item() == pytest.approx(expected.item(), abs=1e-5)
    assert box_area(torch.tensor(one)).item() * 64 == pytest.approx(first.sum().item())


def source(values: torch.Tensor, parts: list[list[float]], part: int) -> Source:
    boxes = torch.tensor([[WHOLE, *parts]] * len(values))
    return Source(values, boxes, torch.full((len(values),), part))


@given(boxes_on_grid(False), boxes_on_grid(False), st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_a_part_of_the_same_size_is_copied(
    target: list[float], other: list[float], seed: int
) -> None:
    """Pixel by pixel, with the other box of the target's size."""
    width, height = target[2] - target[0], target[3] - target[1]
    x0, y0 = min(other[0], 1 - width), min(other[1], 1 - height)
    own = [x0, y0, x0 + width, y0 + height]
    values, lender = torch.rand(2, 2, 3, 16, 16, generator=seeded(seed)).unbind(0)
    kept = values.clone()
    boxes = torch.tensor([[WHOLE, target]] * 2)
    found = replace_parts(values, boxes, [source(lender, [own], 0)])
    assert torch.equal(values, kept)
    top, left, row, column = (round(16 * place) for place in (target[1], target[0], y0, x0))
    rows, columns = round(16 * height), round(16 * width)
    expected = values.clone()
    expected[:, :, top : top + rows, left : left + columns] = lender[
        :, :, row : row + rows, column : column + columns
    ]
    torch.testing.assert_close(found.values, expected, atol=1e-4, rtol=0)
    share = width * height
    np.testing.assert_allclose(found.shares, [[1 - share, share]] * 2, atol=1e-6)


@given(boxes_on_grid(True), boxes_on_grid(True), st.integers(0, 7))
@settings(max_examples=40, deadline=None)
def test_turning_both_panoramas_turns_the_mixture(
    target: list[float], own: list[float], turned: int
) -> None:
    values, lender = torch.rand(2, 1, 2, 8, 16, generator=seeded(3)).unbind(0)

    def mixed(columns: int) -> torch.Tensor:
        shift = columns / 8

        def moved(box: list[float]) -> list[float]:
            start = (box[0] + shift) % 1
            return [start, box[1], start + box[2] - box[0], box[3]]

        found = replace_parts(
            values.roll(2 * columns, 3),
            torch.tensor([[WHOLE, moved(target)]]),
            [source(lender.roll(2 * columns, 3), [moved(own)], 0)],
            wraps=True,
            offset=CELLS,
        )
        return found.values.roll(-2 * columns, 3)

    torch.testing.assert_close(mixed(turned), mixed(0), atol=1e-4, rtol=0)


def test_labels_follow_the_area_within_the_object() -> None:
    values = torch.zeros(1, 1, 8, 8)
    left, right = [0.0, 0.0, 0.25, 0.5], [0.125, 0.0, 0.375, 0.5]
    object_box = [0.0, 0.0, 0.5, 1.0]  # 32 of 64 pixels
    boxes = torch.tensor([[object_box, left, right]])
    one = source(torch.ones(1, 1, 8, 8), [left, right], 0)
    two = source(torch.full((1, 1, 8, 8), 2.0), [left, right], 1)
    found = replace_parts(values, boxes, [one, two])
    counts = [int((found.values[0, 0] == value).sum()) for value in (0, 1, 2)]
    assert counts == [64 - 12, 4, 8]  # the second lies on top of the first
    np.testing.assert_allclose(found.shares[0], [20 / 32, 4 / 32, 8 / 32])


def test_a_part_is_resized() -> None:
    ramp = torch.arange(16.0).expand(1, 1, 16, 16)
    boxes = torch.tensor([[WHOLE, [0.0, 0.0, 0.5, 0.5]]])
    found = replace_parts(torch.zeros(1, 1, 16, 16), boxes, [source(ramp, [WHOLE], 0)])
    # Eight pixels show the whole ramp: their middles lie at 0.5, 2.5, … 14.5.
    np.testing.assert_allclose(found.values[0, 0, 3, :8], np.arange(8) * 2 + 0.5, atol=1e-4)


@pytest.mark.parametrize("side", [8, 32])
def test_a_lender_may_have_another_size(side: int) -> None:
    ramp = (torch.arange(side) + 0.5).expand(1, 1, side // 2, side) / side
    boxes = torch.tensor([[WHOLE, [0.0, 0.0, 0.5, 0.5]]])
    found = replace_parts(torch.zeros(1, 1, 16, 16), boxes, [source(ramp, [WHOLE], 0)])
    assert found.values.shape == (1, 1, 16, 16)
    # Eight pixels show the whole ramp from 0 to 1, short of what lies beyond its outermost middles.
    wanted = ((np.arange(8) + 0.5) / 8).clip(0.5 / side, 1 - 0.5 / side)
    np.testing.assert_allclose(found.values[0, 0, 3, :8], wanted, atol=1e-4)


@pytest.mark.parametrize("kind", ["cutmix", "mixup"])
def test_mixing_a_batch(kind: str) -> None:
    # The n-th image holds 2 ** n everywhere, so that every value tells where it comes from.
    values = (2.0 ** torch.arange(6))[:, None, None, None].expand(6, 2, 10, 10).contiguous()
    torch.manual_seed(1)
    before = torch.get_rng_state()
    mixture, partner = mix_batch(values, kind, seeded(4))  # type: ignore[arg-type]
    assert torch.equal(before, torch.get_rng_state())
    again, _ = mix_batch(values, kind, seeded(4))  # type: ignore[arg-type]
    assert torch.equal(mixture.values, again.values)
    assert sorted(partner.tolist()) == list(range(6))
    assert 0 < mixture.shares[0, 0] < 1
    for row in range(6):
        own, other = values[row, 0, 0, 0], values[partner[row], 0, 0, 0]
        assert partner[row] != row
        expected = mixture.shares[row, 0] * own + mixture.shares[row, 1] * other
        assert mixture.values[row].mean().item() == pytest.approx(expected.item(), rel=1e-4)
        if kind == "cutmix":
            assert set(mixture.values[row].unique().tolist()) == {own.item(), other.item()}


def test_mixing_seeds_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    seeded_gpus: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded_gpus.append)
    mix_batch(torch.zeros(4, 1, 8, 8), "mixup", seeded(0))
    assert seeded_gpus == []


def test_strength_of_mixing_is_beta() -> None:
    values = torch.zeros(4, 1, 8, 8)
    shares = [
        mix_batch(values, "mixup", seeded(seed), alpha=0.1)[0].shares[0, 0].item()
        for seed in range(80)
    ]
    extreme = np.mean([min(share, 1 - share) < 0.1 for share in shares])
    assert extreme > 0.6  # of Beta(0.1, 0.1); a uniform share has 0.2
