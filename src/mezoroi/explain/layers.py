"""One look into a model: its answer and the feature maps of named layers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mezoroi.errors import MezoroiError
from mezoroi.explain.subject import Answer, Subject, without_margin
from mezoroi.explain.targets import Target

FEATURE_MAP, DEEP_MAP = "encoder", "encoder.deep_stages"
"""Modules of a `GradingModel` whose outputs are its feature map and what its embedding pools."""


@dataclass(frozen=True)
class Seen:
    """What one pass of a model showed.

    Attributes
    ----------
    answer : of the model
    features : (N, K, h, w) by name of the layer, without the margins of a panorama
    linear : the last `nn.Linear` that ran, its input (N, K) and its output; None without one, or
        where it has no such input
    margin : share of the columns on either side that repeat a panorama's other side
    """

    answer: Answer
    features: dict[str, Tensor]
    linear: tuple[nn.Linear, Tensor, Tensor] | None
    margin: float
    _leaf: Tensor | None

    def channel_gradients(self, targets: list[list[Target]]) -> Tensor:
        """(N, T, K) mean over positions of each value's gradient, for the T targets of each image.

        The gradient is with respect to the layer that `look` was asked one for.

        Raises
        ------
        MezoroiError
            If a value does not depend on the layer.
        """
        assert self._leaf is not None
        with torch.enable_grad():
            # In evaluation mode images do not meet, so a sum's gradient holds each one's own.
            totals = self.answer.own_values(targets).sum(dim=0)
            columns = totals.unbind()
        found = []
        for total in columns:
            whole = None
            if total.requires_grad:
                # What autocast made half in the pass comes back as it went.
                with torch.autocast(self._leaf.device.type, enabled=False):
                    (whole,) = torch.autograd.grad(
                        total, self._leaf, retain_graph=True, allow_unused=True
                    )
            if whole is None:
                raise MezoroiError(
                    "the target does not depend on the layer: name one that lies before the "
                    "output, or, where the model itself switches gradients off, use dist-cam"
                )
            found.append(without_margin(whole, self.margin).float().mean(dim=(2, 3)))
        return torch.stack(found, dim=1)


def look(
    subject: Subject, images: Tensor, layers: Collection[str], gradient: str | None = None
) -> Seen:
    """Run the model once and keep what the layers gave.

    Parameters
    ----------
    images : from `Subject.moved`; inside `Subject.untouched`
    layers : dotted names
    gradient : one of `layers`, from which on a graph for gradients is kept; what lies before it
        needs none

    Raises
    ------
    MezoroiError
        If a layer gives no maps, or runs more than once.
    """
    outputs: dict[str, Tensor] = {}
    linears: list[tuple[nn.Linear, Tensor, Tensor]] = []

    def keep(name: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> Tensor | None:
            if name in outputs:
                raise MezoroiError(
                    f"layer `{name}` runs more than once in a pass: name one that runs once"
                )
            # Copies, since what follows may work in place.
            outputs[name] = _checked(name, output).detach().clone()
            if subject.grading_model is None:
                _require_channels_first(name, output, images)
            if name != gradient:
                return None
            torch.set_grad_enabled(True)  # until the caller's no_grad ends
            outputs[name].requires_grad_()
            return outputs[name].clone()

        return hook

    def keep_linear(module: nn.Linear, inputs: Any, named: dict[str, Any], output: Tensor) -> None:
        linears.clear()
        if output.ndim == 2:
            (entered,) = inputs or named.values()
            linears.append((module, entered.detach().clone(), output.detach().clone()))

    hooks = [subject.model.get_submodule(name).register_forward_hook(keep(name)) for name in layers]
    hooks += [
        module.register_forward_hook(keep_linear, with_kwargs=True)
        for module in subject.model.modules()
        if isinstance(module, nn.Linear)
    ]
    try:
        with torch.no_grad(), subject.watchable():
            answer = subject.answer(images)
    finally:
        for hook in hooks:
            hook.remove()
    missing = [name for name in layers if name not in outputs]
    if missing:
        raise MezoroiError(f"layer `{missing[0]}` does not run in a pass: name another one")
    margin = subject.margin(images)
    features = {
        name: without_margin(output.detach(), margin).float() for name, output in outputs.items()
    }
    leaf = outputs[gradient] if gradient is not None else None
    return Seen(answer, features, linears[0] if linears else None, margin, leaf)


def look_at_feature_map(subject: Subject, images: Tensor) -> Seen:
    """As `look`, of a Grader's network up to its feature map and class channels.

    What lies behind, down to the embedding, is not run, and the answer has no outputs.
    """
    answer, features = subject.front(images)
    return Seen(answer, {FEATURE_MAP: features.float()}, None, subject.margin(images), None)


def layer_name(subject: Subject, layer: nn.Module | str | None) -> str | None:
    """The dotted name of a layer given as a module or by its name.

    Raises
    ------
    MezoroiError
        If the model has no such layer, or it cannot be watched.
    """
    if isinstance(subject.model, torch.jit.ScriptModule):
        raise _scripted("the model")
    if layer is None:
        return FEATURE_MAP if subject.grading_model is not None else None
    names = {name: module for name, module in subject.model.named_modules() if name}
    if isinstance(layer, str):
        if layer not in names:
            similar = [name for name in names if name.endswith(layer.split(".")[-1])]
            hint = ", ".join((similar or [n for n in names if "." not in n])[:6])
            raise MezoroiError(f"the model has no layer `{layer}`: it has {hint or 'none'} …")
        if isinstance(names[layer], torch.jit.ScriptModule):
            raise _scripted(f"layer `{layer}`")
        return layer
    found = [name for name, module in names.items() if module is layer]
    if not found:
        raise MezoroiError("the layer is no part of the model: give one of its modules")
    if isinstance(layer, torch.jit.ScriptModule):
        raise _scripted(f"layer `{found[0]}`")
    return found[0]


def _scripted(what: str) -> MezoroiError:
    return MezoroiError(
        f"{what} is from torch.jit, which shows no maps: give the network it was made from, "
        "or use occlusion or lime"
    )


def last_feature_layer(subject: Subject, images: Tensor) -> str:
    """Name of the last layer with maps of more than one cell, found by running one image.

    Layers that run more than once, such as a shared pooling, have no maps of their own.

    Raises
    ------
    MezoroiError
        If there is none, or tokens follow it, as in a transformer.
    """
    runs: Counter[str] = Counter()
    shown: list[str] = []
    shapes: list[int] = []

    def note(name: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            runs[name] += 1
            if not isinstance(output, Tensor):
                return
            if output.ndim == 4 and output[0, 0].numel() > 1:
                shown.append(name)
                shapes.clear()
            elif output.ndim == 3 and output.shape[1] > 1:
                shapes.append(output.ndim)

        return hook

    with _hooks(subject.model, note), subject.watchable():
        subject.answer(images[:1])
    once = [name for name in shown if runs[name] == 1]
    if not once or shapes:
        raise MezoroiError(
            "the model ends in no convolutional feature map: name a layer with `layer`, "
            "or use occlusion or lime"
        )
    return once[-1]


@contextmanager
def _hooks(model: nn.Module, make: Any) -> Iterator[None]:
    handles = [
        module.register_forward_hook(make(name))
        for name, module in model.named_modules()
        if name and not isinstance(module, torch.jit.ScriptModule)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _checked(name: str, output: Any) -> Tensor:
    if not isinstance(output, Tensor) or output.ndim != 4:
        found = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise MezoroiError(
            f"layer `{name}` gives {found}, no maps (N, K, h, w): name a convolutional layer"
        )
    if output.numel() == 0:
        raise MezoroiError(
            f"layer `{name}` gives maps of size zero, {tuple(output.shape)}: "
            "name another layer or give larger images"
        )
    return output


def _require_channels_first(name: str, maps: Tensor, images: Tensor) -> None:
    """Refuse (N, h, w, K), as of a Swin: what has the images' sides there, and nowhere else."""
    height, width = images.shape[2:]

    def fits(rows: int, columns: int) -> bool:
        steps = height / rows, width / columns  # pixels per cell
        return min(steps) >= 1 and max(steps) <= 1.25 * min(steps)

    if fits(*maps.shape[1:3]) and not fits(*maps.shape[2:]):
        raise MezoroiError(
            f"layer `{name}` gives {tuple(maps.shape)}, its channels last: name a layer that gives "
            "(N, K, h, w), or use occlusion or lime"
        )
