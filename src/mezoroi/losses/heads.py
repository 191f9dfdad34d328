"""Losses of the embedding, with their own weights."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pytorch_metric_learning.losses import ArcFaceLoss
from torch import Tensor, nn

from mezoroi.config import LossConfig


class SoftmaxHead(nn.Module):
    """A linear classifier with the two methods of a pytorch-metric-learning loss used here."""

    def __init__(self, num_classes: int, embedding_size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(embedding_size, num_classes)

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(self.get_logits(embeddings), labels)

    def get_logits(self, embeddings: Tensor) -> Tensor:
        return self.linear(embeddings)


def make_head(config: LossConfig, num_grades: int, embedding_dim: int) -> nn.Module:
    """The loss of the embedding, with its own weights; ``get_logits`` scores without a margin."""
    if config.head == "softmax":
        return SoftmaxHead(num_grades, embedding_dim)
    return ArcFaceLoss(num_grades, embedding_dim, margin=config.margin_degrees, scale=config.scale)


def head_loss(head: nn.Module, embeddings: Tensor, labels: Tensor) -> Tensor:
    """The loss of embeddings (N, D), a scalar, in float32 also where autocasting is on."""
    with _without_autocast(embeddings):
        loss: Tensor = head(embeddings.float(), labels)
    return loss


def head_logits(head: nn.Module, embeddings: Tensor) -> Tensor:
    """(N, G) scores of embeddings (N, D) without a margin, in float32 as `head_loss`."""
    with _without_autocast(embeddings):
        logits: Tensor = head.get_logits(embeddings.float())  # type: ignore[operator]
    return logits


def _without_autocast(values: Tensor) -> torch.autocast:
    # The cosines of a margin in degrees, times a scale, need more digits than half precision has.
    return torch.autocast(values.device.type, enabled=False)


def losses_by_image(head: nn.Module, embeddings: Tensor, labels: Tensor) -> Tensor:
    """(N,) the loss of each embedding, whose mean is ``head(embeddings, labels)``."""
    if isinstance(head, SoftmaxHead):
        return F.cross_entropy(head.get_logits(embeddings), labels, reduction="none")
    assert isinstance(head, ArcFaceLoss)
    return head.compute_loss(embeddings, labels, None, embeddings, labels)["loss"]["losses"]


def shared_losses(head: nn.Module, embeddings: Tensor, labels: Tensor, shares: Tensor) -> Tensor:
    """(N,) the loss of images that show several grades, in float32 as `head_loss`.

    Parameters
    ----------
    labels, shares : (N, S) grades and their shares, which sum to 1
    """
    with _without_autocast(embeddings):
        values = embeddings.float()
        each = [losses_by_image(head, values, column) for column in labels.unbind(dim=1)]
    return (torch.stack(each, dim=1) * shares).sum(dim=1)
