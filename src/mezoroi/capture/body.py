"""The fruit's true proportions, from how its silhouette changes while it turns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mezoroi.capture.geometry import Ellipse, Floats

_RIDGE = 0.003  # pull towards a sphere, where a short turn leaves the proportions open
_FLATTEST, _LONGEST = 0.5, 2.0  # semi-axes that are believed, relative to the mean


def fit_body(ellipses: Sequence[Ellipse], poses: Floats) -> tuple[Floats, Floats]:
    """The ellipsoid that these silhouettes are of, and how it really turned.

    `poses` turn the unit sphere that each silhouette was squeezed into; here it is stretched so
    that the camera's axes become perpendicular and equally long again in every frame: the metric
    upgrade of affine structure from motion (Tomasi and Kanade 1992).

    Parameters
    ----------
    ellipses : the silhouette in each of N frames
    poses : (N, 3, 3) rotations of the unit sphere

    Returns
    -------
    body : (3, 3) symmetric; maps the unit sphere to the fruit, whose mean radius is 1
    turned : (N, 3, 3) rotations of the fruit
    """
    if len(poses) == 1:
        return np.eye(3), poses
    radius = float(np.mean([ellipse.radius for ellipse in ellipses]))
    cameras = np.stack([ellipse.shape for ellipse in ellipses]) / radius @ poses[:, :2]
    rows, wanted = [], []
    for first, second in ((0, 0), (1, 1), (0, 1)):
        rows.append(_quadratic(cameras[:, first], cameras[:, second]))
        wanted.append(np.full(len(poses), 1.0 if first == second else 0.0))
    weight = np.sqrt(_RIDGE * len(poses))
    design = np.concatenate([*rows, weight * np.eye(6)])
    target = np.concatenate([*wanted, weight * np.array([1.0, 1, 1, 0, 0, 0])])
    xx, yy, zz, xy, xz, yz = np.linalg.lstsq(design, target, rcond=None)[0]
    inverse_square = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    values, vectors = np.linalg.eigh(inverse_square)
    axes = np.clip(np.maximum(values, 1e-3) ** -0.5, _FLATTEST, _LONGEST)
    body = vectors @ np.diag(axes) @ vectors.T
    seen = cameras @ np.linalg.inv(body)
    return body, np.stack([_nearest_rotation(pair) for pair in seen])


def _quadratic(left: Floats, right: Floats) -> Floats:
    """Coefficients (N, 6) of a symmetric matrix's xx, yy, zz, xy, xz, yz in left' L right."""
    products = left[:, :, None] * right[:, None, :]
    mixed = products + np.swapaxes(products, 1, 2)
    return np.stack(
        [
            *(products[:, k, k] for k in range(3)),
            *(mixed[:, a, b] for a, b in ((0, 1), (0, 2), (1, 2))),
        ],
        axis=1,
    )


def _nearest_rotation(rows: Floats) -> Floats:
    """The rotation whose first two rows are nearest to `rows` (2, 3)."""
    left, _, right = np.linalg.svd(rows, full_matrices=False)
    first, second = left @ right
    return np.stack([first, second, np.cross(first, second)])
