"""Channel grouping refined by gradient (Zheng et al. 2017, section 3.1 and equations 5 to 8)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from mezoroi.augment.parts import PartFinder

DIVERSITY_WEIGHT = 2.0
"""lambda of equation 5."""
DIVERSITY_MARGIN = 0.02
"""mrg of equation 8."""


class ChannelGrouping(nn.Module):
    """One fully connected layer per part: from an image's pooled channels to their weights.

    It is made before training, so that the optimiser and checkpoints have it, and starts from
    groups that are found later.

    Parameters
    ----------
    parts, channels : P and K

    Attributes
    ----------
    groups : (P, K) 0 or 1, the k-means groups that the layers started from; all 0 before
    mean, deviation : (K,) of the channels, see `PartFinder`
    """

    groups: Tensor
    mean: Tensor
    deviation: Tensor

    def __init__(self, parts: int, channels: int) -> None:
        super().__init__()
        # Without torch's random start, which would draw from the global generator.
        self.layer: nn.Linear = skip_init(  # type: ignore[no-untyped-call]
            nn.Linear, channels, parts * channels
        )
        nn.init.zeros_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)
        self.register_buffer("groups", torch.zeros(parts, channels))
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("deviation", torch.ones(channels))

    @property
    def has_started(self) -> bool:
        """Whether there are groups to weigh anew."""
        return bool(self.groups.any())

    @torch.no_grad()
    def start(self, finder: PartFinder) -> None:
        """Take over the groups and the channels' scale of what `fit_parts` found."""
        self.groups.copy_(finder.groups)
        self.layer.weight.zero_()
        # Sigmoids of about 0.95 and 0.05.
        self.layer.bias.copy_((6 * finder.groups - 3).flatten())
        self.scale_to(finder.mean, finder.deviation)

    def scale_to(self, mean: Tensor, deviation: Tensor) -> None:
        """Follow the channels (K,), as the network before them learns."""
        self.mean.copy_(mean)
        self.deviation.copy_(deviation)

    def finder(self, wraps: bool = False) -> PartFinder:
        """Finds parts by these layers as they are, and as they go on learning."""
        return PartFinder(self.groups, self.mean, self.deviation, wraps, refined=self)

    def forward(self, evidence: Tensor) -> Tensor:
        """(N, K, h, w) non-negative feature maps -> (N, P, K) weights in (0, 1)."""
        weights = self.layer(evidence.mean(dim=(2, 3))).sigmoid()
        return weights.reshape(len(evidence), -1, evidence.shape[1])


def grouping_loss(attention: Tensor, wraps: bool = False) -> Tensor:
    """Compact and diverse parts: equations 5 to 8 of Zheng et al., mean over the batch.

    Parameters
    ----------
    attention : (N, P, h, w), non-negative, P >= 2; scaled here to sum 1 over positions, and where
        parts are compared to a peak of 1 each: else all would fade, which makes no part diverse
    wraps : True for panoramas, round which the distance goes the shorter way

    Returns
    -------
    scalar: squared distance from the part's peak (in sides of the map), and
    `DIVERSITY_WEIGHT` times what other parts have at its places, both weighted by the attention
    """
    parts, height, width = attention.shape[1:]
    flat = attention.flatten(2)
    flat = flat / flat.amax(dim=2, keepdim=True).clamp_min(1e-9)
    share = flat / flat.sum(dim=2, keepdim=True).clamp_min(1e-9)
    peak = flat.detach().argmax(dim=2)
    place = torch.arange(height * width, device=attention.device)
    down = (place // width - (peak // width)[..., None]).to(attention) / height
    across = (place % width - (peak % width)[..., None]).to(attention) / width
    if wraps:
        across = (across + 0.5) % 1 - 0.5
    compact = (share * (down**2 + across**2)).sum(dim=2)
    others = torch.stack(
        [
            torch.cat([flat[:, :part], flat[:, part + 1 :]], dim=1).amax(dim=1)
            for part in range(parts)
        ],
        dim=1,
    )
    diverse = (share * (others - DIVERSITY_MARGIN)).sum(dim=2)
    return (compact + DIVERSITY_WEIGHT * diverse).sum(dim=1).mean()


def refine_parts(
    layers: ChannelGrouping,
    features: Tensor,
    generator: torch.Generator,
    steps: int = 200,
    lr: float = 3e-3,
    batch_size: int = 64,
    wraps: bool = False,
) -> None:
    """Train channel-grouping layers, in place, on feature maps that stay as they are.

    As in the paper, the layers learn first by themselves; in training they then go on learning
    together with the network, see `mezoroi.training`.

    Parameters
    ----------
    layers : that have started
    features : (N, K, h, w)
    generator : CPU generator of the batches
    """
    finder = layers.finder(wraps)
    optimizer = torch.optim.Adam(layers.parameters(), lr=lr)
    size = min(batch_size, len(features))
    with torch.enable_grad():
        for _ in range(steps):
            chosen = torch.randint(len(features), (size,), generator=generator)
            own = features[chosen.to(features.device)].detach()
            loss = grouping_loss(finder.attention(own), wraps)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    optimizer.zero_grad()
