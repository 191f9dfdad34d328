"""Networks as people write them: shared layers, functions, other precisions, odd endings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mezoroi.errors import MezoroiError
from mezoroi.explain import Similarity, create
from tests.explain.nets import Pooled, images


class Tutorial(nn.Module):
    """One pooling and one activation, used twice, as in PyTorch's own tutorial."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.pool = nn.MaxPool2d(2, 2)
        self.act = nn.ReLU()
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16, 3)

    def forward(self, pixels: Tensor) -> Tensor:
        pixels = self.pool(self.act(self.conv1(pixels)))
        pixels = self.pool(self.act(self.conv2(pixels)))
        return self.fc1(pixels.mean(dim=(2, 3)))


class Ending(Pooled):
    """`Pooled` whose scores are changed behind the linear layer."""

    def __init__(self, change: Any) -> None:
        super().__init__()
        self.change = change

    def forward(self, pixels: Tensor) -> Tensor:
        return self.change(super().forward(pixels))


class Named(Pooled):
    """Gives the linear layer its input by name."""

    def forward(self, pixels: Tensor) -> Tensor:
        return self.fc(input=self.act(self.conv(pixels)).mean(dim=(2, 3)))


def test_without_a_layer_the_last_one_that_runs_once_is_taken() -> None:
    network = Tutorial()
    pixels = images(2, 32)
    found = create("grad-cam", network)(pixels, [0, 1])
    assert torch.equal(found, create("grad-cam", network, layer="conv2")(pixels, [0, 1]))
    with pytest.raises(MezoroiError, match="`pool` runs more than once"):
        create("grad-cam", network, layer="pool")(pixels, [0, 1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("size", [12, 64])
def test_cam_in_any_precision(dtype: torch.dtype, size: int) -> None:
    pixels = images(3, size)
    exact = create("cam", Pooled())(pixels, [0, 1, 2])
    found = create("cam", Pooled().to(dtype))(pixels, [0, 1, 2])
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, exact, atol=8 * torch.finfo(dtype).eps, rtol=0)


@pytest.mark.parametrize(
    "change", [lambda scores: scores.pow_(2), F.relu_, lambda scores: scores.mul_(2)]
)
def test_cam_refuses_what_changes_the_scores_in_place(change: Any) -> None:
    with pytest.raises(MezoroiError, match="ends in mean pooling"):
        create("cam", Ending(change))(images(), [0, 1])


@pytest.mark.parametrize("name", ["cam", "grad-cam"])
def test_a_linear_layer_may_get_its_input_by_name(name: str) -> None:
    expected = create(name, Pooled())(images(), [0, 1])
    assert torch.equal(create(name, Named())(images(), [0, 1]), expected)


def test_a_model_that_switches_gradients_off_is_told_of() -> None:
    class Off(Pooled):
        def forward(self, pixels: Tensor) -> Tensor:
            with torch.no_grad():
                maps = self.act(self.conv(pixels))
            return self.fc(maps.mean(dim=(2, 3)))

    with pytest.raises(MezoroiError, match="the model itself switches gradients off, use dist-cam"):
        create("grad-cam", Off(), layer="conv")(images(), [0, 1])


def test_images_take_the_precision_of_the_convolutions() -> None:
    class Scaled(Pooled):
        def __init__(self) -> None:
            super().__init__()
            self.weight_of_all = nn.Parameter(torch.ones(1, dtype=torch.float64))
            self._parameters = {
                "weight_of_all": self._parameters.pop("weight_of_all"),
                **self._parameters,
            }

    network = Scaled()
    assert next(network.parameters()).dtype == torch.float64
    expected = create("grad-cam", Pooled())(images(), [0, 1])
    assert torch.equal(create("grad-cam", network)(images(), [0, 1]), expected)


@pytest.mark.parametrize("name", ["grad-cam", "occlusion", "lime"])
def test_images_do_not_meet_where_norms_keep_no_statistics(name: str) -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4, track_running_stats=False),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 3),
    )
    options = {"lime": {"num_samples": 20}, "occlusion": {"patch": 4, "stride": 4}}.get(name, {})
    layer = {"layer": "2"} if name == "grad-cam" else {}
    explainer = create(name, network, **options, **layer)
    pixels = images(3)
    together = explainer(pixels, [0, 1, 2])
    alone = torch.cat([explainer(pixels[n : n + 1], [n]) for n in range(3)])
    assert torch.equal(together, alone)


@pytest.mark.parametrize("targets", [None, np.int64(1), 3.5, [torch.tensor(1.5), 0], [None, 0]])
def test_targets_that_are_none(targets: Any) -> None:
    with pytest.raises(MezoroiError, match=r"no target|one target per image"):
        create("grad-cam", Pooled())(images(), targets)


def test_targets_and_references_may_be_numpys() -> None:
    pixels = images()
    expected = create("dist-cam", Pooled(), reference=torch.ones(2, 2))(pixels, [0, 1])
    explainer = create("dist-cam", Pooled(), reference=np.ones((2, 2), np.float32))
    assert torch.equal(explainer(pixels, np.array([0, 1])), expected)


@pytest.mark.parametrize("baseline", [float("nan"), float("inf")])
def test_a_baseline_that_is_no_number(baseline: float) -> None:
    with pytest.raises(MezoroiError, match="baseline is"):
        create("occlusion", Pooled(), baseline=baseline)


def test_similarity_with_the_nearest_of_several() -> None:
    references = torch.tensor([[1.0, 0.0], [0.0, 2.0], [-1.0, 0.0]])
    output = torch.tensor([[3.0, 4.0], [0.0, -1.0]])
    found = Similarity(references, nearest=2)(output)
    torch.testing.assert_close(found, torch.tensor([(0.6 + 0.8) / 2, 0.0]))
    assert float(Similarity(references, nearest=9)(output[0])) == pytest.approx(0.8 / 3)
    one = Similarity(references[0])(output)
    torch.testing.assert_close(one, torch.tensor([0.6, 0.0]))
