"""Weighted sums of feature maps: activation map, CAM, Grad-CAM and Dist-CAM."""

from __future__ import annotations

from typing import ClassVar

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from mezoroi.errors import MezoroiError
from mezoroi.explain.base import PassExplainer, checked_count, summed_maps
from mezoroi.explain.layers import DEEP_MAP, Seen, look
from mezoroi.explain.subject import parts_of
from mezoroi.explain.targets import ClassScore, Target, class_of
from mezoroi.maps import activation_map, distance_weights
from mezoroi.models import GradingModel


class ActivationMap(PassExplainer):
    """Probability of the grade at each position (melon paper, section 3.4).

    Parameters
    ----------
    model : a Grader's network with class channels, or any model with a layer of class channels
    layer, channels_per_grade : of another model, the non-negative class channels (N, G * xi, h, w)
        and xi
    """

    name: ClassVar[str] = "activation-map"
    needs_answer: ClassVar[bool] = False

    def __init__(
        self,
        model: nn.Module,
        layer: nn.Module | str | None = None,
        channels_per_grade: int | None = None,
    ) -> None:
        super().__init__(model, layer)
        own = self.subject.grading_model
        if own is not None and layer is not None:
            raise MezoroiError(
                "the activation map of a Grader's network is that of its class channels: leave "
                "layer out, or use grad-cam or dist-cam, which take one"
            )
        if own is not None and channels_per_grade is None:
            channels_per_grade = own.channels_per_grade
        if not channels_per_grade or (own is None and layer is None):
            raise MezoroiError(
                "the activation map needs class channels trained with the mutual-channel loss: "
                "give their layer and channels_per_grade, or use cam, grad-cam, dist-cam, "
                "occlusion or lime"
            )
        self.channels_per_grade = checked_count("channels_per_grade", channels_per_grade)

    def from_pass(self, seen: Seen, targets: list[list[Target]]) -> Tensor:
        channels = seen.answer.class_channels
        if channels is None:
            assert self._layer is not None
            channels = seen.features[self._layer]
        maps = activation_map(channels.detach().float(), self.channels_per_grade)
        return _picked(maps, targets, "the activation map")


class CAM(PassExplainer):
    """Feature maps weighted by a linear classifier's weights (Zhou et al. 2016).

    Parameters
    ----------
    model : ends in mean pooling and one linear layer
    layer : what is pooled
    head : (G, D) weights of the classifier that reads a Grader's network's embedding; such a
        network brings none itself
    """

    name: ClassVar[str] = "cam"

    def __init__(
        self,
        model: nn.Module,
        layer: nn.Module | str | None = None,
        head: ArrayLike | Tensor | None = None,
    ) -> None:
        own = model if isinstance(model, GradingModel) else None
        if own is not None and layer is not None:
            raise MezoroiError(
                "CAM of a Grader's network is that of what its embedding pools: leave layer out, "
                "or use grad-cam or dist-cam, which take one"
            )
        super().__init__(model, layer if own is None else DEEP_MAP)
        self._head = None if own is None else _pooled_weights(own, head)

    def from_pass(self, seen: Seen, targets: list[list[Target]]) -> Tensor:
        assert self._layer is not None
        features = seen.features[self._layer]
        if self._head is not None:
            weights = self._head.to(features)
        else:
            weights = _linear_weights(seen, features)
        rows = [[class_of(one, len(weights), "CAM") for one in own] for own in targets]
        return summed_maps(features, weights[torch.tensor(rows, device=weights.device)])


class GradCAM(PassExplainer):
    """Feature maps weighted by the target's mean gradient (Selvaraju et al. 2017).

    The map is signed: what the paper's ReLU takes away speaks against the target.
    """

    name: ClassVar[str] = "grad-cam"
    needs_gradient: ClassVar[bool] = True

    def from_pass(self, seen: Seen, targets: list[list[Target]]) -> Tensor:
        assert self._layer is not None
        return summed_maps(seen.features[self._layer], seen.channel_gradients(targets))


