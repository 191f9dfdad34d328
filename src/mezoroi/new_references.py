"""Which fruits are to become references, and what is known of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mezoroi.capture.sources import find_sources
from mezoroi.cells import as_day, cell_text
from mezoroi.datasets import Observation, brings_grades, load_usable
from mezoroi.errors import MezoroiError
from mezoroi.grader import Grader
from mezoroi.retrieval.reference import as_references


@dataclass(frozen=True)
class NewReference:
    """A fruit to be added.

    Attributes
    ----------
    id : unique among the references
    source : as `read_fruit` takes it
    metadata : ``grade``, ``date`` and ``orchard``, where known
    outline : shape statistics that a manifest names; None for those beside the image, if any
    problem : why it cannot be added, where that is known already
    """

    id: str
    source: Path
    metadata: Mapping[str, Any]
    outline: Mapping[str, float] | None = None
    problem: str | None = None


def find_new(
    grader: Grader, sources: Sequence[str | Path], metadata: Mapping[str, Any]
) -> list[NewReference]:
    """The fruits below `sources`, each with what is known of it.

    A manifest, a folder with one, or a folder whose folders are named after grades brings its
    grades; all others get `metadata`, whose values count before those of a manifest. What of these
    cannot be used is among the fruits, with its problem.

    Raises
    ------
    MezoroiError
        If a source holds no fruit, a manifest cannot be read at all, or `metadata` are wrong.
    """
    list(as_references(["new"], [metadata]))
    known = set(grader.standard.grades)
    grade = metadata.get("grade")
    if grade is not None and grade not in known:
        raise MezoroiError(
            f"unknown grade `{grade}`: the standard has {', '.join(grader.standard.grades)}; "
            "`add-grade` adds one"
        )
    found: list[NewReference] = []
    for path in map(Path, sources):
        if brings_grades(path, known):
            usable, unusable = load_usable(path, grader.standard)
            found += [
                NewReference(item.id, item.image, {**known_of(item), **metadata}, item.outline)
                for item in usable
            ]
            found += [NewReference("", each, {}, problem=problem) for each, problem in unusable]
        else:
            found += [
                NewReference(_relative(each, path), each, metadata)
                for each in find_sources([path], grader.bundle.input_kind)
            ]
    return found


def known_of(item: Observation) -> dict[str, Any]:
    """What a person needs besides the picture: grade, where from, which fruit, and its shape."""
    known = {
        "grade": item.grade,
        "date": as_day(item.extra.get("date")),
        "orchard": cell_text(item.extra.get("orchard")),
        "specimen": as_unicode(item.specimen),
        "outline": None if item.outline is None else dict(item.outline),
    }
    return {name: value for name, value in known.items() if value}


def as_unicode(text: str) -> str:
    """`text` with stray bytes of a file's name as ``\\udcff``: a training is not lost to one."""
    return text.encode("utf-8", "backslashreplace").decode()


def name_of(path: Path) -> str:
    """Name of a file or folder, also of ``.`` and ``..``."""
    return path.resolve().name if path.name in ("", "..") else path.name


def _relative(path: Path, base: Path) -> str:
    """Path below the folder that was given, with that folder's name."""
    name = name_of(base)
    return name if path == base else f"{name}/{path.relative_to(base).as_posix()}"
