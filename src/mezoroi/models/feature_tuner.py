"""Feature Tuning (Tani and Wada, section 3.2): a small network that weighs the layers anew."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from pytorch_metric_learning.losses import CosFaceLoss
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from mezoroi.errors import MezoroiError
from mezoroi.files import write_bytes
from mezoroi.metrics.arrays import as_array

Loss = Literal["softmax", "cosface"]
COSFACE_MARGIN = 0.45
COSFACE_SCALE = 60.0
_HIDDEN = 512
# CosFace sees directions only: a first step that is too long makes the vectors so large that later
# steps no longer turn them.
_LONGEST_GRADIENT = 10.0
_MOMENTUM = 0.9
_FORMAT = 1
_ABOUT, _SCALE = "mezoroi.feature-tuner", "scale"
_UNREADABLE = (OSError, SafetensorError, LookupError, TypeError, ValueError, RuntimeError)
_PARAMETERS = ("in_features", "num_classes", "layers", "dim", "loss", "schedule", "seed")


@dataclass(frozen=True)
class Schedule:
    """How the network is trained, with stochastic gradient descent of momentum 0.9.

    Attributes
    ----------
    epochs, batch_size : passes over the features; features per step
    lr : first learning rate
    drops : epochs at which it is multiplied by `factor`
    weight_decay : the paper's "momentum 5e-4"
    """

    epochs: int
    drops: tuple[int, ...]
    batch_size: int = 64
    lr: float = 0.01
    factor: float = 0.2
    weight_decay: float = 5e-4


SCHEDULES = {
    # Section 4.1.
    "paper": Schedule(120, (60, 90, 110)),
    # A quarter of it, for trials on a CPU.
    "quick": Schedule(30, (15, 22, 27)),
}


PRESETS: dict[str, dict[str, Any]] = {
    f"{layers}-{loss}": {"layers": layers, "loss": loss, "schedule": "paper"}
    for layers in (3, 6)
    for loss in ("softmax", "cosface")
} | {"quick": {"layers": 3, "loss": "cosface", "schedule": "quick"}}
"""The paper's four networks (figures 5 and 6, tables 2 and 3), and one for trials on a CPU."""


