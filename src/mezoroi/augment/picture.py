"""Boxes of parts drawn on images, to see whether they are sensible."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from mezoroi.errors import MezoroiError

_SIDE = 224  # height of an image in pixels
_COLUMNS = 4
_LINE = 2
OBJECT_COLOUR = (255, 255, 255)
# Okabe and Ito's, which the colour-blind can tell apart; repeated beyond six parts.
PART_COLOURS = ((230, 159, 0), (86, 180, 233), (204, 121, 167), (0, 158, 115), (240, 228, 66))


def draw_parts(images: Sequence[NDArray[np.uint8]], boxes: NDArray[np.floating]) -> bytes:
    """A sheet of images with the object's box in white and the parts' in colours, as PNG.

    Parameters
    ----------
    images : N images (H, W, 3) uint8 RGB, all of one size
    boxes : (N, 1 + P, 4), see `mezoroi.augment.boxes`
    """
    cells = [_framed(image, own) for image, own in zip(images, boxes, strict=True)]
    blank = np.zeros_like(cells[0])
    cells += [blank] * (-len(cells) % min(_COLUMNS, len(cells)))
    columns = min(_COLUMNS, len(cells))
    rows = [np.concatenate(cells[n : n + columns], 1) for n in range(0, len(cells), columns)]
    sheet = cv2.cvtColor(np.concatenate(rows), cv2.COLOR_RGB2BGR)
    written, png = cv2.imencode(".png", sheet)
    if not written:
        raise MezoroiError("the picture of parts cannot be encoded: use fewer images")
    return png.tobytes()


def _framed(image: NDArray[np.uint8], boxes: NDArray[np.floating]) -> NDArray[np.uint8]:
    width = round(_SIDE * image.shape[1] / image.shape[0])
    canvas: NDArray[np.uint8] = np.array(cv2.resize(image, (width, _SIDE)), dtype=np.uint8)
    colours = [OBJECT_COLOUR, *(PART_COLOURS[n % 5] for n in range(len(boxes) - 1))]
    for (x0, y0, x1, y1), colour in zip(boxes, colours, strict=True):
        # What crosses the seam of a panorama is drawn at both ends.
        for turn in (0, 1) if x1 > 1 else (0,):
            low = (round((x0 - turn) * width), round(y0 * _SIDE))
            high = (round((x1 - turn) * width) - 1, round(y1 * _SIDE) - 1)
            cv2.rectangle(canvas, low, high, colour, _LINE)
    return canvas
