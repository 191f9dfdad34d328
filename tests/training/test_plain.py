"""Plain surface: where there is little to see, and class channels that say nothing of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

import mezoroi as mz
from mezoroi.bundle import build_network
from mezoroi.config import Config
from mezoroi.datasets import complete_splits, write_mask
from mezoroi.explain import create
from mezoroi.maps import Grid
from mezoroi.models import FruitImages, InputSize
from mezoroi.models.plain import PlainSurface
from mezoroi.training import GradingData, GradingModule
from mezoroi.training.plain import MIN_FRUITS, cell_looks, find_plain, fit_plain

Make = Callable[..., Config]
Fruits = tuple[mz.Dataset, torch.Tensor]
GRID = Grid((16.0, 16.0))


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def netted(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Panoramas (N, 3, 64, 128) of a net, without it in a third of the cells; and where it is not.

    Light, colour and the net's strength differ from fruit to fruit.
    """
    generator = seeded(seed)
    bare = torch.rand(count, 1, 4, 8, generator=generator) < 1 / 3
    rows, columns = torch.meshgrid(torch.arange(64), torch.arange(128), indexing="ij")
    net = ((rows % 8 < 2) | (columns % 8 < 2)).float()
    # Cells are centred on multiples of 16, so that a cell's square starts 8 pixels before.
    area = F.interpolate(bare.float(), scale_factor=16, mode="nearest").roll((-8, -8), (2, 3))
    strength = 0.2 + 0.2 * torch.rand(count, 1, 1, 1, generator=generator)
    base = 0.3 + 0.3 * torch.rand(count, 3, 1, 1, generator=generator)
    grain = 0.005 * torch.randn(count, 1, 64, 128, generator=generator)
    return (base + strength * net * (1 - area) + grain).clamp(0, 1), bare[:, 0]


def test_contrast_is_that_of_fine_detail() -> None:
    """Against a direct computation, one cell at a time; light that fades counts for nothing."""
    images = torch.rand(2, 3, 48, 96, generator=seeded(1))
    looks = cell_looks(images, GRID)
    grey = images.mean(dim=1).numpy().astype(np.float64)
    wide = np.pad(np.pad(grey, ((0, 0), (0, 0), (4, 4)), "wrap"), ((0, 0), (4, 4), (0, 0)), "edge")
    near = np.lib.stride_tricks.sliding_window_view(wide, (9, 9), axis=(1, 2)).mean(axis=(3, 4))
    detail = np.pad(grey - near, ((0, 0), (0, 0), (8, 8)), "wrap")
    detail = np.pad(detail, ((0, 0), (8, 8), (0, 0)), "edge")
    expected = [
        [[np.log(detail[n, 16 * r :][:16, 16 * c :][:, :16].std() + 1 / 255) for c in range(6)]
         for r in range(3)]
        for n in range(2)
    ]  # fmt: skip
    np.testing.assert_allclose(looks[:, 0].numpy(), expected, atol=1e-4)
    fading = torch.linspace(0.2, 0.8, 48)[None, None, :, None].expand(1, 3, 48, 96)
    assert float(cell_looks(fading, GRID)[0, 0, 1].max()) < math.log(1.5 / 255)
    torch.testing.assert_close(cell_looks(fading, GRID)[0, 1:, 1, 0], fading[0, :, 8:24, 0].mean(1))


def test_a_turned_fruit_turns_its_cells() -> None:
    images, _ = netted(2)
    looks = cell_looks(images, GRID)
    torch.testing.assert_close(cell_looks(images.roll(32, 3), GRID), looks.roll(2, 3))


def fitted(images: torch.Tensor, labels: np.ndarray, names: list[str]) -> PlainSurface | None:
    return fit_plain(cell_looks(images, GRID), labels, names, GRID, strongest=2)


def numbered(count: int) -> tuple[np.ndarray, list[str]]:
    """Grades in turn, and each fruit's name."""
    return np.arange(count) % 3, [str(number) for number in range(count)]


def test_places_without_a_net_are_found() -> None:
    images, bare = netted(60)
    plain = fitted(images, *numbered(60))
    assert plain is not None
    others, elsewhere = netted(20, seed=7)  # fruits that it was not fitted on
    dull = 0.15 * others + 0.4  # contrast counts relative to the fruit's own
    for shown, where in ((images, bare), (others, elsewhere), (dull, elsewhere)):
        cells = plain(shown)
        assert cells.shape == where.shape
        assert float(cells[where].mean()) > 0.95 and float(cells[~where].mean()) < 0.05


