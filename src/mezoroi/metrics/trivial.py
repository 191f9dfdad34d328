"""Maps that know nothing: the rows without which an mIoU table says nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mezoroi.errors import MezoroiError


def trivial_maps(
    masks_shape: tuple[int, int, int],
    *,
    fruit_masks: ArrayLike | None = None,
    seed: int | tuple[int, ...] = 0,
) -> dict[str, NDArray[np.float32]]:
    """Answers that never looked at the image, as probabilities ready for `mean_iou`.

    Parameters
    ----------
    masks_shape : (N, H, W) of the masks they are compared with
    fruit_masks : (N, H, W), non-zero on the fruit; adds the row "whole fruit"
    seed : of the random map; one number or several

    Returns
    -------
    dict of (N, H, W) float32 in [0, 1], by row name

    - ``whole image`` : one everywhere
    - ``whole fruit`` : one on the fruit
    - ``centre blob`` : a Gaussian that is above 0.5 in an ellipse of half the height and width
    - ``random map`` : uniform noise, independent at each position

    Raises
    ------
    MezoroiError
        If `masks_shape` is not (N, H, W) or the fruit masks have another shape.
    """
    if len(masks_shape) != 3 or min(masks_shape) < 1:
        raise MezoroiError(f"masks_shape is {masks_shape}: give (N, H, W), each at least 1")
    maps = {"whole image": np.ones(masks_shape, np.float32)}
    if fruit_masks is not None:
        fruit = np.asarray(fruit_masks)
        if fruit.shape != tuple(masks_shape):
            raise MezoroiError(
                f"fruit_masks {fruit.shape} do not match masks {tuple(masks_shape)}: resize them"
            )
        maps["whole fruit"] = fruit.astype(bool).astype(np.float32)
    maps["centre blob"] = np.broadcast_to(_centre_blob(*masks_shape[1:]), masks_shape).copy()
    maps["random map"] = np.random.default_rng(seed).random(masks_shape, dtype=np.float32)
    return maps


def trivial_maps_each(
    shapes: Sequence[tuple[int, ...]], seed: int = 0
) -> dict[str, list[NDArray[np.float32]]]:
    """`trivial_maps` of pictures that differ in size: by row name one (h, w) for each shape."""
    each = [
        trivial_maps((1, *shape), seed=(seed, number))  # type: ignore[arg-type]
        for number, shape in enumerate(shapes)
    ]
    return {name: [maps[name][0] for maps in each] for name in (each[0] if each else ())}


def _centre_blob(height: int, width: int) -> NDArray[np.float32]:
    """(H, W): 1 at the centre, 0.5 half-way to the edges."""
    y = (np.arange(height) + 0.5) / height * 2 - 1
    x = (np.arange(width) + 0.5) / width * 2 - 1
    squared_radius = y[:, None] ** 2 + x[None, :] ** 2
    return np.exp2(-4 * squared_radius).astype(np.float32)
