"""Where the object and its parts are, from feature maps alone (Zheng et al. 2017, "Learning
Multi-Attention Convolutional Neural Network for Fine-Grained Image Recognition")."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mezoroi.augment.boxes import CELLS, WHOLE, inside, positions
from mezoroi.maps import part_attention, upsample_maps
from mezoroi.metrics.boxes import map_boxes

SMALLEST_OBJECT = 0.25
"""Least side of an object's box, relative to the image."""
_FINE = 4  # places per cell of a map, along a side
_WINDOW = 0.22  # standard deviation around a part's peak of what counts, relative to the object
_HALF_SIDES = (0.12, 0.22)  # least and greatest half side of a part's box, relative to the object
_RIM = (
    0.05  # left free on either side of an object, whose corners hold the background of round fruit
)
_SILENT = 1e-6  # of a channel's largest value: a difference up to it is rounding
_LEAST_DEVIATION = 1e-6
_APART = 0.5  # how much the other parts' attention counts against a part


def object_boxes(
    cams: Tensor, share: float = 0.3, from_lowest: bool = False
) -> tuple[Tensor, Tensor]:
    """Crop each object: the box around the largest region above a share of the map's maximum.

    Parameters
    ----------
    cams : (N, h, w) class activation maps of the images' own classes, or of `CommonObject`; signed
    share : in (0, 1)
    from_lowest : whether a map is counted from its lowest value instead of 0, which means nothing
        in a CAM

    Returns
    -------
    (N, 4) boxes, see `mezoroi.augment.boxes`, and (N,) bool: where the map is constant (but for
    rounding) or nowhere positive, so that the whole image counts as the object.
    """
    height, width = (_FINE * side for side in cams.shape[1:])
    flat = cams.flatten(1)
    contrast = flat.amax(dim=1) - flat.amin(dim=1)
    is_constant = contrast <= 1e-6 * flat.abs().amax(dim=1)
    if from_lowest:
        cams = cams - flat.amin(dim=1)[:, None, None]
    fine = upsample_maps(cams[:, None], height, width)[:, 0].clamp_min(0)
    found = torch.from_numpy(map_boxes(fine.cpu().numpy(), share)).float()
    lost = (~found.isfinite()).any(dim=1) | is_constant.cpu()
    sides = torch.tensor([width, height, width, height])
    # Values lie at the start of their places, see `CELLS`; what reaches the far edge ends there.
    boxes = torch.where(found == sides, found, found - 0.5).clamp_min(0) / sides
    boxes = torch.where(lost[:, None], torch.tensor(WHOLE), boxes)
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = ((boxes[:, 2:] - boxes[:, :2]) / 2).clamp_min(SMALLEST_OBJECT / 2)
    return _within_image(centre, half).to(cams.device), lost.to(cams.device)


@dataclass(frozen=True)
class CommonObject:
    """What the training images have in common (Wei et al. 2019, "Unsupervised object discovery").

    A class activation map marks what tells classes apart. Where all of them are one kind of fruit,
    that may be a spot, or the background, so that the fruit is better found as the first principal
    component of the feature maps at all places of all images.

    Attributes
    ----------
    mean, deviation : (K,) of the channels
    direction : (K,) of the first component of the standardised channels
    """

    mean: Tensor
    deviation: Tensor
    direction: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        """(N, K, h, w) feature maps -> (N, h, w), positive on the object."""
        scaled = (features - self.mean[:, None, None]) / self.deviation[:, None, None]
        return torch.einsum("nkhw,k->nhw", scaled, self.direction)


def find_common_object(features: Tensor, hint: Tensor) -> CommonObject:
    """The first principal component, with the sign that agrees with a hint.

    Parameters
    ----------
    features : (N, K, h, w)
    hint : (N, h', w') maps that are larger on the object on average, such as by how much the
        classes' activation maps differ
    """
    mean, deviation = channel_scale(features)
    scaled = (features - mean[:, None, None]) / deviation[:, None, None]
    rows = scaled.permute(0, 2, 3, 1).flatten(0, 2).double()
    direction = torch.linalg.eigh(rows.T @ rows / len(rows)).eigenvectors[:, -1].to(features)
    found = CommonObject(mean, deviation, direction)
    fine = upsample_maps(hint[:, None], *features.shape[2:])[:, 0]
    agrees = (found(features) * (fine - fine.mean())).mean() >= 0
    return found if bool(agrees) else replace(found, direction=-direction)


