"""Adapting Grad-CAM: channel weights learned from training triplets, looked up at test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mezoroi.errors import MezoroiError
from mezoroi.explain.base import PassExplainer, summed_maps
from mezoroi.explain.layers import Seen, look
from mezoroi.explain.subject import parts_of
from mezoroi.explain.targets import Target


@dataclass(frozen=True)
class Bank:
    """What training images M taught.

    Attributes
    ----------
    features : (M, K) mean of each image's feature maps
    weights : (M, K) its channel weights
    contents : hash of each image's file, where known, by which an image is told from itself
    """

    features: Tensor
    weights: Tensor
    contents: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.features.ndim != 2 or self.features.shape != self.weights.shape:
            raise MezoroiError(
                f"a bank of features {tuple(self.features.shape)} and weights "
                f"{tuple(self.weights.shape)} does not fit together: make it with .fit()"
            )

    def without(self, content: str) -> Bank:
        """The bank without an image, which would be its own nearest one."""
        if content not in self.contents:
            return self
        others = [row for row, one in enumerate(self.contents) if one != content]
        contents = tuple(self.contents[row] for row in others)
        return Bank(self.features[others], self.weights[others], contents)


class AdaptingGradCAM(PassExplainer):
    """Grad-CAM for embeddings without a backward pass at test (Chen et al. 2020).

    A training image's channel weights are the mean gradient of how much closer its embedding is to
    its own class than to the others, d(anchor, negative)^2 - d(anchor, positive)^2 with embeddings
    of length 1, averaged over triplets. An image takes the weights of the nearest training image,
    by the mean of the feature maps. The map explains the embedding; targets are not used.

    Parameters
    ----------
    bank : from `fit`, perhaps of another explainer of the same model
    """

    name: ClassVar[str] = "adapting-grad-cam"
    needs_answer: ClassVar[bool] = False

    def __init__(
        self,
        model: nn.Module,
        layer: nn.Module | str | None = None,
        bank: Bank | None = None,
    ) -> None:
        super().__init__(model, layer)
        self.bank = bank

    def with_bank(self, bank: Bank) -> AdaptingGradCAM:
        """The same explainer with another bank."""
        return AdaptingGradCAM(self.subject.model, self._layer, bank)

    def fit(self, images: Tensor, labels: Tensor) -> Bank:
        """Learn the bank from training images, and use it from now on.

        Without the loss's margin the value is linear in positives and negatives, so that the mean
        over all triplets of an anchor needs only the mean embedding of its class and of the others:
        one gradient per image instead of one per triplet.

        Parameters
        ----------
        images : (M, 3, H, W) as the model takes them
        labels : (M,) class numbers; at least two classes with two images each

        Raises
        ------
        MezoroiError
            If labels and images do not fit, or no triplet can be made.
        """
        moved = self.subject.moved(images)
        labels = torch.as_tensor(labels)
        if labels.shape != (len(moved),):
            raise MezoroiError(f"labels {tuple(labels.shape)} for {len(moved)} images: one each")
        counts = torch.unique(labels, return_counts=True)[1]
        if len(counts) < 2 or int(counts.min()) < 2:
            raise MezoroiError("triplets need two classes with two images each: give more images")
        part = self.subject.part_size(moved)
        with self.subject.untouched():
            layer = self.layer(moved)
            embeddings = torch.cat(
                [self.subject.answer(some).outputs.float() for some in parts_of(moved, part)]
            )
            directions = _directions(F.normalize(embeddings, dim=1), labels.to(embeddings.device))
            features, weights = [], []
            for some, chosen in zip(parts_of(moved, part), parts_of(directions, part), strict=True):
                seen = look(self.subject, some, {layer}, layer)
                gradients = seen.channel_gradients([[_Along(one)] for one in chosen])
                weights.append(gradients[:, 0])
                features.append(seen.features[layer].mean(dim=(2, 3)))
        self.bank = Bank(torch.cat(features), torch.cat(weights))
        return self.bank

    def from_pass(self, seen: Seen, targets: list[list[Target]]) -> Tensor:
        if self.bank is None:
            raise MezoroiError(
                "adapting-grad-cam has no bank of training images: call .fit(images, labels), or "
                "use grad-cam"
            )
        assert self._layer is not None
        features = seen.features[self._layer]
        known = self.bank.features.to(features)
        if known.shape[1] != features.shape[1]:
            raise MezoroiError(
                f"the bank has {known.shape[1]} channels, layer `{self._layer}` "
                f"{features.shape[1]}: fit it again on this layer"
            )
        nearest = torch.cdist(features.mean(dim=(2, 3)), known).argmin(dim=1)
        weights = self.bank.weights.to(features)[nearest, None]
        return summed_maps(features, weights.expand(-1, len(targets[0]), -1))


@dataclass(frozen=True, eq=False)
class _Along:
    """Component of an embedding of length 1 along a direction."""

    direction: Tensor

    def __call__(self, output: Tensor) -> Tensor:
        # No product of matrices, which autocast would round.
        return (F.normalize(output, dim=0) * self.direction.to(output)).sum()


def _directions(embeddings: Tensor, labels: Tensor) -> Tensor:
    """(M, D): 2 (mean of the other images of the class - mean of the other classes).

    Between vectors of length 1 a squared distance is 2 less twice their product, which makes this
    the gradient of the mean over all triplets with respect to the anchor's embedding.
    """
    same = labels[:, None] == labels
    positive = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    negative = ~same
    with torch.autocast(embeddings.device.type, enabled=False):
        means = [
            mask.to(embeddings) @ embeddings / mask.sum(dim=1, keepdim=True)
            for mask in (positive, negative)
        ]
    return 2 * (means[0] - means[1])
