"""Tiles, sampling and batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import avg_pool2d

import mezoroi as mz
from mezoroi.bundle import build_network
from mezoroi.capture.images import read_image
from mezoroi.config import Config
from mezoroi.datasets import complete_splits
from mezoroi.models import FruitImages, InputSize
from mezoroi.presets import make_config
from mezoroi.standard import GradingStandard
from mezoroi.training import GradingData, GradingModule
from mezoroi.training.data import CachedViews, EpochSampler, seeded_generator
from mezoroi.training.tiles import checkerboard, swap_tiles


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(
    st.integers(0, 10**6),
    st.integers(1, 5),
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(1, 4),
    st.integers(1, 3),
)
@settings(max_examples=40, deadline=None)
def test_swapping_twice_gives_everything_back_in_its_place(
    seed: int, count: int, height: int, width: int, tile: int, factor: int
) -> None:
    board = checkerboard(height, width, tile, seeded(seed))
    shape = (count, 2, height * factor, width * factor)
    values = torch.rand(shape, generator=seeded(seed))
    swapped = swap_tiles(values, board)
    assert torch.equal(swap_tiles(swapped, board), values)
    # Position by position the batch holds the same values: nothing moves within a fruit.
    assert torch.equal(swapped.sort(dim=0).values, values.sort(dim=0).values)
    large = board.repeat_interleave(factor, 0).repeat_interleave(factor, 1)
    for index in range(count):
        kept = torch.where(large, values[index], values[count - 1 - index])
        assert torch.equal(swapped[index], kept)


@pytest.mark.parametrize("tile", [1, 2, 4])
def test_a_board_alternates_in_tiles_at_a_drawn_offset(tile: int) -> None:
    boards = set()
    for seed in range(40):
        board = checkerboard(12, 16, tile, seeded(seed)).numpy()
        assert (board[tile:] != board[:-tile]).all()
        assert (board[:, tile:] != board[:, :-tile]).all()
        boards.add(board.tobytes())
    assert len(boards) > 1


LABELS = torch.tensor([0] * 60 + [1] * 30 + [2] * 10)


def test_an_epoch_depends_on_seed_and_number_alone() -> None:
    def drawn(seed: int, epoch: int, balance: bool) -> list[tuple[int, int]]:
        sampler = EpochSampler(LABELS, 5, seed, balance)
        sampler.set_epoch(epoch)
        torch.rand(3)
        return list(sampler)

    for balance in (True, False):
        assert drawn(1, 4, balance) == drawn(1, 4, balance)
        assert drawn(1, 4, balance) != drawn(1, 5, balance)
        assert drawn(1, 4, balance) != drawn(2, 4, balance)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    list(EpochSampler(LABELS, 5, 0, True))
    assert torch.equal(before, torch.get_rng_state())


def test_without_balance_every_observation_comes_once() -> None:
    sampler = EpochSampler(LABELS, 3, 0, balance=False)
    pairs = list(sampler)
    assert sorted(index for index, _ in pairs) == list(range(100)) and len(sampler) == 100
    assert {view for _, view in pairs} == {0, 1, 2}


def test_balance_draws_every_grade_equally_often() -> None:
    sampler = EpochSampler(LABELS, 1, 0, balance=True)
    counts = np.zeros(3)
    for epoch in range(60):
        sampler.set_epoch(epoch)
        counts += np.bincount(LABELS[[index for index, _ in sampler]], minlength=3)
    # 6000 draws with probability 1/3: five standard deviations are 183.
    np.testing.assert_allclose(counts, 2000, atol=183)


def test_balanced_grades_are_drawn_without_repetition() -> None:
    even = torch.tensor([0, 1, 2, 0, 1, 2])
    assert sorted(i for i, _ in EpochSampler(even, 1, 0, balance=True)) == list(range(6))


def test_generators_depend_on_every_part() -> None:
    drawn = {
        parts: torch.rand(1, generator=seeded_generator(*parts)).item()
        for parts in [(0, 0), (0, 1), (1, 0), (0, 0, 1), (0, 1, 0), (1,)]
    }
    assert len(set(drawn.values())) == len(drawn)


def test_images_are_the_files_at_network_size(dataset: mz.Dataset) -> None:
    chosen = dataset.subset([0, 5])
    for megabytes in (0, 100):
        images = FruitImages(chosen, 64, 128, megabytes)
        for _ in range(2):
            np.testing.assert_array_equal(
                images.pixels(1), read_image(chosen.observations[1].image)
            )
    batch = images.__getitems__([(1, 0), (0, 0)])
    assert batch["labels"].tolist() == chosen.labels[::-1].tolist()
    np.testing.assert_array_equal(batch["outlines"].numpy(), chosen.outline_matrix()[::-1])
    np.testing.assert_allclose(
        batch["images"][1].permute(1, 2, 0) * 255, images.pixels(0), atol=1e-3
    )


def make_data(dataset: mz.Dataset, config: Config) -> GradingData:
    splits = complete_splits(dataset, 0)
    network, _ = build_network(dataset.standard, config, 0, True, "none")
    size = InputSize(64, 128, True)
    return GradingData(splits.select("train"), splits.select("val"), network, size, config)


def test_cached_views_are_the_frozen_stages_of_the_images(
    dataset: mz.Dataset, tiny: Callable[..., Config]
) -> None:
    still = [f"jitter.{part}=0" for part in ("light", "colour", "blur", "noise", "shift")]
    data = make_data(dataset, tiny("train.cached_views=2", "jitter.flip=false", *still))
    data.setup("fit")
    assert isinstance(data._val_set, CachedViews)
    (batch,) = data.val_dataloader()
    network = data._model.eval()
    images = data.val_images.images(list(range(len(data.val_images))))
    with torch.inference_mode():
        expected = network.encoder.run_stages(network.prepare(images), 0, 3)
    # Kept as 16-bit numbers: 11 bits of mantissa.
    torch.testing.assert_close(batch["hidden"], expected, rtol=1e-3, atol=1e-3)
    assert batch["labels"].tolist() == data.val_images.labels.tolist()
    views = data._train_set.views
    assert views.shape[:2] == (2, len(data.train_images))
    assert not torch.equal(views[0], views[1])  # turned differently


def test_a_cache_that_does_not_fit_is_left_out(
    dataset: mz.Dataset, tiny: Callable[..., Config]
) -> None:
    data = make_data(dataset, tiny("train.cached_views=64", "train.cache_megabytes=1"))
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    assert "images" in batch and "hidden" not in batch


def test_no_batch_of_one(dataset: mz.Dataset, tiny: Callable[..., Config]) -> None:
    data = make_data(dataset, tiny("train.cached_views=0", "train.frozen_stages=0"))
    count = len(data.train_images)
    data.config = tiny(f"train.batch_size={count - 1}", "train.cached_views=0")
    assert [len(batch["labels"]) for batch in data.train_dataloader()] == [count - 1]


@pytest.mark.parametrize("wraps", [False, True])
def test_every_cell_of_a_fruit_gets_its_own_content_back(wraps: bool) -> None:
    """Also beside the margins of a panorama, which hidden views and feature maps carry."""
    config = make_config(overrides=["loss.swap_share=1"])
    standard = GradingStandard.melon()
    network, head = build_network(standard, config, 0, wraps, "none")
    module = GradingModule(network, head, standard, config, InputSize(96, 192, wraps))
    with torch.inference_mode():
        image = network.eval().prepare(torch.zeros(1, 3, 96, 192))
        hidden = network.encoder.run_stages(image, 0, 3)
        cells = network.encoder.run_stages(hidden, 3)
    factor = hidden.shape[3] // cells.shape[3]
    values = torch.stack([torch.zeros(hidden.shape[1:]), torch.ones(hidden.shape[1:])])
    board = cast(Any, module)._draw_board(0)
    assert board.shape == cells.shape[2:] and 0 < int(board.sum()) < board.numel()
    pooled = avg_pool2d(swap_tiles(values, board), factor)
    assert swap_tiles(pooled, board).flatten(1).unique(dim=1).tolist() == [[0.0], [1.0]]
    margin = network.wrap_margin // network.encoder.stride
    assert (margin > 0) == wraps
    inner = board[:, margin : board.shape[1] - margin]
    if wraps:
        assert torch.equal(board[:, :margin], inner[:, -margin:])
        assert torch.equal(board[:, -margin:], inner[:, :margin])
