"""A Grader's network: photos, panoramas, outlines, deep stages."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import mezoroi as mz
from mezoroi.errors import MezoroiError
from mezoroi.explain import OCCLUSION_PRESETS, Similarity, create, explain_together
from mezoroi.explainers import grade_target, head_weights
from mezoroi.maps import activation_map
from mezoroi.models import Encoder, GradingModel
from mezoroi.models.preprocess import to_tensor


def network(channels: int = 3, stride: int = 16, wraps: bool = True, outlines: int = 0):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        encoder = Encoder("efficientnet_lite0", stride, weights="none")
        model = GradingModel(encoder, 3, channels, 8, outlines, 4, wraps)
    return model.eval().requires_grad_(False)


PIXELS = torch.rand(2, 3, 64, 128, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("wraps", [False, True])
def test_the_activation_map_is_the_graders_own(wraps: bool) -> None:
    model = network(wraps=wraps)
    maps = create("activation-map", model).all_targets(PIXELS, [0, 1, 2])
    channels = model(model.prepare(PIXELS)).class_channels
    torch.testing.assert_close(maps, activation_map(channels, 3), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(maps.sum(dim=1), torch.ones(2, 4, 8))


def test_it_is_what_grading_shows(grader: mz.Grader, dataset: mz.Dataset) -> None:
    item = next(item for item in dataset if item.grade == "D")
    grading = grader.grade(item.image.parent)
    size = grader.bundle.size
    explainer = create("activation-map", grader.network)
    maps = explainer(to_tensor([grading.surface]), [grader.standard.surface_grades.index("D")])
    pixels = explainer.to_pixels(maps, size.height, size.width)[0].numpy()
    assert pixels.shape == grading.activation_maps["D"].shape
    assert abs(pixels - grading.activation_maps["D"]).max() < 1e-5


@pytest.mark.parametrize("channels", [0, 3])
@pytest.mark.parametrize("wraps", [False, True])
def test_grad_cam_sees_all_ways_from_the_feature_map_to_the_embedding(
    channels: int, wraps: bool
) -> None:
    model = network(channels, wraps=wraps)
    reference = torch.randn(8)
    maps = create("grad-cam", model)(PIXELS, [Similarity(reference)] * 2)
    prepared = model.prepare(PIXELS)
    encoded = model.encoder(prepared).requires_grad_()
    output = model.interpret(encoded)
    value = torch.nn.functional.cosine_similarity(output.embedding, reference[None]).sum()
    (gradient,) = torch.autograd.grad(value, encoded)
    margin = (encoded.shape[3] - output.feature_map.shape[3]) // 2
    inside = gradient[..., margin : gradient.shape[3] - margin]
    expected = torch.einsum("nk,nkhw->nhw", inside.mean(dim=(2, 3)), output.feature_map.detach())
    assert maps.shape == (2, 4, 8)
    torch.testing.assert_close(maps, expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("stride", [16, 32])
def test_cam_of_a_plain_network_adds_up_to_the_score(stride: int) -> None:
    model, head = network(0, stride), torch.randn(4, 8)
    maps = create("cam", model, head=head).all_targets(PIXELS, [0, 1, 2, 3])
    scores = model(model.prepare(PIXELS)).embedding @ head.T
    none = torch.zeros(1, model.encoder.deep_channels)
    bias = model.surface_embedding(none) @ head.T
    torch.testing.assert_close(maps.mean(dim=(2, 3)) + bias, scores, rtol=1e-3, atol=1e-4)


def test_cam_says_why_it_does_not_apply() -> None:
    with pytest.raises(MezoroiError, match=r"class channels also .* use activation-map"):
        create("cam", network(3), head=torch.rand(3, 8))
    with pytest.raises(MezoroiError, match=r"give head= .grades, 8."):
        create("cam", network(0))
    with pytest.raises(MezoroiError, match="needs class channels"):
        create("activation-map", network(0))
    for model in (network(0), network(3)):
        with pytest.raises(MezoroiError, match="leave layer out, or use grad-cam"):
            create("activation-map", model, layer="encoder.stages", channels_per_grade=3)
    with pytest.raises(MezoroiError, match="no class scores"):
        create("occlusion", network(0), patch=32, stride=32)(PIXELS, [0, 1])


def test_dist_cam_takes_the_bundles_prototypes(grader: mz.Grader) -> None:
    features = grader.bundle.prototypes.features
    explainer = create("dist-cam", grader.network, reference=features)
    assert explainer(PIXELS, [0, 3]).shape == (2, 4, 8)


def test_outlines_are_left_out() -> None:
    model = network(outlines=5)
    assert model.outline_encoder is not None
    model.outline_encoder.mean.copy_(torch.arange(5.0))
    target = Similarity(torch.randn(8))
    for name, options in (("grad-cam", {}), ("occlusion", OCCLUSION_PRESETS["coarse"])):
        maps = create(name, model, **options)(PIXELS, [target] * 2)
        assert torch.isfinite(maps).all() and maps.std() > 0


@pytest.mark.parametrize("name", ["activation-map", "lime", "grad-cam"])
def test_images_narrower_than_a_panoramas_margin_are_refused(name: str) -> None:
    with pytest.raises(MezoroiError, match=r"the model cannot take images of \(3, 8, 8\) "):
        create(name, network())(torch.rand(1, 3, 8, 8), [0])


@pytest.mark.parametrize("name", ["activation-map", "grad-cam", "dist-cam", "occlusion", "lime"])
def test_pixels_of_0_to_255_are_refused_instead_of_explained_as_white(name: str) -> None:
    options: dict[str, Any] = {"lime": {"num_samples": 5}}
    options["dist-cam"] = {"reference": torch.rand(1, 3, 64, 96)}
    explainer = create(name, network(), **options.get(name, {}))
    target = Similarity(torch.rand(network().surface_dim), index=0)
    pixels = torch.rand(1, 3, 64, 96)
    assert torch.isfinite(explainer(pixels, [target])).all()
    with pytest.raises(MezoroiError, match=r"run up to 2\d\d, .* divide them by 255"):
        explainer(255 * pixels, [target])
    if name == "dist-cam":
        with pytest.raises(MezoroiError, match="divide them by 255"):
            create(name, network(), reference=255 * pixels)


def test_occluding_with_the_mean_colour() -> None:
    """Baseline 0 on the network's scale is its mean colour."""
    model = network()
    grey = torch.tensor(model.encoder.mean).view(1, 3, 1, 1).expand(1, 3, 64, 128)
    drops = create("occlusion", model, patch=32, stride=32)(grey, [1])
    assert drops.abs().max() < 1e-6


