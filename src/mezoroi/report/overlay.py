"""Activation maps over the surface: magma on a fixed 0 to 1 scale, a contour, a legend."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import skimage.measure
from matplotlib import colormaps
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

from mezoroi.errors import MezoroiError
from mezoroi.report.fonts import font_path

Pixels = NDArray[np.uint8]
ROUNDING = 1e-3  # resizing and float32 may leave [0, 1] by a hair


def overlay(
    surface: ArrayLike,
    activation_map: ArrayLike,
    *,
    opacity: float = 0.55,
    contour: float | None = 0.5,
    legend: bool = True,
) -> Pixels:
    """Blend an activation map over a surface image.

    The colour of a value is the same in every picture: nothing is normalised per image, so a faint
    map stays dark.

    Parameters
    ----------
    surface : (H, W, 3) uint8 RGB
    activation_map : (h, w) in [0, 1]; resized bilinearly to (H, W)
    opacity : of the map, in [0, 1]
    contour : map value outlined in white and black, or None
    legend : whether a strip with the scale (0, 0.5, 1) is added below

    Returns
    -------
    (H', W, 3) uint8 RGB; H' = H without the legend

    Raises
    ------
    MezoroiError
        If a shape or type is wrong, a map value is NaN or outside [0, 1], or the opacity is.
    """
    photo = _checked_surface(surface)
    if not 0 <= opacity <= 1:
        raise MezoroiError(f"opacity is {opacity}: use 0 (surface only) to 1 (map only)")
    values = _resized(activation_map, (photo.shape[0], photo.shape[1]))
    blended = (1 - opacity) * photo + opacity * _coloured(values)
    picture = np.ascontiguousarray(np.rint(blended).astype(np.uint8))
    if contour is not None:
        _draw_contour(picture, values, contour)
    return np.vstack([picture, legend_strip(picture.shape[1])]) if legend else picture


def overlay_layer(
    activation_map: ArrayLike, size: tuple[int, int], *, contour: float | None = 0.5
) -> bytes:
    """The map alone as an RGBA PNG, to be laid over a photo whose opacity a page controls.

    Parameters
    ----------
    activation_map : (h, w) in [0, 1]
    size : (height, width) of the layer in pixels, each at least 1
    contour : as in `overlay`

    Returns
    -------
    bytes of a PNG whose pixels are opaque: the page sets how much of the photo shows through
    """
    values = _resized(activation_map, size)
    pixels = _coloured(values)
    if contour is not None:
        _draw_contour(pixels, values, contour)
    opaque = np.full((*values.shape, 1), 255, np.uint8)
    stream = io.BytesIO()
    Image.fromarray(np.concatenate([pixels, opaque], axis=2), "RGBA").save(
        stream, "PNG", optimize=True
    )
    return stream.getvalue()


def map_picture(activation_map: ArrayLike, width: int) -> Pixels:
    """(H, width, 3) picture of a map (h, w) in [0, 1] without a photo, its scale below."""
    values = np.asarray(activation_map, np.float32)
    height = max(1, round(width * values.shape[0] / values.shape[1])) if values.ndim == 2 else 1
    return np.vstack([_coloured(_resized(values, (height, width))), legend_strip(width)])


def outline_region(picture: Pixels, mask: ArrayLike) -> None:
    """Outline an expert's region in place, white with a black core.

    Parameters
    ----------
    picture : (H, W, 3) uint8
    mask : (H, W), non-zero inside
    """
    # A border of zeros closes the outline of a region that touches the picture's edge.
    inside = np.pad(np.asarray(mask).astype(bool).astype(np.float32), 1)
    framed = np.pad(picture, ((1, 1), (1, 1), (0, 0)))
    _draw_contour(framed, inside, 0.5)
    picture[:] = framed[1:-1, 1:-1]


def legend_strip(width: int, top: float = 1.0) -> Pixels:
    """(h, width, 3) uint8: the colour scale from 0 to `top` with its three figures, on white."""
    size = int(np.clip(width // 28, 10, 30))
    margin, bar = size, max(size * 2 // 3, 8)
    left, right = margin, max(width - margin, margin + 2)
    strip = np.full((bar + 2 * size, width, 3), 255, np.uint8)
    across = np.clip((np.arange(width) - left) / (right - 1 - left), 0, 1)
    strip[size // 4 : size // 4 + bar, left:right] = _coloured(across[None])[:, left:right]
    picture = Image.fromarray(strip)
    draw = ImageDraw.Draw(picture)
    font = ImageFont.truetype(str(font_path()), size)
    bottom = size // 4 + bar
    for value in (0.0, 0.5, 1.0):
        x = left + value * (right - 1 - left)
        draw.line([(x, bottom), (x, bottom + size // 4)], fill="black", width=max(size // 10, 1))
        # The outer figures end with the bar, so that long ones are not cut off.
        anchor = {0.0: "la", 0.5: "ma", 1.0: "ra"}[value] if top != 1 else "ma"
        text = f"{value * top:.2g}"
        draw.text((x, bottom + size // 4), text, fill="black", font=font, anchor=anchor)
    return np.asarray(picture)


@lru_cache(maxsize=1)
def _palette() -> Pixels:
    """(256, 3) magma, index 0 for value 0 and 255 for value 1."""
    colours = colormaps["magma"](np.arange(256), bytes=True)
    return np.asarray(colours[:, :3], np.uint8)


def _coloured(values: NDArray[Any]) -> Pixels:
    """(..., 3) magma colours of values in [0, 1]."""
    colours: Pixels = _palette()[np.rint(np.clip(values, 0, 1) * 255).astype(np.intp)]
    return colours


def _resized(activation_map: ArrayLike, size: tuple[int, int]) -> NDArray[np.float32]:
    values = np.asarray(activation_map, np.float32)
    if values.ndim != 2 or values.size == 0:
        raise MezoroiError(
            f"an activation map of shape {values.shape} cannot be drawn: give (h, w)"
        )
    if not np.isfinite(values).all():
        raise MezoroiError("the activation map holds NaN or infinity: leave it out")
    if values.min() < -ROUNDING or values.max() > 1 + ROUNDING:
        raise MezoroiError(
            f"the map runs from {values.min():.3g} to {values.max():.3g}: "
            "give probabilities in [0, 1], or scale a raw map first"
        )
    height, width = size
    return np.asarray(cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR))


def _draw_contour(picture: Pixels, values: NDArray[np.float32], level: float) -> None:
    """Outline ``values > level`` in place: a wide white line with a thin black one inside."""
    if min(values.shape) < 2:
        return
    thickness = max(1, round(min(values.shape) / 300))
    find: Any = skimage.measure.find_contours  # untyped
    lines = [np.rint(line[:, ::-1]).astype(np.int32) for line in find(values, level)]
    for colour, width in (((255, 255, 255), 3 * thickness), ((0, 0, 0), thickness)):
        cv2.polylines(picture, lines, False, colour, width, cv2.LINE_AA)


def _checked_surface(surface: ArrayLike) -> Pixels:
    photo = np.asarray(surface)
    if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8 or photo.size == 0:
        raise MezoroiError(
            f"a surface of shape {photo.shape} and type {photo.dtype} cannot be drawn: "
            "give (H, W, 3) uint8 RGB"
        )
    return photo
