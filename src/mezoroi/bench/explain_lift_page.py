"""The section of docs/results/explain.md on what lifts the activation map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mezoroi.bench.explain_lift import (
    ABOVE,
    BASE,
    BASE_MAP,
    CHANGES,
    DATA,
    FOLDS,
    OURS,
    TRIVIAL,
    Change,
    by_merit,
    lift_settings,
)
from mezoroi.bench.explain_real import BUDGET, real_config
from mezoroi.bench.ledger import Ledger
from mezoroi.bench.tables import MISSING, mean_text, table, values_of
from mezoroi.config import Config
from mezoroi.metrics.intervals import Interval, bootstrap_interval

Cells = Mapping[int, Mapping[str, Any]]
"""The cells of a row, by fold."""
POINTING_AIM, MASS_AIM = 0.8, 1.3
_HEAD = [
    "settings",
    "accuracy",
    "pointing",
    "each fold",
    "less the first row's",
    "mass",
    "above chance",
    "Grad-CAM's",
    "times Grad-CAM's",
    "mIoU at 0.5",
]


def lift_section(ledger: Ledger, config: Config | None = None) -> str:
    """The table, and what it says of the two aims; cells that are missing are marked so."""
    config = config or real_config()

    def cells(change: Change) -> Cells:
        every = {fold: ledger.find(lift_settings(change, fold, config)) for fold in range(FOLDS)}
        return {fold: cell for fold, cell in every.items() if cell}

    found = {change.name: cells(change) for change in CHANGES}
    rows = [_row(name, own, found[BASE.name]) for name, own in found.items()]
    rows += _trivial_rows(list(cells(TRIVIAL).values()))
    best = by_merit(ledger, config)[0].name
    return "\n".join(
        [
            "## What lifts the map on small defects\n",
            f"`{DATA}`, the training tiles in {FOLDS} folds by tile, one of which is graded and "
            "explained by a grader that learned from the others (fold 0 only where one number "
            "stands under *each fold*); test tiles take no part. One setting at a time from those "
            f"of the table of real defects: {', '.join(BUDGET)}, class channels at stride "
            f"{config.model.stride}, {config.loss.head} head, diversity weight "
            f"{config.loss.diversity_weight:g}, tiles of {config.loss.swap_tile} cells swapped. "
            "The activation map, cut to the pictures, all rows in pixels of one size. *Less the "
            "first row's*: pointing, of the same folds. *Above chance*: mass of the map less "
            "1 / grades, as a probability is nowhere 0. *Grad-CAM's*: mass, on the same network's "
            "feature map.\n",
            table(_HEAD, rows),
            _verdict(best, found),
        ]
    )


def _row(name: str, cells: Cells, base: Cells) -> list[str]:
    if not cells:
        return [name, MISSING, *[""] * (len(_HEAD) - 2)]
    ours, above, theirs = (_maps(cells, one) for one in (OURS, ABOVE, BASE_MAP))
    compared = cells is not base and cells.keys() & base.keys()
    return [
        name,
        f"{np.mean([cell['accuracy'] for cell in cells.values()]):.1%}",
        mean_text(ours, "pointing"),
        ", ".join(f"{np.nanmean(values_of([one], 'pointing')):.2f}" for one in ours),
        _signed(_less_base(cells, base)) if compared else "",
        mean_text(ours, "mass"),
        mean_text(above, "mass"),
        mean_text(theirs, "mass"),
        _times(cells),
        mean_text(ours, "iou"),
    ]


def _trivial_rows(cells: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    rows = []
    for name in cells[0]["maps"] if cells else ():
        scores = [cell["maps"][name] for cell in cells]
        pointing, mass, iou = (mean_text(scores, key) for key in ("pointing", "mass", "iou"))
        rows.append([f"*{name}*", "", pointing, "", "", mass, "", "", "", iou])
    return rows


def _verdict(best: str, found: Mapping[str, Cells]) -> str:
    """Which rows reach the aims, and which differ from the first one by more than chance."""
    done = {name: cells for name, cells in found.items() if cells}
    base = found[BASE.name]
    if not base:
        return ""
    points = [name for name, cells in done.items() if _pointing(cells) >= POINTING_AIM]
    weighs = [name for name, cells in done.items() if _ratio(cells).value >= MASS_AIM]
    differ = [
        f"{name} {_signed(less)}"
        for name, cells in done.items()
        if cells is not base and cells.keys() & base.keys()
        if (less := _less_base(cells, base)).excludes_zero
    ]
    spread = [
        max(values) - min(values)
        for cells in done.values()
        if len(values := [_pointing({fold: cells[fold]}) for fold in cells]) > 1
    ]
    first, second = (f"{_pointing(done[name]):.3f} over" for name in (best, BASE.name))
    return "\n".join(
        [
            f"{len(done)} of {len(found)} rows were run. Pointing of {POINTING_AIM:g}, the aim: "
            f"{_listed(points)}. {MASS_AIM:g} times Grad-CAM's mass, the aim: {_listed(weighs)}. "
            f"Both: {_listed([name for name in points if name in weighs])}.\n",
            f"Pointing that differs from the first row's by more than chance: {_listed(differ)}. "
            "Largest difference between folds of one row: "
            f"{f'{max(spread):.2f}' if spread else MISSING}. Best by pointing on the first fold: "
            f"*{best}*, {first} {len(done[best])} of {FOLDS} folds; *{BASE.name}* "
            f"{second} {len(base)}. The best of several rows looks better than it is.\n",
        ]
    )


def _maps(cells: Cells, name: str) -> list[Mapping[str, Any]]:
    return [cell["maps"][name] for cell in cells.values()]


def _pointing(cells: Cells) -> float:
    return float(np.nanmean(values_of(_maps(cells, OURS), "pointing")))


def _groups(cells: Cells) -> list[str]:
    return [name for cell in cells.values() for name in cell["specimens"]]


def _less_base(cells: Cells, base: Cells) -> Interval:
    """Pointing less that of the base, on the folds that both have."""
    common = [fold for fold in cells if fold in base]
    ours, theirs = (
        values_of(_maps({fold: one[fold] for fold in common}, OURS), "pointing")
        for one in (cells, base)
    )
    groups = _groups({fold: cells[fold] for fold in common})
    return bootstrap_interval(np.nanmean, groups, ours - theirs)


def _ratio(cells: Cells) -> Interval:
    """Mean mass of the activation map over that of Grad-CAM."""

    def ratio(ours: NDArray[Any], theirs: NDArray[Any]) -> float:
        return float(np.nanmean(ours) / max(float(np.nanmean(theirs)), 1e-12))

    masses = [values_of(_maps(cells, name), "mass") for name in (OURS, BASE_MAP)]
    return bootstrap_interval(ratio, _groups(cells), *masses)


def _times(cells: Cells) -> str:
    found = _ratio(cells)
    return f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})"


def _signed(found: Interval) -> str:
    return f"{found.value:+.3f} ({found.low:+.3f} to {found.high:+.3f})"


def _listed(names: Sequence[str]) -> str:
    return "; ".join(names) if names else "no row"