class DistCAM(PassExplainer):
    """Feature maps weighted by how close their means are to a reference's (Shen et al. 2021).

    Parameters
    ----------
    reference : (R, K) mean feature vectors, such as a bundle's ``prototypes.features``, or R images
        (R, 3, H, W) as the model takes them; a target is a number from 0 to R - 1. With a single
        reference, such as a gallery image, callables mean it, too.
    """

    name: ClassVar[str] = "dist-cam"
    needs_answer: ClassVar[bool] = False

    def __init__(
        self,
        model: nn.Module,
        layer: nn.Module | str | None = None,
        reference: ArrayLike | Tensor | None = None,
    ) -> None:
        super().__init__(model, layer)
        try:
            reference = torch.as_tensor(() if reference is None else reference)
        except (TypeError, ValueError):
            reference = torch.empty(0)
        if reference.ndim not in (2, 4) or reference.numel() == 0:
            raise MezoroiError(
                "dist-cam compares with a reference: give reference= as one tensor or array, of "
                "mean feature vectors (R, K) or images (R, 3, H, W)"
            )
        if not bool(torch.isfinite(reference).all()):
            raise MezoroiError("the reference holds NaN or infinity: correct or leave it out")
        self.reference = self._pooled(reference) if reference.ndim == 4 else reference.float()

    def _pooled(self, images: Tensor) -> Tensor:
        moved = self.subject.moved(images)
        with self.subject.untouched():
            layer = self.layer(moved)
            parts = [
                look(self.subject, one, {layer}).features[layer].mean(dim=(2, 3))
                for one in parts_of(moved, 1)
            ]
        return torch.cat(parts)

    def from_pass(self, seen: Seen, targets: list[list[Target]]) -> Tensor:
        assert self._layer is not None
        features = seen.features[self._layer]
        count, channels = self.reference.shape
        if channels != features.shape[1]:
            raise MezoroiError(
                f"the reference has {channels} channels, layer `{self._layer}` "
                f"{features.shape[1]}: give the mean feature vectors of this layer"
            )
        weights = distance_weights(features.mean(dim=(2, 3)), self.reference.to(features))
        rows = [[_reference_of(one, count) for one in own] for own in targets]
        chosen = torch.tensor(rows, device=weights.device)[..., None].expand(-1, -1, channels)
        return summed_maps(features, weights.gather(1, chosen))


def _reference_of(target: Target, count: int) -> int:
    """Which of the references a target means; the only one, where a target has no number."""
    if count == 1 and not isinstance(target, ClassScore):
        return 0
    return class_of(target, count, "Dist-CAM")


def _picked(maps: Tensor, targets: list[list[Target]], method: str) -> Tensor:
    """(N, T, h, w) of (N, G, h, w) by the class numbers of the targets."""
    rows = [[class_of(one, maps.shape[1], method) for one in own] for own in targets]
    return torch.stack([maps[row, own] for row, own in enumerate(rows)])


def _linear_weights(seen: Seen, features: Tensor) -> Tensor:
    """(C, K) weights of the linear layer that reads the mean of the feature maps."""
    if seen.linear is not None:
        layer, entered, left = seen.linear
        pooled = features.mean(dim=(2, 3))
        close = max(1e-3, 4 * torch.finfo(entered.dtype).eps)
        reads_mean = entered.shape == pooled.shape and torch.allclose(
            entered.float(), pooled, rtol=close, atol=close * float(pooled.abs().max())
        )
        if reads_mean and torch.equal(left, seen.answer.outputs.detach()):
            return layer.weight.detach().float()
        if entered.ndim == 2 and entered.shape[1] != pooled.shape[1]:
            raise MezoroiError(
                "CAM needs a model that ends in mean pooling of the layer and one nn.Linear, which "
                f"here reads {entered.shape[1]} numbers of {pooled.shape[1]} maps: where the last "
                "stage has shrunk to one cell, give larger images or name it with layer, else use "
                "grad-cam, dist-cam, occlusion or lime"
            )
    raise MezoroiError(
        "CAM needs a model that ends in mean pooling of the layer and one nn.Linear: "
        "use grad-cam, dist-cam, occlusion or lime"
    )


def _pooled_weights(model: GradingModel, head: ArrayLike | Tensor | None) -> Tensor:
    """(G, K) weights on the pooled map of a classifier on the surface embedding."""
    if model.channels_per_grade:
        raise MezoroiError(
            "CAM needs a linear head after mean pooling, and a network with class channels also "
            "pools their maximum: use activation-map, grad-cam, dist-cam, occlusion or lime"
        )
    head = None if head is None else torch.as_tensor(head)
    if head is None or head.ndim != 2 or head.shape[1] < model.surface_dim:
        raise MezoroiError(
            "CAM needs the weights of the classifier that reads the embedding: give head= "
            f"(grades, {model.surface_dim}), or use grad-cam, dist-cam, occlusion or lime"
        )
    linear, norm = model.surface_embedding
    assert isinstance(linear, nn.Linear) and isinstance(norm, nn.BatchNorm1d)
    assert norm.running_var is not None
    scale = (norm.running_var + norm.eps).rsqrt()
    surface = head[:, : model.surface_dim].to(linear.weight)
    return (surface * scale @ linear.weight).detach().float()
