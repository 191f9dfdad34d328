"""Boxes of parts on made-up melons, whose silhouettes are known; boxes of fruit on white."""

from __future__ import annotations

import shutil
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from mezoroi.augment import PIXELS, box_iou
from mezoroi.augment.boxes import WHOLE, inside
from mezoroi.bench.ledger import Ledger, cell_key
from mezoroi.bundle import build_network
from mezoroi.config import Config
from mezoroi.datasets import complete_splits, load_dataset
from mezoroi.datasets.melons import (
    GENERATOR_VERSION,
    Conditions,
    draw_turn,
    indexed_melon,
    render_views,
)
from mezoroi.datasets.melons.scene import make_fruit, see
from mezoroi.datasets.melons.styles import style_of
from mezoroi.files import atomic_path, write_bytes
from mezoroi.metrics.boxes import mask_boxes
from mezoroi.models.preprocess import fit_image
from mezoroi.presets import make_config
from mezoroi.progress import Progress, silent
from mezoroi.training import GradingData, GradingModule, fit
from mezoroi.training.data import seeded_generator
from mezoroi.training.jitter import jitter
from mezoroi.training.parts import fit_locator, locate, picture
from mezoroi.workflow import input_size

COUNT, SEED, SIDE = 240, 77, 224
BUDGET = (
    "input.height=192",
    "model.channels_per_grade=0",
    "loss.head=softmax",
    "train.epochs=6",
    "train.cached_views=2",
)
WAYS: dict[str, tuple[str, ...]] = {
    "common object, k-means": (),
    # End to end: the network learns with the layers, and from exchanged parts.
    "common object, refined grouping": ("augment=part-cutmix", "parts.grouping=refined"),
    "CAM, k-means": ("parts.object=cam",),
}
KNOWN = "known object, k-means"
_WHITE = 40  # how much darker or more colourful than white a fruit is, of 255


def box_settings(way: str) -> dict[str, Any]:
    """What identifies a cell of the table of boxes."""
    return {
        "bench": "part boxes",
        "generator": GENERATOR_VERSION,
        "melons": [COUNT, SEED, SIDE],
        "way": way,
        "config": _config(way).model_dump(mode="json"),
    }


def run_boxes(work: Path, ledger: Ledger, progress: Progress = silent) -> None:
    """Find the parts of melons in photos in every way, and compare them with the silhouettes."""
    ways = (*WAYS, KNOWN)
    if all(ledger.find(box_settings(way)) is not None for way in ways):
        return
    photos = make_photos(work / f"melon-photos-{cell_key({'n': [COUNT, SEED, SIDE]})}", progress)
    for done, way in enumerate(ways, 1):
        settings = box_settings(way)
        if ledger.find(settings) is None:
            result = measure_boxes(photos, way, work / "runs" / cell_key(settings))
            picture_path = work / f"parts-{way.replace(', ', '-').replace(' ', '-')}.png"
            write_bytes(picture_path, result.pop("picture"))
            ledger.compute(settings, lambda found=result: found)  # type: ignore[misc]
        progress("part boxes", done, len(ways))


def make_photos(folder: Path, progress: Progress = silent) -> Path:
    """One photo of each made-up melon as in a packing house, with its silhouette in ``fruit/``."""
    if folder.exists():
        return folder
    made = folder.with_name(f".{folder.name}")
    shutil.rmtree(made, ignore_errors=True)
    for index in range(COUNT):
        melon, _ = indexed_melon(index, SEED, height=128)
        rng = np.random.default_rng([SEED, index])
        conditions = Conditions.draw(rng, style_of("standard"))
        turn = replace(draw_turn(rng, frames=2, size=(SIDE, SIDE)), occluded=0.0)
        frames, truth = render_views(melon.body, melon.texture, conditions, turn, rng)
        scale = float(truth.scales[0])
        fruit = make_fruit(melon.body, melon.texture, conditions, scale=scale, glare=turn.glare)
        seen = see(fruit, truth.poses[0], truth.centres[0], scale, turn.nearness, turn.size)
        mask = np.zeros((SIDE, SIDE), np.uint8)
        height, width = seen.opacity.shape
        covered = (seen.opacity > 0.5).astype(np.uint8) * 255
        mask[seen.top : seen.top + height, seen.left : seen.left + width] = covered
        name = f"{index:04d}.png"
        _write(made / "images" / melon.grade / name, next(frames)[..., ::-1])
        _write(made / "fruit" / name, mask)
        progress("making melon photos", index + 1, COUNT)
    made.rename(folder)
    return folder


