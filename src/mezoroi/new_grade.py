"""A grade that is added to a trained grader from a few examples."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from mezoroi.bundle import GRADER_JSON, Bundle, Prototypes, no_limits, write_bundle
from mezoroi.capture.sources import find_sources, read_fruit
from mezoroi.cells import cell_text
from mezoroi.errors import MezoroiError
from mezoroi.files import read_json
from mezoroi.grader import Grader
from mezoroi.new_references import NewReference, name_of
from mezoroi.references import add_references, gallery_of
from mezoroi.reliability.judge import read_judge
from mezoroi.retrieval import Gallery
from mezoroi.retrieval.reference import as_references, check_ids
from mezoroi.standard import GradeDescription, GradingStandard

MOST_EXAMPLES = 5
_SAME_SIMILARITY = 0.9999
"""From here on two embeddings are of one picture: the network's own rounding is below it."""


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
        If the grader's similarity is a reading, the grade exists, there are not 1 to 5 examples,
        two have one name, another reference has the id of one, one cannot be read, or another grade
        was added meanwhile.
    """
    if grader.bundle.config.model.similarity == "reading":
        raise MezoroiError(
            f"`{grade}` cannot be added without training: this grader reads grades that it "
            "learned (model.similarity=reading); train anew with the examples"
        )
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
    _require_unchanged(Path(run_dir), grader.bundle)
    write_bundle(bundle, Path(run_dir))
    reliability, note = read_judge(Path(run_dir), bundle)  # of other grades, as the note says
    notes = () if note is None else (note,)
    return Grader(bundle, str(grader.device), grader.gallery, reliability, notes)


def _require_unchanged(run_dir: Path, bundle: Bundle) -> None:
    """Raise if another process added a grade since the bundle was read."""
    content = read_json(run_dir / GRADER_JSON, "copy the whole run folder")
    if content.get("added_grades", []) != list(bundle.added_grades):
        raise MezoroiError(f"{run_dir} has another grade by now: run the command again")


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
