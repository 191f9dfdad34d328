"""What an expert's mask asks of every position."""

from __future__ import annotations

import math

import pytest
import torch

from mezoroi.losses import mask_loss


def test_hand_solved() -> None:
    evidence = torch.zeros(1, 3, 1, 2)
    masks = torch.zeros(1, 3, 1, 2)
    masks[0, 0, 0, 0] = 1  # the first grade shows on the left
    only_first = torch.tensor([[True, False, False]])
    # P = 1/3 everywhere: -log(1/3) where it shows, -log(2/3) where it does not.
    wanted = (math.log(3) + math.log(1.5)) / 2
    assert float(mask_loss(evidence, masks, only_first)) == pytest.approx(wanted)
    # The second was looked for and not found: -log(2/3) in both places.
    both = torch.tensor([[True, True, False]])
    assert float(mask_loss(evidence, masks, both)) == pytest.approx((wanted + math.log(1.5)) / 2)
    assert float(mask_loss(evidence, masks, torch.zeros(1, 3, dtype=torch.bool))) == 0


def test_against_a_loop_in_float64() -> None:
    generator = torch.Generator().manual_seed(7)
    evidence = 3 * torch.rand(2, 3, 2, 4, generator=generator, dtype=torch.float64)
    masks = torch.rand(2, 3, 2, 4, generator=generator, dtype=torch.float64)
    known = torch.tensor([[1, 0, 1], [0, 1, 0]]).bool()
    total = 0.0
    for n, g in known.nonzero().tolist():
        for y in range(2):
            for x in range(4):
                weights = [math.exp(float(value)) for value in evidence[n, :, y, x]]
                p, m = weights[g] / sum(weights), float(masks[n, g, y, x])
                total -= m * math.log(p) + (1 - m) * math.log(1 - p)
    assert float(mask_loss(evidence, masks, known)) == pytest.approx(total / 24, rel=1e-12)
    evidence.requires_grad_(True)
    assert torch.autograd.gradcheck(lambda values: mask_loss(values, masks, known), (evidence,))


def test_extreme_evidence_stays_finite() -> None:
    evidence = torch.tensor([0.0, 2000.0]).reshape(1, 2, 1, 1).requires_grad_(True)
    for shown in (0.0, 1.0):
        masks = torch.full((1, 2, 1, 1), shown)
        loss = mask_loss(evidence, masks, torch.ones(1, 2, dtype=torch.bool))
        (gradient,) = torch.autograd.grad(loss, evidence)
        assert bool(loss.isfinite()) and bool(gradient.isfinite().all())
