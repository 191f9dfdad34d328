"""Images that a dataset holds more than once: by name in a manifest, or by content."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from mezoroi.datasets.dataset import Dataset, Observation
from mezoroi.datasets.rows import Row, Rows, observation_id
from mezoroi.files import content_hash

_MOST_NOTES = 5


def settle_repeated_rows(found: Rows) -> tuple[Rows, tuple[str, ...]]:
    """Rows without repetitions, and a note on each image that was listed twice.

    An image listed twice alike counts once. One listed with two grades teaches nothing: it is left
    out, since no one here can say which grade is right. Rows that differ in anything else, or of
    which some have no grade, are problems: to drop one could put a fruit on two sides of a split.
    """
    by_name: dict[str, list[Row]] = {}
    for row in found.rows:
        by_name.setdefault(observation_id(row.image, found.root), []).append(row)
    kept, notes, problems = [], [], list(found.problems)
    for name, rows in by_name.items():
        grades = sorted({row.grade for row in rows if row.grade})
        where = " and ".join(row.where for row in rows)
        differences = _differences(rows)
        if len(grades) > 1:
            listed = " and ".join(grades)
            notes.append(
                f"{where}: {name} is listed with grade {listed}, left out: correct its grade"
            )
            continue
        kept.append(rows[0])
        if differences:
            problems.append(f"{where}: {name} is listed with {differences}: keep the right row")
        elif len(rows) > 1:
            listed = f" with grade {grades[0]}" if grades else ""
            notes.append(f"{where}: {name} is listed{listed}, counted once")
    return replace(found, rows=tuple(kept), problems=tuple(problems)), tuple(notes)


def _differences(rows: Iterable[Row]) -> str:
    """What rows of one image say differently, such as ``specimen s0 and s9``; else empty."""
    given = {
        name: {str(getattr(row, name) or f"no {name}") for row in rows}
        for name in ("grade", "specimen", "split", "session", "mask")
    }
    return ", ".join(
        f"{name} {' and '.join(sorted(values))}"
        for name, values in given.items()
        if len(values) > 1
    )


def same_pictures(observations: Iterable[Observation]) -> list[tuple[Observation, ...]]:
    """Groups of observations of different specimens whose image files are the same, byte by byte.

    Such a pair on two sides of a split lets a grader be tested on what it was trained on.
    """
    by_size: dict[int, list[Observation]] = {}
    for observation in observations:
        by_size.setdefault(observation.image.stat().st_size, []).append(observation)
    groups = []
    for candidates in by_size.values():
        by_content: dict[str, list[Observation]] = {}
        for observation in candidates if len(candidates) > 1 else ():
            by_content.setdefault(content_hash(observation.image), []).append(observation)
        groups += [
            tuple(group)
            for group in by_content.values()
            if len({observation.specimen for observation in group}) > 1
        ]
    return groups


def notes_on_same_pictures(observations: Iterable[Observation]) -> tuple[str, ...]:
    """One line for each of the first groups of `same_pictures`, and one that counts the others."""
    notes = []
    groups = same_pictures(observations)
    for group in groups[:_MOST_NOTES]:
        names = " and ".join(observation.id for observation in group)
        specimens = " and ".join(sorted({observation.specimen for observation in group}))
        splits = {observation.split for observation in group if observation.split}
        sides = f", in {' and '.join(sorted(splits))}" if len(splits) > 1 else ""
        notes.append(
            f"{names} are the same picture under the specimens {specimens}{sides}: "
            "correct the specimen, or remove one"
        )
    if len(groups) > _MOST_NOTES:
        notes.append(f"{len(groups) - _MOST_NOTES} more pictures are listed under two specimens")
    return tuple(notes)


def without_same_pictures(dataset: Dataset) -> Dataset:
    """`dataset` less every picture that occurs under another specimen as well."""
    doubtful = {item.id for group in same_pictures(dataset) for item in group}
    kept = tuple(item for item in dataset if item.id not in doubtful)
    return replace(dataset, observations=kept)
