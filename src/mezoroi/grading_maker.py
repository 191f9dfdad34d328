"""Gradings of what the network saw: grades, maps, neighbours, reliability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from mezoroi.capture.sources import FruitInput
from mezoroi.grading import Grading, judged
from mezoroi.maps import upsample_maps
from mezoroi.models.preprocess import FittedImage, to_tensor
from mezoroi.reliability.confidence import Answers
from mezoroi.reliability.judge import MapMaker, covered_part, neighbour_grades
from mezoroi.reliability.model import ReliabilityModel
from mezoroi.retrieval import Gallery, Neighbour
from mezoroi.runner import Runner, Seen, to_arrays
from mezoroi.signs import pointed_grade

NEIGHBOURS = 8
"""How many reference fruits a grading names."""


class GradingMaker:
    """Makes gradings of what a runner saw.

    Parameters
    ----------
    runner : of the grader's bundle
    gallery : reference fruits that gradings name the most similar of
    reliability : says how far to trust a grading
    notes : lines that every grading carries
    """

    def __init__(
        self,
        runner: Runner,
        gallery: Gallery | None,
        reliability: ReliabilityModel | None,
        notes: tuple[str, ...],
    ) -> None:
        bundle = runner.bundle
        self._runner = runner
        self._bundle = bundle
        self._standard = bundle.standard
        self._gallery = gallery
        self._reliability = reliability
        self._notes = notes
        self._thresholds = dict(
            zip(bundle.standard.grades, bundle.prototypes.thresholds.tolist(), strict=True)
        )
        self._make_maps = MapMaker(bundle, reliability.method) if reliability else None

    def __call__(self, seen: Seen) -> list[Grading]:
        """The gradings of fruits, in their order."""
        size, output = self._bundle.size, seen.output
        similarity = self._runner.similarity_of(output, seen.with_outline)
        with torch.inference_mode():
            evidence = self._runner.evidence(output)
            maps = evidence.softmax(dim=1)
            signs = maps.flatten(2).amax(dim=2)
            if maps.shape[1]:
                grid = self._bundle.network.encoder.grid
                maps = upsample_maps(maps, size.height, size.width, size.wraps, grid)
            logits = self._runner.logits(output)
            totals = evidence.mean(dim=(2, 3))
        columns = (similarity, maps, totals, signs, logits, output.embedding)
        similarities, shown, means, strengths, scores, embeddings = to_arrays(*columns)
        neighbours = self.neighbours(embeddings)
        parts = (seen.fruits, seen.fitted, similarities, shown, neighbours)
        gradings = [self._grading(*item) for item in zip(*parts, strict=True)]
        if self._make_maps is not None:
            reading = self._runner.second_reading(output)
            answers = self._answers(seen.fitted, similarities, scores, shown, neighbours, reading)
            gradings = self._judged(gradings, seen, answers)
        return [
            replace(item, map_grade=self._map_grade(item.grade, *row))
            for item, *row in zip(gradings, strengths, means, strict=True)
        ]

    def neighbours(self, embeddings: np.ndarray) -> list[list[Neighbour]]:
        """The reference fruits most similar to embeddings (N, D); none without references."""
        if self._gallery is None:
            return [[] for _ in embeddings]
        return self._gallery.neighbours(embeddings, NEIGHBOURS)

    def _map_grade(self, grade: str, signs: np.ndarray, means: np.ndarray) -> str | None:
        surface = self._bundle.trained_standard.surface_grades
        if not len(signs):
            return None
        limits = self._bundle.prototypes.sign_limits.cpu().numpy()
        pointed = pointed_grade(grade, signs.tolist(), limits, self._standard, surface)
        if pointed is not None:
            return pointed
        after = self._standard.precedence[self._standard.precedence.index(grade) :]
        evidence = {name: mean for name, mean in zip(surface, means, strict=True) if name in after}
        return max(evidence, key=evidence.__getitem__, default=None)

    def _answers(
        self,
        fitted: Sequence[FittedImage],
        similarity: np.ndarray,
        logits: np.ndarray,
        maps: np.ndarray,
        neighbours: Sequence[Sequence[Neighbour]],
        reading: np.ndarray,
    ) -> Answers:
        assert self._make_maps is not None
        given = np.nanargmax(similarity, axis=1)
        images = None
        if self._make_maps.needs_images:
            images = to_tensor([item.pixels for item in fitted]).to(self._runner.device)
        return Answers(
            given,
            similarity,
            logits,
            neighbour_grades(neighbours, self._standard.grades),
            self._make_maps(similarity, given, maps, images),
            reading,
        )

    def _judged(self, gradings: Sequence[Grading], seen: Seen, answers: Answers) -> list[Grading]:
        model = self._reliability
        assert model is not None
        covered = [covered_part(*pair) for pair in zip(seen.fruits, seen.fitted, strict=True)]
        judgements = model.judge(answers, self._standard.grades, covered)
        size = (self._bundle.size.height, self._bundle.size.width)
        return [
            judged(grading, judgement, model, item.crop(model.cluster_map(judgement.cluster, size)))
            for grading, judgement, item in zip(gradings, judgements, seen.fitted, strict=True)
        ]

    def _grading(
        self,
        fruit: FruitInput,
        fitted: FittedImage,
        similarity: np.ndarray,
        maps: np.ndarray,
        neighbours: list[Neighbour],
    ) -> Grading:
        grades, surface = self._standard.grades, self._bundle.trained_standard.surface_grades
        shown = fitted.crop(maps)
        return Grading(
            source=fruit.name,
            grade=grades[int(np.nanargmax(similarity))],
            similarity=dict(zip(grades, similarity.tolist(), strict=True)),
            thresholds=self._thresholds,
            activation_maps=dict(zip(surface, shown, strict=False)),
            map_grade=None,
            outline=fruit.outline,
            surface=fruit.image,
            standard=self._standard,
            neighbours=neighbours,
            notes=fruit.notes + self._notes,
        )
