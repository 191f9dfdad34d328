"""Networks small enough to solve by hand."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Pooled(nn.Module):
    """Two channels (red, green less blue) pooled and read by a linear layer with three classes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1, bias=False)
        self.act = nn.Identity()
        self.fc = nn.Linear(2, 3)
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor([[1.0, 0, 0], [0, 1, -1]]).view(2, 3, 1, 1))
            self.fc.weight.copy_(torch.tensor([[2.0, 0], [0, 3], [-1, 1]]))
            self.fc.bias.copy_(torch.tensor([0.5, -0.5, 0.0]))

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.act(self.conv(images)).mean(dim=(2, 3)))


class Drawing(Pooled):
    """Draws random numbers, works in place and keeps batch statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(2)
        self.drop = nn.Dropout(0.5)

    def forward(self, images: Tensor) -> Tensor:
        torch.rand(3)
        maps = self.norm(self.act(self.conv(images)))
        return self.fc(self.drop(torch.relu_(maps)).mean(dim=(2, 3)))


class Failing(Drawing):
    """Fails after its feature layer, but not with one image."""

    def forward(self, images: Tensor) -> Tensor:
        scores = super().forward(images)
        if len(images) > 1:
            raise KeyError("lost")
        return scores


def images(count: int = 2, size: int = 12, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))
