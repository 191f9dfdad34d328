"""What a grader computes as one graph of tensors, and that graph in ONNX."""

from __future__ import annotations

import copy
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mezoroi.bundle import Bundle
from mezoroi.errors import MezoroiError
from mezoroi.maps import grade_evidence
from mezoroi.models import ModelOutput, SecondReader
from mezoroi.models.encoder import first_line
from mezoroi.models.folding import folded_model
from mezoroi.similarity import GradeSimilarity, similarity_of_reading

OPSET = 18
"""The one that torch translates to without converting; runtimes know it since 2023."""
TOLERANCE = 1e-3
"""How far a translated graph may be from the grader, see `largest_difference`."""
_TRIAL_FRUITS = 3
_REMEDY = "export again, or grade with Mezoroi"
_TALKERS = ("torch.onnx", "torch.export", "torch.fx", "onnxscript", "onnx_ir")


class ReaderGraph(nn.Module):
    """`SecondReader.read` as a graph of tensors."""

    mean: Tensor
    scale: Tensor
    fruits: Tensor
    weights: Tensor
    shares: Tensor

    def __init__(self, reader: SecondReader) -> None:
        super().__init__()
        for name in ("mean", "scale", "fruits", "weights", "shares"):
            values = torch.from_numpy(getattr(reader, name)).double()
            self.register_buffer(name, values)
        self._length = reader.length

    def forward(self, early: Tensor) -> Tensor:
        """(N, M) features -> (N, G) estimated chances, in double precision as in `read`."""
        fruits = (early.double() - self.mean) * self.scale
        squares = fruits.square().sum(dim=1, keepdim=True) + self.fruits.square().sum(dim=1)
        apart = (squares - 2 * fruits @ self.fruits.T).clamp(min=0.0).sqrt()
        chances: Tensor = self.shares + torch.exp(-apart / self._length) @ self.weights
        return chances


