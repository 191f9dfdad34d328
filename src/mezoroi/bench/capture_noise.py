"""How precisely points were marked by hand, told from chains of marks alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from mezoroi.bench.capture_angles import Floats, angles_between
from mezoroi.capture.geometry import Ellipse, disk_to_sphere, sphere_to_disk

_DRAWS = 8
_ENOUGH = 4  # degrees of freedom from which a fruit tells the noise
_LEAST = 1e-6  # of the largest singular value, from which an unknown counts as determined


@dataclass(frozen=True)
class Chains:
    """Marks that show the same points of a fruit, one row per point and frame.

    Attributes
    ----------
    frames, points : (K,) numbers of the frame and of the point, from 0
    pixels : (K, 2)
    pairs : (M, 2) rows that each mark joins
    """

    frames: NDArray[np.intp]
    points: NDArray[np.intp]
    pixels: Floats
    pairs: NDArray[np.intp]


def chain_marks(marks: Floats) -> Chains:
    """Join marks (M, 6) that share a pixel of a frame, to the next frame or to the one before."""
    rows: dict[tuple[float, ...], int] = {}
    pairs = []
    for first, second, x, y, other_x, other_y in marks.tolist():
        ends = ((first, x, y), (second, other_x, other_y))
        pairs.append([rows.setdefault(end, len(rows)) for end in ends])
    point = list(range(len(rows)))
    for one, other in pairs:
        old, new = point[other], point[one]
        point = [new if number == old else number for number in point]
    places = np.array(list(rows), dtype=np.float64).reshape(-1, 3)
    return Chains(
        frames=places[:, 0].astype(np.intp),
        points=np.unique(point, return_inverse=True)[1],
        pixels=places[:, 1:],
        pairs=np.array(pairs, dtype=np.intp).reshape(-1, 2),
    )


def measure_noise(
    marks: Floats,
    silhouettes: Mapping[int, Ellipse],
    poses: Mapping[int, Floats],
    nearness: float,
) -> dict[str, Any] | None:
    """Fit points and one rotation per frame to the marks alone, and keep what is left over.

    Where more is marked than is unknown, what is left over is the marking's: its sum of squares
    over the degrees of freedom (coordinates marked less unknowns that they determine) is the
    variance of a marked coordinate. What the fruit differs from an ellipsoid adds to it, so it is
    an upper limit.

    Parameters
    ----------
    marks : (M, 6) as `read_marks` gives them
    silhouettes : by frame
    poses : by frame, `View.squeeze` to start from
    nearness : radius of the fruit over the camera's distance

    Returns
    -------
    ``squares`` in pixels^2 and their degrees of freedom ``free``; ``radius``, the fruit's mean in
    pixels; ``angles``: degrees that a marking noise of 1 pixel puts between the two points of a
    mark under the fitted poses, `_DRAWS` draws for every mark. None without marks.
    """
    known = [row for row in marks if {int(row[0]), int(row[1])} <= silhouettes.keys()]
    if not known:
        return None
    chains = chain_marks(np.array(known))
    seen = sorted(set(chains.frames.tolist()))
    ellipses = [silhouettes[frame] for frame in seen]
    frames = np.searchsorted(seen, chains.frames)
    start = Rotation.from_matrix(np.stack([_nearest_rotation(poses[frame]) for frame in seen]))
    points = _first_points(chains, frames, ellipses, start, nearness)

    def turned(unknowns: Floats) -> tuple[Rotation, Floats]:
        turns = unknowns[: 3 * len(seen)].reshape(-1, 3)
        moves = unknowns[3 * len(seen) :].reshape(-1, 2)
        moved = points + np.einsum("pk,pki->pi", moves, _tangents(points))
        rotations = Rotation.from_rotvec(turns) * start
        return rotations, moved / np.linalg.norm(moved, axis=1, keepdims=True)

    def left_over(unknowns: Floats) -> Floats:
        rotations, moved = turned(unknowns)
        shown = sphere_to_disk(rotations[frames].apply(moved[chains.points]), nearness)
        rest = [
            ellipses[frame].to_pixels(disk) - pixel
            for frame, disk, pixel in zip(frames, shown, chains.pixels, strict=True)
        ]
        return np.concatenate(rest)

    fitted = least_squares(left_over, np.zeros(3 * len(seen) + 2 * len(points)), method="trf")
    values = np.linalg.svd(fitted.jac, compute_uv=False)
    rotations, _ = turned(fitted.x)
    place = [ellipses[frame] for frame in frames]
    exact = chains.pixels + fitted.fun.reshape(-1, 2)
    return {
        "squares": float((fitted.fun**2).sum()),
        "free": int(fitted.fun.size - (values > _LEAST * values[0]).sum()),
        "radius": float(np.mean([ellipse.radius for ellipse in ellipses])),
        "angles": _angles_of_one_pixel(exact, place, rotations[frames], chains.pairs, nearness),
    }


def typical_noise(noises: Sequence[Mapping[str, Any]]) -> tuple[float, float, int]:
    """The marking noise of fruits: in pixels, in degrees where a fruit is seen frontally, and of
    how many fruits it is the median; NaN where none tells it.

    The median, for a point mistaken for another spoils all that its fruit tells.

    Parameters
    ----------
    noises : what `measure_noise` returned
    """
    telling = [noise for noise in noises if noise["free"] >= _ENOUGH]
    if not telling:
        return float("nan"), float("nan"), 0
    pixels = [float(np.sqrt(noise["squares"] / noise["free"])) for noise in telling]
    degrees = [
        float(np.degrees(sigma / noise["radius"]))
        for sigma, noise in zip(pixels, telling, strict=True)
    ]
    return median(pixels), median(degrees), len(telling)


def floor_angles(noises: Sequence[Mapping[str, Any]], pixels: float) -> Floats:
    """Degrees between the points of marks under exact poses and a noise of `pixels`."""
    angles = [np.array(noise["angles"], dtype=np.float64) for noise in noises]
    return pixels * np.concatenate(angles) if angles else np.zeros(0)


def _nearest_rotation(matrix: Floats) -> Floats:
    left, _, right = np.linalg.svd(matrix)
    rotation: Floats = left @ right
    return rotation


def _first_points(
    chains: Chains,
    frames: NDArray[np.intp],
    ellipses: list[Ellipse],
    rotations: Rotation,
    nearness: float,
) -> Floats:
    """Where each point lies on the unit sphere (P, 3): the mean over its frames."""
    place = [ellipses[frame] for frame in frames]
    rays = rotations[frames].inv().apply(_on_sphere(chains.pixels, place, nearness))
    points = np.zeros((int(chains.points.max()) + 1, 3))
    np.add.at(points, chains.points, rays)
    mean: Floats = points / np.linalg.norm(points, axis=1, keepdims=True)
    return mean


def _on_sphere(pixels: Floats, place: list[Ellipse], nearness: float) -> Floats:
    """Points (K, 3) of the unit sphere at pixels (K, 2); beyond the silhouette, at its edge."""
    disks = np.stack([e.to_disk(pixel) for e, pixel in zip(place, pixels, strict=True)])
    far = np.linalg.norm(disks, axis=1, keepdims=True)
    return disk_to_sphere(disks / np.maximum(1.0, far / 0.9999), nearness)


def _tangents(points: Floats) -> Floats:
    """Two vectors (P, 2, 3) across each unit vector (P, 3)."""
    aside = np.eye(3)[np.abs(points).argmin(axis=1)]
    first = np.cross(points, aside)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    return np.stack([first, np.cross(points, first)], axis=1)


def _angles_of_one_pixel(
    exact: Floats,
    place: list[Ellipse],
    rotations: Rotation,
    pairs: NDArray[np.intp],
    nearness: float,
) -> list[float]:
    rng = np.random.default_rng(0)
    found = []
    for _ in range(_DRAWS):
        # Smaller than a pixel, for what is wanted is the slope.
        noisy = exact + 0.1 * rng.standard_normal(exact.shape)
        fruit = rotations.inv().apply(_on_sphere(noisy, place, nearness))
        found += (angles_between(fruit[pairs[:, 0]], fruit[pairs[:, 1]]) / 0.1).tolist()
    return found
