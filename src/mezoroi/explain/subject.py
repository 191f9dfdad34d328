"""The model under explanation, which is left exactly as it was found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from mezoroi.errors import MezoroiError
from mezoroi.explain.targets import ClassScore, Similarity, Target
from mezoroi.maps import Grid, grade_evidence
from mezoroi.models import GradingModel
from mezoroi.models.cell_grid import measure_grid

_BYTE_SCALE = 16.0
"""A Grader's network is given no images with values above: they are on a scale of 0 to 255."""


@dataclass(frozen=True)
class Answer:
    """What a model says about N images.

    Attributes
    ----------
    outputs : (N, D) scores of a classifier, or embeddings; of a `GradingModel` the surface
        embedding, since pictures explain nothing about the outline
    scores : (N, C) one per class, or None where the model has no classes
    class_channels : (N, S * xi, h, w), of a `GradingModel`
    """

    outputs: Tensor
    scores: Tensor | None
    class_channels: Tensor | None = None

    def values(self, targets: Sequence[Target]) -> Tensor:
        """(N, T) value of each target for every image."""
        return _finite(torch.stack([self._column(target) for target in targets], dim=1))

    def own_values(self, targets: Sequence[Sequence[Target]]) -> Tensor:
        """(N, T) values of the T targets that each image has."""
        rows = [
            torch.stack([self._of(target, row) for target in own])
            for row, own in enumerate(targets)
        ]
        return _finite(torch.stack(rows))

    def _column(self, target: Target) -> Tensor:
        if isinstance(target, ClassScore):
            return self._class_scores(target.index)
        if isinstance(target, Similarity):
            return target(self.outputs)
        return torch.stack([self._of(target, row) for row in range(len(self.outputs))])

    def _of(self, target: Target, row: int) -> Tensor:
        if isinstance(target, ClassScore):
            return self._class_scores(target.index)[row]
        value = target(self.outputs[row])
        if not isinstance(value, Tensor) or value.numel() != 1:
            raise MezoroiError("a target must return one number: return a tensor of one element")
        return value.reshape(())

    def _class_scores(self, index: int) -> Tensor:
        if self.scores is None:
            raise MezoroiError(
                "this network has no class scores: give targets as callables, such as "
                "explain.Similarity(prototype)"
            )
        count = self.scores.shape[1]
        if not 0 <= index < count:
            raise MezoroiError(
                f"target {index} is out of range: the model has classes 0 to {count - 1}"
            )
        return self.scores[:, index]


def _finite(values: Tensor) -> Tensor:
    if not bool(torch.isfinite(values).all()):
        raise MezoroiError("the model's score is NaN or infinite: check its weights and images")
    return values


