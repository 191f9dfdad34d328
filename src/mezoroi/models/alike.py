"""Cells that look alike: neighbours on a fruit whose class channels are averaged."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MOST_CELLS = 8192
"""Every cell is compared with every other: of more of them that would take too much memory."""


class AlikeCells(nn.Module):
    """Averages class channels of panoramas over nearby cells that look alike.

    One cell says little for certain. What lies beside it and looks like it is most likely of the
    same kind, while a scar in a net stays apart. Looks are the feature map's, each channel relative
    to its mean and deviation over the fruit; nearness falls off as a normal distribution, across
    the edge where left and right meet too. As attention, and as the non-local means of Buades,
    Coll and Morel (2005).

    Parameters
    ----------
    temperature : > 0, of the cosines of looks
    reach : > 0, standard deviation of the distance, in cells
    """

    temperature: Tensor
    reach: Tensor

    def __init__(self, temperature: float = 0.3, reach: float = 1.5) -> None:
        super().__init__()
        self.register_buffer("temperature", torch.tensor(temperature))
        self.register_buffer("reach", torch.tensor(reach))

    def forward(self, channels: Tensor, feature_map: Tensor) -> Tensor:
        """Averaged class channels: (N, C, h, w), from these and the feature map (N, K, h, w)."""
        looks = F.instance_norm(feature_map.detach()).flatten(2).transpose(1, 2)
        looks = F.normalize(looks, dim=2)[:, None]  # one head
        averaged = F.scaled_dot_product_attention(
            looks / self.temperature,
            looks,
            channels.flatten(2).transpose(1, 2)[:, None],
            attn_mask=self._nearness(*channels.shape[2:]).to(looks),
            scale=1.0,
        )
        return averaged[:, 0].transpose(1, 2).reshape(channels.shape)

    def _nearness(self, height: int, width: int) -> Tensor:
        """Log nearness of every two of the h * w cells."""
        rows, columns = (
            torch.arange(n, device=self.reach.device, dtype=torch.float32) for n in (height, width)
        )
        down = (rows[:, None] - rows).square()
        across = (columns[:, None] - columns).abs()
        across = torch.minimum(across, width - across).square()
        distance = down[:, None, :, None] + across[None, :, None, :]
        return -distance.reshape(height * width, -1) / (2 * self.reach.square())
