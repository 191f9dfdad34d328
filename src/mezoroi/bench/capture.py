"""`mezoroi bench capture`: real fruit, published maps, made-up melons, speed, and their page."""

from __future__ import annotations

from pathlib import Path

from mezoroi.bench.capture_grading import run_grading
from mezoroi.bench.capture_maps import run_maps
from mezoroi.bench.capture_marks import run_fruit
from mezoroi.bench.capture_melons import run_melons
from mezoroi.bench.capture_page import capture_page
from mezoroi.bench.capture_speed import run_speed
from mezoroi.bench.ledger import open_ledgers
from mezoroi.bench.pages import page_of, write_page
from mezoroi.errors import MezoroiError
from mezoroi.progress import Progress, silent

PARTS = ("fruit", "maps", "melons", "grading", "speed")


def run_capture_bench(
    part: str, work: Path, shared: Path, page: Path, progress: Progress = silent
) -> int:
    """Run a part (``all``, one of `PARTS`, or ``page`` for none) and write the page.

    Each part has a ledger of its own beside the page, so that parts can run side by side.

    Parameters
    ----------
    shared : folder of data sets, with ``fruit_rotation`` and ``fsmap_gt``

    Returns
    -------
    number of cells in the ledgers
    """
    if part not in ("all", "page", *PARTS):
        raise MezoroiError(f"unknown part `{part}`: use all, page, {', '.join(PARTS)}")
    ledgers = open_ledgers(page, PARTS)
    made = work / "capture"
    if part in ("all", "fruit"):
        run_fruit(shared / "fruit_rotation", ledgers["fruit"], progress)
    if part in ("all", "maps"):
        run_maps(shared / "fsmap_gt", made, ledgers["maps"], progress)
    if part in ("all", "melons"):
        run_melons(made, ledgers["melons"], progress)
    if part in ("all", "grading"):
        run_grading(made, ledgers["grading"], progress)
    if part in ("all", "speed"):
        run_speed(made, ledgers["speed"])
    write_page(page, page_of(capture_page, ledgers))
    return sum(len(ledger) for ledger in ledgers.values())
