"""Bad input is one line that says what to do."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mezoroi.errors import MezoroiError
from mezoroi.explain import Similarity, create
from tests.explain.nets import Pooled, images


def refused(match: str):
    return pytest.raises(MezoroiError, match=match)


def test_unknown_method_and_option() -> None:
    with refused("unknown method `gradcam`: use activation-map, cam"):
        create("gradcam", Pooled())
    with refused("lime has no option `patch`: it has num_samples"):
        create("lime", Pooled(), patch=3)
    with refused("lime has no option `layer`"):
        create("lime", Pooled(), layer="conv")
    with refused("is no torch module"):
        create("lime", lambda pixels: pixels)


@pytest.mark.parametrize("name", ["grad-cam", "occlusion", "lime"])
def test_images(name: str) -> None:
    explainer = create(name, Pooled())
    broken = images()
    broken[0, 0, 0, 0] = float("nan")
    with refused("NaN or infinity"):
        explainer(broken, [0, 0])
    with refused("floating-point"):
        explainer(torch.zeros(1, 3, 12, 12, dtype=torch.uint8), [0])
    for empty in (torch.zeros(0, 3, 12, 12), torch.zeros(3, 12, 12), None):
        with refused("give a tensor"):
            explainer(empty, [0])


def test_images_that_the_model_cannot_take() -> None:
    for name in ("grad-cam", "occlusion"):
        with refused("the model cannot take images of .4, 12, 12."):
            create(name, Pooled())(torch.rand(1, 4, 12, 12), [0])


class OneSize(Pooled):
    """Asserts the size of its images, as timm's transformers do."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        assert pixels.shape[2] == 12, f"Input height ({pixels.shape[2]}) doesn't match model (12)."
        return super().forward(pixels)


@pytest.mark.parametrize("name", ["grad-cam", "cam", "occlusion", "lime"])
def test_images_of_a_size_that_the_model_does_not_take(name: str) -> None:
    explainer = create(name, OneSize(), **({"num_samples": 10} if name == "lime" else {}))
    with refused(r"cannot take images of .3, 16, 16. .Input height .16. doesn't match"):
        explainer(images(1, size=16), [0])


@pytest.mark.parametrize("name", ["grad-cam", "occlusion", "lime", "cam"])
def test_targets(name: str) -> None:
    explainer, pixels = create(name, Pooled()), images()
    for wrong in ([3, 0], [0, -1], torch.tensor([0, 9])):
        with refused("out of range"):
            explainer(pixels, wrong)
    with refused("1 targets for 2 images"):
        explainer(pixels, [0])
    with refused("one target for 2 images"):
        explainer(pixels, 0)
    with refused("whole numbers"):
        explainer(pixels, torch.rand(2))
    with refused("is no target"):
        explainer(pixels, ["A", "B"])
    with refused(r"one map per class|return one number"):
        explainer(pixels, [lambda scores: scores] * 2)


def test_a_score_that_is_nan() -> None:
    with refused("score is NaN"):
        create("occlusion", Pooled())(images(1), [lambda scores: scores[0] * float("nan")])


def test_constant_images_are_explained() -> None:
    grey = torch.full((1, 3, 16, 16), 0.5)
    for name, options in (("grad-cam", {}), ("occlusion", {}), ("lime", {"num_samples": 10})):
        assert torch.isfinite(create(name, Pooled(), **options)(grey, [0])).all()
    # Superpixels in their mean colour change nothing.
    assert create("lime", Pooled(), num_samples=10)(grey, [0]).abs().max() < 1e-6


def test_an_image_smaller_than_the_patch() -> None:
    with refused("8 x 8 is smaller than the patch of 11"):
        create("occlusion", Pooled())(images(1, size=8), [0])
    with refused("leaves gaps"):
        create("occlusion", Pooled(), patch=4, stride=5)
    with refused("patch is 0"):
        create("occlusion", Pooled(), patch=0)
    with refused("megabytes"):
        create("lime", Pooled(), megabytes=0)


def test_half_precision() -> None:
    model, pixels = Pooled(), images(1)
    expected = create("grad-cam", model)(pixels, [0])
    maps = create("grad-cam", Pooled().half())(pixels, [0])
    assert maps.dtype == torch.float32
    torch.testing.assert_close(maps, expected, rtol=1e-2, atol=1e-4)
    assert create("occlusion", Pooled().bfloat16())(pixels.half(), [0]).dtype == torch.float32


def test_layers() -> None:
    model = Pooled()
    with refused("no layer `features`"):
        create("grad-cam", model, layer="features")
    with refused("no part of the model"):
        create("grad-cam", model, layer=nn.Conv2d(1, 1, 1))
    with refused("gives .2, 3., no maps"):
        create("grad-cam", model, layer="fc")(images(), [0, 0])

    class Twice(Pooled):
        def forward(self, pixels):
            return self.fc(self.act(self.act(self.conv(pixels))).mean(dim=(2, 3)))

    with refused("more than once"):
        create("grad-cam", Twice(), layer="act")(images(), [0, 0])

    class Unused(Pooled):
        def __init__(self) -> None:
            super().__init__()
            self.extra = nn.Conv2d(3, 2, 1)

    with refused("does not run"):
        create("grad-cam", Unused(), layer="extra")(images(), [0, 0])

    class Empty(Pooled):
        def forward(self, pixels):
            self.act(pixels[..., :0])
            return self.fc(self.conv(pixels).mean(dim=(2, 3)))

    with refused("size zero"):
        create("grad-cam", Empty(), layer="act")(images(), [0, 0])

    class Aside(Pooled):
        def forward(self, pixels):
            self.act(pixels)
            return self.fc(self.conv(pixels).mean(dim=(2, 3)))

    with refused("does not depend on the layer"):
        create("grad-cam", Aside(), layer="act")(images(), [0, 0])


