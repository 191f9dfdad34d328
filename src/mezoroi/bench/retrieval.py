"""`mezoroi bench retrieval`: Feature Tuning's tables, the reference index's speed, their page."""

from __future__ import annotations

from pathlib import Path

from mezoroi.bench.ledger import open_ledgers
from mezoroi.bench.pages import page_of, write_page
from mezoroi.bench.retrieval_data import PACKAGED, Backbone
from mezoroi.bench.retrieval_million import run_million
from mezoroi.bench.retrieval_page import retrieval_page
from mezoroi.bench.retrieval_speed import run_speed
from mezoroi.bench.retrieval_tables import run_grocery, run_tables
from mezoroi.bench.retrieval_trained import run_short, run_trained
from mezoroi.errors import MezoroiError
from mezoroi.progress import Progress, silent

PARTS = ("tables", "trained", "short", "grocery", "speed", "million")


def run_retrieval_bench(
    part: str,
    fruit: Path,
    produce: Path,
    work: Path,
    page: Path,
    backbone: Backbone = PACKAGED,
    progress: Progress = silent,
) -> int:
    """Run a part (``all``, one of `PARTS`, or ``page`` for none) and write the page.

    Each part has a ledger of its own beside the page, so that parts can run side by side.

    Parameters
    ----------
    fruit : the folder ``fruit_rotation``
    produce : the folder ``grocery_produce20``, also the clutter behind the fruit
    backbone : the network that makes the features

    Returns
    -------
    number of cells in the ledgers
    """
    if part not in ("all", "page", *PARTS):
        raise MezoroiError(f"unknown part `{part}`: use all, page, {', '.join(PARTS)}")
    ledgers = open_ledgers(page, PARTS)
    made = work / "retrieval"
    if part in ("all", "tables"):
        run_tables(fruit, produce, made, ledgers["tables"], backbone, progress)
    if part in ("all", "trained"):
        run_trained(fruit, ledgers["trained"], backbone, progress)
    if part in ("all", "short"):
        run_short(fruit, ledgers["short"], backbone, progress)
    if part in ("all", "grocery"):
        run_grocery(produce, made, ledgers["grocery"], backbone, progress)
    if part in ("all", "speed"):
        run_speed(made, ledgers["speed"], progress)
    if part in ("all", "million"):
        run_million(fruit, produce, made, ledgers["million"], backbone, progress)
    write_page(page, page_of(lambda shown: retrieval_page(shown, backbone), ledgers))
    return sum(len(ledger) for ledger in ledgers.values())
