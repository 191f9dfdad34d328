"""Maps from class channels, feature maps and occluded windows, as pure tensor functions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mezoroi.errors import MezoroiError

DISTANCE_FLOOR = 1e-6
"""Least distance of two channels' means in Dist-CAM, whose reciprocal is a weight."""


@dataclass(frozen=True)
class Grid:
    """Where cells lie on an image: cell i is centred on pixel `offset` + i * `step`.

    Attributes
    ----------
    step, offset : in pixels, along rows and along columns
    """

    step: tuple[float, float]
    offset: tuple[float, float] = (0.0, 0.0)


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


def upsample_maps(
    maps: Tensor, height: int, width: int, wraps: bool = False, grid: Grid | None = None
) -> Tensor:
    """Bring maps from cells to pixels, each cell where its receptive field is centred.

    A strided convolution with symmetric padding centres cell i on pixel i * stride, half a cell
    before the middle of the pixels that a plain resize would give it; at stride 16 that resize
    draws everything 7.5 pixels too far right and down.

    Parameters
    ----------
    maps : (N, G, h, w)
    height, width : size in pixels of the image that the encoder saw
    wraps : True for a panorama, whose left and right edges meet
    grid : where the cells lie; default that of such convolutions, as many as the maps have cells

    Returns
    -------
    (N, G, height, width), bilinear; probabilities still sum to 1 over G
    """
    rows, columns = maps.shape[2:]
    grid = grid or Grid((height / rows, width / columns))
    y = (torch.arange(height, device=maps.device) - grid.offset[0]) / grid.step[0]
    x = (torch.arange(width, device=maps.device) - grid.offset[1]) / grid.step[1]
    if wraps:
        # Two behind: a first cell before the left edge has its copy before the right one.
        maps = torch.cat([maps[..., -1:], maps, maps[..., :2]], dim=3)
        x = x + 1
    # grid_sample's -1 and 1 are the outer edges of the first and last cell.
    grid_y = (2 * y + 1) / rows - 1
    grid_x = (2 * x + 1) / maps.shape[3] - 1
    places = torch.stack(torch.meshgrid(grid_y, grid_x, indexing="ij")[::-1], dim=-1)
    return F.grid_sample(
        maps,
        places.to(maps).expand(len(maps), -1, -1, -1),
        padding_mode="border",
        align_corners=False,
    )


def weighted_map(features: Tensor, weights: Tensor) -> Tensor:
    """M = sum over k of W_k F_k: what CAM, Grad-CAM and Dist-CAM have in common.

    Parameters
    ----------
    features : (N, K, h, w)
    weights : (N, T, K)

    Returns
    -------
    (N, T, h, w), signed
    """
    return torch.einsum("ntk,nkhw->nthw", weights, features)


def distance_weights(pooled: Tensor, references: Tensor) -> Tensor:
    """Dist-CAM's channel weights, equations 4 and 5 (Shen et al. 2021).

    Parameters
    ----------
    pooled : (N, K) mean of the query's feature maps
    references : (R, K) mean feature vectors of classes, or of gallery images

    Returns
    -------
    (N, R, K): 1 / D with D = |reference - query| per channel, at least 1e-6, scaled to sum 1 over K
    """
    distance = (pooled[:, None] - references[None]).abs().clamp_min(DISTANCE_FLOOR)
    weights = 1 / distance
    return weights / weights.sum(dim=2, keepdim=True)


def part_attention(features: Tensor, groups: Tensor) -> Tensor:
    """Attention of each part: the mean of its group's channels (Zheng et al. 2017, equation 3).

    Parameters
    ----------
    features : (N, K, h, w), non-negative
    groups : (P, K) weight of each channel in each part, >= 0, or (N, P, K) where images differ

    Returns
    -------
    (N, P, h, w), non-negative; 0 for a part without channels
    """
    weights = groups.expand(len(features), -1, -1)
    weights = weights / weights.sum(dim=2, keepdim=True).clamp_min(torch.finfo(weights.dtype).eps)
    return weighted_map(features, weights)


def window_starts(size: int, patch: int, stride: int) -> list[int]:
    """First pixel of every window; the last one may reach beyond the edge."""
    return [index * stride for index in range(-(-(size - patch) // stride) + 1)]


def window_average(drops: Tensor, height: int, width: int, patch: int, stride: int) -> Tensor:
    """Every pixel's mean over the windows that cover it.

    Parameters
    ----------
    drops : (N, h, w), one value per window of `patch` x `patch` pixels, `stride` <= `patch` apart
    height, width : of the image, each at least `patch`

    Returns
    -------
    (N, height, width)
    """
    rows = _covered(height, patch, stride).to(drops)
    columns = _covered(width, patch, stride).to(drops)
    counts = rows.sum(dim=1)[:, None] * columns.sum(dim=1)
    return rows @ drops @ columns.T / counts


def _covered(size: int, patch: int, stride: int) -> Tensor:
    """(size, windows): 1 where a window covers a pixel."""
    starts = torch.tensor(window_starts(size, patch, stride))
    offset = torch.arange(size)[:, None] - starts
    return (offset >= 0) & (offset < patch)
