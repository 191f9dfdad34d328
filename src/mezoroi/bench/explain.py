"""`mezoroi bench explain`: melons, backbones, real defects, ceiling, speed, and their page."""

from __future__ import annotations

from pathlib import Path

from mezoroi.bench.explain_backbones import run_backbones, run_steel
from mezoroi.bench.explain_ceiling import run_ceiling
from mezoroi.bench.explain_lift import run_lift
from mezoroi.bench.explain_masks import run_masks
from mezoroi.bench.explain_melons import run_melons
from mezoroi.bench.explain_page import explain_page
from mezoroi.bench.explain_real import run_real
from mezoroi.bench.explain_speed import run_exact, run_speed
from mezoroi.bench.ledger import open_ledgers
from mezoroi.bench.pages import page_of, write_page
from mezoroi.errors import MezoroiError
from mezoroi.progress import Progress, silent

PARTS = ("ceiling", "speed", "melons", "masks", "backbones", "real", "lift", "exact")


def run_explain_bench(
    part: str, work: Path, shared: Path, page: Path, progress: Progress = silent
) -> int:
    """Run a part (``all``, one of `PARTS`, or ``page`` for none) and write the page.

    Returns
    -------
    number of cells in the ledgers
    """
    if part not in ("all", "page", *PARTS):
        raise MezoroiError(f"unknown part `{part}`: use all, page, {', '.join(PARTS)}")
    ledgers = open_ledgers(page, PARTS)
    if part in ("all", "ceiling"):
        run_ceiling(shared, ledgers["ceiling"])
    if part in ("all", "speed"):
        run_speed(ledgers["speed"])
    if part in ("all", "melons"):
        run_melons(work, ledgers["melons"], progress)
    if part in ("all", "masks"):
        run_masks(work, ledgers["masks"], progress)
    if part in ("all", "backbones"):
        run_backbones(work, ledgers["backbones"], progress)
        run_steel(shared, work, ledgers["backbones"], progress)
    if part in ("all", "real"):
        run_real(shared, work, ledgers["real"], progress)
    if part in ("all", "lift"):
        run_lift(shared, work, ledgers["lift"], progress)
    if part in ("all", "exact"):
        run_exact(ledgers["exact"], progress)
    write_page(page, page_of(explain_page, ledgers))
    return sum(len(ledger) for ledger in ledgers.values())
