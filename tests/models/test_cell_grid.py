"""Where cells of maps lie, against the pixels that change them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mezoroi as mz
from mezoroi.capture.images import read_image
from mezoroi.explain import create
from mezoroi.maps import Grid
from mezoroi.models import Encoder
from mezoroi.models.cell_grid import measure_grid

SIDES = (288, 320)  # more than a cell of the deepest of these networks sees


def middle_of_what_a_cell_sees(network: nn.Module, sides: tuple[int, int]) -> list[float]:
    """Row and column in the middle of all pixels that change the cell in the middle of the maps."""
    generator = torch.Generator().manual_seed(0)
    # Several images, as a pooling of the largest passes on but one of its pixels.
    image = torch.randn(4, 3, *sides, generator=generator).requires_grad_()
    maps = network.eval()(image)
    cell = maps[:, :, maps.shape[2] // 2, maps.shape[3] // 2]
    (slopes,) = torch.autograd.grad(
        (cell * torch.randn(cell.shape, generator=generator)).sum(), image
    )
    seen = (slopes != 0).any(dim=(0, 1))
    return [
        (float(places.min()) + float(places.max())) / 2
        for places in (seen.any(dim=1 - axis).nonzero() for axis in (0, 1))
    ]


def place_of_the_cell(grid: Grid, network: nn.Module, sides: tuple[int, int]) -> list[float]:
    with torch.no_grad():
        cells = network(torch.zeros(1, 3, *sides)).shape[2:]
    return [grid.offset[a] + grid.step[a] * (cells[a] // 2) for a in (0, 1)]


class Functions(nn.Module):
    """Layers, and poolings that are none."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 5)
        self.second = nn.Conv2d(8, 8, 3, stride=2, padding=1, dilation=2)
        self.last = nn.Conv2d(8, 8, (3, 1), padding=(1, 0))

    def forward(self, images: Tensor) -> Tensor:
        return self.last(F.avg_pool2d(self.second(F.avg_pool2d(self.first(images), 2)), 2))


@pytest.mark.parametrize(
    "backbone",
    [
        "resnet18",
        "resnetblur18",
        "efficientnet_lite0",
        "tf_efficientnet_lite0",
        "convnext_atto",
        "vgg11_bn",
        "densenet121",
    ],
)
def test_cells_of_a_backbone_are_in_the_middle_of_what_they_see(backbone: str) -> None:
    encoder = Encoder(backbone, 8, "none")
    assert encoder.training and encoder.grid.step == (8.0, 8.0)
    found = place_of_the_cell(encoder.grid, encoder.eval(), SIDES)
    # Branches side by side may reach a pixel further to one side.
    assert found == pytest.approx(middle_of_what_a_cell_sees(encoder, SIDES), abs=1.0)


@pytest.mark.parametrize("sides", [(96, 96), (101, 118)])
def test_cells_of_a_network_with_functions(sides: tuple[int, int]) -> None:
    network = Functions().eval()
    grid = measure_grid(network, network.last, sides, lambda: network(torch.zeros(1, 3, *sides)))
    found = place_of_the_cell(grid, network, sides)
    assert found == pytest.approx(middle_of_what_a_cell_sees(network, sides), abs=1.0)
    assert not any(module._forward_hooks for module in network.modules())


class Aside(nn.Module):
    """Shrinks its maps on the side, as attention does, before their own way leads there."""

    def __init__(self, by_function: bool) -> None:
        super().__init__()
        self.by_function = by_function
        self.first = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.keys = nn.Conv2d(8, 8, 1) if by_function else nn.Conv2d(8, 8, 4, stride=4)
        self.second = nn.Conv2d(8, 8, 3, stride=2, padding=1)
        self.keys_again = nn.Conv2d(8, 8, 2, stride=2)
        self.third = nn.Conv2d(8, 8, 3, stride=2, padding=1)
        self.last = nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.first(images)
        shrunk = F.avg_pool2d(maps, 4) if self.by_function else maps
        beside = self.keys(shrunk).detach().mean(dim=(2, 3), keepdim=True)
        maps = self.second(maps + beside)
        beside = self.keys_again(maps).detach().mean(dim=(2, 3), keepdim=True)
        return self.last(self.third(maps + beside))


@pytest.mark.parametrize("by_function", [False, True])
def test_what_is_shrunk_on_the_side_moves_no_cells(by_function: bool) -> None:
    network = Aside(by_function).eval()
    grid = measure_grid(network, network.last, (96, 96), lambda: network(torch.zeros(1, 3, 96, 96)))
    assert grid.step == (8.0, 8.0)
    found = place_of_the_cell(grid, network, (96, 96))
    assert found == pytest.approx(middle_of_what_a_cell_sees(network, (96, 96)), abs=1.0)


def test_a_layer_that_shrinks_nothing_lies_on_its_pixels() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
    grid = measure_grid(network, network[1], (8, 9), lambda: network(torch.zeros(1, 3, 8, 9)))
    assert grid == Grid((1.0, 1.0), (0.0, 0.0))


def test_explainers_draw_a_cell_where_it_looks() -> None:
    """Four convolutions with poolings of two: cells lie in the middle of their 16 pixels."""
    channels = ((3, 8), (8, 8), (8, 8), (8, 8))
    layers = [
        layer
        for pair in channels
        for layer in (nn.Conv2d(*pair, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    ]
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))
    explainer = create("grad-cam", network, layer="11")
    cells = torch.zeros(1, 4, 4)
    cells[0, 1, 2] = 1
    plane = explainer.to_pixels(cells, 64, 64)[0]
    middle = [(plane.sum(dim=1 - a) * torch.arange(64)).sum() / plane.sum() for a in (0, 1)]
    assert [float(one) for one in middle] == pytest.approx([23.5, 39.5], abs=1e-4)
    assert network.training


def test_gradings_draw_cells_where_the_encoder_looks(
    grader: mz.Grader, dataset: mz.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    surface = read_image(dataset.observations[0].image)
    before = grader.grade(surface).activation_maps
    step = grader.network.encoder.grid.step
    moved = Grid(step, (8.0, 0.0))
    monkeypatch.setattr(grader.network.encoder, "grid", moved)
    after = grader.grade(surface).activation_maps
    for grade, plane in before.items():
        assert abs(after[grade][8:] - plane[:-8]).max() < 1e-6
        assert abs(after[grade] - plane).max() > 1e-3
