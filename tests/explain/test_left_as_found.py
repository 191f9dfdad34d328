"""Model, images and generators are as they were, also after an error."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from mezoroi.errors import MezoroiError
from mezoroi.explain import create
from tests.explain.nets import Drawing, Failing, Pooled, images

OPTIONS = {
    "dist-cam": {"reference": torch.rand(3, 2)},
    "occlusion": {"patch": 4, "stride": 4},
    "lime": {"num_samples": 10},
    "activation-map": {"layer": "conv", "channels_per_grade": 1},
}
METHODS = ["activation-map", "grad-cam", "dist-cam", "occlusion", "lime", "adapting-grad-cam"]


def _prepared(kind: type) -> torch.nn.Module:
    model = kind()
    model.train()
    model.drop.eval()
    model.fc.weight.requires_grad_(False)
    model.conv.weight.grad = torch.ones_like(model.conv.weight)
    return model


def _state(model: torch.nn.Module) -> list[object]:
    hooks = [
        len(getattr(module, name))
        for module in model.modules()
        for name in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
    ]
    modes = [module.training for module in model.modules()]
    needs = [parameter.requires_grad for parameter in model.parameters()]
    grads = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    tensors = copy.deepcopy(model.state_dict())
    return [hooks, modes, needs, grads, tensors]


def _assert_same(before: list[object], after: list[object]) -> None:
    assert before[:3] == after[:3]
    for one, two in zip(before[3], after[3], strict=True):
        assert (one is None) == (two is None)
        assert one is None or torch.equal(one, two)
    assert all(torch.equal(value, after[4][name]) for name, value in before[4].items())


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("kind", [Drawing, Failing])
def test_nothing_is_changed(name: str, kind: type, rng_state) -> None:
    model, pixels = _prepared(kind), images(4).requires_grad_()
    explainer = create(name, model, **OPTIONS.get(name, {}))
    before, numbers, kept = _state(model), rng_state(), pixels.detach().clone()

    def explain() -> None:
        if name == "adapting-grad-cam":
            explainer.fit(pixels, torch.tensor([0, 0, 1, 1]))
        explainer(pixels, [0, 1, 2, 0] if name != "activation-map" else [0, 1, 1, 0])

    if kind is Failing:
        with pytest.raises(KeyError):
            explain()
    else:
        explain()
    _assert_same(before, _state(model))
    assert rng_state() == numbers
    assert torch.equal(pixels.detach(), kept) and pixels.grad is None
    assert torch.is_grad_enabled()


def test_a_model_in_training_mode_is_explained_in_evaluation_mode() -> None:
    model, pixels = Drawing(), images(3)
    maps = create("grad-cam", model.train())(pixels, [0, 1, 2])
    assert torch.equal(maps, create("grad-cam", model.eval())(pixels, [0, 1, 2]))


@pytest.mark.parametrize("name", ["grad-cam", "occlusion", "lime"])
def test_it_works_inside_inference_mode_and_gives_usable_maps(name: str) -> None:
    model, pixels = Drawing(), images(2)
    options = OPTIONS.get(name, {})
    with torch.inference_mode():
        inside = create(name, model, **options)(pixels, [0, 1])
    outside = create(name, model, **options)(pixels, [0, 1])
    torch.testing.assert_close(inside.clone(), outside)
    assert not outside.is_inference() and not outside.requires_grad


class Caching(Pooled):
    """Keeps a product of its weights for evaluation, until it learns again."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(2))
        self.kept: torch.Tensor | None = None

    def train(self, mode: bool = True) -> Caching:
        if mode:
            self.kept = None
        return super().train(mode)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        if not self.training and self.kept is None:
            self.kept = 2 * self.scale
        scale = 2 * self.scale if self.training else self.kept
        return self.fc((scale[:, None, None] * self.act(self.conv(pixels))).mean(dim=(2, 3)))


@pytest.mark.parametrize("name", ["grad-cam", "occlusion", "lime"])
def test_a_module_that_keeps_what_it_evaluates_learns_as_before(name: str) -> None:
    model, pixels = Caching(), images(2)
    explainer = create(name, model, **OPTIONS.get(name, {}))
    model.fc.eval()
    explainer(pixels, [0, 1])
    assert model.training and not model.fc.training and model.kept is None
    model.eval()
    explainer(pixels, [0, 1])  # what is kept can be learned with
    assert model.kept is not None and not model.kept.is_inference()
    model(pixels).sum().backward()


def test_efficientformer_learns_after_an_explanation() -> None:
    import timm

    model = timm.create_model("efficientformerv2_s0", num_classes=2).train()
    create("occlusion", model, patch=112, stride=112)(images(1, size=224), [0])
    kept = [module for module in model.modules() if getattr(module, "attention_bias_cache", None)]
    assert kept == [] and model.training


def test_a_target_that_fails_leaves_no_hook() -> None:
    model = Drawing()
    before = _state(model)

    def target(_scores: torch.Tensor) -> torch.Tensor:
        raise MezoroiError("no")

    with pytest.raises(MezoroiError, match="no"):
        create("grad-cam", model)(images(), [target] * 2)
    _assert_same(before, _state(model))
