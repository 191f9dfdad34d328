"""Any timm backbone, cut into stages that together are the same network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch

from mezoroi.bundle import build_network
from mezoroi.errors import MezoroiError
from mezoroi.models import Encoder
from mezoroi.models.probing import check_feature_map
from mezoroi.presets import make_config
from mezoroi.standard import GradingStandard

BACKBONES = ["efficientnet_lite0", "resnet18", "convnext_atto", "mobilenetv3_small_100"]


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("stride", [16, 32])
def test_the_stages_chained_are_timms_feature_network(backbone: str, stride: int) -> None:
    torch.manual_seed(3)
    encoder = Encoder(backbone, stride, weights="none").eval()
    reference = timm.create_model(backbone, features_only=True).eval()
    reductions = reference.feature_info.reduction()
    index = max(i for i, value in enumerate(reductions) if value == stride)
    # The same tensors in the same order, less the blocks behind the last map, which timm keeps.
    ours = encoder.state_dict()
    theirs = dict(zip(reference.state_dict(), ours.values(), strict=False))
    assert {n: v.shape for n, v in theirs.items()} == {
        name: value.shape for name, value in reference.state_dict().items() if name in theirs
    }
    reference.load_state_dict(theirs, strict=False)

    images = torch.rand(2, 3, 64, 128, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        maps = reference(images)
        torch.testing.assert_close(encoder(images), maps[index])
        torch.testing.assert_close(encoder.deepen(encoder(images)), maps[-1])
        values = images
        for stage in range(len(encoder.stages)):
            values = encoder.run_stages(values, stage, stage + 1)
            if stage or not backbone.startswith("mobilenet"):  # whose first cut precedes the ReLU
                torch.testing.assert_close(values, maps[stage])
        half = encoder.run_stages(encoder.run_stages(images, 0, 2), 2)
        torch.testing.assert_close(half, maps[index])
    assert maps[index].shape == (2, encoder.channels, 64 // stride, 128 // stride)
    assert maps[-1].shape[1] == encoder.deep_channels
    assert maps[-1].shape[2] == 64 // encoder.deep_stride


def test_normalisation_is_the_backbones_own() -> None:
    config = timm.get_pretrained_cfg("vit_base_patch16_224.augreg_in21k")
    assert config is not None and config.mean == (0.5, 0.5, 0.5)  # they do differ
    encoder = Encoder("resnet18", weights="none")
    assert encoder.mean == (0.485, 0.456, 0.406)
    assert encoder.std == (0.229, 0.224, 0.225)


def test_a_timm_checkpoint_is_loaded(tmp_path: Path) -> None:
    torch.manual_seed(5)
    original = timm.create_model("resnet18")
    path = tmp_path / "resnet18.pth"
    torch.save(original.state_dict(), path)
    encoder = Encoder("resnet18", 16, weights=str(path))
    assert torch.equal(encoder.stages[0][0].weight, original.conv1.weight)


@pytest.mark.parametrize(
    ("backbone", "stride", "weights", "message"),
    [
        ("resnet-18", 32, "none", "unknown backbone `resnet-18`: "),
        ("resnet17", 32, "none", "unknown backbone `resnet17`: "),
        ("nothing_like_it", 32, "none", "see timm.list_models"),
        ("resnet18", 64, "none", r"no feature map at stride 64: set model.stride to one of \[2, 4"),
        ("resnet18", 32, "package", "only `efficientnet_lite0` has packaged weights"),
        ("resnet18", 32, "/nowhere/weights.pth", "/nowhere/weights.pth do not exist"),
    ],
)
def test_bad_choices_are_one_clear_line(
    backbone: str, stride: int, weights: str, message: str
) -> None:
    with pytest.raises(MezoroiError, match=message) as caught:
        Encoder(backbone, stride, weights)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"no checkpoint", b""])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(MezoroiError, match="do not fit `resnet18`") as caught:
        Encoder("resnet18", 32, str(path))
    assert "\n" not in str(caught.value)


def test_a_checkpoint_of_another_backbone_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save(timm.create_model("mobilenetv3_small_100").state_dict(), path)
    with pytest.raises(MezoroiError, match="do not fit `resnet18`"):
        Encoder("resnet18", 32, str(path))


def test_building_a_network_leaves_the_global_generators_alone(
    rng_state: Callable[[], object],
) -> None:
    config = make_config("tiny", overrides=["model.backbone=resnet18", "model.weights=none"])

    def build(seed: int) -> dict[str, torch.Tensor]:
        chosen = config.model_copy(update={"train": config.train.model_copy(update={"seed": seed})})
        network, head = build_network(GradingStandard.melon(), chosen, 8, True, "none")
        return {**network.state_dict(), "head": head.W}

    before = rng_state()
    first = build(0)
    assert rng_state() == before
    torch.manual_seed(99)
    again, other = build(0), build(1)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["head"], other["head"])


@pytest.mark.parametrize(
    ("backbone", "wraps"),
    [("vit_tiny_patch16_224", False), ("swin_tiny_patch4_window7_224", True)],
)
def test_a_backbone_that_makes_no_feature_map_is_one_clear_line(backbone: str, wraps: bool) -> None:
    choices = [f"model.backbone={backbone}", "model.weights=none"]
    config = make_config("tiny", overrides=choices)
    network, _ = build_network(GradingStandard.melon(), config, 3 * wraps, wraps, "none")
    with pytest.raises(MezoroiError, match=f"`{backbone}` makes no feature map of ") as caught:
        check_feature_map(network, backbone, 64, 64 + 64 * wraps)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("backbone", ["resnet18", "hrnet_w18_small"])
def test_trying_a_network_leaves_it_as_it_was(backbone: str) -> None:
    config = make_config("tiny", overrides=[f"model.backbone={backbone}", "model.weights=none"])
    network, _ = build_network(GradingStandard.melon(), config, 3, True, "none")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    check_feature_map(network, backbone, 64, 128)
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
