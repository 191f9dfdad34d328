"""Folding changes the time a network takes, not what it says."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from mezoroi.models import Encoder, GradingModel
from mezoroi.models.folding import folded, folded_model


def randomise_statistics(network: nn.Module, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            shape = module.running_mean.shape
            module.running_mean.copy_(torch.randn(shape, generator=generator))
            module.running_var.copy_(torch.rand(shape, generator=generator) + 0.5)


@pytest.mark.parametrize("backbone", ["efficientnet_lite0", "resnet18", "mobilenetv3_small_050"])
def test_a_folded_model_says_the_same_with_fewer_modules(backbone: str) -> None:
    network = GradingModel(Encoder(backbone, 16, weights="none"), 3, 2, 8, wraps=True).eval()
    randomise_statistics(network)
    before = copy.deepcopy(network.state_dict())
    lean = folded_model(network)
    images = torch.rand(2, 3, 64, 128, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = network(network.prepare(images))
        found = lean(lean.prepare(images))
    torch.testing.assert_close(found.embedding, expected.embedding, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(found.feature_map, expected.feature_map, rtol=1e-3, atol=1e-4)
    norms = [m for m in lean.encoder.modules() if isinstance(m, nn.BatchNorm2d)]
    assert not norms and any(isinstance(m, nn.BatchNorm2d) for m in network.encoder.modules())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not places(lean) & places(network)


def places(network: nn.Module) -> set[int]:
    """Where the weights lie in memory; an empty one lies nowhere."""
    return {value.data_ptr() for value in network.state_dict().values() if value.numel()}


class WiredOtherwise(nn.Module):
    """Lists a norm behind the convolution but runs it in front."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.conv(self.norm(images))


def test_a_network_wired_otherwise_comes_back_as_it_is() -> None:
    network = nn.Sequential(WiredOtherwise()).eval()
    randomise_statistics(network)
    images = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert folded(network, images) is network


def test_what_cannot_be_folded_is_copied() -> None:
    network = GradingModel(Encoder("resnet18", 32, weights="none"), 3, 2, 8)
    network.encoder.stages = nn.Sequential(*network.encoder.stages, WiredLast())
    randomise_statistics(network.eval())
    lean = folded_model(network)
    assert any(isinstance(module, nn.BatchNorm2d) for module in lean.encoder.modules())
    assert not places(lean) & places(network)


class WiredLast(WiredOtherwise):
    """`WiredOtherwise` behind the last stage."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return torch.cat([super().forward(features[:, :3]), features[:, 3:]], dim=1)
