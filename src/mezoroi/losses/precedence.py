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
