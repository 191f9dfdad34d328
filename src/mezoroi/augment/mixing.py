"""Part-aware CutMix, and plain CutMix and Mixup, on batches of images or of maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from mezoroi.augment.boxes import PIXELS, inside


@dataclass(frozen=True)
class Source:
    """Images that each lend one part.

    Attributes
    ----------
    values : (N, C, H, W) images or maps
    boxes : (N, 1 + P, 4) of the object and of its parts
    parts : (N,) int in 0 … P - 1, the part lent
    """

    values: Tensor
    boxes: Tensor
    parts: Tensor


@dataclass(frozen=True)
class Mixture:
    """Images made of others.

    Attributes
    ----------
    values : (N, C, H, W)
    shares : (N, 1 + S) share of the reference and of each source in the label, summing to 1
    """

    values: Tensor
    shares: Tensor


def replace_parts(
    values: Tensor,
    boxes: Tensor,
    sources: Sequence[Source],
    *,
    wraps: bool = False,
    offset: float = PIXELS,
) -> Mixture:
    """Replace parts of references by the same parts of others (Kim et al., equations 4 to 6).

    The other image's part is resized to the box of the reference's. Of parts that overlap, the
    later source lies on top. Areas are counted within the object and the parts replaced, as the
    paper cuts images to the object first: what lies around it shows no class.

    Parameters
    ----------
    values : (N, C, H, W) images or maps; not changed
    boxes : (N, 1 + P, 4) of the object and of its parts, see `mezoroi.augment.boxes`
    sources : one or two, each with one part for every reference
    wraps : True for panoramas, whose left and right edges meet
    offset : `PIXELS` for images, `CELLS` for the maps of a network
    """
    height, width = values.shape[2:]
    owner = torch.zeros(len(values), height, width, dtype=torch.long, device=values.device)
    mixed = values
    counted = inside(boxes[:, 0], height, width, offset)
    for number, source in enumerate(sources, 1):
        rows = torch.arange(len(values), device=values.device)
        target = boxes[rows, source.parts + 1]
        own = source.boxes[rows, source.parts + 1]
        found = _resized(source.values, own, target, (height, width), wraps, offset)
        covered = inside(target, height, width, offset)
        mixed = torch.where(covered[:, None], found, mixed)
        owner = torch.where(covered, number, owner)
        counted = counted | covered
    areas = torch.stack(
        [((owner == n) & counted).sum(dim=(1, 2)) for n in range(len(sources) + 1)], dim=1
    )
    return Mixture(mixed, areas / areas.sum(dim=1, keepdim=True))


def _resized(
    values: Tensor,
    own: Tensor,
    target: Tensor,
    size: tuple[int, int],
    wraps: bool,
    offset: float,
) -> Tensor:
    """(N, C, *size): at every place of a `target` box (N, 4) what lies there in the `own` box."""
    height, width = values.shape[2:]

    def places(count: int, among: int, low: int, high: int) -> Tensor:
        """(N, count) index, in `among` values, to read at each place along a side."""
        start, length = own[:, low, None], (own[:, high] - own[:, low])[:, None]
        begin, reach = target[:, low, None], (target[:, high] - target[:, low])[:, None]
        into = (torch.arange(count, device=values.device) + offset) / count - begin
        if wraps and low == 0:  # a box across the seam goes on at the left edge
            into = (into + 1e-6) % 1 - 1e-6
        return (start + into / reach * length) * among - offset

    rows, columns = places(size[0], height, 1, 3), places(size[1], width, 0, 2)
    if wraps:
        columns = columns % width
        values = torch.cat([values, values[..., :1]], dim=3)
    # grid_sample's -1 and 1 are the outer edges of the first and last value.
    y = (2 * rows + 1) / height - 1
    x = (2 * columns + 1) / values.shape[3] - 1
    shape = (len(values), *size)
    grid = torch.stack([x[:, None, :].expand(shape), y[:, :, None].expand(shape)], dim=3)
    return F.grid_sample(values, grid.to(values), padding_mode="border", align_corners=False)


def mix_batch(
    values: Tensor,
    kind: Literal["cutmix", "mixup"],
    generator: torch.Generator,
    alpha: float = 1.0,
) -> tuple[Mixture, Tensor]:
    """CutMix (Yun et al. 2019) or Mixup (Zhang et al. 2018) of torchvision, of random pairs.

    Parameters
    ----------
    values : (N, C, H, W) images or maps; not changed
    generator : CPU generator of every draw
    alpha : > 0, of the Beta distribution of the share

    Returns
    -------
    The mixture, with shares (N, 2), and the row (N,) that each image was mixed with.
    """
    from torchvision.transforms import v2  # type: ignore[import-untyped]

    order = torch.randperm(len(values), generator=generator)
    seed = int(torch.randint(2**62, (1,), generator=generator))
    mixer = (v2.CutMix if kind == "cutmix" else v2.MixUp)(alpha=alpha)
    # torchvision draws from torch's global generator.
    with torch.random.fork_rng(devices=[]):
        # That of the CPU alone: torch.manual_seed would seed those of GPUs, too.
        torch.default_generator.manual_seed(seed)
        # The rows' own numbers as labels tell how much of each is left.
        mixed, rows = mixer(values[order], torch.eye(len(values)))
    own = rows.diagonal()
    partner = order.roll(1)
    back = order.argsort()
    shares = torch.stack([own, 1 - own], dim=1)[back].to(values.device)
    return Mixture(mixed[back.to(values.device)], shares), partner[back]
