"""Runner: the network of a trained bundle on a device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mezoroi.bundle import Bundle
from mezoroi.capture.sources import FruitInput
from mezoroi.datasets import Dataset
from mezoroi.errors import MezoroiError
from mezoroi.maps import grade_evidence
from mezoroi.models import ModelOutput
from mezoroi.models.folding import folded_model
from mezoroi.models.preprocess import FittedImage, fit_image, to_tensor
from mezoroi.similarity import GradeSimilarity, similarity_of_reading


@dataclass(frozen=True)
class Seen:
    """N fruits, and what one pass of the network makes of them.

    Attributes
    ----------
    fruits : as they were read
    fitted : their images at network size
    with_outline : whether the network knew the fruit's outline; else it took one of mean shape
    output : of the network, N fruits
    """

    fruits: Sequence[FruitInput]
    fitted: Sequence[FittedImage]
    with_outline: Sequence[bool]
    output: ModelOutput


class Runner:
    """Runs a bundle's network and compares its embeddings with the grades.

    Parameters
    ----------
    bundle : its network and head are moved to `device`
    device : where to run
    """

    def __init__(self, bundle: Bundle, device: torch.device) -> None:
        self.bundle = bundle
        self.device = device
        bundle.network.to(device)
        bundle.head.to(device)
        self._lean = folded_model(bundle.network)
        self.similarity, self._surface_similarity = (
            GradeSimilarity(bundle.prototypes, bundle.config.model.exemplars, dim, device)
            for dim in (bundle.network.embedding_dim, bundle.network.surface_dim)
        )
        self._outline_grades = [
            bundle.standard.grades.index(grade) for grade in bundle.standard.outline_grades
        ]

    @torch.inference_mode()
    def see(self, fruits: Sequence[FruitInput]) -> Seen:
        """Run the network on fruits; at least one.

        Raises
        ------
        MezoroiError
            If an outline lacks what the grader was trained with.
        """
        size = self.bundle.size
        fitted = _fitted([fruit.image for fruit in fruits], size.height, size.width)
        rows = [self._outline_row(fruit) for fruit in fruits]
        known = [row if row is not None else self._mean_outline() for row in rows]
        outlines = torch.stack(known) if self.bundle.outline_names else None
        output = self.run(to_tensor([item.pixels for item in fitted]), outlines)
        return Seen(fruits, fitted, [row is not None for row in rows], output)

    def run(self, images: Tensor, outlines: Tensor | None) -> ModelOutput:
        """The network's output for (N, 3, H, W) images in [0, 1] and, if any, (N, F) outlines."""
        moved = outlines.to(self.device) if outlines is not None else None
        return self._lean.forward_with_early(self._lean.prepare(images.to(self.device)), moved)

    def second_reading(self, output: ModelOutput) -> np.ndarray:
        """(N, G) estimated chance of each grade by the bundle's second reader.

        NaN for a grade that was added without training, and of bundles without a second reader.
        """
        found = np.full((len(output.embedding), len(self.bundle.standard.grades)), np.nan)
        if self.bundle.reader is not None and output.early is not None:
            reading = self.bundle.reader.read(output.early.float().cpu().numpy())
            found[:, : reading.shape[1]] = reading
        return found

    @torch.inference_mode()
    def similarity_of(self, output: ModelOutput, with_outline: Sequence[bool]) -> Tensor:
        """(N, G) similarities; without an outline by the surface alone, NaN for outline grades."""
        if self.bundle.config.model.similarity == "reading":
            return self._similarity_read(output, with_outline)
        embeddings = output.embedding
        similarity = self.similarity(embeddings)
        for index, known in enumerate(with_outline):
            if not known and self._outline_grades:
                similarity[index] = self._surface_similarity(embeddings[[index]])[0]
                similarity[index, self._outline_grades] = float("nan")
        return similarity

    def _similarity_read(self, output: ModelOutput, with_outline: Sequence[bool]) -> Tensor:
        reading = self.second_reading(output)
        for index, known in enumerate(with_outline):
            if not known:
                reading[index, self._outline_grades] = np.nan
        similarity = similarity_of_reading(torch.from_numpy(reading), self.bundle.standard.ordered)
        return similarity.to(output.embedding)

    def evidence(self, output: ModelOutput) -> Tensor:
        """(N, S, h, w) evidence for each surface grade; S = 0 without class channels."""
        channels = self.bundle.network.channels_per_grade
        if not channels:
            return output.class_channels
        return grade_evidence(output.class_channels, channels)

    def logits(self, output: ModelOutput) -> Tensor:
        """(N, G) scores of the trained head, without a margin.

        The head knows nothing of a grade that was added without training: then they are scaled
        similarities, which the scores of ArcFace are too.
        """
        if self.bundle.added_grades:
            return self.bundle.config.loss.scale * self.similarity(output.embedding)
        scores: Tensor = self.bundle.head.get_logits(output.embedding)  # type: ignore[operator]
        return scores

    def check_outline(self, fruit: FruitInput) -> None:
        """Raise a MezoroiError if a fruit's outline lacks what the grader was trained with."""
        self._check_outline(fruit.name, fruit.outline)

    def _check_outline(self, name: str, outline: Mapping[str, float] | None) -> None:
        if outline is None:
            return
        missing = [statistic for statistic in self.bundle.outline_names if statistic not in outline]
        if missing:
            raise MezoroiError(
                f"{name}: the outline has no `{missing[0]}`, which the grader was trained "
                "with: capture the fruit again with this version"
            )

    def outline_matrix(self, dataset: Dataset) -> Tensor | None:
        """(N, F) outlines of a dataset, of mean shape where a fruit has none, as `see` takes them.

        None for a network that takes none.
        """
        if not self.bundle.outline_names:
            return None
        rows = []
        for observation in dataset:
            outline = observation.outline
            self._check_outline(observation.id, outline)
            rows.append(self._mean_outline() if outline is None else self._row(outline))
        return torch.stack(rows)

    def _mean_outline(self) -> Tensor:
        encoder = self.bundle.network.outline_encoder
        return torch.empty(0) if encoder is None else encoder.mean.cpu()

    def _outline_row(self, fruit: FruitInput) -> Tensor | None:
        self.check_outline(fruit)
        if fruit.outline is None or not self.bundle.outline_names:
            return None
        return self._row(fruit.outline)

    def _row(self, outline: Mapping[str, float]) -> Tensor:
        return torch.tensor([outline[name] for name in self.bundle.outline_names])


def to_arrays(*tensors: Tensor) -> list[np.ndarray]:
    """Tensors as float32 arrays in memory."""
    return [tensor.float().cpu().numpy() for tensor in tensors]


def _fitted(images: Sequence[np.ndarray], height: int, width: int) -> list[FittedImage]:
    """`fit_image` of each, several at a time: the network has nothing to do meanwhile."""
    if len(images) == 1:
        return [fit_image(images[0], height, width)]
    with ThreadPoolExecutor(max(1, torch.get_num_threads())) as threads:
        return list(threads.map(lambda image: fit_image(image, height, width), images))