def test_methods_that_do_not_apply_name_others() -> None:
    class Squared(Pooled):
        def forward(self, pixels):
            return super().forward(pixels) ** 2

    with refused("CAM needs .* use grad-cam"):
        create("cam", Squared())(images(), [0, 0])
    with refused("activation map needs class channels .* use cam"):
        create("activation-map", Pooled())
    with refused("dist-cam compares with a reference"):
        create("dist-cam", Pooled())
    with refused("the reference has 5 channels"):
        create("dist-cam", Pooled(), reference=torch.rand(1, 5))(images(), [0, 0])
    with refused("has no bank"):
        create("adapting-grad-cam", Pooled())(images(), [0, 0])
    with refused("no convolutional feature map"):
        create("grad-cam", nn.Sequential(nn.Flatten(), nn.Linear(432, 2)))(images(), [0, 0])
    with refused("returns tuple|wrap it"):
        create("lime", nn.Identity())(images(), [0, 0])
    grey = torch.rand(1, 1, 16, 16)
    one_channel = nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with refused("quickshift needs RGB"):
        create("lime", one_channel)(grey, [0])
    assert create("grad-cam", one_channel)(grey, [0]).shape == (1, 14, 14)


def test_what_would_answer_silently() -> None:
    pixels = images()
    with refused("target 7 is out of range: Dist-CAM has classes 0 to 0"):
        create("dist-cam", Pooled(), reference=images(1))(pixels, [7, 7])
    for shape in ((1, 2), (1, 3, 12, 12)):
        with refused("the reference holds NaN"):
            create("dist-cam", Pooled(), reference=torch.full(shape, torch.nan))
    with refused("the reference holds NaN"):
        Similarity(torch.tensor([0.0, torch.nan]))
    with refused("nearest is 0"):
        Similarity(torch.ones(2), nearest=0)
    for reference in ("photos", [[1, 2], [3]], [images(1)[0], images(1)[0]]):
        with refused("give reference= as one tensor or array"):
            create("dist-cam", Pooled(), reference=reference)
    with refused("seed is -1: give a whole number of at least 0"):
        create("lime", Pooled(), seed=-1)
    for none in (0, torch.tensor(0), lambda scores: scores[0], iter([0])):
        with refused("is no list of targets"):
            create("grad-cam", Pooled()).all_targets(pixels, none)
    with refused("no target is given"):
        create("grad-cam", Pooled()).all_targets(pixels, [])
    explainer = create("occlusion", Pooled(), patch=4, stride=4)
    maps = explainer(pixels, [0, 0])
    assert explainer.to_pixels(maps, 12, 12).shape == (2, 12, 12)
    with refused("24 x 24, which have 6 x 6 windows: give the images' size"):
        explainer.to_pixels(maps, 24, 24)


def test_cam_of_a_stage_that_shrank_to_one_cell_says_so() -> None:
    import timm

    model, pixels = timm.create_model("resnet18", num_classes=3).eval(), images(1, size=32)
    with refused("reads 512 numbers of 256 maps: where the last stage has shrunk to one cell"):
        create("cam", model)(pixels, [0])
    assert create("cam", model, layer="layer4")(pixels, [0]).shape == (1, 1, 1)


@pytest.mark.parametrize("name", ["swin_tiny_patch4_window7_224", "mambaout_femto"])
def test_maps_with_channels_last_are_refused(name: str) -> None:
    import timm

    model = timm.create_model(name, num_classes=3).eval()
    for layer in (None, "norm" if name.startswith("swin") else "stages.2"):
        with refused(r"its channels last: name a layer .* or use occlusion or lime"):
            create("grad-cam", model, layer=layer)(images(1, size=224), [0])


def test_a_transformer_is_refused_by_methods_of_maps() -> None:
    import timm

    model = timm.create_model("vit_tiny_patch16_224", num_classes=3, img_size=32)
    with refused("use occlusion or lime"):
        create("grad-cam", model)(images(1, size=32), [0])


def test_maps_at_another_size_than_the_images() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 2, 3, stride=2, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    explainer = create("grad-cam", model)
    maps = explainer(torch.rand(1, 3, 12, 16), [0])
    assert explainer.to_pixels(maps, 12, 16).shape == (1, 12, 16)
    for height, width in ((16, 12), (24, 32)):  # their cells would be drawn elsewhere
        with refused(rf"maps .1, 6, 8. are not of images of {height} x {width}.* {height // 2} x"):
            explainer.to_pixels(maps, height, width)
