"""A capture of a made-up melon against the truth."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mezoroi.bench.capture_angles import Floats

Image = NDArray[np.uint8]
RATIOS = ("height_width", "roundness", "solidity")
"""Outline features far from 0, whose error is relative; that of all others is absolute."""


def pose_errors(poses: Floats, truth: Floats) -> tuple[Floats, Floats]:
    """Degrees (N,) by which poses miss the truth after one alignment of the fruit's axes.

    Parameters
    ----------
    poses, truth : (N, 3, 3) rotations from the fruit's axes to the camera's; each has its own axes

    Returns
    -------
    the errors, and the (3, 3) rotation from the axes of `poses` to those of `truth`
    """
    alignment = Rotation.from_matrix(np.swapaxes(truth, 1, 2) @ poses).mean().as_matrix()
    errors = Rotation.from_matrix(np.swapaxes(truth @ alignment, 1, 2) @ poses).magnitude()
    return np.degrees(errors), alignment


def sample_panorama(panorama: Image, directions: Floats) -> Image:
    """Colours (H, W, 3) of a panorama, longitude -180 at its left, at directions (H, W, 3)."""
    height = panorama.shape[0]
    longitude = np.arctan2(directions[..., 1], directions[..., 0])
    latitude = np.arctan2(directions[..., 2], np.hypot(directions[..., 0], directions[..., 1]))
    column = (longitude + np.pi) * height / np.pi - 0.5
    row = (np.pi / 2 - latitude) * height / np.pi - 0.5
    wide = np.concatenate([panorama[:, -1:], panorama, panorama[:, :1]], axis=1)
    found = cv2.remap(
        wide,
        (column + 1).astype(np.float32),
        row.astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(found, dtype=np.uint8)


def psnr(found: Image, truth: Image, shown: NDArray[np.bool_]) -> float:
    """Peak signal-to-noise ratio in dB where `shown`."""
    away = (found.astype(np.float64) - truth)[shown]
    return float(10 * np.log10(255**2 / max(1e-9, float((away**2).mean()))))


def evened(found: Image, truth: Image, shown: NDArray[np.bool_]) -> Image:
    """`found` with the brightness and contrast of each channel fitted to the truth."""
    channels = [
        np.polyval(np.polyfit(found[shown][:, k], truth[shown][:, k], 1), found[..., k])
        for k in range(3)
    ]
    return np.clip(np.rint(np.stack(channels, axis=-1)), 0, 255).astype(np.uint8)


def outline_errors(
    found: Mapping[str, float], truth: Mapping[str, float]
) -> tuple[dict[str, float], dict[str, float]]:
    """Relative errors of `RATIOS`, and absolute errors of all other features."""
    relative = {name: abs(found[name] / truth[name] - 1) for name in RATIOS}
    absolute = {name: abs(found[name] - truth[name]) for name in truth if name not in RATIOS}
    return relative, absolute
