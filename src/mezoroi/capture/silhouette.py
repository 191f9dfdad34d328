"""Where the fruit is in each frame: a silhouette finer than a pixel, on any quiet background."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from mezoroi.capture.edges import best_edges, between_samples
from mezoroi.capture.geometry import Ellipse, Floats, fit_ellipse
from mezoroi.capture.stillness import exposures, motion_odds, unusual_odds
from mezoroi.errors import MezoroiError

Image = NDArray[np.uint8]
Array = NDArray[np.float32]
MIN_DIAMETER = 64
"""Smallest fruit that is accepted, in pixels of its source."""
_LOW_SIDE = 160  # longest side on which the fruit is first looked for
_FINE_SIDE = 480  # where it is too small for that
_LEAST_AREA = 40  # pixels of the reduced frame that a fruit fills
_RAYS = 256
_REACH = 0.22  # the edge is sought this far around the first guess, relative to the radius
_SAMPLES = 97
_BINS = (32, 24, 24)
_NARROW = 0.8  # of the largest circle's radius: what is narrower hangs on the fruit
_MOST = 0.75  # share of the mask that the fruit makes up at least
_MARGIN = 6  # pixels that a blur looks further
_GONE = 2.0  # log-odds that colours may fall below the usual; a frame with less shows no fruit
_LASTING = 0.75  # quantile over the frames of a colour's share of the fruit
_FRUITY = 0.0  # log-odds from which a colour is the fruit's, not that of a hand
_HIDDEN = "the fruit is hidden or gone: keep hands and lamps away from it"
_NOTHING = "no fruit stands out from the background: use a plain, still background"


@dataclass(frozen=True)
class Silhouette:
    """The fruit in a frame.

    Attributes
    ----------
    contour : (K, 2) pixels, counterclockwise from the right as seen in the picture
    sure : (K,) False where the frame's edge cuts the fruit, and all over where it is gone
    ellipse : through the sure part
    missing : where there is no fruit, why and what to do, in one line; else empty
    """

    contour: Floats
    sure: NDArray[np.bool_]
    ellipse: Ellipse
    missing: str = ""

    @property
    def cut(self) -> float:
        """Share of the outline that lies beyond the frame's edge."""
        return float(1 - self.sure.mean())


def find_silhouettes(
    images: Sequence[Image], scales: Sequence[float] | None = None
) -> list[Silhouette]:
    """The fruit's silhouette in every frame.

    Frames of one size are taken for a fixed camera: the fruit is first found in their median, so
    that what passes by, as a hand, is not taken for it. Of others, those without a fruit say why.

    Parameters
    ----------
    images : (H, W, 3) RGB each
    scales : pixels of each per pixel of its source, by which the fruit is judged; default 1

    Raises
    ------
    MezoroiError
        If there is no fruit, more than one, or one too small, in all frames.
    """
    scales = [1.0] * len(images) if scales is None else scales
    same_size = len(images) >= 5 and len({image.shape for image in images}) == 1
    if same_size:
        return _trace(images, *_first_guess(images, scales[0]))
    found = []
    first: MezoroiError | None = None
    for image, scale in zip(images, scales, strict=True):
        try:
            found.append(_trace([image], *_first_guess([image], scale))[0])
        except MezoroiError as error:
            first = first or error
            found.append(_none_in(image, str(error)))
    if first is not None and all(silhouette.missing for silhouette in found):
        raise first
    return found


def _none_in(image: Image, reason: str) -> Silhouette:
    """What stands for the silhouette of a frame without a fruit: a circle, sure nowhere."""
    height, width = image.shape[:2]
    ellipse = Ellipse(np.array([width / 2, height / 2]), min(height, width) / 4 * np.eye(2))
    angle = np.arange(_RAYS) * 2 * np.pi / _RAYS
    contour = ellipse.to_pixels(np.stack([np.cos(angle), np.sin(angle)], axis=-1))
    return Silhouette(contour, np.zeros(_RAYS, dtype=bool), ellipse, reason)