@dataclass(frozen=True)
class PartFinder:
    """Finds the parts of objects in feature maps.

    Attributes
    ----------
    groups : (P, K) weight of each channel in each part
    mean, deviation : (K,) of the channels over the training images: a backbone that ends in a
        linear layer has no zero of its own, and its channels no common scale
    wraps : True for panoramas, whose left and right edges meet
    refined : `ChannelGrouping`: evidence (N, K, h, w) -> (N, P, K) weights instead of `groups`
    """

    groups: Tensor
    mean: Tensor
    deviation: Tensor
    wraps: bool = False
    refined: Callable[[Tensor], Tensor] | None = None

    def evidence(self, features: Tensor) -> Tensor:
        """(N, K, h, w) feature maps -> by how many deviations each lies above its mean, >= 0."""
        centred = features - self.mean[:, None, None]
        return (centred / self.deviation[:, None, None]).clamp_min(0)

    def attention(self, features: Tensor) -> Tensor:
        """(N, P, h, w) part attention of feature maps (N, K, h, w)."""
        evidence = self.evidence(features)
        groups = self.groups if self.refined is None else self.refined(evidence)
        return part_attention(evidence, groups)

    def boxes(self, features: Tensor, objects: Tensor) -> Tensor:
        """The object's box and one for each part.

        Parameters
        ----------
        features : (N, K, h, w)
        objects : (N, 4) from `object_boxes`

        Returns
        -------
        (N, 1 + P, 4), the parts' boxes within the object's
        """
        return part_boxes(self.attention(features), objects, self.wraps)


def fit_parts(
    features: Tensor, objects: Tensor, num_parts: int = 3, seed: int = 0, wraps: bool = False
) -> PartFinder:
    """Group channels by where they peak over the training images (Zheng et al. 2017, section 3.1).

    Each channel is described by the coordinates of its peak in every image, relative to the object;
    k-means makes groups of them, which are numbered from top to bottom. Where a channel is silent,
    as after a ReLU, it has no peak, and its mean over the other images stands there: else channels
    were grouped by where they are silent together. One that is silent everywhere is in no group.

    Parameters
    ----------
    features : (N, K, h, w), K >= `num_parts`
    objects : (N, 4) from `object_boxes`; peaks outside do not count

    Raises
    ------
    ValueError
        If there are fewer channels than parts.
    """
    from sklearn.cluster import KMeans

    channels = features.shape[1]
    if channels < num_parts:
        raise ValueError(f"{channels} channels do not make {num_parts} parts")
    mean, deviation = channel_scale(features)
    peaks, known = _peaks(features, objects, wraps)
    peaks, fires = _completed(peaks, known), known.any(dim=0).cpu()
    described = peaks.transpose(0, 1).flatten(1).cpu()[fires].numpy()
    found = torch.full((channels,), -1)
    if len(described):
        means = KMeans(min(num_parts, len(described)), n_init=10, random_state=seed).fit(described)
        found[fires] = torch.from_numpy(means.labels_).long()
    heights = peaks[..., 0].mean(dim=0).cpu()
    middle = torch.stack([heights[found == part].mean() for part in range(num_parts)])
    rank = middle.nan_to_num(2.0).argsort().argsort()
    # A channel without a group is compared with no part's number.
    number = torch.where(fires, rank[found], -1)
    groups = (number == torch.arange(num_parts)[:, None]).to(features)
    return PartFinder(groups, mean, deviation, wraps)


