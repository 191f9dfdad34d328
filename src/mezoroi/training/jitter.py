"""Random changes of training images that leave the grade as it is."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from mezoroi.config import JitterConfig

Draw = Callable[..., Tensor]


def jitter(images: Tensor, config: JitterConfig, generator: torch.Generator, wraps: bool) -> Tensor:
    """Light, colour, position, blur and noise, drawn per image.

    Parameters
    ----------
    images : (N, 3, H, W) RGB in [0, 1]; not changed
    config : strengths
    generator : CPU generator of every draw
    wraps : True for a panorama, which is turned about the fruit's axis instead of shifted

    Returns
    -------
    (N, 3, H, W) in [0, 1]
    """
    draw = _draws(len(images), generator, images.device)
    # Moves are drawn first: `move_masks` draws them alone.
    images = _moved(images, config, draw, wraps)
    if config.blur:
        images = blur(images, config.blur * draw().abs())
    if config.light:
        gain, contrast = config.light * draw(1, 1, 1), config.light * draw(1, 1, 1)
        centre = images.mean(dim=(1, 2, 3), keepdim=True)
        images = ((images - centre) * (1 + contrast) + centre) * (1 + gain)
    if config.colour:
        grey = images.mean(dim=1, keepdim=True)
        images = grey + (images - grey) * (1 + config.colour * draw(1, 1, 1))
        images = images * (1 + config.colour * draw(3, 1, 1))
    if config.noise:
        grain = torch.randn(images.shape, generator=generator).to(images.device)
        images = images + config.noise * draw(1, 1, 1).abs() * grain
    return images.clamp(0, 1)


def move_masks(
    masks: Tensor, config: JitterConfig, generator: torch.Generator, wraps: bool
) -> Tensor:
    """Masks (N, S, H, W) moved as `jitter` moves their images with a generator in this state."""
    return _moved(masks, config, _draws(len(masks), generator, masks.device), wraps)


def _draws(count: int, generator: torch.Generator, device: torch.device) -> Draw:
    def draw(*shape: int) -> Tensor:
        """Uniform in [-1, 1], for each image."""
        values = torch.rand(count, *shape, generator=generator) * 2 - 1
        return values.to(device)

    return draw


def _moved(images: Tensor, config: JitterConfig, draw: Draw, wraps: bool) -> Tensor:
    if config.flip:
        mirrored = draw() > 0
        images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    if wraps:
        images = turn(images, ((draw() + 1) / 2 * images.shape[3]).long())
    if config.shift:
        images = _shift(images, config.shift * draw(2), config.shift * draw(2), wraps)
    return images


def turn(images: Tensor, columns: Tensor) -> Tensor:
    """Move each panorama (N, C, H, W) right by its number of columns (N,), around the fruit."""
    width = images.shape[3]
    source = (torch.arange(width, device=images.device) - columns[:, None]) % width
    return images.gather(3, source[:, None, None, :].expand_as(images))


def blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur of (N, C, H, W) with a sigma (N,) in pixels for each image."""
    count, channels, height, width = images.shape
    radius = min(max(1, int(2.5 * float(sigma.max()) + 0.5)), height - 1, width - 1)
    offsets = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    weights = torch.exp(-0.5 * (offsets / sigma.clamp(min=1e-3)[:, None]) ** 2)
    weights = (weights / weights.sum(dim=1, keepdim=True)).repeat_interleave(channels, dim=0)
    flat = images.reshape(1, count * channels, height, width)
    flat = F.pad(flat, (radius, radius, radius, radius), mode="reflect")
    flat = F.conv2d(flat, weights[:, None, :, None], groups=count * channels)
    flat = F.conv2d(flat, weights[:, None, None, :], groups=count * channels)
    return flat.reshape(images.shape)


def _shift(images: Tensor, zoom: Tensor, offset: Tensor, wraps: bool) -> Tensor:
    """Zoom (N, 2) and shift (N, 2), relative to the size; a panorama moves in latitude only."""
    moves = torch.tensor([0.0 if wraps else 1.0, 1.0], device=images.device)
    zoom, offset = zoom * moves, offset * moves
    transform = images.new_zeros(len(images), 2, 3)
    transform[:, 0, 0] = 1 + zoom[:, 0]
    transform[:, 1, 1] = 1 + zoom[:, 1]
    transform[:, :, 2] = offset
    grid = F.affine_grid(transform, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)
