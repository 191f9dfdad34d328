"""What an expert's mask says about every position of a fruit."""

from __future__ import annotations

import torch
from torch import Tensor


def mask_loss(evidence: Tensor, masks: Tensor, known: Tensor) -> Tensor:
    """Binary cross-entropy of each grade's probability with where an expert saw it.

    Parameters
    ----------
    evidence : (N, S, H, W) evidence for each grade at each position, S > 1; its softmax over S is
        the activation map
    masks : (N, S, H, W) in [0, 1], share of the position on which the expert saw the grade
    known : (N, S) bool, the masks that say something; others do not count

    Returns
    -------
    scalar, >= 0: mean over the positions of the known masks; 0 where none is known
    """
    log_yes = evidence.log_softmax(dim=1)
    own = torch.eye(evidence.shape[1], dtype=torch.bool, device=evidence.device)
    # log(1 - p) of a grade is the log of the others' sum.
    others = log_yes[:, None].masked_fill(own[None, :, :, None, None], -torch.inf)
    log_no = others.logsumexp(dim=2)
    losses = -(masks * log_yes + (1 - masks) * log_no).mean(dim=(2, 3))
    return (losses * known).sum() / known.sum().clamp_min(1)