def test_every_method_that_suits_shares_the_encoder(grader: mz.Grader) -> None:
    passes = []
    handle = grader.network.encoder.register_forward_hook(lambda *_: passes.append(1))
    target = grade_target(grader, "D")
    rows = [grader.standard.grades.index(grade) for grade in grader.standard.surface_grades]
    explainers = {
        "activation-map": create("activation-map", grader.network),
        "grad-cam": create("grad-cam", grader.network),
        "dist-cam": create(
            "dist-cam", grader.network, reference=grader.bundle.prototypes.features[rows]
        ),
    }
    maps = explain_together(explainers, PIXELS, {name: [target] * 2 for name in explainers})
    handle.remove()
    assert len(passes) == 1
    assert {values.shape for values in maps.values()} == {(2, 4, 8)}


def test_head_weights_give_the_trained_heads_order(grader: mz.Grader) -> None:
    weights = head_weights(grader)
    embedding = torch.randn(6, grader.network.embedding_dim)
    logits = grader.bundle.head.get_logits(embedding)
    scores = torch.nn.functional.normalize(embedding, dim=1) @ weights.T
    ratio = (logits / scores).detach()
    torch.testing.assert_close(ratio, ratio.mean().expand_as(ratio), rtol=1e-3, atol=1e-3)
