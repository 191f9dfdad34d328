"""The same numbers as captum, grad-cam and lime."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from torch import nn

from mezoroi.explain import create
from mezoroi.explain.lime import lime_coefficients, superpixels

captum = pytest.importorskip("captum.attr", reason="the extra `dev` is not installed")
BACKBONES = ("resnet18", "efficientnet_lite0", "densenet121")


def network(backbone: str) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return timm.create_model(backbone, num_classes=4).eval()


def images(count: int, size: int) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def scaled(maps: np.ndarray) -> np.ndarray:
    """What grad-cam makes of a map: positive part, from 0 to 1."""
    positive = np.maximum(maps, 0)
    low, high = positive.min(axis=(1, 2), keepdims=True), positive.max(axis=(1, 2), keepdims=True)
    return (positive - low) / (1e-7 + high - low)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_grad_cam_is_captums(backbone: str) -> None:
    model, pixels, targets = network(backbone), images(3, 96), torch.tensor([0, 3, 1])
    explainer = create("grad-cam", model)
    maps = explainer(pixels, targets)
    layer = model.get_submodule(explainer.layer(pixels))
    theirs = captum.LayerGradCam(model, layer).attribute(pixels, targets)[:, 0].detach()
    assert (maps - theirs).abs().max() < 1e-5 * max(1.0, float(theirs.abs().max()))
    same = np.abs(scaled(maps.numpy()) - scaled(theirs.numpy())).max()
    assert same < 1e-5


@pytest.mark.parametrize("backbone", BACKBONES)
def test_grad_cam_is_grad_cams(backbone: str) -> None:
    peer = pytest.importorskip("pytorch_grad_cam")
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    model, pixels, targets = network(backbone), images(2, 96), [2, 0]
    explainer = create("grad-cam", model)
    maps = explainer(pixels, targets).numpy()
    layer = model.get_submodule(explainer.layer(pixels))
    chosen = [ClassifierOutputTarget(number) for number in targets]
    with peer.GradCAM(model=model, target_layers=[layer]) as theirs:
        activations = theirs.activations_and_grads(pixels)
        theirs.model.zero_grad()
        loss = sum(target(one) for target, one in zip(chosen, activations, strict=True))
        loss.backward()
        found = theirs.compute_cam_per_layer(pixels, chosen, eigen_smooth=False)
    # grad-cam scales each map and resizes it: resize ours the same way.
    import cv2

    resized = np.stack([cv2.resize(one, (96, 96)) for one in scaled(maps)])
    assert np.abs(resized - found[0][:, 0]).max() < 1e-5


@pytest.mark.parametrize(("patch", "stride", "baseline"), [(11, 4, 0.0), (8, 8, 0.5), (7, 3, 0.0)])
def test_occlusion_is_captums(patch: int, stride: int, baseline: float) -> None:
    model, pixels, targets = network("resnet18"), images(2, 48), torch.tensor([1, 2])
    explainer = create("occlusion", model, patch=patch, stride=stride, baseline=baseline)
    found = explainer.to_pixels(explainer(pixels, targets), 48, 48)
    theirs = captum.Occlusion(model).attribute(
        pixels,
        sliding_window_shapes=(3, patch, patch),
        strides=(3, stride, stride),
        baselines=baseline,
        target=targets,
        perturbations_per_eval=16,
    )
    assert (found - theirs[:, 0]).abs().max() < 1e-5


def test_lime_gives_the_same_coefficients() -> None:
    lime_image = pytest.importorskip("lime.lime_image")
    import skimage.data

    image = skimage.data.astronaut()[:96, 170:266] / 255.0
    model = network("resnet18")

    def scores(batch: np.ndarray) -> np.ndarray:
        pixels = torch.from_numpy(np.asarray(batch)).permute(0, 3, 1, 2).float()
        with torch.inference_mode():
            return model(pixels).numpy()

    segments = superpixels(image)
    peer = lime_image.LimeImageExplainer(random_state=0)
    masks: list[np.ndarray] = []
    original = peer.data_labels

    def noted(*arguments, **options):
        data, labels = original(*arguments, **options)
        masks.extend([data, labels])
        return data, labels

    peer.data_labels = noted
    explanation = peer.explain_instance(
        image, scores, labels=(0, 1, 2, 3), top_labels=None, num_samples=300,
        segmentation_fn=lambda _: segments, random_seed=0,
    )  # fmt: skip
    ours = lime_coefficients(*masks)
    for label in range(4):
        theirs = dict(explanation.local_exp[label])
        column = np.array([theirs[number] for number in range(ours.shape[0])])
        assert np.corrcoef(column, ours[:, label])[0, 1] >= 0.99
        np.testing.assert_allclose(ours[:, label], column, rtol=1e-4, atol=1e-6)


def test_limes_own_samples_give_nearly_the_same_map() -> None:
    """End to end with own samples: only the draw differs."""
    lime_image = pytest.importorskip("lime.lime_image")
    import skimage.data

    image = skimage.data.astronaut()[:64, 190:254] / 255.0
    model = network("resnet18")

    def scores(batch: np.ndarray) -> np.ndarray:
        pixels = torch.from_numpy(np.asarray(batch)).permute(0, 3, 1, 2).float()
        with torch.inference_mode():
            return model(pixels).numpy()

    segments = superpixels(image)
    theirs = lime_image.LimeImageExplainer(random_state=0).explain_instance(
        image, scores, labels=(1,), top_labels=None, num_samples=1000,
        segmentation_fn=lambda _: segments, random_seed=0,
    )  # fmt: skip
    weights = dict(theirs.local_exp[1])
    painted = np.vectorize(weights.__getitem__)(segments)
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    ours = create("lime", model)(pixels, [1])[0].numpy()
    assert np.corrcoef(painted.ravel(), ours.ravel())[0, 1] > 0.97