def _first_guess(
    images: Sequence[Image], reduced_by: float, side: int = _LOW_SIDE
) -> tuple[Image, _Evidence]:
    """A coarse mask (H, W) of the fruit, and what tells it from the background.

    It is looked for in frames at most `side` long; in larger ones where it is too small in these,
    but not in their source.
    """
    height, width = images[0].shape[:2]
    scale = min(1.0, side / max(height, width))
    size = (max(8, round(width * scale)), max(8, round(height * scale)))
    chosen = images[:: max(1, len(images) // 16)]
    reduced = [cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in chosen]
    small = np.asarray(np.stack(reduced), dtype=np.uint8)
    still = np.asarray(np.median(small, axis=0) if len(small) > 2 else small[0], dtype=np.uint8)
    lab = np.asarray(cv2.cvtColor(still, cv2.COLOR_RGB2LAB), dtype=np.uint8)
    motion = motion_odds(small)
    if motion is not None:
        # A turning texture tells the fruit from a plate or a cloth better than its lightness.
        lab[..., 0] = np.clip(127 + 40 * motion, 0, 255)
    labels = _seeds(lab, motion)
    if not (labels == cv2.GC_PR_FGD).any() or not (labels == cv2.GC_BGD).any():
        raise MezoroiError(_NOTHING)
    cv2.setRNGSeed(0)
    cv2.grabCut(
        cv2.GaussianBlur(lab, (0, 0), 0.7),
        labels,
        (0, 0, 0, 0),  # not used: the labels are given
        np.zeros((1, 65)),
        np.zeros((1, 65)),
        3,
        cv2.GC_INIT_WITH_MASK,
    )
    mask = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    enlarged = 1 / (scale * reduced_by)
    area = float(mask.sum())
    is_large = 2 * np.sqrt(area / np.pi) * enlarged > MIN_DIAMETER
    if is_large and area < _LEAST_AREA and side < min(_FINE_SIDE, max(height, width)):
        return _first_guess(images, reduced_by, _FINE_SIDE)
    mask = _one_fruit(mask, enlarged)
    evidence = _Evidence.learn(small, mask, motion)
    enlarged = cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(enlarged, dtype=np.uint8), evidence


def _seeds(still: Image, motion: Array | None) -> Image:
    """GrabCut's first labels: fruit where colours are not the corners', or where things turn."""
    height, width = still.shape[:2]
    y, x = np.mgrid[:height, :width]
    across, down = (x + 0.5) / width * 2 - 1, (y + 0.5) / height * 2 - 1
    labels = np.full((height, width), cv2.GC_PR_BGD, dtype=np.uint8)
    corners = np.abs(across) ** 3 + np.abs(down) ** 3 > 1.55
    if motion is not None:
        labels[motion > 0] = cv2.GC_PR_FGD
    else:
        corners[[0, 0, -1, -1], [0, -1, 0, -1]] = True  # of a tiny picture
        known = still[corners][:: max(1, int(corners.sum()) // 150)].astype(np.float32)
        foreign = cKDTree(known).query(still.reshape(-1, 3))[0].reshape(height, width)
        levels = np.clip(foreign * 2, 0, 255).astype(np.uint8)
        limit, _ = cv2.threshold(levels, 0, 255, cv2.THRESH_OTSU)
        labels[levels > limit] = cv2.GC_PR_FGD
    labels[corners] = cv2.GC_BGD
    return labels


def _one_fruit(mask: Image, enlarged: float) -> Image:
    """The largest compact piece of a mask, without stems and holes; `enlarged` undoes its scale."""
    area = float(mask.sum())
    smallest = MIN_DIAMETER / enlarged
    if area < _LEAST_AREA or area > 0.97 * mask.size:
        raise MezoroiError(_NOTHING)
    radius = np.sqrt(area / np.pi)
    opened = _opened(mask, 0.22 * radius)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(opened)
    if count < 2:
        raise MezoroiError(_NOTHING)
    areas = np.sort(stats[1:, cv2.CC_STAT_AREA])[::-1]
    if len(areas) > 1 and areas[1] > 0.35 * areas[0]:
        raise MezoroiError("two fruits are in the picture: show one at a time")
    if 2 * np.sqrt(areas[0] / np.pi) < smallest:
        across = round(2 * float(np.sqrt(areas[0] / np.pi)) * enlarged)
        raise MezoroiError(
            f"the fruit is only {across} pixels wide: go closer, to {MIN_DIAMETER} or more"
        )
    fruit = (labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))).astype(np.uint8)
    filled = np.zeros_like(fruit)
    cv2.drawContours(filled, [_outline(fruit)], -1, 1, cv2.FILLED)
    return _without_appendix(filled)


def _opened(mask: Image, radius: float) -> Image:
    """A mask without what a circle of a radius does not fit into."""
    size = 2 * max(1, round(radius)) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    # Padded, for a fruit that touches the frame's edge is not opened away there.
    padded = cv2.copyMakeBorder(mask, size, size, size, size, cv2.BORDER_REPLICATE)
    opened = cv2.morphologyEx(padded, cv2.MORPH_OPEN, kernel)[size:-size, size:-size]
    return np.asarray(opened, dtype=np.uint8)


def _without_appendix(mask: Image) -> Image:
    """A mask without what is clearly narrower than the fruit, as the middle of a plate below it."""
    inscribed = float(cv2.distanceTransform(mask, cv2.DIST_L2, 5).max())
    opened = _opened(mask, _NARROW * inscribed)
    # A fruit as long as a pear has no such part.
    return np.asarray(opened if opened.sum() > _MOST * mask.sum() else mask, dtype=np.uint8)


def _outline(mask: Image) -> NDArray[np.int32]:
    """The longest way around a mask, (K, 1, 2) pixels."""
    found = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
    return np.asarray(max(found, key=cv2.contourArea), dtype=np.int32)


@dataclass(frozen=True)
class _Evidence:
    """Log-odds of fruit against background: by bin of colour (Lab), and by place where it turns."""

    by_colour: Array
    by_motion: Array | None

    @classmethod
    def learn(cls, frames: Image, mask: Image, motion: Array | None) -> _Evidence:
        radius = max(1, round(0.06 * np.sqrt(float(mask.sum()))))
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
        inside = cv2.erode(mask, kernel) > 0
        outside = cv2.dilate(mask, kernel) == 0
        lab = [cv2.cvtColor(frame, cv2.COLOR_RGB2LAB) for frame in frames]
        # A colour that few frames have inside is that of a hand before the fruit.
        fruit = np.quantile([_shares(frame[inside]) for frame in lab], _LASTING, axis=0)
        around = _shares(np.concatenate([frame[outside] for frame in lab]))
        floor = 1e-5
        odds = np.log((fruit + floor) / (around + floor))
        return cls(np.clip(odds, -3, 3).ravel().astype(np.float32), motion)

    def of_colours(self, image: Image) -> Array:
        """Log-odds (H, W) of a picture (H, W, 3) RGB by its colours."""
        lab = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2LAB), dtype=np.uint8)
        levels = np.arange(256)
        steps = (_BINS[1] * _BINS[2], _BINS[2], 1)
        index = sum(
            (levels * size // 256 * step)[lab[..., k]]
            for k, (size, step) in enumerate(zip(_BINS, steps, strict=True))
        )
        odds: Array = self.by_colour[index]
        return odds


def _shares(pixels: Image) -> Array:
    """Share of pixels (P, 3) Lab in each bin of colour, evened out over neighbouring bins."""
    found = np.histogramdd(pixels, bins=_BINS, range=[(0, 256)] * 3)[0]
    for axis in range(3):
        found = (np.roll(found, 1, axis) + 2 * found + np.roll(found, -1, axis)) / 4
    return np.asarray(found / max(1.0, float(found.sum())), dtype=np.float32)


def _trace(images: Sequence[Image], mask: Image, evidence: _Evidence) -> list[Silhouette]:
    """Follow the fruit's edge around a coarse mask, in frames of its size.

    Raises
    ------
    MezoroiError
        If all of the outline lies along the edge of the picture, or beyond it.
    """
    height, width = mask.shape
    outline = _outline(mask)[:, 0].astype(np.float64)
    inside = _away_from_edge(outline, height, width)
    if not inside.any():
        raise MezoroiError(_NOTHING)
    guess = fit_ellipse(outline, inside.astype(np.float64))
    angle = np.arange(_RAYS) * 2 * np.pi / _RAYS
    rim = guess.to_pixels(np.stack([np.cos(angle), np.sin(angle)], axis=-1))
    reach = np.linspace(1 - _REACH, 1 + _REACH, _SAMPLES)
    x, y = np.moveaxis(guess.centre + (rim - guess.centre)[:, None] * reach[:, None], -1, 0)
    beyond = (x < 0) | (y < 0) | (x > width - 1) | (y > height - 1)
    # What lies further out has no say, but for the blurs below.
    left, right = np.clip([x.min() - _MARGIN, x.max() + _MARGIN], 0, width).astype(int)
    top, bottom = np.clip([y.min() - _MARGIN, y.max() + _MARGIN], 0, height).astype(int)
    box = slice(top, bottom), slice(left, right)
    x, y = (x - left).astype(np.float32), (y - top).astype(np.float32)
    parts = [np.ascontiguousarray(image[box]) for image in images]
    by_motion: float | Array = 0.0
    unusual: Iterable[float | Array] = repeat(0.0, len(parts))
    if evidence.by_motion is not None:
        by_motion = cv2.resize(evidence.by_motion, (width, height))[box].astype(np.float32)
        unusual = unusual_odds(parts, exposures(images), by_motion)

    odds = np.full((len(images), _RAYS, _SAMPLES), -1.0, dtype=np.float32)
    slope = np.zeros(odds.shape, dtype=np.float32)
    usual = []
    for number, (part, now) in enumerate(zip(parts, unusual, strict=True)):
        by_colour = evidence.of_colours(part)
        usual.append(float(by_colour[mask[box] > 0].mean()))
        turning = np.where(by_colour > _FRUITY, np.maximum(by_motion, now), by_motion)
        found = cv2.GaussianBlur(by_colour + turning, (0, 0), 1.0)
        odds[number] = np.where(beyond, -1.0, cv2.remap(found, x, y, cv2.INTER_LINEAR))
        smooth = cv2.GaussianBlur(part, (0, 0), 0.8)
        colour = cv2.remap(smooth, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        colour = colour.astype(np.float32)
        slope[number, :, 1:-1] = np.linalg.norm(colour[:, 2:] - colour[:, :-2], axis=2)
        slope[number, beyond] = 0
    edges = best_edges(odds, slope)
    # A hand over all of the fruit, or a fruit that is taken away.
    gone = np.array(usual) < np.median(usual) - _GONE
    silhouettes = []
    for along, edge, missing in zip(slope, edges, gone, strict=True):
        radii = np.interp(between_samples(along, edge), np.arange(_SAMPLES), reach)
        contour = guess.centre + (rim - guess.centre) * radii[:, None]
        sure = _away_from_edge(contour, height, width)
        if not sure.any():
            silhouettes.append(_none_in(images[0], _NOTHING))
            continue
        ellipse = fit_ellipse(contour, sure.astype(np.float64))
        reason = _HIDDEN if missing else ""
        silhouettes.append(Silhouette(contour, sure & (not missing), ellipse, reason))
    if all(one.missing == _NOTHING for one in silhouettes):
        raise MezoroiError(_NOTHING)
    return silhouettes


def _away_from_edge(contour: Floats, height: int, width: int) -> NDArray[np.bool_]:
    """Where the outline does not run along the frame's edge."""
    x, y = contour[:, 0], contour[:, 1]
    touching = (x < 1.5) | (y < 1.5) | (x > width - 2.5) | (y > height - 2.5)
    return ~touching
