"""Whether a dataset has fruits enough of every grade to train on."""

from __future__ import annotations

from collections import Counter

from mezoroi.datasets.dataset import Dataset
from mezoroi.datasets.splits import Grouping
from mezoroi.errors import MezoroiError


def require_enough(dataset: Dataset, group: Grouping) -> None:
    """Refuse grades of too few specimens to make the splits and learn from two observations.

    Of sessions this can be told only once they are dealt out.
    """
    brought = {item.split for item in dataset}
    if group != "specimen":
        return
    if brought == {None}:
        dealt, side, least, instead = dataset, "", 4, "splits of your own"
    elif "train" in brought and not brought & {"val", None}:
        dealt, side, least, instead = dataset.select("train"), " in train", 3, "a val of your own"
    else:
        return
    scarce = []
    for grade in dataset.standard.grades:
        images = Counter(item.specimen for item in dealt if item.grade == grade)
        # One specimen for training is enough where it has two images.
        needed = least if min(images.values(), default=1) == 1 else least - 1
        if len(images) < needed:
            scarce.append(f"grade `{grade}` has {len(images)}")
    if scarce:
        raise MezoroiError(
            f"too few specimens{side} ({', '.join(scarce)}): at least {least} of every grade are "
            f"needed, or {instead}"
        )


def require_every_grade(learning: Dataset) -> None:
    """Refuse training observations of which a grade has fewer than two."""
    missing = [grade for grade, count in learning.counts().items() if count < 2]
    if missing:
        raise MezoroiError(
            f"grade `{missing[0]}` has fewer than 2 training observations: "
            "add fruits of it or take it out of the standard"
        )
