"""Grader: a trained bundle that grades fruit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mezoroi.bundle import Bundle, read_bundle
from mezoroi.capture.sources import IN_MEMORY, FruitInput, read_fruit
from mezoroi.datasets import Dataset
from mezoroi.errors import MezoroiError
from mezoroi.grading import Grading, GradingFailure
from mezoroi.grading_maker import GradingMaker
from mezoroi.models import FruitImages, GradingModel
from mezoroi.models.encoder import first_line
from mezoroi.models.preprocess import FittedImage
from mezoroi.progress import Progress, silent
from mezoroi.reliability.judge import read_judge
from mezoroi.reliability.model import ReliabilityModel
from mezoroi.retrieval import Gallery, Neighbour
from mezoroi.retrieval.gallery import REFERENCES
from mezoroi.runner import Runner, Seen, to_arrays
from mezoroi.standard import GradingStandard

Source = str | Path | np.ndarray


@dataclass(frozen=True)
class Predictions:
    """What a grader says about N observations of a dataset, in its order.

    Attributes
    ----------
    similarity : (N, G); NaN for outline grades where a fruit has no outline
    logits : (N, G) as `Runner.logits`
    embeddings : (N, D)
    features : (N, K) mean pooled feature map
    maps : (N, S, h, w) activation maps, one value per cell of the feature map; S = 0 for a model
        without class channels
    early : (N, M) as in `ModelOutput`
    reading : (N, G) estimated chances by the second reader, NaN where there is none
    """

    similarity: np.ndarray
    logits: np.ndarray
    embeddings: np.ndarray
    features: np.ndarray
    maps: np.ndarray
    early: np.ndarray
    reading: np.ndarray

    @property
    def grades(self) -> np.ndarray:
        """(N,) index of the most similar grade."""
        return np.nanargmax(self.similarity, axis=1)

    @property
    def signs(self) -> np.ndarray:
        """(N, S) strength of each surface grade's sign: its probability at its surest place."""
        return self.maps.max(axis=(2, 3))


@dataclass(frozen=True)
class Embedded:
    """What the network makes of N fruits, for comparing them with others.

    Attributes
    ----------
    fitted : N images at network size
    embeddings : (N, D)
    feature_maps : (N, K, h, w)
    """

    fitted: Sequence[FittedImage]
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

    Raises
    ------
    MezoroiError
        If there is no such device here.
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
        self.device = _usable(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._runner = Runner(bundle, self.device)
        self._make_gradings = GradingMaker(self._runner, gallery, reliability, notes)

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
            If the folder is no run folder, incomplete, damaged or of another version, the
            references or the reliability are damaged or of another model, or there is no such
            device here.
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
                    self._runner.check_outline(fruit)
                    read.append(fruit)
                except (MezoroiError, OSError) as error:
                    name = str(source) if isinstance(source, str | Path) else IN_MEMORY
                    read.append(GradingFailure(name, str(error)))
            fruits = [item for item in read if isinstance(item, FruitInput)]
            graded = iter(self._make_gradings(self._runner.see(fruits)) if fruits else [])
            for item in read:
                yield item if isinstance(item, GradingFailure) else next(graded)

    def grade_read(self, fruit: FruitInput) -> Grading:
        """Grade a fruit that `read_fruit` read."""
        return self.grade_together([fruit])[0]

    def grade_together(self, fruits: Sequence[FruitInput]) -> list[Grading]:
        """`grade_read` of every fruit in one pass of the network; at least one."""
        return self._make_gradings(self._runner.see(fruits))

    def embed(self, fruits: Sequence[FruitInput]) -> Embedded:
        """Embeddings and feature maps of fruits that `read_fruit` read; at least one.

        Raises
        ------
        MezoroiError
            If an outline lacks what the grader was trained with.
        """
        return _embedded(self._runner.see(fruits))

    def check_outline(self, fruit: FruitInput) -> None:
        """Raise a MezoroiError if a fruit's outline lacks what the grader was trained with."""
        self._runner.check_outline(fruit)

    def grade_and_embed(self, fruits: Sequence[FruitInput]) -> tuple[list[Grading], Embedded]:
        """`grade_read` of every fruit, and `embed` of all, for one pass of the network.

        Raises
        ------
        MezoroiError
            As `embed`.
        """
        seen = self._runner.see(fruits)
        return self._make_gradings(seen), _embedded(seen)

    def predict(
        self,
        dataset: Dataset,
        batch_size: int = 32,
        progress: Progress = silent,
        mirrored: bool = False,
    ) -> Predictions:
        """Run the network over a dataset.

        Parameters
        ----------
        mirrored : show it the mirror image of every picture

        Raises
        ------
        MezoroiError
            If an outline lacks what the grader was trained with, or an image is unreadable.
        """
        size = self.bundle.size
        images = FruitImages(dataset, size.height, size.width, megabytes=0)
        outlines = self._runner.outline_matrix(dataset)
        parts: list[tuple[np.ndarray, ...]] = []
        for start in range(0, len(dataset), batch_size):
            indices = list(range(start, min(start + batch_size, len(dataset))))
            chosen = None if outlines is None else outlines[indices]
            pixels = images.images(indices)
            known = [dataset.observations[index].outline is not None for index in indices]
            shown = pixels.flip(3) if mirrored else pixels
            parts.append(self._predict_batch(shown, chosen, known))
            progress("grading", indices[-1] + 1, len(dataset))
        return Predictions(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))

    def _predict_batch(
        self, images: Tensor, outlines: Tensor | None, with_outline: Sequence[bool]
    ) -> tuple[np.ndarray, ...]:
        with torch.inference_mode():
            output = self._runner.run(images, outlines)
            assert output.early is not None
            columns = (
                self._runner.similarity_of(output, with_outline),
                self._runner.logits(output),
                output.embedding,
                output.feature_map.mean(dim=(2, 3)),
                self._runner.evidence(output).softmax(dim=1),
                output.early,
            )
            return (*to_arrays(*columns), self._runner.second_reading(output))

    def neighbours(self, embeddings: np.ndarray) -> list[list[Neighbour]]:
        """The reference fruits most similar to embeddings (N, D); none without references."""
        return self._make_gradings.neighbours(embeddings)


def _usable(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise MezoroiError(
            f"device `{name}` cannot be used here ({first_line(error)}): give cpu, or none at all "
            "for the best there is"
        ) from error
    return device


def _embedded(seen: Seen) -> Embedded:
    output = seen.output
    return Embedded(seen.fitted, output.embedding.float().cpu(), output.feature_map.float().cpu())
