"""Draw the README's picture: one graded fruit, with where the evidence lies and its similarities.

python docs/picture.py demo/run demo/melons/captures/melon-0028
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from mezoroi import Grader, Grading
from mezoroi.report.overlay import overlay
from mezoroi.report.radar import radar_png, radar_svg

PICTURE = Path(__file__).parent / "pictures" / "grading.png"
SURFACE_SIZE = (560, 280)  # width, height in pixels
GAP = 12


def picture(grading: Grading, language: str = "en") -> Image.Image:
    """The surface above the activation map of its grade, and the radar beside them."""
    surface = Image.fromarray(grading.surface).resize(SURFACE_SIZE, Image.Resampling.LANCZOS)
    shown = grading.map_grade if grading.grade not in grading.activation_maps else grading.grade
    assert shown is not None
    map_picture = Image.fromarray(overlay(np.asarray(surface), grading.activation_maps[shown]))
    height = surface.height + GAP + map_picture.height
    radar = Image.open(io.BytesIO(_radar(grading, language))).convert("RGB")
    radar = radar.resize((radar.width * height // radar.height, height), Image.Resampling.LANCZOS)
    canvas = Image.new("RGB", (surface.width + GAP + radar.width, height), "white")
    canvas.paste(surface, (0, 0))
    canvas.paste(map_picture, (0, surface.height + GAP))
    canvas.paste(radar, (surface.width + GAP, 0))
    return canvas


def _radar(grading: Grading, language: str) -> bytes:
    chart = radar_svg(
        grading.similarity,
        grading.thresholds,
        grading.standard,
        grade=grading.grade,
        language=language,
    )
    return radar_png(chart)


def _reduced(image: Image.Image) -> Image.Image:
    """The picture in 256 colours: half of the bytes."""
    return image.quantize(palette=image.quantize(256), dither=Image.Dither.FLOYDSTEINBERG)


if __name__ == "__main__":
    run, capture = sys.argv[1:3]
    PICTURE.parent.mkdir(exist_ok=True)
    _reduced(picture(Grader.load(run).grade(capture))).save(PICTURE, optimize=True)
    print(PICTURE)
