"""`mezoroi bench parts`: part-aware CutMix and the adaptive pairwise margin, and their page."""

from __future__ import annotations

from pathlib import Path

from mezoroi.bench import parts_cells as cells
from mezoroi.bench.ledger import open_ledgers
from mezoroi.bench.pages import page_of, write_page
from mezoroi.bench.parts_boxes import boxes_on_white, run_boxes
from mezoroi.bench.parts_page import parts_page
from mezoroi.bench.parts_speed import run_speed
from mezoroi.errors import MezoroiError
from mezoroi.progress import Progress, silent

PARTS = (
    "produce",
    "remedies",
    "tomatoes",
    "negatives",
    "ratio",
    "truebox",
    "boxes",
    "throughput",
)


def run_parts_bench(
    part: str, produce: Path, tomatoes: Path, work: Path, page: Path, progress: Progress = silent
) -> int:
    """Run a part (``all``, one of `PARTS`, or ``page`` for none) and write the page.

    Each part has a ledger of its own beside the page, so that parts can run side by side.

    Parameters
    ----------
    produce : the folder ``grocery_produce20``
    tomatoes : the manifest of ``fgrade4``

    Returns
    -------
    number of cells in the ledgers
    """
    if part not in ("all", "page", *PARTS):
        raise MezoroiError(f"unknown part `{part}`: use all, page, {', '.join(PARTS)}")
    ledgers = open_ledgers(page, PARTS)
    wanted = PARTS if part == "all" else (part,)
    plans = {
        "produce": [(arm, seed) for seed in cells.SEEDS for arm in cells.ARMS],
        "negatives": [(arm, 0) for arm in cells.NEGATIVE_ARMS],
        "ratio": [(arm, 0) for arm in cells.RATIO_ARMS],
    }
    for name, plan in plans.items():
        if name in wanted:
            dataset = cells.load_produce(produce)
            both = (ledgers[name], ledgers["produce"])
            cells.run_arms("produce", dataset, plan, work, both, progress)
    if "remedies" in wanted:
        plan = [(arm, 0) for arm in cells.REMEDIES]
        own = (ledgers["remedies"],)
        for name, dataset in cells.produce_folds(produce).items():
            cells.run_arms(name, dataset, plan, work, own, progress, split="val")
    if "tomatoes" in wanted:
        plan = [(arm, seed) for seed in cells.SEEDS for arm in cells.TOMATO_ARMS]
        dataset = cells.load_tomatoes(tomatoes)
        cells.run_arms("tomatoes", dataset, plan, work, (ledgers["tomatoes"],), progress)
    if "truebox" in wanted:
        dataset = cells.load_tomatoes(tomatoes)
        both = (ledgers["truebox"], ledgers["tomatoes"])
        found = [(cells.ADAPTIVE, 0), (cells.BY_CAM, 0)]
        cells.run_arms("tomatoes", dataset, found, work, both, progress)
        known = [(cells.ADAPTIVE, 0)]
        cells.run_arms("tomatoes", dataset, known, work, both, progress, boxes_on_white)
    if "boxes" in wanted:
        run_boxes(work, ledgers["boxes"], progress)
    if "throughput" in wanted:
        run_speed(cells.load_produce(produce), work, ledgers["throughput"], progress)
    write_page(page, page_of(parts_page, ledgers))
    return sum(len(ledger) for ledger in ledgers.values())
