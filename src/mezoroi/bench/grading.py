"""`mezoroi bench grading`: melons, tomatoes, remedies and speed, and their page."""

from __future__ import annotations

from pathlib import Path

from mezoroi.bench.ledger import open_ledgers
from mezoroi.bench.melons import run_melons
from mezoroi.bench.page import grading_page
from mezoroi.bench.pages import page_of, write_page
from mezoroi.bench.speed import run_speed
from mezoroi.bench.tomatoes import run_reading, run_remedies, run_tomatoes
from mezoroi.errors import MezoroiError
from mezoroi.progress import Progress, silent

PARTS = ("melons", "tomatoes", "remedies", "reading", "speed")


def run_grading_bench(
    part: str, work: Path, tomatoes: Path, page: Path, progress: Progress = silent
) -> int:
    """Run a part (``all``, one of `PARTS`, or ``page`` for none) and write the page.

    Each part has a ledger of its own beside the page, so that parts can run side by side.

    Returns
    -------
    number of cells in the ledgers
    """
    if part not in ("all", "page", *PARTS):
        raise MezoroiError(f"unknown part `{part}`: use all, page, {', '.join(PARTS)}")
    ledgers = open_ledgers(page, PARTS)
    if part in ("all", "melons"):
        run_melons(work, ledgers["melons"], progress)
    if part in ("all", "tomatoes"):
        run_tomatoes(tomatoes, work, ledgers["tomatoes"], progress)
    if part in ("all", "remedies"):
        run_remedies(tomatoes, work, ledgers["remedies"], progress)
    if part in ("all", "reading"):
        run_reading(tomatoes, work, ledgers["reading"], progress)
    if part in ("all", "speed"):
        run_speed(work, ledgers["speed"])
    write_page(page, page_of(grading_page, ledgers))
    return sum(len(ledger) for ledger in ledgers.values())
