"""Pictures for the retrieval bench, and their features, which are kept between starts."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from mezoroi.bench.ledger import cell_key
from mezoroi.capture.images import IMAGE_SUFFIXES, read_image
from mezoroi.errors import MezoroiError
from mezoroi.files import atomic_path, natural_key
from mezoroi.models import MultiLayerFeatures
from mezoroi.models.preprocess import fit_image, to_tensor
from mezoroi.models.weights import PACKAGED_BACKBONE
from mezoroi.progress import Progress, silent

SIDE = 224
VIEWS = 4
_BATCH = 32
_BLACK = 12
_CLUTTER_SIDE = 320
_CLUTTER_SHARE = 0.55
CLUTTER_SEED = 11


@dataclass(frozen=True)
class Backbone:
    """The network whose layers are compared.

    Attributes
    ----------
    name, weights : as `MultiLayerFeatures` takes them
    """

    name: str = PACKAGED_BACKBONE
    weights: str = "package"

    def extractor(self) -> MultiLayerFeatures:
        """Its layers side by side."""
        return MultiLayerFeatures(self.name, self.weights)

    @property
    def settings(self) -> dict[str, str]:
        """What identifies it in a cell; the default one by its weights alone, as ever."""
        named = {} if self.name == PACKAGED_BACKBONE else {"backbone": self.name}
        return {"weights": self.weights, **named}


PACKAGED = Backbone()


@dataclass(frozen=True)
class Pictures:
    """N pictures of instances or kinds.

    Attributes
    ----------
    paths : N files
    labels : (N,) from 0 on
    views : (N,) number of the view of its instance, from 0 on
    """

    paths: Sequence[Path]
    labels: np.ndarray
    views: np.ndarray

    def evenly_spaced(self, chosen: np.ndarray, count: int = VIEWS) -> np.ndarray:
        """(N,) bool: `count` views of each instance among the `chosen`, evenly over the turn."""
        kept = np.zeros(len(self.labels), dtype=bool)
        for label in np.unique(self.labels[chosen]):
            own = np.flatnonzero(chosen & (self.labels == label))
            # The last view is near the first: the turn is a circle.
            places = np.linspace(0, len(own), count, endpoint=False).round().astype(int)
            kept[own[places]] = True
        return kept


def fruit_rotation(folder: Path) -> Pictures:
    """36 fruits in 12 to 19 views, on black."""
    instances = sorted({path.parent for path in folder.glob("*/obj*/im*.png")})
    if not instances:
        raise MezoroiError(f"{folder} holds no KIND/objNNNN/imNN.png: give fruit_rotation")
    rows = [
        (path, label, view)
        for label, instance in enumerate(instances)
        for view, path in enumerate(
            sorted(instance.glob("im*.png"), key=lambda path: natural_key(path.name))
        )
    ]
    paths, labels, views = zip(*rows, strict=True)
    return Pictures(paths, np.array(labels), np.array(views))


def grocery(folder: Path, split: str) -> Pictures:
    """Shop photos of 20 kinds of produce: a split, or ``iconic``, one picture of each kind."""
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    kinds = sorted({row["class"] for row in rows})
    if split == "iconic":
        found = {path.stem: path for path in (folder / "iconic").iterdir()}
        chosen = [(found[kind], kind) for kind in kinds]
    else:
        chosen = [(folder / row["path"], row["class"]) for row in rows if row["split"] == split]
    labels = np.array([kinds.index(kind) for _, kind in chosen])
    return Pictures([path for path, _ in chosen], labels, np.zeros(len(labels), dtype=int))


def features_of(
    name: str,
    images: Sequence[Path],
    extractor: MultiLayerFeatures,
    work: Path,
    backbone: Backbone,
    *,
    change: str = "",
    backgrounds: Sequence[Path] = (),
    progress: Progress = silent,
) -> torch.Tensor:
    """(N, sum of dims) float32 features of all layers, from the file of an earlier start if any.

    Parameters
    ----------
    change : ``""``; ``clutter``: the fruit, at about half the side, on a photo of
        `backgrounds`; ``crop``: the same picture cut to the fruit's box
    """
    key = cell_key({"features": name, "change": change, **backbone.settings, "side": SIDE})
    path = work / "features" / f"{name}-{change or 'plain'}-{key}.npy"
    if path.is_file():
        return torch.from_numpy(np.load(path))
    parts = []
    extractor.eval()
    for start in range(0, len(images), _BATCH):
        chosen = range(start, min(start + _BATCH, len(images)))
        pixels = [read_picture(images[n], n, change, backgrounds) for n in chosen]
        with torch.inference_mode():
            parts.append(extractor(extractor.prepare(to_tensor(pixels))))
        progress(f"features of {name} {change}", chosen[-1] + 1, len(images))
    found = torch.cat(parts)
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.save(stream, found.numpy())
    return found


def find_backgrounds(folder: Path) -> list[Path]:
    """Photos of shop shelves to paste fruits on."""
    found = sorted(p for p in folder.glob("train/*/*") if p.suffix.lower() in IMAGE_SUFFIXES)
    if not found:
        raise MezoroiError(f"{folder} holds no train/KIND/*.jpg: give grocery_produce20")
    return found


def on_clutter(
    fruit: np.ndarray, background: np.ndarray, seed: int
) -> tuple[np.ndarray, slice, slice]:
    """A fruit on black (h, w, 3) laid on a photo; with the rows and columns of its box."""
    rng = np.random.default_rng([CLUTTER_SEED, seed])
    side = _CLUTTER_SIDE
    canvas = cv2.resize(background, (side, side), interpolation=cv2.INTER_AREA)
    scale = _CLUTTER_SHARE * side / max(fruit.shape[:2])
    size = (round(fruit.shape[1] * scale), round(fruit.shape[0] * scale))
    small = cv2.resize(fruit, size, interpolation=cv2.INTER_AREA)
    mask = (small.max(axis=2) > _BLACK).astype(np.uint8)
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8)).astype(bool)
    top, left = (int(rng.integers(0, side - length + 1)) for length in (size[1], size[0]))
    rows, columns = slice(top, top + size[1]), slice(left, left + size[0])
    canvas[rows, columns][mask] = small[mask]
    return canvas, rows, columns


def read_picture(
    path: Path, number: int = 0, change: str = "", backgrounds: Sequence[Path] = ()
) -> np.ndarray:
    """(SIDE, SIDE, 3) uint8 of picture `number`, as it is or with a change as of `features_of`."""
    image = read_image(path, max_side=2 * SIDE)
    if change:
        rng = np.random.default_rng([CLUTTER_SEED, number, 1])
        behind = read_image(backgrounds[int(rng.integers(len(backgrounds)))])
        image, rows, columns = on_clutter(image, behind, number)
        if change == "crop":
            image = np.ascontiguousarray(image[rows, columns])
    return fit_image(image, SIDE, SIDE).pixels
