"""Maps from class channels, as pure tensor functions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mezoroi.errors import MezoroiError


def grade_evidence(class_channels: Tensor, channels_per_grade: int) -> Tensor:
    """Evidence for each grade at each position: the largest channel of the grade's block.

    Parameters
    ----------
    class_channels : (N, G * channels_per_grade, H, W), non-negative
        Feature map after batch norm and ReLU; block g belongs to grade g.
    channels_per_grade : xi >= 1

    Returns
    -------
    (N, G, H, W), non-negative

    Raises
    ------
    MezoroiError
        If the channels do not divide into blocks of `channels_per_grade`.
    """
    count, channels, height, width = class_channels.shape
    if channels_per_grade < 1 or channels % channels_per_grade:
        raise MezoroiError(
            f"{channels} channels do not divide into blocks of {channels_per_grade}: "
            "give the number of channels per grade the model was trained with"
        )
    blocks = class_channels.reshape(count, -1, channels_per_grade, height, width)
    return blocks.amax(dim=2)


def activation_map(class_channels: Tensor, channels_per_grade: int) -> Tensor:
    """Probability of each grade at each position (melon paper, section 3.4).

    Parameters
    ----------
    class_channels : (N, G * channels_per_grade, H, W), non-negative
    channels_per_grade : xi >= 1

    Returns
    -------
    (N, G, H, W) in [0, 1], summing to 1 over G at every position.

    Raises
    ------
    MezoroiError
        If the channels do not divide into blocks of `channels_per_grade`.
    """
    return grade_evidence(class_channels, channels_per_grade).softmax(dim=1)


def upsample_maps(maps: Tensor, height: int, width: int, wraps: bool = False) -> Tensor:
    """Bring maps from cells to pixels, each cell where its receptive field is centred.

    A strided convolution with symmetric padding centres cell i on pixel i * stride, half a cell
    before the middle of the pixels that a plain resize would give it; at stride 16 that resize
    draws everything 7.5 pixels too far right and down.

    Parameters
    ----------
    maps : (N, G, h, w)
    height, width : size in pixels of the image that the encoder saw
    wraps : True for a panorama, whose left and right edges meet

    Returns
    -------
    (N, G, height, width), bilinear; probabilities still sum to 1 over G
    """
    rows, columns = maps.shape[2:]
    if wraps:
        maps = torch.cat([maps, maps[..., :1]], dim=3)
    y = torch.arange(height, device=maps.device) * (rows / height)
    x = torch.arange(width, device=maps.device) * (columns / width)
    # grid_sample's -1 and 1 are the outer edges of the first and last cell.
    grid_y = (2 * y + 1) / rows - 1
    grid_x = (2 * x + 1) / maps.shape[3] - 1
    grid = torch.stack(torch.meshgrid(grid_y, grid_x, indexing="ij")[::-1], dim=-1)
    return F.grid_sample(
        maps,
        grid.to(maps).expand(len(maps), -1, -1, -1),
        padding_mode="border",
        align_corners=False,
    )