def test_the_kinds_are_a_mixture_of_normal_distributions() -> None:
    """By Bayes' rule, one value at a time; what lies beyond the means counts as these."""
    means, deviations, shares = [-1.0, 0.5], [0.4, 0.8], [0.3, 0.7]
    found = (torch.tensor(values) for values in (means, deviations, shares))
    plain = PlainSurface(GRID, 0, *found)
    values = [-7.0, -1.0, -0.6, 0.4, 0.5, 3.0]
    for value, chance in zip(values, plain.chance(torch.tensor(values)).tolist(), strict=True):
        kept = min(max(value, -1.0), 0.5)
        kinds = [
            share / deviation * math.exp(-(((kept - mean) / deviation) ** 2) / 2)
            for mean, deviation, share in zip(means, deviations, shares, strict=True)
        ]
        assert chance == pytest.approx(kinds[0] / sum(kinds), abs=1e-5)


def test_one_kind_of_surface_is_not_parted() -> None:
    labels, names = numbered(50)
    looks = torch.zeros(50, 4, 4, 8)
    assert fit_plain(looks, labels, names, GRID, 2) is None
    looks[:, 0] = torch.randn(50, 4, 8, generator=seeded(2))
    assert fit_plain(looks, labels, names, GRID, 2) is None
    looks[:, 0] += 6 * (torch.rand(50, 4, 8, generator=seeded(3)) < 0.5)
    assert fit_plain(looks, labels, names, GRID, 2) is not None


def test_smooth_skin_that_tells_the_grade_is_not_plain() -> None:
    """The bare places of the third grade are darker than others."""
    images, bare = netted(60)
    labels, names = numbered(60)
    area = F.interpolate(bare[:, None].float(), scale_factor=16, mode="nearest")
    area = area.roll((-8, -8), (2, 3)) * torch.from_numpy(labels == 2)[:, None, None, None]
    assert fitted((images - 0.25 * area).clamp(0, 1), labels, names) is None
    assert fitted(images, labels, names) is not None


def test_few_fruits_show_no_plain_surface() -> None:
    images, _ = netted(MIN_FRUITS)
    assert fitted(images, *numbered(MIN_FRUITS)) is not None
    assert fitted(images[1:], *numbered(MIN_FRUITS - 1)) is None


def test_photos_of_few_fruits_show_no_plain_surface() -> None:
    images, _ = netted(2 * MIN_FRUITS - 2)
    labels, names = numbered(2 * MIN_FRUITS - 2)
    assert fitted(images, labels, names) is not None
    assert fitted(images, labels, [name[:-1] or name for name in names]) is None


def test_plain_cells_are_silent_unless_the_strongest_grade_shows() -> None:
    plain = PlainSurface(GRID, 1, *torch.ones(3, 2))
    channels = torch.tensor([[2.0, 1.0, 4.0, 6.0], [5.0, 0.0, 3.0, 0.0]])[..., None, None]
    evidence = torch.tensor([[2.0, 6.0], [5.0, 3.0]])[..., None, None]  # of blocks of two
    shown = torch.softmax(evidence, dim=1)[:, 1]
    silent = plain.silenced(channels, evidence, torch.full((2, 1, 1), 0.9))
    torch.testing.assert_close(silent, channels * (1 - 0.9 * (1 - shown))[:, None])
    assert float((silent[0] / channels[0]).min()) > 0.98
    assert float(silent[1].max()) < 0.25 * float(channels[1].max())
    assert torch.equal(plain.silenced(channels, evidence, torch.zeros(2, 1, 1)), channels)