def measure_boxes(photos: Path, way: str, run: Path) -> dict[str, Any]:
    """Train on the photos, find the parts, and compare.

    Returns
    -------
    ``inside``: mean share of the parts' boxes that lies inside the silhouette;
    ``mostly_inside``: share of the boxes of which more than half does; ``overlap``: mean
    intersection over union of two parts; ``object``: mean intersection over union of the object's
    box and the silhouette's; ``covered``: share of the silhouette inside some part; ``picture``
    """
    config = _config(way)
    dataset = complete_splits(load_dataset(photos / "images"))
    size = input_size(dataset, config)
    network, head = build_network(dataset.standard, config, 0, False, config.model.weights)
    module = GradingModule(network, head, dataset.standard, config, size)
    data = GradingData(dataset.select("train"), dataset.select("val"), network, size, config)
    shutil.rmtree(run, ignore_errors=True)
    fit(module, data, config.train, run)
    shutil.rmtree(run)
    # On the photos as they are.
    still = config.model_copy(update={"train": config.train.model_copy(update={"cached_views": 0})})
    data = GradingData(dataset.select("train"), dataset.select("val"), network, size, still)
    masks = torch.from_numpy(_masks(photos, data, size.height))
    true_boxes = torch.from_numpy(mask_boxes(masks.numpy())).float() / size.height
    if way == KNOWN:
        data.objects = true_boxes[None]
    locator = fit_locator(module, data)
    boxes = locate(locator)[0][0]
    parts = boxes[:, 1:]
    within = inside(parts, size.height, size.width, PIXELS)
    share = (within & masks[:, None]).sum(dim=(2, 3)) / within.sum(dim=(2, 3))
    pairs = [box_iou(parts[:, a], parts[:, b]) for a, b in combinations(range(parts.shape[1]), 2)]
    return {
        "inside": float(share.mean()),
        "mostly_inside": float((share > 0.5).float().mean()),
        "overlap": float(torch.stack(pairs).mean()),
        "object": float(box_iou(boxes[:, 0], true_boxes).mean()),
        "covered": float((within.any(dim=1) & masks).sum() / masks.sum()),
        "picture": picture(locator, boxes),
    }


def boxes_on_white(data: GradingData) -> torch.Tensor:
    """(V, N, 4) boxes of fruit on white in every view: what differs from white.

    The views' own flips and shifts are repeated on the masks.
    """
    still = {"light": 0.0, "colour": 0.0, "blur": 0.0, "noise": 0.0}
    places = data.config.jitter.model_copy(update=still)
    images, seed = data.train_images, data.config.train.seed
    size = data.config.train.batch_size
    views: list[list[torch.Tensor]] = [[] for _ in range(data.train_views)]
    for start in range(0, len(images), size):
        indices = list(range(start, min(start + size, len(images))))
        fruit = np.stack([_not_white(images.pixels(index)) for index in indices])
        masks = torch.from_numpy(fruit).float()[:, None].repeat(1, 3, 1, 1)
        for view, found in enumerate(views):
            # Places are drawn before light and colour, so that these may be left out.
            draws = seeded_generator(seed, 1_000_000 + view, start)
            moved = jitter(masks, places, draws, data.size.wraps)[:, 0] > 0.5
            boxes = torch.from_numpy(mask_boxes(moved.numpy())).float()
            scale = torch.tensor([data.size.width, data.size.height] * 2)
            found.append(torch.where(boxes.isnan(), torch.tensor(WHOLE), boxes / scale))
    return torch.stack([torch.cat(found) for found in views])


def _not_white(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    mask = (255 - pixels.min(axis=2).astype(int) > _WHITE).astype(np.uint8)
    return cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)).astype(bool)


def _masks(photos: Path, data: GradingData, side: int) -> NDArray[np.bool_]:
    found = []
    for item in data.train_images.dataset:
        mask = cv2.imread(str(photos / "fruit" / item.image.name), cv2.IMREAD_GRAYSCALE)
        assert mask is not None
        fitted = fit_image(np.repeat(mask[..., None], 3, axis=2), side, side).pixels
        found.append(fitted[..., 0] > 127)
    return np.stack(found)


def _config(way: str) -> Config:
    return make_config(overrides=[*BUDGET, *WAYS.get(way, ())])


def _write(path: Path, image: NDArray[np.uint8]) -> None:
    with atomic_path(path) as temporary:
        cv2.imwrite(str(temporary), image)
