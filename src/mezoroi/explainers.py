"""The explainers of a grader's network, ready for its fruits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from mezoroi.datasets import Dataset
from mezoroi.errors import MezoroiError
from mezoroi.explain import EXPLAINERS, Explainer, Similarity, create
from mezoroi.explain.adapting import AdaptingGradCAM
from mezoroi.files import content_hash
from mezoroi.grader import Grader
from mezoroi.models import FruitImages
from mezoroi.progress import Progress, silent
from mezoroi.similarity import surface_target

BANK_PER_GRADE = 50


def choose_explainers(
    grader: Grader,
    methods: str,
    training: Dataset | None,
    options: Mapping[str, Mapping[str, Any]],
    progress: Progress = silent,
) -> tuple[dict[str, Explainer], list[str]]:
    """Explainers by their names with commas between them, or ``all`` that suit the grader.

    Returns
    -------
    the explainers, and a line on each that does not suit
    """
    names = [name.strip() for name in methods.split(",") if name.strip()]
    if names != ["all"]:
        if not names:
            raise MezoroiError(f"no method is named: use {', '.join(EXPLAINERS)}")
        return make_explainers(grader, names, training, options, progress), []
    explainers: dict[str, Explainer] = {}
    skipped = []
    for name in EXPLAINERS:
        try:
            explainers |= make_explainers(grader, [name], training, options, progress)
        except MezoroiError as error:
            skipped.append(f"{name} is left out: {error}")
    return explainers, skipped


def make_explainers(
    grader: Grader,
    methods: Sequence[str],
    training: Dataset | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    progress: Progress = silent,
) -> dict[str, Explainer]:
    """Explainers of a grader's network, whose class numbers are its surface grades.

    Raises
    ------
    MezoroiError
        As `create`, and where adapting-grad-cam has nothing to learn from.
    """
    standard = grader.bundle.trained_standard
    rows = [standard.grades.index(grade) for grade in standard.surface_grades]
    given: dict[str, dict[str, Any]] = {
        "dist-cam": {"reference": grader.bundle.prototypes.features[rows].to(grader.device)}
    }
    if "cam" in methods:
        given["cam"] = {"head": head_weights(grader)[rows]}
    explainers = {}
    for name in methods:
        chosen = {**given.get(name, {}), **(options or {}).get(name, {})}
        explainers[name] = create(name, grader.network, **chosen)
    learner = explainers.get("adapting-grad-cam")
    if isinstance(learner, AdaptingGradCAM) and learner.bank is None:
        if training is None:
            raise MezoroiError(
                "adapting-grad-cam learns from training fruits: give them with --training, "
                f"or use {', '.join(name for name in EXPLAINERS if name != learner.name)}"
            )
        images, labels, contents = _training_images(grader, training)
        progress("learning", 0, 1)
        bank = learner.fit(images, labels)
        learner.bank = replace(bank, contents=contents)
        progress("learning", 1, 1)
    return explainers


def untaught(explainers: Mapping[str, Explainer], content: str) -> dict[str, Explainer]:
    """Explainers that did not learn from an image, told by the hash of its file."""
    chosen = dict(explainers)
    for name, one in explainers.items():
        if isinstance(one, AdaptingGradCAM) and one.bank is not None and one.bank.contents:
            bank = one.bank.without(content)
            if bank is not one.bank:
                chosen[name] = one.with_bank(bank)
    return chosen


def grade_target(grader: Grader, grade: str) -> Similarity:
    """Similarity of a surface with a surface grade, as a target for every method."""
    return surface_target(grader.bundle, grade)


def head_weights(grader: Grader) -> torch.Tensor:
    """(G, D) weights of the trained head's scores on the embedding, up to a factor per grade."""
    with torch.inference_mode():
        head, width = grader.bundle.head, grader.network.embedding_dim
        axes = torch.eye(width, device=grader.device)
        # Scores are linear in the embedding, or in its direction: differences give the weights.
        scores = head.get_logits(axes) - head.get_logits(-axes)  # type: ignore[operator]
        return (scores / 2).T.clone()


def _training_images(
    grader: Grader, training: Dataset
) -> tuple[torch.Tensor, torch.Tensor, tuple[str, ...]]:
    """Up to `BANK_PER_GRADE` training fruits of each surface grade, its number, and their hashes.

    Raises
    ------
    MezoroiError
        If there is none.
    """
    surface = grader.bundle.trained_standard.surface_grades
    known = [item for item in training if item.grade in surface]
    learning = [item for item in known if item.split in (None, "train")]
    if not learning:
        raise MezoroiError(
            "the dataset holds no fruit that the grader was trained with, of a grade with a "
            "place on the surface: give that of its training with --training"
        )
    rows = [
        item
        for grade in surface
        for item in [one for one in learning if one.grade == grade][:BANK_PER_GRADE]
    ]
    size = grader.bundle.size
    chosen = Dataset(tuple(rows), training.standard, training.root)
    images = FruitImages(chosen, size.height, size.width, megabytes=0).images(
        list(range(len(rows)))
    )
    contents = tuple(content_hash(item.image) for item in rows)
    return images, torch.tensor([surface.index(item.grade) for item in rows]), contents
