"""Grades that take precedence show nowhere on a weaker fruit."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from mezoroi.losses import precedence_loss
from mezoroi.standard import GradingStandard
from mezoroi.training.module import _possible_grades


def test_hand_solved() -> None:
    even = torch.zeros(1, 3, 2, 2)
    for count in (1, 2, 3):
        possible = torch.arange(3)[None] < count
        assert float(precedence_loss(even, possible)) == pytest.approx(math.log(3 / count))
    one_place = torch.zeros(1, 2, 1, 2)
    one_place[0, 1, 0, 1] = math.log(3)  # P = 1/4 for the grade that may show there, 1/2 beside it
    wanted = (math.log(4) + math.log(2)) / 2
    found = float(precedence_loss(one_place, torch.tensor([[True, False]])))
    assert found == pytest.approx(wanted)


def test_against_a_loop_in_float64() -> None:
    generator = torch.Generator().manual_seed(4)
    evidence = 3 * torch.rand(3, 4, 2, 5, generator=generator, dtype=torch.float64)
    possible = torch.tensor([[1, 0, 0, 1], [1, 1, 1, 1], [0, 0, 1, 0]]).bool()
    total = 0.0
    for n in range(3):
        for y in range(2):
            for x in range(5):
                weights = [math.exp(float(value)) for value in evidence[n, :, y, x]]
                own = sum(w for w, may in zip(weights, possible[n], strict=True) if may)
                total -= math.log(own / sum(weights))
    assert float(precedence_loss(evidence, possible)) == pytest.approx(total / 30, rel=1e-12)
    evidence.requires_grad_(True)
    assert torch.autograd.gradcheck(lambda values: precedence_loss(values, possible), (evidence,))


def test_the_strongest_grade_rules_nothing_out() -> None:
    evidence = torch.rand(2, 3, 4, 4, requires_grad=True)
    loss = precedence_loss(evidence, torch.ones(2, 3, dtype=torch.bool))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0, abs=1e-6)
    assert evidence.grad is not None and float(evidence.grad.abs().max()) < 1e-6


def test_what_may_show_follows_the_standard() -> None:
    melon = GradingStandard.melon()
    assert melon.surface_grades == ("A", "B", "D")
    wanted = [[True, False, False], [True, True, False], [True, True, True]]
    assert _possible_grades(melon).tolist() == wanted
    assert _possible_grades(replace(melon, ordered=False)).all()
