"""Channel grouping refined by gradient (Zheng et al. 2017, section 3.1 and equations 5 to 8)."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from mezoroi.augment.parts import PartFinder
from mezoroi.maps import part_attention

DIVERSITY_WEIGHT = 2.0
"""lambda of equation 5."""
DIVERSITY_MARGIN = 0.02
"""mrg of equation 8."""


class ChannelGrouping(nn.Module):
    """One fully connected layer per part: from an image's pooled channels to their weights.

    Parameters
    ----------
    groups : (P, K) 0 or 1, the k-means groups that the layers start from
    """

    def __init__(self, groups: Tensor) -> None:
        super().__init__()
        parts, channels = groups.shape
        # Without torch's random start, which would draw from the global generator.
        self.layer: nn.Linear = skip_init(  # type: ignore[no-untyped-call]
            nn.Linear, channels, parts * channels
        )
        with torch.no_grad():
            self.layer.weight.zero_()
            # Sigmoids of about 0.95 and 0.05.
            self.layer.bias.copy_((6 * groups - 3).flatten())

    def forward(self, evidence: Tensor) -> Tensor:
        """(N, K, h, w) non-negative feature maps -> (N, P, K) weights in (0, 1)."""
        weights = self.layer(evidence.mean(dim=(2, 3))).sigmoid()
        return weights.reshape(len(evidence), -1, evidence.shape[1])


def grouping_loss(attention: Tensor) -> Tensor:
    """Compact and diverse parts: equations 5 to 8 of Zheng et al., mean over the batch.

    Parameters
    ----------
    attention : (N, P, h, w), non-negative, P >= 2; scaled here to sum 1 over positions, and where
        parts are compared to a peak of 1 each: else all would fade, which makes no part diverse

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
    finder: PartFinder,
    features: Tensor,
    generator: torch.Generator,
    steps: int = 200,
    lr: float = 3e-3,
    batch_size: int = 64,
) -> PartFinder:
    """Train channel-grouping layers on feature maps; they then weigh each image's channels anew.

    The network is left as it is. The paper's takes turns with such layers, too, but goes on with
    the same ones; here they begin anew from the groups found.

    Parameters
    ----------
    finder : from `fit_parts`
    features : (N, K, h, w)
    generator : CPU generator of the batches
    """
    layers = ChannelGrouping(finder.groups).to(features.device)
    optimizer = torch.optim.Adam(layers.parameters(), lr=lr)
    size = min(batch_size, len(features))
    with torch.enable_grad():
        for _ in range(steps):
            chosen = torch.randint(len(features), (size,), generator=generator)
            evidence = finder.evidence(features[chosen.to(features.device)].detach())
            loss = grouping_loss(part_attention(evidence, layers(evidence)))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return replace(finder, refined=layers.requires_grad_(False))
