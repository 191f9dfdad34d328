"""Experts' masks in training: where they lie in the feature map, and what they change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import interpolate

import mezoroi as mz
from mezoroi.bundle import build_network
from mezoroi.config import Config, JitterConfig
from mezoroi.datasets import complete_splits, write_mask
from mezoroi.errors import MezoroiError
from mezoroi.evaluation import score_maps
from mezoroi.losses import mask_loss, precedence_loss
from mezoroi.maps import Grid, grade_evidence, upsample_maps
from mezoroi.models import FruitMasks, InputSize
from mezoroi.models.fruit_masks import in_cells
from mezoroi.training import GradingData, GradingModule
from mezoroi.training.jitter import jitter, move_masks

Make = Callable[..., Config]
SURFACE = ("A", "B", "D")
GRID = Grid((16.0, 16.0))


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def assembled(dataset: mz.Dataset, config: Config) -> tuple[GradingModule, GradingData, FruitMasks]:
    """A module and data of melons, of which every second one has a mask."""
    splits = complete_splits(dataset, 0)
    rows = splits.select("train").observations
    some = tuple(replace(o, mask=o.mask if n % 2 else None) for n, o in enumerate(rows))
    train, size = replace(dataset, observations=some), InputSize(64, 128, True)
    network, head = build_network(dataset.standard, config, 0, True, "none")
    masks = FruitMasks(train, 64, 128, SURFACE)
    data = GradingData(train, splits.select("val"), network, size, config, masks=masks)
    return GradingModule(network, head, dataset.standard, config, size), data, masks


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


@pytest.mark.parametrize("offset", [0, 7, 15])
@pytest.mark.parametrize(("height", "width"), [(64, 128), (56, 120)])
def test_cells_lie_where_maps_are_drawn(height: int, width: int, offset: int) -> None:
    stride, grid = 16, Grid((16.0, 16.0), (offset, offset))
    masks = torch.zeros(1, 1, height, width)
    # The cell around pixel 32, and those around 48 and 64, and all moved by the offset.
    masks[:, :, 24 + offset : 40 + offset, 40 + offset : 72 + offset] = 1
    cells = in_cells(masks, grid, wraps=False)
    assert cells.shape[2:] == (-(-height // stride), -(-width // stride))
    assert cells.nonzero().tolist() == [[0, 0, 2, 3], [0, 0, 2, 4]]
    assert set(cells.unique().tolist()) == {0.0, 1.0}
    drawn = upsample_maps(cells, cells.shape[2] * stride, cells.shape[3] * stride, grid=grid)
    middles = [
        (plane.sum(dim=1 - axis) * torch.arange(plane.shape[axis])).sum() / plane.sum()
        for plane in (drawn[0, 0], masks[0, 0])
        for axis in (0, 1)
    ]
    torch.testing.assert_close(middles[:2], middles[2:], atol=0.6, rtol=0)


def test_cells_of_a_panorama_meet() -> None:
    masks = torch.zeros(1, 1, 32, 64)
    masks[..., 56:] = 1  # half of the cell around column 0 = 64

    assert in_cells(masks, GRID, wraps=True)[0, 0, 0].tolist() == [0.5, 0, 0, 0.0]
    assert in_cells(masks, GRID, wraps=False)[0, 0, 0].tolist() == [0, 0, 0, 0]
    aside = Grid((16.0, 16.0), (15.0, 15.0))  # columns 55 to 70 around column 63
    assert in_cells(masks, aside, wraps=True)[0, 0, 0].tolist() == [0, 0, 0, 0.5]


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
    dataset: mz.Dataset, tiny: Make, monkeypatch: pytest.MonkeyPatch, views: int
) -> None:
    """Fruits whose picture is their own mask still show it, whichever way batches are made."""
    dark = [f"jitter.{part}=0" for part in ("light", "colour", "blur", "noise")]
    config = tiny(f"train.cached_views={views}", *dark, "loss.mask_weight=1")
    module, data, masks = assembled(dataset, config)
    monkeypatch.setattr(data.train_images, "images", masks.planes)
    monkeypatch.setattr(module.model, "prepare", lambda images: images)
    monkeypatch.setattr(module.model.encoder, "run_stages", lambda values, *_: values)
    data.setup("fit")
    batch = module.jittered(next(iter(data.train_dataloader())), seeded(0))
    assert ("hidden" in batch) == bool(views)
    seen = batch["hidden" if views else "images"]
    torch.testing.assert_close(batch["masks"], in_cells(seen, GRID, True), atol=1e-3, rtol=0)
    plain = in_cells(masks.planes(batch["items"][:, 0].tolist()), GRID, True)
    assert not torch.allclose(batch["masks"], plain, atol=0.1)
    assert bool(batch["known"].any())
    assert torch.equal(batch["known"], masks.known[batch["items"][:, 0]])


def test_masks_cost_their_weight_and_end_precedence(dataset: mz.Dataset, tiny: Make) -> None:
    config = tiny("loss.mask_weight=2", "loss.swap_tile=0", "train.cached_views=0")
    module, data, _ = assembled(dataset, config)
    module.eval()
    batch = module.jittered(next(iter(data.train_dataloader())), seeded(0))
    known = batch["known"].any(dim=1)
    assert 0 < int(known.sum()) < len(known)

    def cost(content: dict[str, torch.Tensor]) -> float:
        assert module.mutual_channel is not None
        module.mutual_channel.generator.manual_seed(0)
        return float(module.losses(content, 0).detach())

    output = module.run(batch)
    evidence = grade_evidence(output.class_channels, module.model.channels_per_grade)
    taught = mask_loss(evidence, batch["masks"], batch["known"])
    judged = module.surface_index[batch["labels"]]
    by_precedence = [
        precedence_loss(evidence[rows], module.possible[judged[rows]])
        for rows in (judged >= 0, (judged >= 0) & ~known)
    ]
    bare = {name: values for name, values in batch.items() if name not in ("masks", "known")}
    expected = 2 * taught - by_precedence[0] + by_precedence[1]
    assert cost(batch) - cost(bare) == pytest.approx(float(expected.detach()), abs=1e-5)


def test_evaluation_finds_masks_where_photos_lie(
    dataset: mz.Dataset, tiny: Make, tmp_path: Path
) -> None:
    """A photo that does not fill the network's input: its map is its mask."""
    rows = []
    for number in range(12):
        image, mask = tmp_path / f"{number}.png", np.zeros((96, 48), bool)
        mask[48 : 90 - number, 8:40] = True
        Image.fromarray(np.full((96, 48, 3), 10 * number, np.uint8)).save(image)
        grade = "AB"[number % 2]
        standard = mz.GradingStandard.from_grades(["A", "B"])
        write_mask(tmp_path / f"{number}-mask.png", {grade: mask})
        rows.append(
            replace(
                dataset.observations[number], id=str(number), specimen=str(number), image=image,
                grade=grade, mask=tmp_path / f"{number}-mask.png", outline=None, labels={},
            )
        )  # fmt: skip
    photos = replace(dataset, observations=tuple(rows), standard=standard)
    grader = mz.train(photos, tiny("train.epochs=1"), tmp_path / "run")
    grader.network.encoder.grid = Grid((1.0, 1.0))  # maps as fine as the masks
    cells = in_cells(FruitMasks(photos, 64, 64, "AB").planes(range(12)), Grid((1.0, 1.0)), False)
    predictions = replace(grader.predict(photos), maps=cells.numpy())
    scores = score_maps(grader, photos, predictions, n_resamples=10)
    assert scores is not None and scores["mean_iou"]["value"] > 0.9
    # What lies beside the photo counts neither for nor against marking all of it.
    share = np.mean([(42 - number) * 32 / (96 * 48) for number in range(12)])
    assert scores["overall"]["whole image"] == pytest.approx(share, abs=0.01)


def test_masks_teach_where_a_grade_shows(
    dataset: mz.Dataset, pretrained: Make, tmp_path: Path
) -> None:
    """On the fruits that it learned from, a network taught by masks shows more of them."""
    # Of 28 fruits the loss of second places moves maps by chance, as much as masks do.
    options = ("train.epochs=6", "train.lr=0.005", "loss.runner_up_weight=0")
    untaught = mz.train(dataset, pretrained(*options), tmp_path / "untaught")
    taught = mz.train(dataset, pretrained(*options, "loss.mask_weight=3"), tmp_path / "taught")
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
