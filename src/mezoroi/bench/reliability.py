"""`mezoroi bench reliability`: adjustment, signals, sets, suspected labels, speed, and the page."""

from __future__ import annotations

from pathlib import Path

from mezoroi.bench.ledger import open_ledgers
from mezoroi.bench.pages import page_of, write_page
from mezoroi.bench.reliability_hans import run_hans
from mezoroi.bench.reliability_labels import run_labels
from mezoroi.bench.reliability_page import reliability_page
from mezoroi.bench.reliability_resplits import run_melon_resplits, run_tomato_resplits
from mezoroi.bench.reliability_speed import run_reliability_speed
from mezoroi.errors import MezoroiError
from mezoroi.progress import Progress, silent

PARTS = ("clever-hans", "melons", "tomatoes", "labels", "speed")


def run_reliability_bench(
    part: str, work: Path, tomatoes: Path, page: Path, progress: Progress = silent
) -> int:
    """Run a part (``all``, one of `PARTS`, or ``page`` for none) and write the page.

    Parameters
    ----------
    tomatoes : manifest of fgrade4

    Returns
    -------
    number of cells in the ledgers
    """
    if part not in ("all", "page", *PARTS):
        raise MezoroiError(f"unknown part `{part}`: use all, page, {', '.join(PARTS)}")
    ledgers = open_ledgers(page, PARTS)
    if part in ("all", "speed"):
        run_reliability_speed(ledgers["speed"])
    if part in ("all", "clever-hans"):
        run_hans(work, ledgers["clever-hans"], progress)
    if part in ("all", "melons"):
        run_melon_resplits(work, ledgers["melons"], progress)
    if part in ("all", "tomatoes"):
        run_tomato_resplits(tomatoes, work, ledgers["tomatoes"], progress)
    if part in ("all", "labels"):
        run_labels(work, ledgers["labels"], progress)
    write_page(page, page_of(reliability_page, ledgers))
    return sum(len(ledger) for ledger in ledgers.values())
