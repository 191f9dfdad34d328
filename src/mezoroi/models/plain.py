"""Plain surface: where a fruit shows too little for any grade to be seen."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mezoroi.maps import Grid

_GREY_LEVEL = 1 / 255  # contrast below it is rounding


class PlainSurface(nn.Module):
    """Tells the cells of panoramas that show next to nothing from those that show something.

    Both kinds have a normal distribution of log contrast, relative to the fruit's mean.

    Parameters
    ----------
    grid : of the cells, in whole steps, the same along rows and columns
    strongest : index of the surface grade that takes precedence over all others
    means, deviations, shares : (2,) of the cells with little contrast, and of the others
    """

    strongest: Tensor
    means: Tensor
    deviations: Tensor
    shares: Tensor

    def __init__(
        self,
        grid: Grid,
        strongest: int,
        means: Tensor,
        deviations: Tensor,
        shares: Tensor,
    ) -> None:
        super().__init__()
        self.grid = grid
        self.register_buffer("strongest", torch.tensor([strongest]))
        for name, values in (("means", means), ("deviations", deviations), ("shares", shares)):
            self.register_buffer(name, values.float().clone())

    @classmethod
    def blank(cls, grid: Grid) -> PlainSurface:
        """One whose values are still to be loaded."""
        pair = torch.ones(2)
        return cls(grid, 0, pair, pair, pair)

    def forward(self, images: Tensor) -> Tensor:
        """Probability that each cell is plain: (N, 3, H, W) in [0, 1] -> (N, h, w)."""
        return self.chance(relative_contrast(cell_looks(images.float(), self.grid)[:, 0]))

    def chance(self, contrast: Tensor) -> Tensor:
        """Probability of the kind with little contrast at relative log contrasts of any shape."""
        # Beyond the means the wider distribution would win on both sides.
        values = contrast.clamp(self.means[0], self.means[1])[..., None]
        distances = (values - self.means) / self.deviations
        densities = self.shares.log() - self.deviations.log() - distances.square() / 2
        return densities.softmax(dim=-1)[..., 0]

    def silenced(self, channels: Tensor, evidence: Tensor, plain: Tensor) -> Tensor:
        """Class channels (N, C, h, w) that say nothing of plain surface.

        But where the strongest grade shows: a stain can be smooth.

        Parameters
        ----------
        evidence : (N, S, h, w) of these channels
        plain : (N, h, w) in [0, 1], probability that a cell is plain
        """
        shows = evidence.detach().softmax(dim=1).index_select(1, self.strongest)
        return channels * (1 - plain[:, None] * (1 - shows))


def cell_looks(images: Tensor, grid: Grid) -> Tensor:
    """Log contrast and mean colour of each cell of panoramas.

    Contrast is the deviation of fine detail, of what a mean over half a cell does not hold, so that
    light and shape do not count.

    Parameters
    ----------
    images : (N, 3, H, W) in [0, 1]
    grid : of the cells, in whole steps, the same along rows and columns

    Returns
    -------
    (N, 4, h, w): the natural logarithm of the deviation, then red, green and blue
    """
    stride = int(grid.step[0])
    near = stride // 2 | 1
    grey = images.mean(dim=1, keepdim=True)
    detail = grey - F.avg_pool2d(_extended(grey, near // 2), near, 1)
    seen = torch.cat([detail, detail.square(), images], dim=1)
    height, width = (-(-size // stride) * stride for size in images.shape[2:])
    start = stride + round(grid.offset[0]) - stride // 2
    around = F.pad(_extended(seen, stride), (0, stride, 0, stride), mode="replicate")
    cells = F.avg_pool2d(around[..., start : start + height, start : start + width], stride)
    mean, square, colour = cells[:, :1], cells[:, 1:2], cells[:, 2:]
    deviation = (square - mean.square()).clamp_min(0).sqrt()
    return torch.cat([(deviation + _GREY_LEVEL).log(), colour], dim=1)


def relative_contrast(contrast: Tensor) -> Tensor:
    """Log contrast (N, h, w) less each fruit's mean, as light and sharpness differ by picture."""
    return contrast - contrast.mean(dim=(1, 2), keepdim=True)


def _extended(images: Tensor, margin: int) -> Tensor:
    """Panoramas with a margin that repeats their other side, and above and below their border."""
    beside = F.pad(images, (margin, margin, 0, 0), mode="circular")
    return F.pad(beside, (0, 0, margin, margin), mode="replicate")
