"""The picture of `mezoroi bench practice`: learning curves by kind of learner."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mezoroi.bench.practice_score import BOUNDED, Cells, curve_of, title_of
from mezoroi.practice.course import Course
from mezoroi.practice.learners import KINDS, VARIANTS
from mezoroi.practice.simulation import (
    ADAPTIVE,
    ALL_KNOWING,
    BLOCKED,
    ERRING,
    PAIRS_ONLY,
    RANDOM,
    RANDOM_WITH_MAP,
    WITH_MAP,
)

_STYLES = {
    RANDOM: ("#000000", "-"),
    BLOCKED: ("#D55E00", ":"),
    PAIRS_ONLY: ("#CC79A7", "-."),
    ADAPTIVE: ("#0072B2", "--"),
    ERRING: ("#56B4E9", (0, (3, 1, 1, 1))),
    RANDOM_WITH_MAP: ("#E69F00", (0, (3, 2))),
    WITH_MAP: ("#009E73", (0, (5, 1))),
    ALL_KNOWING: ("#666666", (0, (1, 1))),
}


def learning_curves_png(cells: Cells) -> bytes:
    """Mean accuracy a day after so many rounds; bands hold 95 % intervals of the mean."""
    figure = Figure(figsize=(10, 7), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(VARIANTS), len(KINDS), sharex=True, sharey=True)
    for row, variant in zip(panels, VARIANTS, strict=True):
        for axes, kind in zip(row, KINDS, strict=True):
            _draw(axes, cells, variant, kind)
    for axes in panels[-1]:
        axes.set_xlabel("rounds of practice")
    for axes in panels[:, 0]:
        axes.set_ylabel("accuracy a day later")
    whole = panels[0, KINDS.index(BOUNDED[0])]  # every order was run
    whole.legend(loc="lower right", fontsize="small")
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110)
    return stream.getvalue()


def _draw(axes: Axes, cells: Cells, variant: str, kind: str) -> None:
    for arm, (colour, style) in _STYLES.items():
        cell = cells.get((variant, kind, arm))
        if cell is None:
            continue
        curve = curve_of(cell)
        rounds = Course().checked * np.arange(curve.shape[1])
        mean = curve.mean(axis=0)
        error = 1.96 * curve.std(axis=0, ddof=1) / np.sqrt(len(curve)) if len(curve) > 1 else 0
        axes.fill_between(rounds, mean - error, mean + error, color=colour, alpha=0.12, lw=0)
        axes.plot(rounds, mean, color=colour, linestyle=style, label=title_of(arm))
    axes.set(title=f"{kind} learners, {variant}", ylim=(0.2, 0.9))
    axes.grid(color="#dddddd")
