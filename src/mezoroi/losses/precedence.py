"""What a grade says about every position of a fruit, by the standard's precedence."""

from __future__ import annotations

import torch
from torch import Tensor


def precedence_loss(evidence: Tensor, possible: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean over positions of -log P(a grade that is possible on this fruit).

    One feature of a stronger grade decides a fruit's grade; so where an expert gave a weaker one,
    no position shows the stronger. L_dis asks only that the right grade wins on the whole.

    Parameters
    ----------
    evidence : (N, S, H, W) evidence for each surface grade at each position; its softmax over S is
        the activation map
    possible : (N, S) bool, the grades that may show on each fruit; at least one each
    weights : (N, H, W), not negative, what each position counts; all alike by default

    Returns
    -------
    scalar, >= 0; 0 for fruits of the strongest grade, on which everything may show
    """
    log_probability = evidence.log_softmax(dim=1)
    impossible = ~possible.to(evidence.device)[:, :, None, None]
    costs = -log_probability.masked_fill(impossible, -torch.inf).logsumexp(dim=1)
    return costs.mean() if weights is None else (costs * weights).sum() / weights.sum()


def runner_up_loss(logits: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Mean over fruits of -log P(a grade that may come next is in second place).

    The second term of the Plackett-Luce model of a ranking (Luce 1959; Plackett 1975).

    Parameters
    ----------
    logits : (N, G) scores of the grades
    first : (N,) int64, the grade in first place
    second : (N, G) bool, the grades that may come next; fruits without any do not count

    Returns
    -------
    scalar, >= 0; 0 where no fruit counts
    """
    counts = second.any(dim=1)
    if not bool(counts.any()):
        return logits.sum() * 0.0
    logits, first, second = logits[counts], first[counts], second[counts]
    others = logits.scatter(1, first[:, None], -torch.inf).log_softmax(dim=1)
    return -others.masked_fill(~second, -torch.inf).logsumexp(dim=1).mean()
