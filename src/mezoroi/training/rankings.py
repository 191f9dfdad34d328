"""What precedence says of the grade in second place, of fruits and of fruits made of two.

The similarity to each grade is shown to people, who read it beyond the first place: a scarred melon
is like one with a disordered net. Experts name one grade a fruit, but by precedence no other than
a weaker one can show beside it. And the surface of a fruit with the outline of another makes a
fruit with the features of both, which a standard that judges both views grades by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from mezoroi.losses import runner_up_loss
from mezoroi.losses.heads import head_logits, head_loss
from mezoroi.standard import GradingStandard


@dataclass(frozen=True)
class Rankings:
    """First and second places by a standard of G grades.

    Attributes
    ----------
    weaker : (G, G) bool, may grade j show on a fruit of grade i beside it
    known : (G, G) bool, is it known what a fruit with the surface of a fruit of grade i and the
        outline of one of grade j is
    first : (G, G) int64, its grade, where known
    second : (G, G, G) bool, may grade k be next, where known; none for a fruit that shows one grade
    """

    weaker: Tensor
    known: Tensor
    first: Tensor
    second: Tensor

    @classmethod
    def of(cls, standard: GradingStandard) -> Rankings:
        """Those of a standard whose grades have an order; without an order nothing is known."""
        grades = standard.grades
        size = len(grades)
        weaker = torch.zeros(size, size, dtype=torch.bool)
        known, second = torch.zeros_like(weaker), torch.zeros(size, size, size, dtype=torch.bool)
        first = torch.zeros(size, size, dtype=torch.int64)
        if not standard.ordered:
            return cls(weaker, known, first, second)
        rank = {grade: place for place, grade in enumerate(standard.precedence)}
        for i, own in enumerate(grades):
            weaker[i] = torch.tensor([rank[other] > rank[own] for other in grades])
        on_surface = torch.tensor([grade in standard.surface_grades for grade in grades])
        for i, j in torch.cartesian_prod(torch.arange(size), torch.arange(size)).tolist():
            shapely = not on_surface[j]
            # A fruit on which no grade of shape may show has an outline that says nothing.
            known[i, j] = on_surface[i] and (shapely or not (weaker[j] & ~on_surface).any())
            if not shapely:
                first[i, j], second[i, j] = i, weaker[i] & on_surface
            elif weaker[j, i]:
                first[i, j] = j
                second[i, j] = weaker[j] & ~on_surface & ~weaker[i]
                second[i, j, i] = True
            else:
                first[i, j] = i
                second[i, j] = weaker[i] & on_surface & ~weaker[j]
                second[i, j, j] = True
        return cls(weaker, known, first, second)

    def to(self, device: torch.device) -> Rankings:
        """The same on a device."""
        return Rankings(*(getattr(self, field.name).to(device) for field in fields(self)))


def ranking_loss(
    head: nn.Module, embedding: Tensor, labels: Tensor, rankings: Rankings, surface_dim: int
) -> Tensor:
    """What second places cost, of fruits and of those made of two, and the grades of these.

    Parameters
    ----------
    head : from `make_head`
    embedding : (N, D), of which the first `surface_dim` are of the surface, the rest of the outline
    labels : (N,) numbers of the grades, in an order drawn at random: a fruit lends its outline to
        the next one
    surface_dim : below D

    Returns
    -------
    a scalar; only the first term where no two neighbours make a fruit that is known
    """
    rankings = rankings.to(embedding.device)
    loss = runner_up_loss(head_logits(head, embedding), labels, rankings.weaker[labels])
    lenders = labels.roll(1)
    usable = rankings.known[labels, lenders]
    if not bool(usable.any()):
        return loss
    lent_outlines = embedding[:, surface_dim:].roll(1, dims=0)
    composed = torch.cat([embedding[:, :surface_dim], lent_outlines], dim=1)[usable]
    own, lent = labels[usable], lenders[usable]
    first, second = rankings.first[own, lent], rankings.second[own, lent]
    loss = loss + head_loss(head, composed, first)
    return loss + runner_up_loss(head_logits(head, composed), first, second)
