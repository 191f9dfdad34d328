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


class Precise(Pooled):
    """Computes in full precision whatever the caller has chosen."""

    def forward(self, pixels: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            return super().forward(pixels)


class Named(Pooled):
    """Gives the linear layer its input by name."""

    def forward(self, pixels: Tensor) -> Tensor:
        return self.fc(input=self.act(self.conv(pixels)).mean(dim=(2, 3)))


class Normalising(Pooled):
    """Normalises its images, in place or not."""

    def __init__(self, in_place: bool) -> None:
        super().__init__()
        self.in_place = in_place

    def forward(self, pixels: Tensor) -> Tensor:
        normalised = pixels.sub_(0.5).div_(0.25) if self.in_place else (pixels - 0.5) / 0.25
        return super().forward(normalised)


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
    "name", ["cam", "grad-cam", "dist-cam", "adapting-grad-cam", "occlusion", "lime"]
)
def test_maps_are_put_together_in_full_precision_under_autocast(name: str) -> None:
    network, pixels = Precise(), images(4, size=12)
    options: dict[str, Any] = {"occlusion": {"patch": 4, "stride": 2}, "lime": {"num_samples": 20}}
    options["dist-cam"] = {"reference": torch.rand(3, 2, generator=torch.Generator())}

    def maps() -> Tensor:
        explainer = create(name, network, **options.get(name, {}))
        if name == "adapting-grad-cam":
            explainer.fit(pixels, torch.tensor([0, 0, 1, 1]))
        return explainer.to_pixels(explainer(pixels, [0, 1, 2, 0]), 12, 12)

    expected = maps()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = maps()
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


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


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("cam", {}),
        ("grad-cam", {}),
        ("dist-cam", {"reference": images(3, seed=1)}),
        ("occlusion", {"patch": 4, "stride": 4}),
    ],
)
def test_a_model_may_normalise_its_images_in_place(name: str, options: dict[str, Any]) -> None:
    maps = [
        create(name, Normalising(in_place), **options)(images(), [0, 1])
        for in_place in (False, True)
    ]
    torch.testing.assert_close(maps[1], maps[0])


def test_a_bank_of_a_model_that_normalises_its_images_in_place() -> None:
    explainers = [create("adapting-grad-cam", Normalising(one)) for one in (False, True)]
    banks = [one.fit(images(6), torch.tensor([0, 0, 0, 1, 1, 1])) for one in explainers]  # type: ignore[attr-defined]
    torch.testing.assert_close(banks[1].features, banks[0].features)
    torch.testing.assert_close(banks[1].weights, banks[0].weights)


@pytest.mark.parametrize("targets", [None, np.int64(1), 3.5, [torch.tensor(1.5), 0], [None, 0]])
def test_targets_that_are_none(targets: Any) -> None:
    with pytest.raises(MezoroiError, match=r"no target|one target per image"):
        create("grad-cam", Pooled())(images(), targets)


def test_targets_and_references_may_be_numpys() -> None:
    pixels = images()
    expected = create("dist-cam", Pooled(), reference=torch.ones(2, 2))(pixels, [0, 1])
    explainer = create("dist-cam", Pooled(), reference=np.ones((2, 2), np.float32))
    assert torch.equal(explainer(pixels, np.array([0, 1])), expected)
    found = [
        create("grad-cam", Pooled())(pixels, [Similarity(one)] * 2)
        for one in (torch.arange(3.0), np.arange(3.0))
    ]
    assert torch.equal(*found)


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


def _compiled(network: nn.Module, how: str) -> nn.Module:
    if how == "whole":
        return torch.compile(network, backend="eager")  # type: ignore[return-value]
    if how == "in place":
        network.compile(backend="eager")
    else:
        network.act = torch.compile(network.act, backend="eager")
    return network


@pytest.mark.parametrize("how", ["whole", "in place", "a part"])
@pytest.mark.parametrize("name", ["grad-cam", "cam"])
def test_compiled_networks_are_explained_as_they_were_written(name: str, how: str) -> None:
    pixels = images()
    plain = create(name, Pooled())
    explainer = create(name, _compiled(Pooled(), how))
    found = explainer(pixels, [0, 1])
    assert torch.equal(found, plain(pixels, [0, 1]))
    assert torch.equal(explainer.to_pixels(found, 12, 12), plain.to_pixels(found, 12, 12))


@pytest.mark.filterwarnings("ignore:`torch.jit")
@pytest.mark.parametrize("name", ["grad-cam", "cam"])
def test_networks_from_jit_are_refused_with_what_to_use_instead(name: str) -> None:
    pixels, network = images(), Pooled().eval()
    for scripted in (torch.jit.trace(network, pixels), torch.jit.script(network)):
        with pytest.raises(MezoroiError, match=r"from torch\.jit.* use occlusion or lime"):
            create(name, scripted)
        occlusion = create("occlusion", scripted, patch=4, stride=4)
        expected = create("occlusion", network, patch=4, stride=4)(pixels, [0, 1])
        torch.testing.assert_close(occlusion(pixels, [0, 1]), expected)


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_a_part_from_jit_is_passed_by() -> None:
    network, pixels = Pooled(), images()
    expected = create("grad-cam", network, layer="conv")(pixels, [0, 1])
    network.act = torch.jit.script(network.act)
    assert torch.equal(create("grad-cam", network)(pixels, [0, 1]), expected)
    for layer in ("act", network.act):
        with pytest.raises(MezoroiError, match=r"layer `act` is from torch\.jit"):
            create("grad-cam", network, layer=layer)