class GradingGraph(nn.Module):
    """From images to similarities, activation maps and embeddings, as a grader computes them.

    Parameters
    ----------
    bundle : of the grader; its network is copied

    Attributes
    ----------
    outputs : names of what `forward` returns, in order
    """

    unjudged: Tensor

    def __init__(self, bundle: Bundle) -> None:
        super().__init__()
        cpu = torch.device("cpu")
        network = folded_model(copy.deepcopy(bundle.network).to(cpu).eval())
        self.network = network.requires_grad_(False)
        self.outputs: tuple[str, ...] = ("similarity", "embedding")
        if network.channels_per_grade:
            self.outputs = ("similarity", "activation_maps", "embedding")
        nearest = bundle.config.model.exemplars
        self._similarity, self._surface_similarity = (
            GradeSimilarity(bundle.prototypes, nearest, dim, cpu)
            for dim in (network.embedding_dim, network.surface_dim)
        )
        self._reader: ReaderGraph | None = None
        if bundle.config.model.similarity == "reading" and bundle.reader is not None:
            self._reader = ReaderGraph(bundle.reader)
        self._is_ordered = bundle.standard.ordered
        by_outline = bundle.standard.outline_grades
        self._has_outline_grades = bool(by_outline)
        marks = [float("nan") if grade in by_outline else 0.0 for grade in bundle.standard.grades]
        self.register_buffer("unjudged", torch.tensor(marks))
        self.eval()

    def forward(self, images: Tensor, outlines: Tensor | None = None) -> tuple[Tensor, ...]:
        """What `Grader.predict` says of images and outlines.

        Parameters
        ----------
        images : (N, 3, H, W) RGB in [0, 1], at network size
        outlines : (N, F) for a grader with outlines; a fruit without one is a row of NaN

        Returns
        -------
        similarity (N, G), activation maps (N, S, h, w) except for a network without class channels,
        and embedding (N, D)
        """
        network, known = self.network, None
        if outlines is not None and network.outline_encoder is not None:
            known = outlines.isnan().any(dim=1, keepdim=True).logical_not()
            outlines = torch.where(known, outlines, network.outline_encoder.mean)
        similarity, output = self._judged(network.prepare(images), outlines, known)
        if not network.channels_per_grade:
            return similarity, output.embedding
        evidence = grade_evidence(output.class_channels, network.channels_per_grade)
        return similarity, evidence.softmax(dim=1), output.embedding

    def _judged(
        self, images: Tensor, outlines: Tensor | None, known: Tensor | None
    ) -> tuple[Tensor, ModelOutput]:
        """Similarities, and what the network sees of prepared images.

        Parameters
        ----------
        known : (N, 1) whether a fruit's outline is
        """
        judged = known if self._has_outline_grades else None
        if self._reader is not None:
            output = self.network.forward_with_early(images, outlines)
            reading = self._reader(output.early)
            if judged is not None:
                reading = torch.where(judged, reading, reading + self.unjudged)
            return similarity_of_reading(reading, self._is_ordered).float(), output
        output = self.network(images, outlines)
        similarity = self._similarity(output.embedding)
        if judged is not None:
            by_surface = self._surface_similarity(output.embedding) + self.unjudged
            similarity = torch.where(judged, similarity, by_surface)
        return similarity, output

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`forward` of inputs by name; outputs by name."""
        with torch.inference_mode():
            return dict(zip(self.outputs, self(*inputs.values()), strict=True))


def made_up_inputs(bundle: Bundle) -> dict[str, Tensor]:
    """Inputs of a graph by name: noise for images, and outlines of which one is not known."""
    size, generator = bundle.size, torch.Generator().manual_seed(0)
    shape = (_TRIAL_FRUITS, 3, size.height, size.width)
    inputs = {"images": torch.rand(shape, generator=generator)}
    encoder = bundle.network.outline_encoder
    if encoder is not None:
        steps = torch.linspace(-1.0, 1.0, _TRIAL_FRUITS)[:, None]
        inputs["outlines"] = encoder.mean.cpu() + steps * encoder.deviation.cpu()
        inputs["outlines"][1] = float("nan")
    return inputs


def in_onnx(
    graph: GradingGraph, inputs: Mapping[str, Tensor], backbone: str
) -> torch.onnx.ONNXProgram:
    """A graph in ONNX, for any number of fruits and without traces of where it was made.

    Raises
    ------
    MezoroiError
        If torch cannot trace or translate the network.
    """
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    batch = torch.export.Dim("N")
    examples = tuple(values[:2] for values in inputs.values())  # a size of 1 would stay fixed
    try:
        with _quiet():
            program = torch.onnx.export(
                graph,
                examples,
                input_names=list(inputs),
                output_names=list(graph.outputs),
                dynamic_shapes=tuple({0: batch} for _ in examples),
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # torch raises many kinds
        raise MezoroiError(
            f"backbone `{backbone}` cannot be exported ({_reason(error)}): "
            "train with another one, such as efficientnet_lite0"
        ) from error
    assert program is not None
    ClearMetadataAndDocStringPass()(program.model)
    return program


def _reason(error: BaseException) -> str:
    """What torch says of the error behind its own, which is a page of hints, in a line."""
    told = str(error.__cause__ or error).splitlines()
    return next((line.strip(" .") for line in told if line.strip()), type(error).__name__)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back what torch tells, logs and, where it fails, prints: whole programs of a network."""
    loggers = [logging.getLogger(name) for name in _TALKERS]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def largest_difference(
    path: Path, inputs: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> float | None:
    """How far a graph on disk is from what it should say.

    Returns
    -------
    the largest difference of a number, relative to the largest number of its output where that is
    above 1; None where onnxruntime is not installed

    Raises
    ------
    MezoroiError
        If it does not run, is off by more than `TOLERANCE`, or judges other grades.
    """
    try:
        import onnxruntime
    except ImportError:
        return None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    arrays = {name: values.numpy() for name, values in inputs.items()}
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        found = session.run(list(expected), arrays)
    except Exception as error:  # onnxruntime raises many kinds
        raise MezoroiError(
            f"the exported graph does not run ({first_line(error)}): {_REMEDY}"
        ) from error
    differences = [
        _difference(values, wanted.numpy())
        for values, wanted in zip(found, expected.values(), strict=True)
    ]
    # A NaN is worse than any number, and `max` may pass it over.
    largest = float(np.max(differences))
    if not largest <= TOLERANCE:
        raise MezoroiError(f"the exported graph is off by {largest:.2g} from the grader: {_REMEDY}")
    return largest


def _difference(found: np.ndarray, wanted: np.ndarray) -> float:
    """NaN where the two lack different numbers."""
    if found.shape != wanted.shape or not np.array_equal(np.isnan(found), np.isnan(wanted)):
        return float("nan")
    return float(np.nanmax(np.abs(found - wanted)) / max(1.0, np.nanmax(np.abs(wanted))))
