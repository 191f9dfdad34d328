"""Images unlike the rest of a dataset, which decide how all of it is trained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from mezoroi.capture.images import is_panorama, read_size
from mezoroi.datasets.dataset import Observation


def notes_on_odd_images(observations: Sequence[Observation]) -> tuple[str, ...]:
    """One line each where some images, but not all, lack an outline, or a few are no panorama."""
    total = len(observations)
    notes = []
    bare = [item for item in observations if item.outline is None]
    if 0 < len(bare) < total:
        notes.append(
            f"{len(bare)} of {total} images have no outline, the first {bare[0].id}: "
            "no outline is used for any; capture these again, or take them out"
        )
    other = [] if bare else _with_other_statistics(observations)
    if other:
        notes.append(
            f"{len(other)} of {total} outlines hold other statistics, the first of {other[0].id}: "
            "no outline is used for any; capture these again, or take them out"
        )
    narrow = [item for item in observations if not is_panorama(*read_size(item.image))]
    if 0 < len(narrow) < total / 2:  # among photos a wide one is nothing odd
        notes.append(
            f"{len(narrow)} of {total} images are no panorama, the first {narrow[0].id}: "
            "all are taken as photos; to learn from panoramas, capture these, or take them out"
        )
    return tuple(notes)


def _with_other_statistics(observations: Sequence[Observation]) -> list[Observation]:
    """The observations whose outlines do not hold the statistics that most do."""
    names = [frozenset(item.outline or ()) for item in observations]
    if len(set(names)) < 2:
        return []
    usual = Counter(names).most_common(1)[0][0]
    return [item for item, own in zip(observations, names, strict=True) if own != usual]
