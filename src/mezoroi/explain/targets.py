"""What is explained: small callables from a model's answer to one number."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor

from mezoroi.errors import MezoroiError

Target = Callable[[Tensor], Tensor]
"""Takes the model's answer to one image, scores (C,) or an embedding (D,), and returns a scalar."""

Targets = Tensor | Sequence[int | Target]
"""One target per image: class numbers (N,), or N numbers and callables."""


@dataclass(frozen=True)
class ClassScore:
    """The score of one class; a number given as a target means this.

    Of a `GradingModel` it is the evidence for a surface grade, averaged over the class channels'
    map, and `index` counts the surface grades.
    """

    index: int

    def __call__(self, scores: Tensor) -> Tensor:
        return scores[self.index]


@dataclass(frozen=True, eq=False)
class Similarity:
    """Cosine of the answer with a reference, such as a grade's prototype or another image.

    Attributes
    ----------
    reference : (D,), or (R, D), such as the exemplars of a grade; finite
    index : the class that the reference stands for, which lets methods whose maps belong to a
        class, such as the activation map, take the same target
    nearest : how many of several references count, the most similar ones, by their mean cosine

    Raises
    ------
    MezoroiError
        If the reference holds NaN or infinity, or `nearest` is below 1.
    """

    reference: ArrayLike | Tensor
    index: int | None = None
    nearest: int = 1

    def __post_init__(self) -> None:
        if not bool(torch.isfinite(torch.as_tensor(self.reference)).all()):
            raise MezoroiError("the reference holds NaN or infinity: correct or leave it out")
        if self.nearest < 1:
            raise MezoroiError(f"nearest is {self.nearest}: give a whole number of at least 1")

    def __call__(self, output: Tensor) -> Tensor:
        reference = torch.as_tensor(self.reference)
        if output.shape[-1:] != reference.shape[-1:]:
            raise MezoroiError(
                f"the model answers with {output.shape[-1]} numbers, the reference has "
                f"{tuple(reference.shape)}: give a reference of the same model"
            )
        references = reference.to(output).reshape(-1, output.shape[-1])
        cosines = F.cosine_similarity(output[..., None, :], references, dim=-1)
        return cosines.topk(min(self.nearest, len(references)), dim=-1).values.mean(dim=-1)


def checked_targets(targets: Targets | int | Target, count: int) -> list[Target]:
    """`count` callables from what a user gave.

    Raises
    ------
    MezoroiError
        If their number or kind is wrong.
    """
    if isinstance(targets, Tensor):
        if targets.ndim != 1 or targets.is_floating_point() or targets.dtype == torch.bool:
            raise MezoroiError(
                f"targets of shape {tuple(targets.shape)} and type {targets.dtype} are no class "
                f"numbers: give {count} whole numbers"
            )
        targets = targets.tolist()
    elif callable(targets) or not isinstance(targets, Iterable):
        raise MezoroiError(f"one target for {count} images: give a list with one target per image")
    chosen = [_as_target(target) for target in targets]
    if len(chosen) != count:
        raise MezoroiError(f"{len(chosen)} targets for {count} images: give one per image")
    return chosen


def listed_targets(targets: Targets | int | Target) -> list[Target]:
    """Callables from a list of one target or more.

    Raises
    ------
    MezoroiError
        If it is no such list.
    """
    single = isinstance(targets, int) or callable(targets)
    if (
        single
        or not hasattr(targets, "__len__")
        or (isinstance(targets, Tensor) and not targets.ndim)
    ):
        raise MezoroiError(f"`{targets}` is no list of targets: give a list, also of one")
    assert not isinstance(targets, int) and not callable(targets)
    if not len(targets):
        raise MezoroiError("no target is given: give a list with at least one")
    return checked_targets(targets, len(targets))


def _as_target(target: Any) -> Target:
    if callable(target):
        return target
    try:
        number = target.__index__()
    except (AttributeError, TypeError) as error:
        raise MezoroiError(f"`{target}` is no target: give a class number or a callable") from error
    return ClassScore(number)


def class_of(target: Target, count: int, method: str) -> int:
    """The class number of a target, for methods whose maps belong to one of `count` classes.

    Raises
    ------
    MezoroiError
        If the target has none, or it is out of range.
    """
    index = getattr(target, "index", None)
    if index is None:
        raise MezoroiError(
            f"{method} has one map per class: give class numbers as targets, "
            "or use grad-cam, occlusion or lime"
        )
    if not 0 <= index < count:
        raise MezoroiError(f"target {index} is out of range: {method} has classes 0 to {count - 1}")
    return int(index)
