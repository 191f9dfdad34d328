"""Charts of a training run as PNG, drawn without touching matplotlib's global state."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from mezoroi.errors import MezoroiError
from mezoroi.report.fonts import font_path

TEXTS = {
    "ja": {"true": "熟練者の等級", "given": "判定", "share": "行の割合", "epoch": "エポック",
           "best": "採用したエポック"},
    "en": {"true": "expert's grade", "given": "grade given", "share": "share of the row",
           "epoch": "epoch", "best": "epoch kept"},
}  # fmt: skip
LINES = (("#0072B2", "-"), ("#D55E00", "--"), ("#009E73", "-."), ("#CC79A7", ":"))


def confusion_matrix_png(
    confusion: ArrayLike, grades: Sequence[str], *, title: str = "", language: str = "ja"
) -> bytes:
    """Draw a confusion matrix: counts as figures, shares of the row as shades.

    Parameters
    ----------
    confusion : (G, G) counts, rows true, columns given
    grades : G names
    title : above the chart
    language : ``ja`` or ``en``

    Raises
    ------
    MezoroiError
        If the matrix does not match the grades or the language is unknown.
    """
    texts, counts = _texts(language), np.asarray(confusion)
    if counts.shape != (len(grades), len(grades)):
        raise MezoroiError(f"a matrix of shape {counts.shape} does not match {len(grades)} grades")
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 3.0 + 0.5 * len(grades)
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        ink = "white" if shares[row, column] > 0.55 else "black"
        axes.text(column, row, f"{count:g}", ha="center", va="center", color=ink)
    numbers = range(len(grades))
    longest = max(map(len, grades))
    axes.set_xticks(numbers, grades, rotation=90 if longest * len(grades) > 24 else 0)
    axes.set_yticks(numbers, grades)
    axes.set(xlabel=texts["given"], ylabel=texts["true"], title=title)
    bar = figure.colorbar(image, ax=axes, fraction=0.046, label=texts["share"])
    bar.set_ticks([0, 0.5, 1])
    return _png(figure)


def training_curve_png(
    curves: Mapping[str, Sequence[float]],
    *,
    best_epoch: int | None = None,
    title: str = "",
    language: str = "ja",
) -> bytes:
    """Draw what a run recorded per epoch: losses on the left, all else on the right.

    Parameters
    ----------
    curves : values per epoch by name, NaN where nothing was recorded; names that contain "loss" are
        losses, the others are scores drawn from 0 to 1
    best_epoch : number of the epoch that was kept, counted from 0
    title, language : as in `confusion_matrix_png`

    Raises
    ------
    MezoroiError
        If there is no curve or the language is unknown.
    """
    texts = _texts(language)
    losses = {name: values for name, values in curves.items() if "loss" in name}
    scores = {name: values for name, values in curves.items() if name not in losses}
    panels = [panel for panel in (losses, scores) if panel]
    if not panels:
        raise MezoroiError("no curve to draw: give at least one column of the training log")
    figure = Figure(figsize=(5.2 * len(panels), 3.8), layout="constrained")
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        _draw_curves(axes, panel, best_epoch, texts)
        if panel is scores:
            axes.set_ylim(0, 1)
    figure.suptitle(title)
    return _png(figure)


def _draw_curves(
    axes: Axes, curves: Mapping[str, Sequence[float]], best: int | None, texts: Mapping[str, str]
) -> None:
    for number, (name, values) in enumerate(curves.items()):
        colour, style = LINES[number % len(LINES)]
        recorded = np.asarray(values, float)
        epochs = np.flatnonzero(~np.isnan(recorded))
        marker = "o" if len(epochs) < 3 else None
        axes.plot(epochs, recorded[epochs], style, color=colour, marker=marker, label=name)
    if best is not None:
        axes.axvline(best, color="#555555", linewidth=1, label=f"{texts['best']} ({best})")
    axes.set_xlabel(texts["epoch"])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(color="#dddddd")
    axes.legend()


def _texts(language: str) -> Mapping[str, str]:
    if language not in TEXTS:
        raise MezoroiError(f"unknown language `{language}`: use {' or '.join(TEXTS)}")
    return TEXTS[language]


def _png(figure: Figure) -> bytes:
    """Render with the Japanese font set on each text, so that no global setting changes."""
    canvas: Any = FigureCanvasAgg(figure)
    for _ in range(2):  # tick labels exist only once drawn
        for text in figure.findobj(Text):
            assert isinstance(text, Text)
            text.set_fontproperties(FontProperties(fname=font_path(), size=text.get_fontsize()))
        canvas.draw()
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=150)
    return stream.getvalue()
