"""Which images make a positive or a negative set with each reference."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mezoroi.errors import MezoroiError

NO_PART = -1
"""Class number of an image that takes no part in sets."""


@dataclass(frozen=True)
class Sets:
    """One set for each of B references.

    Attributes
    ----------
    rows : (B,) which of the references asked for
    refs : (B,) index of the reference
    positive : (B,) bool: lent by its own class (SCDI) or by others (DCDI)
    first : (B,) index of the image that lends one part, for SCDI_1 or DCDI_1
    first_part : (B,) that part, 0 … P - 1
    second : (B, 2) indices of the images that lend two parts, for SCDI_2 or DCDI_2
    second_parts : (B, 2) these parts, two different ones
    complete : (B,) index of a whole image of another class (DCDI_C); the reference itself in a
        positive set
    """

    rows: Tensor
    refs: Tensor
    positive: Tensor
    first: Tensor
    first_part: Tensor
    second: Tensor
    second_parts: Tensor
    complete: Tensor

    def __len__(self) -> int:
        return len(self.refs)


def negative_classes(num_classes: int, skip_neighbours: bool = False) -> Tensor:
    """(C, C) bool: may two classes make a negative set?

    Parameters
    ----------
    skip_neighbours : classes next to each other, as ordered grades, may not: graders themselves
        disagree on them
    """
    order = torch.arange(num_classes)
    return (order[:, None] - order[None]).abs() > (1 if skip_neighbours else 0)


def draw_sets(
    labels: Tensor,
    refs: Tensor,
    generator: torch.Generator,
    *,
    positive_share: float = 0.5,
    negatives: Tensor | None = None,
    num_parts: int = 3,
) -> Sets:
    """Draw a set for every reference that can have one.

    Every image of a class, and of all the other classes together, is drawn equally often. A
    reference that is alone in its class only has negative sets, one without other classes only
    positive ones, and one without either has none.

    Parameters
    ----------
    labels : (N,) int class of every image that may be drawn; `NO_PART` for none
    refs : (B,) int indices of the references; any number, as sets need no batch
    generator : CPU generator of every draw
    positive_share : share of positive sets, in [0, 1]; 0.5 is the paper's 1 : 1
    negatives : (C, C) bool from `negative_classes`; default: all other classes
    num_parts : P >= 2
    """
    labels, refs = labels.cpu(), refs.cpu()
    if negatives is None:
        negatives = negative_classes(int(labels.max()) + 1 if len(labels) else 1)
    rows = (labels[refs] != NO_PART).nonzero()[:, 0]
    refs = refs[rows]
    taking = labels != NO_PART
    own = labels[refs]
    same = (labels[None] == own[:, None]) & (torch.arange(len(labels))[None] != refs[:, None])
    other = negatives[own[:, None], labels.clamp_min(0)[None]] & taking[None]
    has_same, has_other = same.any(dim=1), other.any(dim=1)
    wanted = _share(len(refs), positive_share, generator)
    positive = (wanted | ~has_other) & has_same
    # A wish for only one kind is not answered with the other.
    usable = positive if positive_share == 1 else (positive | has_other)
    if positive_share == 0:
        usable, positive = has_other, torch.zeros_like(positive)
    rows, refs, positive, same, other = (
        values[usable] for values in (rows, refs, positive, same, other)
    )
    if not len(refs):
        empty = refs.new_zeros(0)
        pair = refs.new_zeros(0, 2)
        return Sets(rows, refs, positive, empty, empty, pair, pair, empty)
    lenders = torch.where(positive[:, None], same, other).double()
    drawn = torch.multinomial(lenders, 4, replacement=True, generator=generator)
    parts = torch.rand(len(refs), num_parts, generator=generator).argsort(dim=1)
    first_part = torch.randint(num_parts, (len(refs),), generator=generator)
    return Sets(
        rows,
        refs,
        positive,
        drawn[:, 0],
        first_part,
        drawn[:, 1:3],
        parts[:, :2],
        torch.where(positive, refs, drawn[:, 3]),
    )


def require_sets(labels: Tensor, negatives: Tensor, positive_share: float) -> None:
    """Check that some image can be a reference.

    Raises
    ------
    MezoroiError
        If there is no set of a wanted kind.
    """
    counts = labels[labels != NO_PART].bincount()
    present = counts.nonzero()[:, 0]
    if positive_share < 1 and not bool(negatives[present][:, present].any()):
        raise MezoroiError(
            f"part-cutmix has {len(present)} grades whose parts can be exchanged and no two for a "
            "negative set: add fruits of other grades, set parts.skip_neighbours=false, or use "
            "augment=none"
        )
    if positive_share > 0 and (not len(counts) or int(counts.max()) < 2):
        raise MezoroiError(
            "part-cutmix needs two images of a grade for a positive set: add images, or set "
            "parts.positive_share=0"
        )


def _share(count: int, share: float, generator: torch.Generator) -> Tensor:
    """(count,) bool, of which a share is True; a fraction is rounded at random."""
    number = int(share * count + float(torch.rand(1, generator=generator)))
    return torch.randperm(count, generator=generator) < number
