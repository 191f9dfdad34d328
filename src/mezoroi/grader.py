"""Grader: a trained bundle that grades fruit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mezoroi.bundle import Bundle, read_bundle
from mezoroi.capture.sources import FruitInput, read_fruit
from mezoroi.datasets import Dataset
from mezoroi.errors import MezoroiError
from mezoroi.grading import Grading, GradingFailure, judged
from mezoroi.maps import grade_evidence, upsample_maps
from mezoroi.models import GradingModel, ModelOutput
from mezoroi.models.folding import folded_model
from mezoroi.models.preprocess import FittedImage, fit_image, to_tensor
from mezoroi.progress import Progress, silent
from mezoroi.reliability.confidence import Answers
from mezoroi.reliability.judge import MapMaker, covered_part, neighbour_grades, read_judge
from mezoroi.reliability.model import ReliabilityModel
from mezoroi.retrieval import Gallery, Neighbour
from mezoroi.retrieval.gallery import REFERENCES
from mezoroi.standard import GradingStandard
from mezoroi.training import FruitImages

Source = str | Path | np.ndarray
NEIGHBOURS = 8
"""How many reference fruits a grading names."""


@dataclass(frozen=True)
class Predictions:
    """What a grader says about N observations of a dataset, in its order.

    Attributes
    ----------
    similarity : (N, G)
    logits : (N, G) scores of the trained head, without a margin
    embeddings : (N, D)
    features : (N, K) mean pooled feature map
    maps : (N, S, h, w) activation maps, one value per cell of the feature map; S = 0 for a model
        without class channels
    """

    similarity: np.ndarray
    logits: np.ndarray
    embeddings: np.ndarray
    features: np.ndarray
    maps: np.ndarray

    @property
    def grades(self) -> np.ndarray:
        """(N,) index of the most similar grade."""
        return self.similarity.argmax(axis=1)


@dataclass(frozen=True)
class Embedded:
    """What the network makes of N fruits, for comparing them with others.

    Attributes
    ----------
    fitted : N images at network size
    embeddings : (N, D)
    feature_maps : (N, K, h, w)
    """

    fitted: list[FittedImage]
    embeddings: Tensor
    feature_maps: Tensor


class Grader:
    """Grades fruit with a trained bundle.

    Parameters
    ----------
    bundle : what `mezoroi.bundle.read_bundle` returns; usually through `Grader.load`
    device : where to run, such as ``cpu`` or ``cuda``; default the first GPU, if there is one
    gallery : reference fruits that gradings name the most similar of
    reliability : says how far to trust a grading
    notes : lines that every grading carries
    """

    def __init__(
        self,
        bundle: Bundle,
        device: str | None = None,
        gallery: Gallery | None = None,
        reliability: ReliabilityModel | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        self.bundle = bundle
        self.gallery = gallery
        self.reliability = reliability
        self.notes = notes
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        bundle.network.to(self.device)
        bundle.head.to(self.device)
        self._lean = folded_model(bundle.network)
        self._prototypes = F.normalize(bundle.prototypes.embeddings.to(self.device), dim=1)
        surface = bundle.prototypes.embeddings[:, : bundle.network.surface_dim]
        self._surface_prototypes = F.normalize(surface.to(self.device), dim=1)
        self._thresholds = dict(
            zip(self.standard.grades, bundle.prototypes.thresholds.tolist(), strict=True)
        )
        self._outline_grades = [
            self.standard.grades.index(grade) for grade in self.standard.outline_grades
        ]
        self._make_maps = MapMaker(bundle, reliability.method) if reliability else None

    @classmethod
    def load(
        cls,
        run_dir: str | Path,
        device: str | None = None,
        references: str | Path | None = None,
    ) -> Grader:
        """Load the bundle in a run folder.

        Parameters
        ----------
        run_dir : what `mezoroi.train` wrote
        device : as for `Grader`
        references : a file or URI as `ReferenceIndex.open` takes it; default the run folder's own,
            if it has any

        Raises
        ------
        MezoroiError
            If the folder is no run folder, incomplete, damaged or of another version, or the
            references or the reliability are damaged or of another model.
        """
        bundle, folder = read_bundle(run_dir), Path(run_dir)
        gallery = None
        if references is not None or (folder / REFERENCES).exists():
            gallery = Gallery.open(folder, bundle.fingerprint, references)
        reliability, note = read_judge(folder, bundle)
        return cls(bundle, device, gallery, reliability, (note,) if note is not None else ())

    @property
    def standard(self) -> GradingStandard:
        """The grading standard that was learned."""
        return self.bundle.standard

    @property
    def network(self) -> GradingModel:
        """The trained network, in evaluation mode."""
        return self.bundle.network

    def grade(self, source: Source) -> Grading:
        """Grade one fruit.

        Parameters
        ----------
        source : path of a photo, of a capture folder or, for a grader of surface images, of a video
            or a folder of frames; or an (H, W, 3) uint8 RGB array of the grader's input kind

        Raises
        ------
        MezoroiError
            If the source cannot be read.
        """
        return self.grade_read(read_fruit(source, self.bundle.input_kind))

    def grade_many(
        self, sources: Iterable[Source], batch_size: int = 16
    ) -> Iterator[Grading | GradingFailure]:
        """Grade fruits in batches, in order; one that cannot be read yields a `GradingFailure`."""
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        if isinstance(sources, str | Path | np.ndarray):
            raise TypeError("sources must be a list of fruits: use grade() for a single one")
        remaining = iter(sources)
        while chunk := list(islice(remaining, batch_size)):
            read: list[FruitInput | GradingFailure] = []
            for source in chunk:
                try:
                    fruit = read_fruit(source, self.bundle.input_kind)
                    self._check_outline(fruit)
                    read.append(fruit)
                except MezoroiError as error:
                    name = "image" if isinstance(source, np.ndarray) else str(source)
                    read.append(GradingFailure(name, str(error)))
            fruits = [item for item in read if isinstance(item, FruitInput)]
            graded = iter(self._grade_batch(fruits))
            for item in read:
                yield item if isinstance(item, GradingFailure) else next(graded)

    def grade_read(self, fruit: FruitInput) -> Grading:
        """Grade a fruit that `read_fruit` read."""
        return self._grade_batch([fruit])[0]

    def embed(self, fruits: Sequence[FruitInput]) -> Embedded:
        """Embeddings and feature maps of fruits that `read_fruit` read.

        Raises
        ------
        MezoroiError
            If an outline lacks what the grader was trained with.
        """
        fitted = self._fit(fruits)
        rows = [self._outline_row(fruit) for fruit in fruits]
        with torch.inference_mode():
            output = self._run_fitted(fitted, rows)
        return Embedded(fitted, output.embedding.float().cpu(), output.feature_map.float().cpu())

    def predict(
        self, dataset: Dataset, batch_size: int = 32, progress: Progress = silent
    ) -> Predictions:
        """Run the network over a dataset.

        Raises
        ------
        MezoroiError
            If the model needs outlines that the dataset does not have, or an image is unreadable.
        """
        size = self.bundle.size
        images = FruitImages(dataset, size.height, size.width, megabytes=0)
        outlines = self._outline_matrix(dataset)
        parts: list[tuple[np.ndarray, ...]] = []
        for start in range(0, len(dataset), batch_size):
            indices = list(range(start, min(start + batch_size, len(dataset))))
            chosen = None if outlines is None else outlines[indices]
            parts.append(self._predict_batch(images.images(indices), chosen))
            progress("grading", indices[-1] + 1, len(dataset))
        return Predictions(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))

    def _predict_batch(self, images: Tensor, outlines: Tensor | None) -> tuple[np.ndarray, ...]:
        with torch.inference_mode():
            output = self._run(images, outlines)
            columns = (
                self._similarity(output.embedding),
                self.bundle.head.get_logits(output.embedding),  # type: ignore[operator]
                output.embedding,
                output.feature_map.mean(dim=(2, 3)),
                self._evidence(output).softmax(dim=1),
            )
            return tuple(column.float().cpu().numpy() for column in columns)

    def _grade_batch(self, fruits: Sequence[FruitInput]) -> list[Grading]:
        if not fruits:
            return []
        size = self.bundle.size
        fitted = self._fit(fruits)
        rows = [self._outline_row(fruit) for fruit in fruits]
        with torch.inference_mode():
            output = self._run_fitted(fitted, rows)
            similarity = self._similarity(output.embedding)
            for index, row in enumerate(rows):
                if row is None and self._outline_grades:
                    similarity[index] = self._surface_similarity(output.embedding[index])
            evidence = self._evidence(output)
            maps = evidence.softmax(dim=1)
            if maps.shape[1]:
                maps = upsample_maps(maps, size.height, size.width, size.wraps)
            totals = evidence.mean(dim=(2, 3))
            logits = self.bundle.head.get_logits(output.embedding)  # type: ignore[operator]
        arrays = [value.float().cpu().numpy() for value in (similarity, maps, totals, logits)]
        neighbours = self.neighbours(output.embedding.float().cpu().numpy())
        gradings = [
            self._grading(*item)
            for item in zip(fruits, fitted, *arrays[:3], neighbours, strict=True)
        ]
        if self._make_maps is None:
            return gradings
        answers = self._answers(fitted, arrays[0], arrays[3], arrays[1], neighbours)
        return self._judged(gradings, fruits, fitted, answers)

    def _answers(
        self,
        fitted: Sequence[FittedImage],
        similarity: np.ndarray,
        logits: np.ndarray,
        maps: np.ndarray,
        neighbours: Sequence[Sequence[Neighbour]],
    ) -> Answers:
        assert self._make_maps is not None
        given = np.nanargmax(similarity, axis=1)
        images = None
        if self._make_maps.needs_images:
            images = to_tensor([item.pixels for item in fitted]).to(self.device)
        return Answers(
            given,
            similarity,
            logits,
            neighbour_grades(neighbours, self.standard.grades),
            self._make_maps(similarity, given, maps, images),
        )

    def _judged(
        self,
        gradings: Sequence[Grading],
        fruits: Sequence[FruitInput],
        fitted: Sequence[FittedImage],
        answers: Answers,
    ) -> list[Grading]:
        model = self.reliability
        assert model is not None
        seen = [covered_part(*pair) for pair in zip(fruits, fitted, strict=True)]
        judgements = model.judge(answers, self.standard.grades, seen)
        size = (self.bundle.size.height, self.bundle.size.width)
        return [
            judged(grading, judgement, model, item.crop(model.cluster_map(judgement.cluster, size)))
            for grading, judgement, item in zip(gradings, judgements, fitted, strict=True)
        ]

    def neighbours(self, embeddings: np.ndarray) -> list[list[Neighbour]]:
        """The reference fruits most similar to embeddings (N, D); none without references."""
        if self.gallery is None:
            return [[] for _ in embeddings]
        return self.gallery.neighbours(embeddings, NEIGHBOURS)

    def _fit(self, fruits: Sequence[FruitInput]) -> list[FittedImage]:
        size = self.bundle.size
        return [fit_image(fruit.image, size.height, size.width) for fruit in fruits]

    def _run_fitted(
        self, fitted: Sequence[FittedImage], rows: Sequence[Tensor | None]
    ) -> ModelOutput:
        """The network's output; a fruit without an outline counts as one of mean shape."""
        known = [row if row is not None else self._mean_outline() for row in rows]
        outlines = torch.stack(known) if self.bundle.outline_names else None
        return self._run(to_tensor([item.pixels for item in fitted]), outlines)

    def _grading(
        self,
        fruit: FruitInput,
        fitted: FittedImage,
        similarity: np.ndarray,
        maps: np.ndarray,
        totals: np.ndarray,
        neighbours: list[Neighbour],
    ) -> Grading:
        grades, surface = self.standard.grades, self.bundle.trained_standard.surface_grades
        shown = fitted.crop(maps)
        return Grading(
            source=fruit.name,
            grade=grades[int(np.nanargmax(similarity))],
            similarity=dict(zip(grades, similarity.tolist(), strict=True)),
            thresholds=self._thresholds,
            activation_maps=dict(zip(surface, shown, strict=False)),
            map_grade=surface[int(totals.argmax())] if len(totals) else None,
            outline=fruit.outline,
            surface=fruit.image,
            standard=self.standard,
            neighbours=neighbours,
            notes=fruit.notes + self.notes,
        )

    def _run(self, images: Tensor, outlines: Tensor | None) -> ModelOutput:
        device = self.device
        moved = outlines.to(device) if outlines is not None else None
        output: ModelOutput = self._lean(self._lean.prepare(images.to(device)), moved)
        return output

    def _evidence(self, output: ModelOutput) -> Tensor:
        if not self.network.channels_per_grade:
            return output.class_channels
        return grade_evidence(output.class_channels, self.network.channels_per_grade)

    def _similarity(self, embeddings: Tensor) -> Tensor:
        return F.normalize(embeddings, dim=1) @ self._prototypes.T

    def _surface_similarity(self, embedding: Tensor) -> Tensor:
        """(G,) by the surface embedding alone; NaN for the grades that need an outline."""
        surface = F.normalize(embedding[: self.network.surface_dim], dim=0)
        similarity = self._surface_prototypes @ surface
        similarity[self._outline_grades] = float("nan")
        return similarity

    def _mean_outline(self) -> Tensor:
        assert self.network.outline_encoder is not None or not self.bundle.outline_names
        if self.network.outline_encoder is None:
            return torch.empty(0)
        return self.network.outline_encoder.mean.cpu()

    def _outline_row(self, fruit: FruitInput) -> Tensor | None:
        self._check_outline(fruit)
        if fruit.outline is None or not self.bundle.outline_names:
            return None
        return self._row(fruit.outline)

    def _row(self, outline: Mapping[str, float]) -> Tensor:
        return torch.tensor([outline[name] for name in self.bundle.outline_names])

    def _check_outline(self, fruit: FruitInput) -> None:
        if fruit.outline is None:
            return
        missing = [name for name in self.bundle.outline_names if name not in fruit.outline]
        if missing:
            raise MezoroiError(
                f"{fruit.name}: the outline has no `{missing[0]}`, which the grader was trained "
                "with: capture the fruit again with this version"
            )

    def _outline_matrix(self, dataset: Dataset) -> Tensor | None:
        if not self.bundle.outline_names:
            return None
        rows = []
        for observation in dataset:
            missing = set(self.bundle.outline_names) - set(observation.outline or {})
            if missing or observation.outline is None:
                raise MezoroiError(
                    f"{observation.id} has no outline `{min(missing)}`, which the grader was "
                    "trained with: give captures, or train without outlines"
                )
            rows.append(self._row(observation.outline))
        return torch.stack(rows)
