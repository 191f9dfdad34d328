"""A fruit in the camera's eye: silhouettes as ellipses, ellipses as the unit sphere.

Any ellipsoid seen from afar is, once its silhouette is squeezed into the unit disk, exactly a unit
sphere that turns: a projection P R S of the unit sphere (S the semi-axes) has the singular value
decomposition U D V', and the silhouette shows U D while the sphere turns by V. So one rotation per
frame describes round, flat and long fruits alike, whatever axis they turn about.

Camera axes: x right, y up, z towards the viewer. Pixels: x right, y down, (0, 0) the centre of the
upper left pixel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Precision = TypeVar("Precision", np.float32, np.float64)


@dataclass(frozen=True)
class Ellipse:
    """The silhouette of an ellipsoid in a frame.

    Attributes
    ----------
    centre : (2,) pixels
    shape : (2, 2) symmetric, positive definite; maps the unit disk (y up) to pixel offsets (y up)
    """

    centre: Floats
    shape: Floats

    @property
    def radius(self) -> float:
        """Radius in pixels of the circle of the same area."""
        return float(np.sqrt(np.linalg.det(self.shape)))

    def to_disk(self, pixels: Floats) -> Floats:
        """Pixels (..., 2) -> coordinates in the unit disk, y up."""
        offset = (np.asarray(pixels, dtype=np.float64) - self.centre) * (1.0, -1.0)
        disk: Floats = offset @ np.linalg.inv(self.shape)
        return disk

    def to_pixels(self, disk: NDArray[Precision]) -> Floats:
        """Coordinates in the unit disk (..., 2), y up -> pixels."""
        pixels: Floats = np.asarray(disk) @ self.shape * (1.0, -1.0) + self.centre
        return pixels


def disk_to_sphere(disk: Floats, nearness: float = 0.0) -> Floats:
    """The visible point of the unit sphere at positions in the disk of its silhouette.

    Parameters
    ----------
    disk : (..., 2)
    nearness : radius of the fruit over the distance of the camera from its centre, in [0, 1);
        0 is a camera far away

    Returns
    -------
    (..., 3) unit vectors in camera axes; NaN outside the disk.
    """
    squared = (disk**2).sum(axis=-1) / (1 - nearness**2)
    inside = 1 - squared * (1 - nearness**2)
    with np.errstate(invalid="ignore"):
        z = (nearness * squared + np.sqrt(inside)) / (1 + nearness**2 * squared)
    across = disk * ((1 - nearness * z) / np.sqrt(1 - nearness**2))[..., None]
    return np.concatenate([across, z[..., None]], axis=-1)


def sphere_to_disk(points: NDArray[Precision], nearness: float = 0.0) -> NDArray[Precision]:
    """Where points (..., 3) of the unit sphere appear in the disk (..., 2); see `visibility`."""
    # Python's own numbers leave points of single precision as they are.
    scale = math.sqrt(1 - nearness**2) / (1 - nearness * points[..., 2])
    disk: NDArray[Precision] = points[..., :2] * scale[..., None]
    return disk


def visibility(points: NDArray[Precision], nearness: float = 0.0) -> NDArray[Precision]:
    """Cosine of the angle between line of sight and normal at unit vectors; <= 0 where hidden."""
    z = points[..., 2]
    cosine: NDArray[Precision] = (z - nearness) / np.sqrt(1 - 2 * nearness * z + nearness**2)
    return cosine


def fit_ellipse(contour: Floats, weights: Floats | None = None) -> Ellipse:
    """The ellipse through contour points (K, 2) in pixels, by robust least squares.

    Points far off the ellipse (a stem, a hand, a cut at the frame's edge) lose their weight.

    Parameters
    ----------
    weights : (K,) in [0, 1], 0 for points known not to be the fruit's edge
    """
    points = np.asarray(contour, dtype=np.float64)
    weights = np.ones(len(points)) if weights is None else weights
    middle = np.average(points, axis=0, weights=weights)
    offset = (points - middle) * (1.0, -1.0)
    size = max(1e-9, float(np.sqrt((offset**2).sum(axis=1).mean())))
    x, y = offset.T / size
    design = np.stack([x * x, 2 * x * y, y * y, 2 * x, 2 * y], axis=1)
    robust = weights
    for _ in range(12):
        root = np.sqrt(robust)
        solution = np.linalg.lstsq(design * root[:, None], root, rcond=None)[0]
        a, b, c, d, e = solution
        quadratic = np.array([[a, b], [b, c]])
        linear = np.array([d, e])
        if np.linalg.eigvalsh(quadratic)[0] <= 1e-6:
            quadratic, linear = np.eye(2) / 2, np.zeros(2)
        shift = -np.linalg.solve(quadratic, linear)
        level = 1 + shift @ quadratic @ shift
        values, vectors = np.linalg.eigh(quadratic / level)
        shape = vectors @ np.diag(values**-0.5) @ vectors.T
        disk = (np.stack([x, y], axis=1) - shift) @ np.linalg.inv(shape)
        error = np.linalg.norm(disk, axis=1) - 1
        # Tukey's weights, never so tight that a lobed fruit loses half of its edge.
        scale = max(0.01, 1.4826 * float(np.median(np.abs(error[weights > 0]))))
        robust = weights * np.clip(1 - (error / (4 * scale)) ** 2, 0, 1) ** 2
    return Ellipse(middle + shift * size * (1.0, -1.0), shape * size)
