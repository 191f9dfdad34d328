"""`mezoroi bench practice`: simulated learners under several orders of practice, and their page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mezoroi.bench.ledger import Ledger, open_ledgers
from mezoroi.bench.pages import page_of, write_page
from mezoroi.bench.practice_page import practice_page
from mezoroi.bench.practice_plot import learning_curves_png
from mezoroi.bench.practice_score import LEARNERS, SEED, Cells, arms_of
from mezoroi.errors import MezoroiError
from mezoroi.files import write_bytes
from mezoroi.practice.course import Course
from mezoroi.practice.learners import KINDS, LEARNER_VERSION, VARIANTS
from mezoroi.practice.schedule import Pace
from mezoroi.practice.simulation import simulate
from mezoroi.progress import Progress, silent

PARTS = VARIANTS


def run_practice_bench(
    part: str, page: Path, learners: int = LEARNERS, progress: Progress = silent
) -> int:
    """Run a part (``all``, one of `PARTS`, or ``page`` for none); write the page and its picture.

    Parameters
    ----------
    page : the Markdown page; the picture lies beside it, with the suffix ``.png``, and the ledger
        in the folder ``ledger`` there
    learners : per arm and kind

    Returns
    -------
    number of cells in the ledgers
    """
    if part not in ("all", "page", *PARTS):
        raise MezoroiError(f"unknown part `{part}`: use all, page, {', '.join(PARTS)}")
    ledgers = open_ledgers(page, PARTS)
    variants = VARIANTS if part == "all" else [part] if part in PARTS else []
    plan = [(arm, kind, v) for v in variants for kind in KINDS for arm in arms_of(kind)]
    for done, (arm, kind, variant) in enumerate(plan):
        progress("simulating learners", done, len(plan))
        run_cell(ledgers[variant], arm, kind, variant, learners)
    picture = page.with_suffix(".png")

    def render(shown: Mapping[str, Ledger]) -> str:
        cells = find_cells(shown, learners)
        if cells:
            write_bytes(picture, learning_curves_png(cells))
        return practice_page(cells, learners, picture.name)

    write_page(page, page_of(render, ledgers))
    return sum(len(ledger) for ledger in ledgers.values())


def run_cell(ledger: Ledger, arm: str, kind: str, variant: str, learners: int) -> Mapping[str, Any]:
    """One arm's learners of one kind: their curves and what they retain."""

    def work() -> dict[str, Any]:
        outcome = simulate(arm, kind, variant, learners, SEED)
        return {
            "curve": outcome.curve.round(5).tolist(),
            "retention": {name: v.round(5).tolist() for name, v in outcome.retention.items()},
            "right": outcome.right.mean(axis=1).round(5).tolist(),
        }

    return ledger.compute(cell_settings(arm, kind, variant, learners), work)


def cell_settings(arm: str, kind: str, variant: str, learners: int) -> dict[str, Any]:
    """What a cell of the ledger depends on, beside the code."""
    return {
        "bench": "practice",
        "learner_version": LEARNER_VERSION,
        "arm": arm,
        "kind": kind,
        "variant": variant,
        "learners": learners,
        "seed": SEED,
        "course": asdict(Course()),
        "pace": asdict(Pace()),
    }


def find_cells(ledgers: Mapping[str, Ledger], learners: int) -> Cells:
    """What the ledgers of the variants hold, by variant, kind and arm."""
    found = {
        (variant, kind, arm): ledgers[variant].find(cell_settings(arm, kind, variant, learners))
        for variant in VARIANTS
        for kind in KINDS
        for arm in arms_of(kind)
    }
    return {key: cell for key, cell in found.items() if cell is not None}
