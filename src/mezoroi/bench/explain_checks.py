"""Whether a method's maps hang on the network: shuffled weights, noise, deletion, insertion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mezoroi.bench.explain_score import Marked, Planes, maps_of
from mezoroi.datasets import Dataset
from mezoroi.explain import randomised
from mezoroi.explain.subject import Subject
from mezoroi.explainers import grade_target, make_explainers
from mezoroi.grader import Grader
from mezoroi.metrics import deletion_auc, insertion_auc, map_correlation
from mezoroi.models import GradingModel

ITEMS = 9
NOISE = 0.02
STEPS = 10


def check_method(
    grader: Grader,
    name: str,
    learning: Dataset,
    items: Marked,
    maps: Planes,
    options: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """Scores that need no mask, on about `ITEMS` of the observations.

    Returns
    -------
    dict of lists: ``randomised`` and ``noisy`` (rank correlation with the maps after shuffling all
    weights, and of slightly noisy images), ``deletion`` and ``insertion`` (areas)
    """
    step = max(1, len(items) // ITEMS)
    few, own = items.every(step), maps[::step]
    other = _shuffled(grader, learning)
    strange = make_explainers(other, [name], learning, options)[name]
    after, _ = maps_of(other, name, strange, few)
    generator = torch.Generator().manual_seed(0)
    noise = NOISE * torch.randn(few.images.shape, generator=generator)
    noisy = replace(few, images=(few.images + noise).clamp(0, 1))
    explainer = make_explainers(grader, [name], learning, options)[name]
    shaken, _ = maps_of(grader, name, explainer, noisy)
    areas = [_areas(grader, few, row, own[row]) for row in range(len(few))]
    return {
        "randomised": _correlations(few, own, after),
        "noisy": _correlations(few, own, shaken),
        "deletion": [area[0] for area in areas],
        "insertion": [area[1] for area in areas],
    }


def _shuffled(grader: Grader, learning: Dataset) -> Grader:
    """The grader with shuffled weights, and the prototypes that these give."""
    network = randomised(grader.network)
    assert isinstance(network, GradingModel)
    bundle = replace(grader.bundle, network=network)
    chosen = learning.select("train")
    seen = Grader(bundle).predict(chosen)
    numbers = range(len(grader.standard.grades))
    means = [
        torch.from_numpy(np.stack([values[chosen.labels == one].mean(axis=0) for one in numbers]))
        for values in (seen.embeddings, seen.features)
    ]
    prototypes = replace(bundle.prototypes, embeddings=means[0], features=means[1])
    return Grader(replace(bundle, prototypes=prototypes))


def _correlations(items: Marked, maps: Planes, others: Planes) -> list[float]:
    """Rank correlation of the maps within each picture."""
    pairs = zip(items.pictures(maps), items.pictures(others), strict=True)
    return [float(map_correlation(one[None], other[None])[0]) for one, other in pairs]


def _areas(grader: Grader, items: Marked, row: int, saliency: Planes) -> tuple[float, float]:
    target = grade_target(grader, items.grades[row])
    subject = Subject(grader.network)

    whole = items.images.shape[2:]
    top, left, height, width = items.boxes[row]
    # Beside the picture its border is repeated, as the network was taught.
    border = (left, whole[1] - left - width, top, whole[0] - top - height)

    def score(images: NDArray[np.float32]) -> NDArray[Any]:
        pixels = torch.nn.functional.pad(torch.from_numpy(images), border, mode="replicate")
        with subject.untouched():
            answer = subject.answer(subject.moved(pixels))
            return answer.values([target])[:, 0].cpu().numpy()

    picture = slice(top, top + height), slice(left, left + width)
    image = items.images[row].numpy()[(slice(None), *picture)]
    nothing = np.asarray(subject.fill(0.0))
    return (
        deletion_auc(score, image, saliency[picture], nothing, STEPS),
        insertion_auc(score, image, saliency[picture], nothing, STEPS),
    )