class FeatureTuner:
    """Learns an index vector from features of several layers.

    The features are scaled by one common number, so that they have a mean square of 1: the balance
    between layers is left for the network to learn, as in the paper, but does not hang on the
    scale that a backbone happens to have. Inner layers are 512 wide, which the paper does not say,
    and a gradient longer than 10 is cut to that.

    Parameters
    ----------
    in_features : length of the features of all layers together
    num_classes : number of classes or instances to tell apart
    layers : 3 or 6, fully connected layers counting the last (the paper's figures 5 and 6)
    dim : length of the index vector, which is what enters the last layer
    loss : ``softmax``, or ``cosface`` (margin 0.45, scale 60)
    schedule : ``paper`` or ``quick``, see `SCHEDULES`
    seed : of the first weights and the order of the features

    Attributes
    ----------
    network_ : the layers but the last, after `fit`
    losses_ : mean loss of each epoch
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        layers: Literal[3, 6] = 3,
        dim: int = 512,
        loss: Loss = "softmax",
        schedule: str = "paper",
        seed: int = 0,
    ) -> None:
        self.in_features = in_features
        self.num_classes = num_classes
        self.layers = layers
        self.dim = dim
        self.loss = loss
        self.schedule = schedule
        self.seed = seed

    @classmethod
    def from_preset(
        cls, preset: str, in_features: int, num_classes: int, **changes: Any
    ) -> FeatureTuner:
        """One of `PRESETS`: ``3-softmax``, ``3-cosface``, ``6-softmax``, ``6-cosface``, ``quick``.

        Parameters
        ----------
        changes : other parameters, such as ``seed``

        Raises
        ------
        MezoroiError
            For an unknown preset.
        """
        if preset not in PRESETS:
            raise MezoroiError(f"unknown preset `{preset}`: use one of {', '.join(PRESETS)}")
        return cls(in_features, num_classes, **{**PRESETS[preset], **changes})

    def fit(self, features: ArrayLike | Tensor, labels: ArrayLike | Tensor) -> FeatureTuner:
        """Learn from features (N, in_features) and classes (N,), from 0 to num_classes - 1.

        Raises
        ------
        MezoroiError
            If a parameter, a shape or a label is wrong, a feature is NaN, or the training diverges.
        """
        self._check_parameters()
        rows = self._checked(features)
        targets = _classes(labels)
        if targets.shape != (len(rows),):
            raise MezoroiError(f"labels have shape {tuple(targets.shape)} for {len(rows)} features")
        if len(rows) < 2 or targets.min() < 0 or targets.max() >= self.num_classes:
            raise MezoroiError(
                f"labels must be 0 to {self.num_classes - 1}, of at least 2 features"
            )
        # Also where the caller, who has just made features, keeps no gradients.
        with torch.inference_mode(False), torch.enable_grad():
            network, scale, losses = self._learned(rows.clone(), targets.clone())
        if not np.isfinite(losses[-1]):
            raise MezoroiError("the training diverged: give features without outliers")
        self.network_, self.scale_, self.losses_ = network.eval(), scale, losses
        return self

    def transform(self, features: ArrayLike | Tensor) -> np.ndarray:
        """(N, in_features) features -> (N, dim) float32 index vectors, compared by cosine.

        Raises
        ------
        MezoroiError
            If not fitted yet, or a shape is wrong or a feature NaN.
        """
        self._check_fitted()
        rows = self._checked(features)
        with torch.inference_mode():
            vectors: Tensor = self.network_(rows / self.scale_)
        return vectors.numpy()

    def save(self, path: str | Path) -> None:
        """Write the fitted network to a safetensors file, with its parameters as metadata.

        Raises
        ------
        MezoroiError
            If not fitted yet, or the file cannot be written.
        """
        self._check_fitted()
        given = {name: getattr(self, name) for name in _PARAMETERS}
        # JSON has no NumPy numbers, as in `labels.max() + 1`.
        stated = {n: one.item() if isinstance(one, np.generic) else one for n, one in given.items()}
        about = json.dumps({"format": _FORMAT, "parameters": stated, "losses": self.losses_})
        tensors = {**self.network_.state_dict(), _SCALE: self.scale_}
        write_bytes(path, save({n: t.contiguous() for n, t in tensors.items()}, {_ABOUT: about}))

    @classmethod
    def load(cls, path: str | Path) -> FeatureTuner:
        """Read what `save` wrote.

        Raises
        ------
        MezoroiError
            If the file is missing, damaged, something else or of another version.
        """
        if not Path(path).is_file():
            raise MezoroiError(f"{path} does not exist: give the file of a saved FeatureTuner")
        try:
            with safe_open(path, framework="pt") as file:
                about = json.loads(file.metadata()[_ABOUT])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if about["format"] != _FORMAT:
                raise MezoroiError(
                    f"{path} has format {about['format']}, this version reads {_FORMAT}: fit anew"
                )
            tuner = cls(**about["parameters"])
            tuner._check_parameters()
            network = tuner._network(torch.Generator())
            tuner.scale_ = tensors.pop(_SCALE)
            network.load_state_dict(tensors)
            tuner.network_, tuner.losses_ = network.eval(), list(about["losses"])
        except MezoroiError:
            raise
        except _UNREADABLE as error:
            raise MezoroiError(f"{path} is no saved FeatureTuner, or damaged: fit anew") from error
        return tuner

    def _check_fitted(self) -> None:
        if not hasattr(self, "network_"):
            raise MezoroiError("this FeatureTuner is not fitted: call fit first")

    def _checked(self, features: ArrayLike | Tensor) -> Tensor:
        try:
            rows = torch.from_numpy(as_array(features).astype(np.float32))
        except (TypeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise MezoroiError(
                f"features are no array of numbers ({reason}): give (N, {self.in_features})"
            ) from error
        if rows.ndim != 2 or rows.shape[1] != self.in_features:
            raise MezoroiError(
                f"features have shape {tuple(rows.shape)}, not (N, {self.in_features})"
            )
        if not bool(rows.isfinite().all()):
            raise MezoroiError("a feature is NaN or infinite: leave that picture out")
        return rows

    def _check_parameters(self) -> None:
        for name in ("in_features", "num_classes", "layers", "dim", "seed"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | np.integer):
                raise MezoroiError(f"{name} is {value!r}: give a whole number")
        if self.layers not in (3, 6):
            raise MezoroiError(f"layers is {self.layers}: use 3 or 6")
        if self.loss not in ("softmax", "cosface"):
            raise MezoroiError(f"unknown loss `{self.loss}`: use softmax or cosface")
        if self.schedule not in SCHEDULES:
            raise MezoroiError(f"unknown schedule `{self.schedule}`: use {' or '.join(SCHEDULES)}")
        if min(self.in_features, self.dim) < 1 or self.num_classes < 2:
            raise MezoroiError("in_features and dim are at least 1, num_classes at least 2")

    def _learned(self, rows: Tensor, targets: Tensor) -> tuple[nn.Sequential, Tensor, list[float]]:
        """The layers but the last, what features are divided by, and the loss of each epoch."""
        schedule = SCHEDULES[self.schedule]
        generator = torch.Generator().manual_seed(int(self.seed))
        scale = rows.square().mean().sqrt().clamp_min(1e-12)
        network = self._network(generator)
        head = classification_head(self.loss, self.dim, self.num_classes, generator)

        def batches() -> Sequence[Tensor]:
            order = torch.randperm(len(rows), generator=generator)
            return torch.split(order, schedule.batch_size)

        losses = follow(
            schedule,
            [*network.parameters(), *head.parameters()],
            batches,
            lambda chosen: head(network(rows[chosen] / scale), targets[chosen]),
        )
        return network, scale, losses

    def _network(self, generator: torch.Generator) -> nn.Sequential:
        """Every layer but the last, each followed by ReLU."""
        widths = [self.in_features, *[_HIDDEN] * (self.layers - 2), self.dim]
        parts: list[nn.Module] = []
        for before, after in pairwise(widths):
            parts += [_linear(before, after, generator), nn.ReLU()]
        return nn.Sequential(*parts)


def follow(
    schedule: Schedule,
    parameters: Sequence[nn.Parameter],
    batches: Callable[[], Sequence[Tensor]],
    cost: Callable[[Tensor], Tensor],
) -> list[float]:
    """Train as in section 4.1: stochastic gradient descent, gradients cut to a length of 10.

    Parameters
    ----------
    batches : called once an epoch, the numbers of the rows (B,) of each step
    cost : of such rows, a scalar

    Returns
    -------
    mean loss of each epoch
    """
    optimizer = torch.optim.SGD(
        parameters, lr=schedule.lr, momentum=_MOMENTUM, weight_decay=schedule.weight_decay
    )
    steps = torch.optim.lr_scheduler.MultiStepLR(optimizer, list(schedule.drops), schedule.factor)
    losses = []
    for _ in range(schedule.epochs):
        total, count = 0.0, 0
        for chosen in batches():
            loss = cost(chosen)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(parameters, _LONGEST_GRADIENT)
            optimizer.step()
            total, count = total + float(loss.detach()) * len(chosen), count + len(chosen)
        steps.step()
        losses.append(total / count)
    return losses


def classification_head(loss: Loss, dim: int, num_classes: int, generator: torch.Generator) -> Any:
    """The paper's last layer and its loss (section 4.1).

    Parameters
    ----------
    dim : length of the vectors that enter it
    generator : of its first weights

    Returns
    -------
    a module: vectors (N, dim) and classes (N,) -> scalar loss
    """
    if loss == "softmax":
        return _SoftmaxHead(_linear(dim, num_classes, generator))
    with torch.random.fork_rng(devices=[]):  # its own first weights, which are not used
        head = CosFaceLoss(num_classes, dim, margin=COSFACE_MARGIN, scale=COSFACE_SCALE).float()
    nn.init.normal_(head.W, generator=generator)
    return head


class _SoftmaxHead(nn.Module):
    """The last layer and its cross-entropy."""

    def __init__(self, last: nn.Linear) -> None:
        super().__init__()
        self.last = last

    def forward(self, vectors: Tensor, labels: Tensor) -> Tensor:
        return nn.functional.cross_entropy(self.last(vectors), labels)


def _classes(labels: ArrayLike | Tensor) -> Tensor:
    """Labels as int64; a fraction is not cut to a class that nobody gave."""
    try:
        given = as_array(labels)
    except (TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise MezoroiError(f"labels are no array of numbers ({reason}): give (N,)") from error
    is_whole = given.dtype.kind in "iu" or (
        given.dtype.kind == "f" and bool((given == np.floor(given)).all())
    )
    if not is_whole:
        raise MezoroiError(
            "labels are no whole numbers: number the classes from 0, as by "
            "np.unique(labels, return_inverse=True)[1]"
        )
    return torch.from_numpy(given.astype(np.int64))


def _linear(before: int, after: int, generator: torch.Generator) -> nn.Linear:
    """A layer whose first weights come from `generator` and keep the scale through ReLU."""
    layer = nn.Linear(before, after, device="meta", dtype=torch.float32).to_empty(device="cpu")
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
    nn.init.zeros_(layer.bias)
    return layer
