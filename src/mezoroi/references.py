"""What happens to a run's reference fruits: filled by the training, and added to."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from mezoroi.bundle import Bundle
from mezoroi.capture.images import read_image
from mezoroi.capture.sources import FruitInput, read_fruit
from mezoroi.datasets import Dataset
from mezoroi.errors import MezoroiError
from mezoroi.grader import Grader
from mezoroi.grading import GradingFailure
from mezoroi.models.preprocess import FittedImage, fit_image
from mezoroi.new_references import NewReference, as_unicode, known_of
from mezoroi.progress import Progress, silent
from mezoroi.retrieval import Gallery, ReferenceIndex
from mezoroi.retrieval.gallery import REFERENCES

_BATCH = 16
_FILL_BATCH = 128


def fill_references(
    bundle: Bundle,
    dataset: Dataset,
    embeddings: np.ndarray,
    run_dir: Path,
    progress: Progress = silent,
) -> Gallery:
    """Make the references of a run from its training fruits and their embeddings (N, D).

    References that an interrupted training left are replaced.
    """
    for name in (REFERENCES, f"{REFERENCES}-journal"):
        (run_dir / name).unlink(missing_ok=True)
    gallery = Gallery.create(run_dir, embeddings.shape[1], bundle.fingerprint)
    size = (bundle.size.height, bundle.size.width)
    for start in range(0, len(dataset), _FILL_BATCH):
        items = dataset.observations[start : start + _FILL_BATCH]
        images = (read_image(item.image, max_side=2 * max(size)) for item in items)
        gallery.add(
            [as_unicode(item.id) for item in items],
            embeddings[start : start + _FILL_BATCH],
            [shown_part(fit_image(image, *size)) for image in images],
            [known_of(item) for item in items],
        )
        progress("filling references", start + len(items), len(dataset))
    gallery.index.rebuild()
    return gallery


def add_references(
    grader: Grader, fruits: Sequence[NewReference], progress: Progress = silent
) -> list[GradingFailure]:
    """Embed fruits and add them to the grader's references.

    Returns
    -------
    the fruits that could not be read, or whose id is taken or given twice; all others are added
    """
    gallery = gallery_of(grader)
    new, failures = _told_apart(gallery, fruits)
    batches = [new[start : start + _BATCH] for start in range(0, len(new), _BATCH)]
    done = 0
    # Not beside the network, whose threads wait for each other.
    with ThreadPoolExecutor(max(1, torch.get_num_threads())) as readers:
        for batch in batches:
            read, failed = _read(grader, batch, readers)
            failures += failed
            if read:
                seen = grader.embed([fruit for _, fruit in read])
                gallery.add(
                    [entry.id for entry, _ in read],
                    seen.embeddings.numpy(),
                    [shown_part(item) for item in seen.fitted],
                    [entry.metadata for entry, _ in read],
                )
            done += len(batch)
            progress("adding references", done, len(new))
    if done:
        gallery.index.prepare(progress)
    return failures


def with_gallery(grader: Grader, run_dir: str | Path, place: str | None = None) -> Grader:
    """The grader with references to add to: those it has, or new, empty ones.

    Parameters
    ----------
    place : of other references than the grader's, as in `ReferenceIndex.open`; made if there are
        none yet

    Raises
    ------
    MezoroiError
        If there are references of another model, or they are damaged or do not answer.
    """
    if grader.gallery is not None and place is None:
        return grader
    bundle, folder = grader.bundle, Path(run_dir)
    if place is not None and ReferenceIndex.exists(place):
        gallery = Gallery.open(folder, bundle.fingerprint, place)
    else:
        dim = bundle.network.embedding_dim
        gallery = Gallery.create(folder, dim, bundle.fingerprint, place)
    return Grader(bundle, str(grader.device), gallery, grader.reliability, grader.notes)


def gallery_of(grader: Grader) -> Gallery:
    """The grader's reference fruits.

    Raises
    ------
    MezoroiError
        If it has none.
    """
    if grader.gallery is None:
        raise MezoroiError(
            "this run has no references: add some with `mezoroi references RUN add FOLDER`"
        )
    return grader.gallery


def shown_part(fitted: FittedImage) -> np.ndarray:
    """(h, w, 3) uint8: the image at network size without what was repeated around it."""
    rows = slice(fitted.top, fitted.top + fitted.height)
    return fitted.pixels[rows, fitted.left : fitted.left + fitted.width]


def _told_apart(
    gallery: Gallery, fruits: Sequence[NewReference]
) -> tuple[list[NewReference], list[GradingFailure]]:
    """The fruits that can be added by their ids, and the others."""
    ids = [fruit.id for fruit in fruits if as_unicode(fruit.id) == fruit.id]
    taken = {item.id for item in gallery.index.references(ids)}
    new: dict[str, NewReference] = {}
    failures = []
    for fruit in fruits:
        problem = fruit.problem
        if problem is None and fruit.id in taken:
            problem = f"`{fruit.id}` is in the references already"
        elif problem is None and fruit.id in new:
            problem = f"id `{fruit.id}` is given twice, first for {new[fruit.id].source}: rename it"
        elif problem is None and as_unicode(fruit.id) != fruit.id:
            problem = f"`{as_unicode(fruit.id)}` is not Unicode text: rename the file"
        if problem is None:
            new[fruit.id] = fruit
        else:
            failures.append(GradingFailure(str(fruit.source), problem))
    return list(new.values()), failures


def _read(
    grader: Grader, batch: Sequence[NewReference], readers: ThreadPoolExecutor
) -> tuple[list[tuple[NewReference, FruitInput]], list[GradingFailure]]:
    def read_one(entry: NewReference) -> FruitInput | GradingFailure:
        try:
            fruit = read_fruit(entry.source, grader.bundle.input_kind)
            if entry.outline is not None:
                fruit = replace(fruit, outline=entry.outline)
            grader.check_outline(fruit)
            return fruit
        except MezoroiError as error:
            return GradingFailure(str(entry.source), str(error))

    found = list(zip(batch, readers.map(read_one, batch), strict=True))
    read = [(entry, fruit) for entry, fruit in found if isinstance(fruit, FruitInput)]
    return read, [failure for _, failure in found if isinstance(failure, GradingFailure)]
