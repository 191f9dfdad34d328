"""Each method against maps worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from torch import nn

from mezoroi.explain import EXPLAINERS, ClassScore, Similarity, create, explain_together
from mezoroi.explain.targets import class_of
from tests.explain.nets import Pooled, images


def test_the_names_are_those_of_the_contract() -> None:
    assert EXPLAINERS == (
        "activation-map",
        "cam",
        "grad-cam",
        "adapting-grad-cam",
        "dist-cam",
        "occlusion",
        "lime",
    )


def test_cam_is_the_classifiers_weighted_sum() -> None:
    pixels = images()
    maps = create("cam", Pooled())(pixels, torch.tensor([0, 2]))
    torch.testing.assert_close(maps[0], 2 * pixels[0, 0])
    torch.testing.assert_close(maps[1], -pixels[1, 0] + pixels[1, 1] - pixels[1, 2])
    assert maps.dtype == torch.float32


def test_grad_cam_is_signed_and_equals_cam_on_a_linear_head() -> None:
    pixels, model = images(), Pooled()
    cam, grad = (create(name, model)(pixels, [2, 1]) for name in ("cam", "grad-cam"))
    torch.testing.assert_close(grad * 144, cam)
    assert grad.min() < 0


def test_grad_cam_of_a_layer_and_of_any_callable() -> None:
    pixels, model = images(), Pooled()
    maps = create("grad-cam", model, layer=model.conv)(pixels, [lambda s: s[0] * s[1]] * 2)
    features = model.conv(pixels).detach()
    scores = model(pixels).detach()
    weights = scores[:, :1] * model.fc.weight[1] + scores[:, 1:2] * model.fc.weight[0]
    expected = (weights[:, :, None, None] / 144 * features).sum(dim=1)
    torch.testing.assert_close(maps, expected.detach())
    named = create("grad-cam", model, layer="conv")(pixels, [lambda s: s[0] * s[1]] * 2)
    assert torch.equal(named, maps)


def test_dist_cam_by_hand() -> None:
    pixels, model = images(1), Pooled()
    features = model.conv(pixels).detach()
    reference = torch.tensor([[0.2, 0.3], [1.0, 0.0]])
    maps = create("dist-cam", model, reference=reference)(pixels, [1])
    distance = (features.mean(dim=(2, 3))[0] - reference[1]).abs()
    weights = (1 / distance) / (1 / distance).sum()
    torch.testing.assert_close(maps[0], (weights[:, None, None] * features[0]).sum(dim=0))


def test_dist_cam_with_images_as_references() -> None:
    model, pixels, gallery = Pooled(), images(2), images(3, seed=5)
    pooled = model.conv(gallery).mean(dim=(2, 3)).detach()
    by_image = create("dist-cam", model, reference=gallery)(pixels, [2, 0])
    by_mean = create("dist-cam", model, reference=pooled)(pixels, [2, 0])
    torch.testing.assert_close(by_image, by_mean)
    single = create("dist-cam", model, reference=gallery[2:])(pixels, [0, lambda scores: scores[1]])
    torch.testing.assert_close(single[0], by_image[0])
    second = create("dist-cam", model, reference=gallery)(pixels, [2, 2])
    torch.testing.assert_close(single, second)


def test_dist_cam_of_the_reference_itself_is_finite() -> None:
    model, pixels = Pooled(), images(1)
    assert torch.isfinite(create("dist-cam", model, reference=pixels)(pixels, [0])).all()


def test_the_activation_map_of_a_users_own_class_channels() -> None:
    model = nn.Sequential(nn.Conv2d(3, 6, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    pixels = images()
    explainer = create("activation-map", model, layer="1", channels_per_grade=2)
    maps = explainer.all_targets(pixels, [0, 1, 2])
    torch.testing.assert_close(maps.sum(dim=1), torch.ones(2, 12, 12))
    channels = model[:2](pixels).detach().reshape(2, 3, 2, 12, 12).amax(dim=2)
    torch.testing.assert_close(maps, channels.softmax(dim=1))


def test_a_similarity_needs_no_classes() -> None:
    pixels = images()
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    reference = model(images(1, seed=9))[0].detach()
    target = Similarity(reference)
    expected = torch.nn.functional.cosine_similarity(model(pixels), reference[None])
    torch.testing.assert_close(torch.stack([target(row) for row in model(pixels)]), expected)
    for name in ("grad-cam", "occlusion", "lime"):
        maps = create(name, model)(pixels, [target, target])
        assert torch.isfinite(maps).all() and maps.std() > 0


def test_numbers_tensors_and_class_scores_mean_the_same() -> None:
    pixels, explainer = images(), create("grad-cam", Pooled())
    expected = explainer(pixels, [2, 0])
    for targets in (torch.tensor([2, 0]), np.array([2, 0]), [ClassScore(2), ClassScore(0)]):
        assert torch.equal(explainer(pixels, targets), expected)
    assert class_of(Similarity(torch.ones(2), index=1), 3, "x") == 1


@pytest.mark.parametrize("name", ["cam", "grad-cam", "dist-cam", "occlusion", "lime"])
def test_all_targets_is_what_each_gives_on_its_own(name: str) -> None:
    pixels, model = images(), Pooled()
    options = {"dist-cam": {"reference": torch.rand(3, 2)}, "lime": {"num_samples": 20}}
    explainer = create(name, model, **options.get(name, {}))
    together = explainer.all_targets(pixels, [0, 1, 2])
    for number in range(3):
        alone = explainer(pixels, [number] * 2)
        torch.testing.assert_close(together[:, number], alone, rtol=1e-5, atol=1e-6)


def test_many_images_are_the_same_as_each_alone() -> None:
    pixels, model = images(35), Pooled()
    targets = [number % 3 for number in range(35)]
    for name in ("cam", "grad-cam", "occlusion"):
        explainer = create(name, model)
        maps = explainer(pixels, targets)
        alone = [explainer(pixels[n : n + 1], targets[n : n + 1]) for n in range(35)]
        torch.testing.assert_close(maps, torch.cat(alone), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("backbone", "layer"),
    [("resnet18", "layer4"), ("efficientnet_lite0", "bn2"), ("densenet121", "features")],
)
def test_the_last_feature_stage_of_timm_networks(backbone: str, layer: str) -> None:
    model = timm.create_model(backbone, num_classes=3).eval()
    pixels = images(1, size=64)
    for name in ("cam", "grad-cam"):
        explainer = create(name, model)
        assert explainer(pixels, [1]).shape == (1, 2, 2)
        assert explainer.layer(pixels) == layer


def test_several_methods_share_one_pass() -> None:
    model, pixels = Pooled(), images(20)
    passes = []
    model.register_forward_hook(lambda *_: passes.append(1))
    explainers = {
        "cam": create("cam", model),
        "grad-cam": create("grad-cam", model),
        "dist-cam": create("dist-cam", model, reference=torch.rand(3, 2)),
        "lime": create("lime", model, num_samples=10),
    }
    targets = {name: [1] * 20 for name in explainers}
    expected = {name: one(pixels, targets[name]) for name, one in explainers.items()}
    del explainers["lime"], expected["lime"]
    passes.clear()
    maps = explain_together(explainers, pixels, targets)
    assert len(passes) == 5  # five parts of at most 4 images
    assert list(maps) == list(explainers)
    for name, values in maps.items():
        torch.testing.assert_close(values, expected[name])


def test_gradients_of_two_layers_take_a_pass_each() -> None:
    model, pixels = Pooled(), images()
    explainers = {
        "first": create("grad-cam", model, layer="conv"),
        "second": create("grad-cam", model, layer="act"),
    }
    maps = explain_together(explainers, pixels, {"first": [0, 1], "second": [0, 1]})
    torch.testing.assert_close(maps["first"], maps["second"])