def part_boxes(attention: Tensor, objects: Tensor, wraps: bool = False) -> Tensor:
    """One box per part, around the peak of what sets its attention apart from the other parts'.

    Attention is scaled to [0, 1] within the object, and half of the largest other part's is taken
    off. What is left near the peak gives the box's middle (mean) and half sides (root of 3 standard
    deviations, as of an even spread), kept in a range that leaves something of the object.

    Parameters
    ----------
    attention : (N, P, h, w), non-negative
    objects : (N, 4)

    Returns
    -------
    (N, 1 + P, 4), the object's box first
    """
    height, width = (_FINE * side for side in attention.shape[2:])
    fine = upsample_maps(attention, height, width, wraps)
    whole, objects = objects, _without_rim(objects, wraps)
    within = inside(objects, height, width, CELLS)[:, None]
    low = fine.masked_fill(~within, torch.inf).amin(dim=(2, 3), keepdim=True)
    high = fine.masked_fill(~within, -torch.inf).amax(dim=(2, 3), keepdim=True)
    scaled = ((fine - low) / (high - low).clamp_min(1e-9)).masked_fill(~within, 0)
    apart = (scaled - _APART * _largest_other(scaled)).masked_fill(~within, -1)
    peak = apart.flatten(2).argmax(dim=2)
    y0, x0 = objects[:, None, 1], objects[:, None, 0]
    tall, wide = objects[:, None, 3] - y0, objects[:, None, 2] - x0
    y = (positions(height, CELLS, fine.device) - y0[..., None]) / tall[..., None]
    x = ((positions(width, CELLS, fine.device) - x0[..., None]) % 1) / wide[..., None]
    # Places relative to the peak, in sides of the object.
    up = y - y.expand(-1, peak.shape[1], -1).gather(2, (peak // width)[..., None])
    along = x - x.expand(-1, peak.shape[1], -1).gather(2, (peak % width)[..., None])
    if wraps:
        turn = 1 / wide[..., None]
        along = (along + turn / 2) % turn - turn / 2
    near = torch.exp(-(up[..., :, None] ** 2 + along[..., None, :] ** 2) / (2 * _WINDOW**2))
    # A part that nowhere has more than the others still has its peak.
    weight = (apart.clamp_min(0) + 1e-6) * near * within
    weight = weight / weight.sum(dim=(2, 3), keepdim=True)
    rows, columns = weight.sum(dim=3), weight.sum(dim=2)
    middle_y, half_y = _spread(rows, y.expand_as(rows))
    peak_x = x.expand(-1, peak.shape[1], -1).gather(2, (peak % width)[..., None])[..., 0]
    shift_x, half_x = _spread(columns, along)
    centre = torch.stack([x0 + (peak_x + shift_x) * wide, y0 + middle_y * tall], dim=2)
    half = torch.stack([half_x * wide, half_y * tall], dim=2)
    parts = _within_box(centre, half, objects[:, None], wraps)
    return torch.cat([whole[:, None], parts], dim=1)


def channel_scale(features: Tensor) -> tuple[Tensor, Tensor]:
    """(K,) mean and deviation of the channels over images and places.

    Of a silent channel it is infinite: should it speak later, that says nothing in deviations.
    """
    deviation = features.std(dim=(0, 2, 3), correction=0)
    silent = deviation < _LEAST_DEVIATION
    return features.mean(dim=(0, 2, 3)), deviation.masked_fill(silent, torch.inf)


def _largest_other(scaled: Tensor) -> Tensor:
    """(N, P, h, w): the largest attention of the parts other than each."""
    rest = [
        torch.cat([scaled[:, :part], scaled[:, part + 1 :]], dim=1).amax(dim=1)
        for part in range(scaled.shape[1])
    ]
    return torch.stack(rest, dim=1)


def _without_rim(boxes: Tensor, wraps: bool) -> Tensor:
    """Boxes (N, 4) that leave a rim of the object free; none at the ends of a panorama's rows."""
    sides = boxes[:, 2:] - boxes[:, :2]
    rim = _RIM * sides * sides.new_tensor([0.0 if wraps else 1.0, 1.0])
    return torch.cat([boxes[:, :2] + rim, boxes[:, 2:] - rim], dim=1)


def _spread(weight: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """(N, P) weighted mean of the places (N, P, n), and half a side."""
    mean = (weight * places).sum(dim=2)
    variance = (weight * (places - mean[..., None]) ** 2).sum(dim=2)
    return mean, (3 * variance).sqrt().clamp(*_HALF_SIDES)


def _completed(peaks: Tensor, known: Tensor) -> Tensor:
    """Peaks (N, K, d) with each channel's mean over the images where it is known (N, K)."""
    counted = known[..., None].to(peaks)
    mean = (peaks * counted).sum(dim=0) / counted.sum(dim=0).clamp_min(1)
    return torch.where(known[..., None], peaks, mean)


def _peaks(features: Tensor, objects: Tensor, wraps: bool) -> tuple[Tensor, Tensor]:
    """Where each channel peaks within the object, and where it has a peak there.

    Returns
    -------
    (N, K, 2 or 3) v and u relative to the object, u on a circle round panoramas, and (N, K) bool,
    False where the channel is constant within the object
    """
    height, width = features.shape[2:]
    within = inside(objects, height, width, CELLS)[:, None]
    top, peak = features.masked_fill(~within, -torch.inf).flatten(2).max(dim=2)
    least = features.masked_fill(~within, torch.inf).flatten(2).amin(dim=2)
    known = top - least > _SILENT * features.abs().amax(dim=(0, 2, 3))
    sides = objects[:, 2:] - objects[:, :2]
    v = ((peak // width) / height - objects[:, 1, None]) / sides[:, 1, None]
    u = ((peak % width) / width - objects[:, 0, None]) % 1 / sides[:, 0, None]
    if not wraps:
        return torch.stack([v, u], dim=2), known
    # A circle whose circumference is the width in heights of the panorama.
    radius = width / height / (2 * math.pi)
    angle = 2 * math.pi * u
    return torch.stack([v, radius * angle.cos(), radius * angle.sin()], dim=2), known


def _within_image(centre: Tensor, half: Tensor) -> Tensor:
    """(N, 4) boxes from centre and half sides (N, 2), moved into the image."""
    centre = torch.maximum(torch.minimum(centre, 1 - half), half)
    return torch.cat([centre - half, centre + half], dim=-1).clamp(0, 1)


def _within_box(centre: Tensor, half: Tensor, outer: Tensor, wraps: bool) -> Tensor:
    """(N, P, 4) boxes moved into the outer box; round the panorama x stays as it is."""
    low, high = outer[..., :2] + half, outer[..., 2:] - half
    moved = torch.maximum(torch.minimum(centre, high), low)
    if wraps:
        moved[..., 0] = centre[..., 0]
    start = moved - half
    if wraps:
        start[..., 0] = start[..., 0] % 1
    return torch.cat([start, start + 2 * half], dim=-1)
