"""Grades that take precedence show nowhere on a weaker fruit, and do not come second there."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import permutations

import pytest
import torch

from mezoroi.losses import precedence_loss, runner_up_loss
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


def test_second_places_against_all_orders() -> None:
    """Against the Plackett-Luce probability of every order of the grades, in float64."""
    generator = torch.Generator().manual_seed(7)
    logits = 2 * torch.randn(4, 4, generator=generator, dtype=torch.float64)
    first = torch.tensor([0, 2, 3, 1])
    second = torch.tensor([[0, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 0], [0, 0, 0, 0]]).bool()
    costs = []
    for n in range(3):  # the last one does not count
        chances = {
            order: _chance(logits[n].exp().tolist(), order) for order in permutations(range(4))
        }
        own = {order: p for order, p in chances.items() if order[0] == first[n]}
        right = sum(p for order, p in own.items() if second[n, order[1]])
        costs.append(-math.log(right / sum(own.values())))
    assert float(runner_up_loss(logits, first, second)) == pytest.approx(sum(costs) / 3, rel=1e-12)
    assert costs[2] == pytest.approx(0, abs=1e-12)  # all others may come next
    logits.requires_grad_(True)
    assert torch.autograd.gradcheck(lambda values: runner_up_loss(values, first, second), (logits,))


def test_fruits_on_which_nothing_else_may_show_cost_nothing() -> None:
    logits = torch.rand(2, 3, requires_grad=True)
    loss = runner_up_loss(logits, torch.tensor([0, 0]), torch.zeros(2, 3, dtype=torch.bool))
    loss.backward()
    assert float(loss.detach()) == 0
    assert logits.grad is not None and not logits.grad.any()


def _chance(strengths: list[float], order: tuple[int, ...]) -> float:
    """Of an order by the Plackett-Luce model: each place is drawn among those that are left."""
    left, chance = sum(strengths), 1.0
    for item in order:
        chance *= strengths[item] / left
        left -= strengths[item]
    return chance