class Subject:
    """A `GradingModel`, or any classifier or embedding model, seen through one interface.

    Parameters
    ----------
    model : takes (N, 3, H, W) and returns (N, D); a `GradingModel` takes RGB in [0, 1], which is
        prepared here
    """

    def __init__(self, model: nn.Module) -> None:
        if not isinstance(model, nn.Module):
            raise MezoroiError(
                f"{type(model).__name__} is no torch module: give the network itself"
            )
        self.model = model

    @property
    def grading_model(self) -> GradingModel | None:
        """The model, where it is this package's own."""
        return self.model if isinstance(self.model, GradingModel) else None

    def fill(self, baseline: float) -> float | Tensor:
        """What stands for "nothing there" in an image, `baseline` on the network's own scale.

        For a `GradingModel`, 0 is the mean colour of the images its backbone was trained with.
        """
        own = self.grading_model
        if own is None:
            return baseline
        mean, deviation = torch.tensor(own.encoder.mean), torch.tensor(own.encoder.std)
        return (mean + baseline * deviation).view(3, 1, 1)

    def moved(self, images: Tensor) -> Tensor:
        """A detached copy of (N, C, H, W) images on the model's device and in its precision.

        Raises
        ------
        MezoroiError
            If they are no finite floating-point images.
        """
        if not isinstance(images, Tensor) or images.ndim != 4 or images.numel() == 0:
            found = tuple(images.shape) if hasattr(images, "shape") else type(images).__name__
            raise MezoroiError(f"images are {found}: give a tensor (N, 3, H, W) with N >= 1")
        if not images.is_floating_point():
            raise MezoroiError(f"images are {images.dtype}: give them as floating-point numbers")
        if not bool(torch.isfinite(images).all()):
            raise MezoroiError("an image holds NaN or infinity: correct or leave it out")
        if self.grading_model is not None:
            if images.shape[1] != 3:
                raise MezoroiError(f"images have {images.shape[1]} channels: give RGB")
            # Far beyond what noise or a normalised image has.
            if float(images.max()) > _BYTE_SCALE:
                raise MezoroiError(
                    f"images run up to {float(images.max()):.0f}, a Grader's network takes RGB in "
                    "[0, 1]: divide them by 255"
                )
        tensors = chain(self.model.parameters(), self.model.buffers())
        floating = [tensor for tensor in tensors if tensor.is_floating_point()]
        # Images enter a convolution; a scale of its own may have another precision.
        kernels = [tensor for tensor in floating if tensor.ndim == 4]
        like = next(iter(kernels or floating), images)
        return images.detach().to(like.device, like.dtype, copy=True)

    def part_size(self, images: Tensor) -> int:
        """How many images pass through the model at a time, however many there are.

        On a CPU few images at a time are faster: what lies between the layers stays in its cache.
        """
        if self._mixes:
            return 1
        return 4 if images.device.type == "cpu" else 32

    def batch_within(self, megabytes: float | None, image: Tensor) -> int:
        """How many copies of an image (C, H, W) pass at a time within a budget; at least one.

        Parameters
        ----------
        megabytes : of the copies; None: 2 on a CPU and 64 elsewhere
        """
        if self._mixes:
            return 1
        if megabytes is None:
            megabytes = 2 if image.device.type == "cpu" else 64
        return max(1, int(megabytes * (1 << 20)) // (image.numel() * image.element_size()))

    @property
    def _mixes(self) -> bool:
        """True where images of a batch change each other, as in norms that keep no statistics."""
        norms = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
        return any(
            isinstance(module, norms) and module.running_mean is None
            for module in self.model.modules()
        )

    def margin(self, images: Tensor) -> float:
        """Share of a prepared panorama's width that is repeated on either side."""
        own = self.grading_model
        if own is None:
            return 0.0
        whole = own.prepare(images[:1, :, :1]).shape[3]
        return (whole - images.shape[3]) / 2 / whole

    def grid_of(self, layer: nn.Module, image: Tensor) -> Grid:
        """Where the cells of a layer's maps lie on images like this one, (1, C, H, W).

        A Grader's panorama is wider for the network, by whole cells that maps leave out.
        """
        own = self.grading_model
        shown = image if own is None else own.prepare(image)
        sides = (shown.shape[2], shown.shape[3])
        with self.watchable():
            return measure_grid(self.model, layer, sides, lambda: self.answer(image))

    def front(self, images: Tensor) -> tuple[Answer, Tensor]:
        """A Grader's network up to its feature map (N, K, h, w) and class channels.

        What lies behind, down to the embedding, is not run, and the answer has no outputs.

        Raises
        ------
        MezoroiError
            If the model fails on them.
        """
        own = self.grading_model
        assert own is not None
        with _taking(images):
            prepared = own.prepare(images)
            features = without_margin(own.encoder(prepared), self.margin(images))
            none = features.new_empty(len(images), 0)
            if own.class_channels is None:
                return Answer(none, None), features
            channels = own.channels_of(features, own.plain_share(prepared))
            return _with_channels(own, none, channels), features

    def answer_for(self, images: Tensor, targets: Sequence[Target]) -> Answer:
        """As `answer`, but of a Grader's network only what the targets need."""
        own = self.grading_model
        scores_only = all(isinstance(target, ClassScore) for target in targets)
        if own is not None and own.class_channels is not None and scores_only:
            return self.front(images)[0]
        return self.answer(images)

    def answer(self, images: Tensor) -> Answer:
        """Run the model on images from `moved`.

        Raises
        ------
        MezoroiError
            If the model fails on them or returns no (N, D).
        """
        own = self.grading_model
        with _taking(images):
            if own is not None:
                return _graded(own, images)
            # A copy, since a model may normalise what it is given in place.
            return _plain(self.model(images.clone()))

    @contextmanager
    def untouched(self) -> Iterator[None]:
        """Evaluation mode without gradients inside; afterwards all is as before.

        Mode of every module and the state of torch's generators come back, also after an error.
        Gradients and `requires_grad` are never changed. A module with a `train` of its own, which
        may drop there what it keeps for evaluation, is told that it learns again.
        """
        modes = [(module, module.training) for module in self.model.modules()]
        devices = {p.device for p in self.model.parameters() if p.device.type == "cuda"}
        with (
            torch.inference_mode(False),
            torch.no_grad(),
            torch.random.fork_rng(devices=[device.index or 0 for device in devices]),
        ):
            try:
                for module, _ in modes:
                    module.training = False
                yield
            finally:
                for module, mode in modes:
                    if mode and type(module).train is not nn.Module.train:
                        module.train()
                for module, mode in modes:
                    module.training = mode

    def watchable(self) -> AbstractContextManager[Any]:
        """What passes that hooks watch run in, inside `untouched`.

        Of a model from `torch.compile` the layers run as they were written: compiled ones have no
        hooks, or stumble over ours.
        """
        compiled = any(
            module._compiled_call_impl is not None or "_orig_mod" in module._modules
            for module in self.model.modules()
            if not isinstance(module, torch.jit.ScriptModule)
        )
        if not compiled or not hasattr(torch.compiler, "set_stance"):  # torch before 2.6
            return nullcontext()
        return torch.compiler.set_stance("force_eager")

    def without_graph(self) -> AbstractContextManager[Any]:
        """What many passes run in that need no gradient, inside `untouched`.

        Inference mode is fastest, but what another model keeps for later passes, such as the
        attention biases of EfficientFormer, could not be learned with any more.
        """
        return torch.no_grad() if self.grading_model is None else torch.inference_mode()


@contextmanager
def _taking(images: Tensor) -> Iterator[None]:
    """What a model cannot do with images inside is told in one line."""
    try:
        yield
    except MezoroiError:
        raise
    # Asserted is, in transformers, the one size that they take.
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise MezoroiError(
            f"the model cannot take images of {tuple(images.shape[1:])} ({reason}): "
            "give them in the shape and precision it was made for"
        ) from error


def _plain(output: Any) -> Answer:
    if not isinstance(output, Tensor) or output.ndim != 2:
        found = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise MezoroiError(
            f"the model returns {found}: wrap it to return scores or embeddings (N, D)"
        )
    return Answer(output, output)


def _graded(model: GradingModel, images: Tensor) -> Answer:
    outlines = None
    if model.outline_encoder is not None:
        outlines = model.outline_encoder.mean.expand(len(images), -1)
    output = model(model.prepare(images), outlines)
    embedding = output.embedding[:, : model.surface_dim]
    if not model.channels_per_grade:
        return Answer(embedding, None, output.class_channels)
    return _with_channels(model, embedding, output.class_channels)


def _with_channels(model: GradingModel, outputs: Tensor, channels: Tensor) -> Answer:
    evidence = grade_evidence(channels, model.channels_per_grade)
    return Answer(outputs, evidence.mean(dim=(2, 3)), channels)


def without_margin(maps: Tensor, margin: float) -> Tensor:
    """Maps (…, h, w) less the share `margin` of their columns on the left and on the right."""
    cells = round(margin * maps.shape[-1])
    return maps[..., cells:-cells] if cells else maps


def parts_of(values: Tensor, size: int) -> list[Tensor]:
    """`values` cut into parts of at most `size` rows."""
    return [values[start : start + size] for start in range(0, len(values), size)]
