"""Why this grade: seven explanations under one interface.

explainer = mezoroi.explain.create("grad-cam", model)
maps = explainer(images, targets)  # (N, h, w) float32, raw and signed
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any

from torch import nn

from mezoroi.errors import MezoroiError
from mezoroi.explain.adapting import AdaptingGradCAM, Bank
from mezoroi.explain.base import Explainer, PassExplainer, explain_together
from mezoroi.explain.cams import CAM, ActivationMap, DistCAM, GradCAM
from mezoroi.explain.lime import Lime
from mezoroi.explain.occlusion import OCCLUSION_PRESETS, Occlusion
from mezoroi.explain.randomised import randomised
from mezoroi.explain.targets import ClassScore, Similarity, Target, Targets

_METHODS: tuple[Callable[..., Explainer], ...] = (
    ActivationMap,
    CAM,
    GradCAM,
    AdaptingGradCAM,
    DistCAM,
    Occlusion,
    Lime,
)
_BY_NAME = {method.name: method for method in _METHODS}  # type: ignore[attr-defined]
EXPLAINERS: tuple[str, ...] = tuple(_BY_NAME)
"""Names that `create` takes."""

__all__ = [
    "EXPLAINERS",
    "OCCLUSION_PRESETS",
    "AdaptingGradCAM",
    "Bank",
    "ClassScore",
    "Explainer",
    "PassExplainer",
    "Similarity",
    "Target",
    "Targets",
    "create",
    "explain_together",
    "randomised",
]


def create(
    name: str, model: nn.Module, *, layer: nn.Module | str | None = None, **options: Any
) -> Explainer:
    """An explainer of a model by its name.

    Parameters
    ----------
    name : one of `EXPLAINERS`
    model : a Grader's network, or any classifier or embedding model: (N, 3, H, W) -> (N, D)
    layer : a module of the model or its dotted name, whose maps are weighted; default the feature
        map of a Grader's network, the last feature stage of another one
    options : ``channels_per_grade`` (activation-map of another model), ``head`` (cam of a Grader's
        network), ``bank`` (adapting-grad-cam), ``reference`` (dist-cam), ``patch``, ``stride``,
        ``baseline`` (occlusion), ``num_samples``, ``seed``, ``segmenter`` (lime), ``megabytes``
        (occlusion and lime)

    Returns
    -------
    Explainer, called with images (N, 3, H, W) and a target per image, which returns (N, h, w)
    float32, raw and signed; `Explainer.to_pixels` brings it to the images' size

    Raises
    ------
    MezoroiError
        For an unknown name or option, or a model that the method cannot explain.
    """
    if name not in _BY_NAME:
        raise MezoroiError(f"unknown method `{name}`: use {', '.join(EXPLAINERS)}")
    method = _BY_NAME[name]
    known = [option for option in signature(method).parameters if option != "model"]
    if layer is not None:
        options["layer"] = layer
    unknown = [option for option in options if option not in known]
    if unknown:
        raise MezoroiError(
            f"{name} has no option `{unknown[0]}`: it has {', '.join(known) or 'none'}"
        )
    return method(model, **options)
