"""One picture of a capture: some frames, the surface and the outlines over the turn."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from numpy.typing import NDArray

from mezoroi.report.fonts import font_path

Image = NDArray[np.uint8]
Polygon = NDArray[np.float64]
_FRAMES = 8
_ANGLES = 180
_TEXTS = {
    "ja": {
        "frames": "撮影（{count}枚から{shown}枚）",
        "surface": "展開した表面（見えた範囲 {covered:.0%}、回転 {degrees:.0f}°、1目盛 30°）",
        "outline": "輪郭（平均とばらつき）",
        "unseen": "斜線の部分は写っていません",
    },
    "en": {
        "frames": "Frames ({shown} of {count})",
        "surface": "Unrolled surface ({covered:.0%} seen, turned by {degrees:.0f}°, ticks 30°)",
        "outline": "Outline (mean and deviation)",
        "unseen": "Hatched: not seen",
    },
}


@dataclass(frozen=True)
class CaptureView:
    """What a preview shows.

    Attributes
    ----------
    frames : (H, W, 3) uint8 RGB, in order
    outlines : the fruit's outline (K, 2) in pixels of each frame
    surface : (H, 2H, 3) uint8 RGB
    coverage : (H, 2H) bool
    silhouettes : (K, 2) each, in mean radii, y up
    covered, degrees : share of the surface seen; degrees turned
    """

    frames: Sequence[Image]
    outlines: Sequence[Polygon]
    surface: Image
    coverage: NDArray[np.bool_]
    silhouettes: Sequence[Polygon]
    covered: float
    degrees: float


def capture_preview_png(view: CaptureView, language: str = "ja") -> bytes:
    """Draw a capture as PNG, 1200 pixels wide."""
    texts = _TEXTS[language]
    font = FontProperties(fname=font_path())
    figure = Figure(figsize=(12, 6.3), dpi=100, facecolor="white")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(
        2, 1, height_ratios=(1, 3), left=0.05, right=0.97, top=0.96, bottom=0.07, hspace=0.16
    )
    chosen = np.unique(np.linspace(0, len(view.frames) - 1, _FRAMES).round().astype(int))
    strip = grid[0].subgridspec(1, _FRAMES, wspace=0.04)
    for place, index in enumerate(chosen):
        axes = figure.add_subplot(strip[place])
        axes.imshow(view.frames[index])
        closed = np.concatenate([view.outlines[index], view.outlines[index][:1]])
        axes.plot(*closed.T, color="#e69f00", linewidth=1.2)
        low, high = view.outlines[index].min(axis=0), view.outlines[index].max(axis=0)
        margin = 0.08 * (high - low).max()
        axes.set_xlim(low[0] - margin, high[0] + margin)
        axes.set_ylim(high[1] + margin, low[1] - margin)
        axes.set_axis_off()
        if place == 0:
            title = texts["frames"].format(count=len(view.frames), shown=len(chosen))
            axes.set_title(title, fontproperties=font, fontsize=13, loc="left")
    below = grid[1].subgridspec(1, 2, width_ratios=(2.6, 1), wspace=0.12)
    _draw_surface(figure.add_subplot(below[0]), view, texts)
    _draw_outlines(figure.add_subplot(below[1]), view.silhouettes, texts["outline"])
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def _draw_surface(axes: Axes, view: CaptureView, texts: dict[str, str]) -> None:
    font = FontProperties(fname=font_path())
    axes.imshow(view.surface, extent=(-180, 180, -90, 90), aspect="equal")
    if not view.coverage.all():
        axes.contourf(
            (~view.coverage).astype(float)[::-1],
            levels=[0.5, 1.5],
            extent=(-180, 180, -90, 90),
            colors="none",
            hatches=["///"],
        )
        axes.set_xlabel(texts["unseen"], fontproperties=font, fontsize=11)
    axes.set_xticks(range(-180, 181, 30), [])
    axes.set_yticks(range(-90, 91, 30), [])
    title = texts["surface"].format(covered=view.covered, degrees=view.degrees)
    axes.set_title(title, fontproperties=font, fontsize=13, loc="left")


def _draw_outlines(axes: Axes, silhouettes: Sequence[Polygon], title: str) -> None:
    angles = np.linspace(-np.pi, np.pi, _ANGLES, endpoint=False)
    radii = np.stack([_radius_at(polygon, angles) for polygon in silhouettes])
    mean, spread = radii.mean(axis=0), radii.std(axis=0)
    for radius in radii:
        axes.plot(*_closed(radius, angles), color="#999999", linewidth=0.4)
    outer, inner = _closed(mean + spread, angles), _closed(mean - spread, angles)
    axes.fill(
        np.concatenate([outer[0], inner[0][::-1]]),
        np.concatenate([outer[1], inner[1][::-1]]),
        color="#56b4e9",
        alpha=0.5,
        linewidth=0,
    )
    axes.plot(*_closed(mean, angles), color="black", linewidth=1.5)
    axes.plot(*_closed(np.full(_ANGLES, mean.mean()), angles), color="black", linestyle=":")
    axes.set_aspect("equal")
    axes.set_axis_off()
    axes.set_title(title, fontproperties=FontProperties(fname=font_path()), fontsize=13, loc="left")


def _radius_at(polygon: Polygon, angles: Polygon) -> Polygon:
    """Distance from the centroid to the outline in the given directions."""
    offset = polygon - polygon.mean(axis=0)
    around = np.arctan2(offset[:, 1], offset[:, 0])
    return np.interp(angles, around, np.linalg.norm(offset, axis=1), period=2 * np.pi)


def _closed(radius: Polygon, angles: Polygon) -> tuple[Polygon, Polygon]:
    x, y = radius * np.cos(angles), radius * np.sin(angles)
    return np.append(x, x[0]), np.append(y, y[0])