@pytest.fixture(scope="module")
def fruits(dataset: mz.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Fruits:
    """72 netted panoramas of grades A, B and D, and where they are bare."""
    folder = tmp_path_factory.mktemp("plain")
    images, bare = netted(72)
    rows = []
    for number, image in enumerate(images):
        path = folder / f"{number}.png"
        Image.fromarray((255 * image).byte().permute(1, 2, 0).numpy()).save(path)
        rows.append(
            replace(
                dataset.observations[0], id=str(number), specimen=str(number), image=path,
                grade="ABD"[number % 3], mask=None, outline=None, labels={}, split=None,
            )
        )  # fmt: skip
    standard = mz.GradingStandard.from_grades(["A", "B", "D"])
    return replace(dataset, observations=tuple(rows), standard=standard), bare


def assembled(
    dataset: mz.Dataset, config: Config, wraps: bool = True
) -> tuple[GradingModule, GradingData]:
    size = InputSize(64, 128, wraps)
    network, head = build_network(dataset.standard, config, 0, wraps, config.model.weights)
    module = GradingModule(network, head, dataset.standard, config, size)
    splits = complete_splits(dataset, 0)
    data = GradingData(splits.select("train"), splits.select("val"), network, size, config)
    network.plain = find_plain(data.train_images, network, dataset.standard)
    return module.eval(), data


def test_the_margins_of_a_panorama_do_not_count(fruits: Fruits, tiny: Make) -> None:
    module, data = assembled(fruits[0], tiny("train.cached_views=0"))
    images = data.train_images.images([0, 1])
    network = module.model
    assert network.plain is not None
    share = network.plain_share(network.prepare(images))
    assert share is not None
    torch.testing.assert_close(share, network.plain(images), atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("setting", "wraps", "ordered", "found"),
    [
        ("model.channels_per_grade=5", True, True, True),
        ("model.channels_per_grade=0", True, True, False),
        ("model.channels_per_grade=5", False, True, False),
        ("model.channels_per_grade=5", True, False, False),
    ],
)
def test_plain_surface_is_looked_for_where_maps_can_leave_it(
    fruits: Fruits, tiny: Make, setting: str, wraps: bool, ordered: bool, found: bool
) -> None:
    standard = replace(fruits[0].standard, ordered=ordered)
    module, _ = assembled(replace(fruits[0], standard=standard), tiny(setting), wraps)
    assert (module.model.plain is not None) == found
    if module.model.plain is not None:
        assert standard.surface_grades[int(module.model.plain.strongest)] == "D"


@pytest.fixture(scope="module")
def trained(
    fruits: Fruits, tiny: Make, tmp_path_factory: pytest.TempPathFactory
) -> tuple[mz.Grader, Path]:
    folder = tmp_path_factory.mktemp("plain-runs") / "run"
    return mz.train(fruits[0], tiny("train.epochs=6", "train.lr=0.003"), folder), folder


def test_maps_say_nothing_of_plain_surface(trained: tuple[mz.Grader, Path], fruits: Fruits) -> None:
    grader, bare = trained[0], fruits[1]
    maps = torch.from_numpy(grader.predict(fruits[0]).maps)
    apart = (maps.amax(dim=1) - 1 / 3).clamp_min(0)
    undecided = maps[:, 2] < 0.4  # D, the strongest, may show anywhere
    assert float(apart[bare & undecided].mean()) < 0.05
    assert float(apart[~bare].mean()) > 0.15


def test_a_saved_grader_knows_its_plain_surface(
    trained: tuple[mz.Grader, Path], fruits: Fruits
) -> None:
    grader, folder = trained
    again = mz.Grader.load(folder)
    expected, found = (one.predict(fruits[0]).maps for one in (grader, again))
    np.testing.assert_array_equal(expected, found)
    graded = again.grade(fruits[0].observations[0].image)
    images = FruitImages(fruits[0], 64, 128, 0).images([0])
    explained = create("activation-map", again.network)(images, torch.tensor([1]))
    cells = graded.activation_maps["B"]
    assert explained.shape[1:] == (4, 8)
    np.testing.assert_allclose(explained[0], expected[0, 1], atol=1e-4)
    assert cells.shape == (64, 128)


def test_grades_are_what_they_would_be_without(
    trained: tuple[mz.Grader, Path], fruits: Fruits, tiny: Make, tmp_path: Path
) -> None:
    off = ("model.silence_plain=false", "model.average_alike=false")
    config = tiny("train.epochs=6", "train.lr=0.003", *off)
    without = mz.train(fruits[0], config, tmp_path / "run")
    assert without.network.plain is None and without.network.alike is None
    assert trained[0].network.plain is not None and trained[0].network.alike is not None
    expected, found = (one.predict(fruits[0]) for one in (without, trained[0]))
    np.testing.assert_array_equal(expected.embeddings, found.embeddings)
    np.testing.assert_array_equal(expected.similarity, found.similarity)
    channels = [one.network.class_channels for one in (without, trained[0])]
    for one, other in zip(*(part.parameters() for part in channels if part), strict=True):
        assert torch.equal(one, other)
    assert np.abs(expected.maps - found.maps).max() > 0.1


@pytest.mark.parametrize(
    ("grade", "marks", "found"),
    [
        ("A", "all", False),
        ("A", "three quarters", False),
        ("A", "a quarter", True),
        ("A", "net", True),
        ("A", "nothing", True),
        ("D", "all", True),
    ],
)
def test_surface_that_experts_mark_is_not_plain(
    fruits: Fruits, tiny: Make, tmp_path: Path, grade: str, marks: str, found: bool
) -> None:
    """But for the strongest grade, whose signs may be smooth."""
    rows = list(fruits[0])
    for number in [number for number, item in enumerate(rows) if item.grade == grade][:3]:
        area = F.interpolate(fruits[1][number][None, None].float(), scale_factor=16, mode="nearest")
        net = area.roll((-8, -8), (2, 3))[0, 0].numpy() == 0
        rows_of_four = np.arange(len(net))[:, None] % 4
        mask = {
            "all": np.ones_like(net),
            "three quarters": net | (rows_of_four != 0),  # of what is bare
            "a quarter": net | (rows_of_four == 0),
            "net": net,
            "nothing": np.zeros_like(net),
        }[marks]
        path = tmp_path / f"{number}.png"
        write_mask(path, {grade: mask})
        rows[number] = replace(rows[number], mask=path)
    marked = replace(fruits[0], observations=tuple(rows))
    grader = mz.train(marked, tiny("train.epochs=1", "loss.mask_weight=1"), tmp_path / "run")
    assert (grader.network.plain is not None) == found
