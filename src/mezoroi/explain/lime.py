"""LIME: a linear model of what happens when superpixels are taken away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.segmentation import quickshift
from torch import Tensor, nn

from mezoroi.errors import MezoroiError
from mezoroi.explain.base import Explainer, checked_count
from mezoroi.explain.occlusion import checked_budget
from mezoroi.explain.subject import parts_of
from mezoroi.explain.targets import Target

KERNEL_WIDTH = 0.25
RIDGE = 1.0

Segmenter = Callable[[NDArray[np.float64]], NDArray[Any]]


class Lime(Explainer):
    """Weight of each superpixel in a linear model of the score (Ribeiro et al. 2016).

    Parameters
    ----------
    num_samples : perturbed images; the first is the whole one
    seed : >= 0, of the samples, the same for every image
    segmenter : takes (H, W, C) scaled to [0, 1] and returns (H, W) whole numbers; default
        quickshift with kernel 4, maximal distance 200 and ratio 0.2
    megabytes : of perturbed images made at a time; default 2 on a CPU, 64 on a GPU
    """

    name: ClassVar[str] = "lime"

    def __init__(
        self,
        model: nn.Module,
        num_samples: int = 1000,
        seed: int = 0,
        segmenter: Segmenter | None = None,
        megabytes: float | None = None,
    ) -> None:
        super().__init__(model)
        self.num_samples = checked_count("num_samples", num_samples)
        self.seed = checked_count("seed", seed, least=0)
        self.segmenter = segmenter or superpixels
        self.budget = checked_budget(megabytes)

    def to_pixels(self, maps: Tensor, height: int, width: int) -> Tensor:
        if maps.shape[1:] != (height, width):
            raise MezoroiError("LIME's maps have the size of the images: give that size")
        return maps

    def _explain(self, images: Tensor, targets: list[list[Target]]) -> Tensor:
        with self.subject.untouched(), self.subject.without_graph():
            maps = [self._map(image, own) for image, own in zip(images, targets, strict=True)]
        return torch.stack(maps)

    def _map(self, image: Tensor, targets: list[Target]) -> Tensor:
        """(T, H, W) of one image."""
        segments = _numbered(self.segmenter(_shown(image)), image)
        masks = sample_masks(self.num_samples, int(segments.max()) + 1, self.seed)
        scores = self._scores(image, segments, torch.from_numpy(masks), targets)
        weights = lime_coefficients(masks, scores)
        painted = weights.T[:, segments.cpu().numpy()]
        return torch.from_numpy(painted).to(image.device, torch.float32)

    def _scores(
        self, image: Tensor, segments: Tensor, masks: Tensor, targets: list[Target]
    ) -> NDArray[np.float64]:
        """(samples, T) scores with superpixels replaced by their mean colour."""
        without = _mean_colours(image, segments)
        step = self.subject.batch_within(self.budget, image)
        found = []
        for part in parts_of(masks.to(image.device, torch.bool), step):
            kept = part[:, segments]  # (samples, H, W) by one index
            perturbed = torch.where(kept[:, None], image, without)
            answer = self.subject.answer_for(perturbed, targets)
            found.append(answer.values(targets))
        return torch.cat(found).double().cpu().numpy()


def superpixels(image: NDArray[np.float64]) -> NDArray[Any]:
    """(H, W) quickshift superpixels of an RGB image (H, W, 3) in [0, 1].

    Raises
    ------
    MezoroiError
        If the image has another number of channels.
    """
    if image.shape[2] != 3:
        raise MezoroiError(
            f"quickshift needs RGB images, not {image.shape[2]} channels: give a segmenter"
        )
    find: Any = quickshift  # untyped
    return find(image, kernel_size=4, max_dist=200, ratio=0.2, rng=0)


def sample_masks(num_samples: int, num_segments: int, seed: int) -> NDArray[np.int64]:
    """(num_samples, num_segments) zeros and ones at random; the first row is all ones."""
    masks = np.random.default_rng(seed).integers(0, 2, (num_samples, num_segments))
    masks[0] = 1
    return masks


def lime_coefficients(
    masks: NDArray[Any], scores: NDArray[Any], kernel_width: float = KERNEL_WIDTH
) -> NDArray[np.float64]:
    """Weights of superpixels in a ridge regression (penalty 1) of scores on their presence.

    Samples count by sqrt(exp(-d^2 / kernel_width^2)), d the cosine distance to the whole image.

    Parameters
    ----------
    masks : (S, P), 1 where a superpixel is present
    scores : (S, T)

    Returns
    -------
    (P, T)
    """
    present = np.asarray(masks, np.float64)
    # The cosine of a 0/1 row with the row of ones is the root of its mean.
    distance = 1 - np.sqrt(present.mean(axis=1))
    weight = np.sqrt(np.exp(-((distance / kernel_width) ** 2)))[:, None]
    centred = present - (weight * present).sum(axis=0) / weight.sum()
    values = np.asarray(scores, np.float64)
    values = values - (weight * values).sum(axis=0) / weight.sum()
    normal = centred.T @ (weight * centred) + RIDGE * np.eye(present.shape[1])
    solved: NDArray[np.float64] = np.linalg.solve(normal, centred.T @ (weight * values))
    return solved


def _shown(image: Tensor) -> NDArray[np.float64]:
    """(H, W, C) for segmentation; what is not in [0, 1] is stretched to it."""
    pixels = image.permute(1, 2, 0).double().cpu().numpy()
    low, high = float(pixels.min()), float(pixels.max())
    if low < 0 or high > 1:
        pixels = (pixels - low) / max(high - low, 1e-12)
    return np.ascontiguousarray(pixels)


def _numbered(segments: Any, image: Tensor) -> Tensor:
    """(H, W) segments numbered 0, 1, …"""
    found = np.asarray(segments)
    if found.shape != image.shape[1:]:
        raise MezoroiError(
            f"the segmenter returns {found.shape} for an image of {tuple(image.shape[1:])}: "
            "return one number per pixel"
        )
    numbers = np.unique(found, return_inverse=True)[1].reshape(found.shape)
    return torch.from_numpy(numbers).to(image.device)


def _mean_colours(image: Tensor, segments: Tensor) -> Tensor:
    """(C, H, W) with every superpixel in its mean colour."""
    index = segments.flatten()
    count = torch.bincount(index)
    sums = torch.zeros(image.shape[0], len(count), dtype=torch.float64, device=image.device)
    sums.index_add_(1, index, image.flatten(1).double())
    return (sums / count)[:, segments].to(image.dtype)
