"""What happens to a run's reference fruits: filled, added to, and new grades made from a few."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from mezoroi.bundle import Bundle, Prototypes, no_limits, write_bundle
from mezoroi.capture.images import read_image
from mezoroi.capture.sources import FruitInput, find_sources, read_fruit
from mezoroi.cells import cell_text
from mezoroi.datasets import Dataset
from mezoroi.errors import MezoroiError
from mezoroi.grader import Grader
from mezoroi.grading import GradingFailure
from mezoroi.models.preprocess import FittedImage, fit_image
from mezoroi.new_references import NewReference, as_unicode, known_of, name_of
from mezoroi.progress import Progress, silent
from mezoroi.reliability.judge import read_judge
from mezoroi.retrieval import Gallery, ReferenceIndex
from mezoroi.retrieval.gallery import REFERENCES
from mezoroi.retrieval.reference import as_references, check_ids
from mezoroi.standard import GradeDescription, GradingStandard

MOST_EXAMPLES = 5
_BATCH = 16
_FILL_BATCH = 128
_SAME_SIMILARITY = 0.9999
"""From here on two embeddings are of one picture: the network's own rounding is below it."""


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


def add_grade(
    grader: Grader,
    run_dir: str | Path,
    grade: str,
    sources: Sequence[str | Path],
    metadata: Mapping[str, Any] | None = None,
) -> Grader:
    """Add a grade from 1 to 5 examples, without training.

    Its prototype is the examples' mean embedding, as the Dist-CAM paper makes classes in few-shot
    learning; it comes last in the standard and first in precedence. A fruit resembles it from the
    median of the other grades' thresholds on, or from the least similarity of an example with the
    mean of the others, if that is lower, but not below all other grades' thresholds. The examples
    become references.

    Parameters
    ----------
    metadata : ``date`` and ``orchard`` of the examples, where known

    Returns
    -------
    the grader with the new grade, written to `run_dir`

    Raises
    ------
    MezoroiError
        If the grade exists, there are not 1 to 5 examples, two have one name, another reference
        has the id of one, or one cannot be read.
    """
    grade = cell_text(grade)  # as tables give it: fruits of `E ` would be of another grade
    standard = _with_grade(grader.standard, grade)
    found = find_sources(sources, grader.bundle.input_kind)
    if not 1 <= len(found) <= MOST_EXAMPLES:
        raise MezoroiError(
            f"{len(found)} examples of `{grade}`: give 1 to {MOST_EXAMPLES}, or train with all"
        )
    known = {**(metadata or {}), "grade": grade}
    entries = [NewReference(f"{grade}/{name_of(path)}", path, known) for path in found]
    _check_names(entries)
    list(as_references([entry.id for entry in entries], [known] * len(entries)))
    fruits = [read_fruit(path, grader.bundle.input_kind) for path in found]
    seen = grader.embed(fruits)
    new = _not_added_yet(gallery_of(grader), entries, seen.embeddings.numpy())
    old = grader.bundle.prototypes
    threshold = _few_shot_threshold(seen.embeddings, old.thresholds)
    prototypes = Prototypes(
        torch.cat([old.embeddings.cpu(), seen.embeddings.mean(dim=0, keepdim=True)]),
        torch.cat([old.features.cpu(), seen.feature_maps.mean(dim=(0, 2, 3))[None]]),
        torch.cat([old.thresholds.cpu(), threshold[None]]),
        torch.cat([old.sign_limits.cpu(), no_limits(1)]),
        old.exemplars.cpu(),
        old.exemplar_grades.cpu(),
    )
    if grader.bundle.config.model.exemplars:
        members = torch.full((len(found),), len(standard.grades) - 1)
        prototypes = replace(
            prototypes,
            exemplars=torch.cat([prototypes.exemplars, seen.embeddings]),
            exemplar_grades=torch.cat([prototypes.exemplar_grades, members]),
        )
    # Before the grade: after an interruption the same command finds them added and goes on.
    failures = add_references(grader, new)
    if failures:
        raise MezoroiError(f"{failures[0].error}: no grade was added")
    bundle = replace(
        grader.bundle,
        standard=standard,
        prototypes=prototypes,
        added_grades=(*grader.bundle.added_grades, grade),
    )
    write_bundle(bundle, Path(run_dir))
    reliability, note = read_judge(Path(run_dir), bundle)  # of other grades, as the note says
    notes = () if note is None else (note,)
    return Grader(bundle, str(grader.device), grader.gallery, reliability, notes)


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


def _check_names(examples: Sequence[NewReference]) -> None:
    """Refuse examples that would not all become references."""
    names = [name_of(example.source) for example in examples]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise MezoroiError(
            f"two examples are called `{twice}`: rename one, or give their capture folders"
        )
    check_ids([example.id for example in examples])


def _not_added_yet(
    gallery: Gallery, examples: Sequence[NewReference], embeddings: np.ndarray
) -> list[NewReference]:
    """The examples without those that an interrupted `add_grade` left.

    Raises
    ------
    MezoroiError
        If another fruit has an example's id: the new grade would lack that reference.
    """
    taken = {item.id for item in gallery.index.references([entry.id for entry in examples])}
    for entry, embedding in zip(examples, embeddings, strict=True):
        if entry.id in taken:
            grade = entry.metadata["grade"]
            count = len(gallery.index)  # several may show the same picture
            ids, similarity = gallery.index.search(embedding[None], count, {"grade": grade})
            alike = dict(zip(ids[0], similarity[0], strict=True))
            if alike.get(entry.id, -1.0) < _SAME_SIMILARITY:
                raise MezoroiError(
                    f"`{entry.id}` is in the references already and is another fruit: rename "
                    f"{entry.source}, or remove that reference first"
                )
    return [entry for entry in examples if entry.id not in taken]


def _few_shot_threshold(embeddings: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Least similarity at which a fruit resembles a grade known from N examples (N, D)."""
    known = others.cpu()[~others.cpu().isnan()]
    count = len(embeddings)
    if count == 1:
        return known.median() if len(known) else torch.tensor(float("nan"))
    rest = (embeddings.sum(dim=0) - embeddings) / (count - 1)
    own = F.cosine_similarity(embeddings, rest, dim=1).min()
    return own.clamp(known.min(), known.median()) if len(known) else own


def _with_grade(standard: GradingStandard, grade: str) -> GradingStandard:
    if grade in standard.grades:
        raise MezoroiError(
            f"grade `{grade}` is in the standard already: add its fruits with `references RUN add "
            f"--grade {grade}`"
        )
    if not grade:
        raise MezoroiError("the new grade has no name: give one")
    if any(unicodedata.category(letter) == "Cc" for letter in grade):
        raise MezoroiError(f"the new grade is called {grade!r}: give it a name of one line")
    return replace(
        standard,
        grades=(*standard.grades, grade),
        precedence=(grade, *standard.precedence),
        descriptions={**standard.descriptions, grade: GradeDescription({}, {})},
    )
