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
        return self.chance(relative_contrast(log_contrast(images.float(), self.grid)))

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


def log_contrast(images: Tensor, grid: Grid) -> Tensor:
    """Log of the deviation of fine detail in each cell of panoramas.

    Fine is what a mean over half a cell does not hold, so that light and shape do not count.

    Parameters
    ----------
    images : (N, 3, H, W) in [0, 1]
    grid : of the cells, in whole steps, the same along rows and columns

    Returns
    -------
    (N, h, w), natural logarithm
    """
    near = int(grid.step[0]) // 2 | 1
    grey = images.mean(dim=1, keepdim=True)
    around = _extended(grey, near // 2)
    detail = grey - F.avg_pool2d(F.avg_pool2d(around, (near, 1), 1), (1, near), 1)
    mean, square = cell_means(torch.cat([detail, detail.square()], dim=1), grid).unbind(dim=1)
    return ((square - mean.square()).clamp_min(0).sqrt() + _GREY_LEVEL).log()


def cell_means(images: Tensor, grid: Grid) -> Tensor:
    """Mean of panoramas (N, C, H, W) over the square around each cell: (N, C, h, w)."""
    stride = int(grid.step[0])
    height, width = (-(-size // stride) * stride for size in images.shape[2:])
    start = stride + round(grid.offset[0]) - stride // 2
    around = F.pad(_extended(images, stride), (0, stride, 0, stride), mode="replicate")
    return F.avg_pool2d(around[..., start : start + height, start : start + width], stride)


def relative_contrast(contrast: Tensor) -> Tensor:
    """Log contrast (N, h, w) less each fruit's mean, as light and sharpness differ by picture."""
    return contrast - contrast.mean(dim=(1, 2), keepdim=True)


def _extended(images: Tensor, margin: int) -> Tensor:
    """Panoramas with a margin that repeats their other side, and above and below their border."""
    beside = F.pad(images, (margin, margin, 0, 0), mode="circular")
    return F.pad(beside, (0, 0, margin, margin), mode="replicate")
