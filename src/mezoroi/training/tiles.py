"""Tile swapping: keeps class channels local.

A deep backbone sees most of the fruit from every position, so nothing stops a channel from firing
all over a fruit that has one scar. Here two fruits exchange the tiles of a checkerboard before the
trainable layers, and their feature maps exchange them back behind these. Every fruit keeps all of
its own positions and its own grade, but the neighbours of each tile come from another fruit:
evidence that spreads beyond its place now counts against the other fruit's grade.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def checkerboard(height: int, width: int, tile: int, generator: torch.Generator) -> Tensor:
    """(H, W) bool checkerboard of `tile` x `tile` cells, at an offset drawn from `generator`."""
    row, column = torch.randint(2 * tile, (2,), generator=generator).tolist()
    rows = (torch.arange(height) + row) // tile
    columns = (torch.arange(width) + column) // tile
    return (rows[:, None] + columns[None, :]) % 2 == 0


def with_margin(board: Tensor, margin: int) -> Tensor:
    """A panorama's board (H, W) with `margin` columns of the other side on its left and right."""
    return torch.cat([board[:, board.shape[1] - margin :], board, board[:, :margin]], dim=1)


def swap_tiles(values: Tensor, board: Tensor) -> Tensor:
    """Exchange the tiles off the board between the n-th and the n-th last of a batch.

    Applying it twice gives `values` back.

    Parameters
    ----------
    values : (N, C, H, W); H and W are multiples of the board's, or nearly so
    board : (h, w) bool, True where a fruit keeps its own values
    """
    if board.shape != values.shape[2:]:
        board = F.interpolate(board[None, None].float(), values.shape[2:], mode="nearest")[0, 0] > 0
    return torch.where(board.to(values.device), values, values.flip(0))
