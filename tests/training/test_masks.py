"""Experts' masks in training: where they lie in the feature map, and what they change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

import mezoroi as mz
from mezoroi.bundle import build_network
from mezoroi.config import Config, JitterConfig
from mezoroi.datasets import complete_splits
from mezoroi.errors import MezoroiError
from mezoroi.evaluation import score_maps
from mezoroi.maps import upsample_maps
from mezoroi.training import FruitMasks, GradingData, GradingModule, InputSize, make_head
from mezoroi.training.jitter import jitter, move_masks
from mezoroi.training.masks import in_cells

Make = Callable[..., Config]
SURFACE = ("A", "B", "D")


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_masks_are_read_at_network_size(dataset: mz.Dataset) -> None:
    masks = FruitMasks(dataset, 64, 128, SURFACE)
    marked = [index for index, item in enumerate(dataset) if item.mask is not None]
    assert len(masks) == len(marked) > 0
    index = next(i for i in marked if dataset.observations[i].grade == "B")
    planes = masks.planes([0, index])
    assert planes.shape == (2, 3, 64, 128)
    for bit, grade in enumerate(SURFACE):
        mask = dataset.mask_of(dataset.observations[index], grade)
        assert bool(masks.known[index, bit]) == (mask is not None)
        if mask is not None:
            np.testing.assert_array_equal(planes[1, bit].numpy() > 0, mask)
    half = FruitMasks(dataset, 32, 64, SURFACE).planes([index])
    shrunk = interpolate(planes[1:], scale_factor=0.5, mode="area")
    assert torch.equal(shrunk > 0.5, half > 0)


def test_a_fruit_without_a_mask_says_nothing(dataset: mz.Dataset) -> None:
    rows = tuple(replace(item, mask=None) for item in dataset)
    masks = FruitMasks(replace(dataset, observations=rows), 64, 128, SURFACE)
    assert len(masks) == 0 and not masks.known.any() and not masks.planes([0, 3]).any()


def test_a_damaged_mask_is_named(dataset: mz.Dataset, tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    path.write_bytes(b"no picture")
    rows = (replace(dataset.observations[0], mask=path), *dataset.observations[1:])
    with pytest.raises(MezoroiError, match=r"mask\.png"):
        FruitMasks(replace(dataset, observations=rows), 64, 128, SURFACE)


@pytest.mark.parametrize(("height", "width"), [(64, 128), (56, 120)])
def test_cells_lie_where_maps_are_drawn(height: int, width: int) -> None:
    stride = 16
    masks = torch.zeros(1, 1, height, width)
    masks[:, :, 24:40, 40:72] = 1  # the cell around pixel 32, and those around 48 and 64
    cells = in_cells(masks, stride, wraps=False)
    assert cells.shape[2:] == (-(-height // stride), -(-width // stride))
    assert cells.nonzero().tolist() == [[0, 0, 2, 3], [0, 0, 2, 4]]
    assert set(cells.unique().tolist()) == {0.0, 1.0}
    drawn = upsample_maps(cells, cells.shape[2] * stride, cells.shape[3] * stride)
    middles = [
        (plane.sum(dim=1 - axis) * torch.arange(plane.shape[axis])).sum() / plane.sum()
        for plane in (drawn[0, 0], masks[0, 0])
        for axis in (0, 1)
    ]
    torch.testing.assert_close(middles[:2], middles[2:], atol=0.6, rtol=0)


def test_cells_of_a_panorama_meet() -> None:
    masks = torch.zeros(1, 1, 32, 64)
    masks[..., 56:] = 1  # half of the cell around column 0 = 64
    assert in_cells(masks, 16, wraps=True)[0, 0, 0].tolist() == [0.5, 0, 0, 0.0]
    assert in_cells(masks, 16, wraps=False)[0, 0, 0].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("wraps", [False, True])
def test_masks_move_with_their_images(wraps: bool) -> None:
    """An image that shows its own mask shows it still after both were changed."""
    config = JitterConfig(light=0, colour=0, blur=0, noise=0, shift=0.3, flip=True)
    masks = (torch.rand(6, 1, 32, 64, generator=seeded(3)) > 0.7).float()
    images = masks.expand(-1, 3, -1, -1)
    seen = jitter(images, config, seeded(5), wraps)
    moved = move_masks(masks, config, seeded(5), wraps)
    torch.testing.assert_close(seen, moved.expand(-1, 3, -1, -1).clamp(0, 1))
    assert not torch.allclose(moved, masks)


@pytest.mark.parametrize("views", [0, 2])
def test_batches_hold_masks_as_their_images_were_changed(
    dataset: mz.Dataset, tiny: Make, views: int
) -> None:
    """Hidden views and images on the fly tell the same of a fruit that is only turned."""
    still = [f"jitter.{part}=0" for part in ("light", "colour", "blur", "noise", "shift")]
    config = tiny(f"train.cached_views={views}", "jitter.flip=false", *still, "loss.mask_weight=1")
    splits = complete_splits(dataset, 0)
    network, _ = build_network(dataset.standard, config, 0, True, "none")
    size, train = InputSize(64, 128, True), splits.select("train")
    masks = FruitMasks(train, 64, 128, SURFACE)
    data = GradingData(train, splits.select("val"), network, size, config, masks=masks)
    data.setup("fit")
    head = make_head(config.loss, len(dataset.standard.grades), network.embedding_dim)
    module = GradingModule(network, head, dataset.standard, config, size)
    batch = module.jittered(next(iter(data.train_dataloader())), seeded(0))
    assert batch["masks"].shape[1:] == (3, 4, 8)
    plain = in_cells(masks.planes(batch["items"][:, 0].tolist()), 16, True)
    # A turn keeps every row's sum, up to what the cells' borders cut.
    torch.testing.assert_close(batch["masks"].sum(dim=3), plain.sum(dim=3), atol=0.01, rtol=0.01)
    assert bool(batch["known"].any())
    assert torch.equal(batch["known"], masks.known[batch["items"][:, 0]])


def test_masks_teach_where_a_grade_shows(dataset: mz.Dataset, tiny: Make, tmp_path: Path) -> None:
    """On the fruits that it learned from, a network taught by masks shows more of them."""
    options = ("train.epochs=12", "train.lr=0.003")
    untaught = mz.train(dataset, tiny(*options), tmp_path / "untaught")
    taught = mz.train(dataset, tiny(*options, "loss.mask_weight=3"), tmp_path / "taught")
    found = []
    for grader in (untaught, taught):
        scores = score_maps(grader, dataset, grader.predict(dataset), n_resamples=10)
        assert scores is not None
        found.append(scores["mean_iou"]["value"])
    assert found[1] > found[0] + 0.03


def test_masks_teach_nothing_where_there_are_none(
    dataset: mz.Dataset, tiny: Make, run_dir: Path, tmp_path: Path
) -> None:
    rows = tuple(replace(item, mask=None) for item in dataset)
    bare = replace(dataset, observations=rows)
    mz.train(bare, tiny("loss.mask_weight=1"), tmp_path / "run")
    same = [(folder / "grader.safetensors").read_bytes() for folder in (run_dir, tmp_path / "run")]
    assert same[0] == same[1]
