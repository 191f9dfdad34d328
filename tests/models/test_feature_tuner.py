"""Features of several layers, and the network that weighs them anew."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from mezoroi import MezoroiError
from mezoroi.metrics import mean_average_precision
from mezoroi.models import FeatureTuner, MultiLayerFeatures, feature_tuner
from mezoroi.models.feature_tuner import PRESETS, SCHEDULES, classification_head
from mezoroi.models.multi_layer import normalized_addition, one_layer


def images(size: int = 64, count: int = 2) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("backbone", "dims"),
    [
        ("resnet18", {"conv2": 64, "conv3": 128, "conv4": 256, "conv5": 512, "GAP": 512}),
        ("efficientnet_lite0", {"conv2": 24, "conv3": 40, "conv4": 112, "conv5": 320, "GAP": 1280}),
        (
            "mobilenetv3_small_050",
            {"conv2": 8, "conv3": 16, "conv4": 24, "conv5": 288, "GAP": 1024},
        ),
    ],
)
def test_layers_of_backbones(backbone: str, dims: dict[str, int]) -> None:
    extractor = MultiLayerFeatures(backbone, "none").eval()
    assert extractor.dims == dims
    with torch.no_grad():
        features = extractor(extractor.prepare(images()))
    assert features.shape == (2, sum(dims.values()))


@pytest.mark.parametrize("size", [(225, 225), (226, 226), (250, 250), (224, 250), (61, 100)])
def test_every_size_has_the_same_layers(size: tuple[int, int]) -> None:
    """Also where the width is no multiple of the strides."""
    extractor = MultiLayerFeatures("resnet18", "none").eval()
    batch = extractor.prepare(torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0)))
    with torch.no_grad():
        features = extractor(batch)
        _, maps = extractor.network.forward_intermediates(batch)
    assert features.shape == (1, 1472)
    conv2 = one_layer(features, extractor.dims, "conv2")
    torch.testing.assert_close(conv2, maps[1].mean(dim=(2, 3)))


def test_resnet_layers_are_what_the_paper_takes() -> None:
    extractor = MultiLayerFeatures("resnet18", "none").eval()
    assert sum(extractor.dims.values()) == 1472
    network = extractor.network
    with torch.no_grad():
        # timm starts the last norm of a block at 0, so that the block passes its input on.
        network.layer4[1].bn2.weight.fill_(3.0)
        batch = extractor.prepare(images())
        features = extractor(batch)
        values = network.maxpool(network.act1(network.bn1(network.conv1(batch))))
        for layer in (network.layer1, network.layer2, network.layer3):
            values = layer(values)
        first, last = network.layer4
        values = first(values)
        residual = last.bn2(last.conv2(last.act1(last.bn1(last.conv1(values)))))
        total = residual + values
    conv5 = one_layer(features, extractor.dims, "conv5")
    gap = one_layer(features, extractor.dims, "GAP")
    torch.testing.assert_close(conv5, total.mean(dim=(2, 3)))
    torch.testing.assert_close(gap, total.relu().mean(dim=(2, 3)))
    assert (conv5 < 0).any()


@pytest.mark.parametrize(
    ("backbone", "activation"),
    [
        ("legacy_seresnet18", "layer4.1.relu"),
        ("seresnet18", "layer4.1.act2"),
        ("regnetx_002", "s4.b7.act3"),
    ],
)
def test_the_last_map_is_pooled_before_its_own_activation(backbone: str, activation: str) -> None:
    """Not before that of squeeze-and-excitation, which is defined after it."""
    extractor = MultiLayerFeatures(backbone, "none").eval()
    network = extractor.network
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):  # so that no block only passes its input on
            nn.init.constant_(module.weight, 2.0)
    entered: list[torch.Tensor] = []
    network.get_submodule(activation).register_forward_pre_hook(
        lambda _module, inputs: entered.append(inputs[0].clone())
    )
    batch = extractor.prepare(images())
    with torch.no_grad():
        features = extractor(batch)
    total = entered[-1]
    conv5, gap = (one_layer(features, extractor.dims, name) for name in ("conv5", "GAP"))
    torch.testing.assert_close(conv5, total.mean(dim=(2, 3)))
    torch.testing.assert_close(gap, total.relu().mean(dim=(2, 3)))


@pytest.mark.parametrize(
    ("backbone", "size", "dims"),
    [
        ("inception_v3", 107, {"conv2": 192, "conv3": 288, "conv4": 768, "conv5": 2048}),
        ("swin_tiny_patch4_window7_224", 224, {"conv2": 96, "conv3": 192, "conv4": 384}),
        ("convnext_atto", 64, {"conv2": 40, "conv3": 80, "conv4": 160, "conv5": 320}),
    ],
)
def test_stages_that_no_activation_ends_are_taken_as_they_are(
    backbone: str, size: int, dims: dict[str, int]
) -> None:
    extractor = MultiLayerFeatures(backbone, "none").eval()
    assert dims.items() <= extractor.dims.items()
    batch = extractor.prepare(images(size))
    with torch.no_grad():
        features = extractor(batch)
        _, maps = extractor.network.forward_intermediates(batch)
    conv5 = one_layer(features, extractor.dims, "conv5")
    torch.testing.assert_close(conv5, maps[-1].mean(dim=(2, 3)))


def test_leaves_no_hook_behind_even_after_an_error() -> None:
    extractor = MultiLayerFeatures("resnet18", "none").eval()
    with pytest.raises(RuntimeError):
        extractor(torch.rand(1, 4, 64, 64))
    with torch.no_grad():
        extractor(images())
    hooks = [len(m._forward_pre_hooks) + len(m._forward_hooks) for m in extractor.modules()]
    assert not any(hooks)


def test_packaged_weights_make_features() -> None:
    extractor = MultiLayerFeatures().eval()
    with torch.no_grad():
        features = extractor(extractor.prepare(images()))
    assert bool(features.isfinite().all())
    assert (one_layer(features, extractor.dims, "GAP") >= 0).all()


def test_normalized_addition_by_hand() -> None:
    features = torch.tensor([[3.0, 4.0, 0.0, 5.0, 12.0]])
    found = normalized_addition(features, {"conv2": 2, "GAP": 3})
    torch.testing.assert_close(found, torch.tensor([[0.6, 0.8, 0.0, 5 / 13, 12 / 13]]))


@pytest.mark.parametrize(
    ("backbone", "weights", "reason"),
    [
        ("no_such_net", "none", "unknown backbone"),
        ("resnet18", "package", "only `efficientnet_lite0` has packaged weights"),
        ("resnet18", "missing.pth", "do not exist"),
        ("vit_tiny_patch16_224", "none", "has no stages: choose a convolutional one"),
        ("mixer_s32_224", "none", "has no stages: choose a convolutional one"),
    ],
)
def test_unusable_backbones(backbone: str, weights: str, reason: str) -> None:
    with pytest.raises(MezoroiError, match=reason):
        MultiLayerFeatures(backbone, weights)


@pytest.fixture(scope="module")
def clouds() -> tuple[np.ndarray, np.ndarray]:
    """240 features of 6 classes, told apart by a few weak features among strong noise."""
    rng = np.random.default_rng(0)
    labels = np.arange(240) % 6
    features = rng.normal(size=(240, 30)).astype(np.float32) * 5
    features[:, :6] = 2 * np.eye(6)[labels] + 0.5 * rng.normal(size=(240, 6))
    return features, labels


@pytest.mark.parametrize("loss", ["softmax", "cosface"])
@pytest.mark.parametrize("layers", [3, 6])
def test_learns_what_tells_classes_apart(
    clouds: tuple[np.ndarray, np.ndarray],
    layers: Any,
    loss: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    features, labels = clouds
    monkeypatch.setattr(feature_tuner, "_HIDDEN", 64)
    tuner = FeatureTuner(30, 6, layers, dim=32, loss=loss)
    assert tuner.fit(features, labels) is tuner
    vectors = tuner.transform(features)
    assert vectors.shape == (240, 32)
    assert (vectors >= 0).all()
    plain = mean_average_precision(features, labels)
    assert mean_average_precision(vectors, labels) > 2 * plain
    assert tuner.losses_[-1] < tuner.losses_[0]


@pytest.mark.parametrize("layers", [3, 6])
def test_network_is_the_papers(layers: Any) -> None:
    tuner = FeatureTuner(1472, 10, layers, schedule="quick").fit(
        np.eye(20, 1472), np.arange(20) % 10
    )
    parts = list(tuner.network_)
    linear, others = parts[::2], parts[1::2]
    assert len(linear) == layers - 1  # the last one is the head's
    assert all(isinstance(part, nn.ReLU) for part in others)
    assert (linear[0].in_features, linear[-1].out_features) == (1472, 512)


def test_papers_schedule() -> None:
    paper = SCHEDULES["paper"]
    assert (paper.epochs, paper.batch_size, paper.lr, paper.factor) == (120, 64, 0.01, 0.2)
    assert paper.drops == (60, 90, 110)


def test_same_seed_same_vectors_and_no_global_generator(
    clouds: tuple[np.ndarray, np.ndarray],
    rng_state: Callable[[], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feature_tuner, "_HIDDEN", 64)
    before = rng_state()

    def vectors(seed: int) -> np.ndarray:
        tuner = FeatureTuner(30, 6, dim=8, loss="cosface", schedule="quick", seed=seed)
        return tuner.fit(*clouds).transform(clouds[0])

    np.testing.assert_array_equal(vectors(1), vectors(1))
    assert not np.allclose(vectors(1), vectors(2))
    assert rng_state() == before


@pytest.mark.parametrize(
    ("options", "features", "labels", "reason"),
    [
        ({"layers": 4}, np.ones((4, 3)), [0, 1, 0, 1], "layers is 4"),
        ({"layers": 3.0}, np.ones((4, 3)), [0, 1, 0, 1], "layers is 3.0: give a whole number"),
        ({"dim": "8"}, np.ones((4, 3)), [0, 1, 0, 1], "dim is '8': give a whole number"),
        ({"seed": None}, np.ones((4, 3)), [0, 1, 0, 1], "seed is None: give a whole number"),
        ({"loss": "hinge"}, np.ones((4, 3)), [0, 1, 0, 1], "unknown loss"),
        ({"schedule": "long"}, np.ones((4, 3)), [0, 1, 0, 1], "unknown schedule"),
        ({}, np.ones((4, 5)), [0, 1, 0, 1], "shape"),
        ({}, np.full((4, 3), np.nan), [0, 1, 0, 1], "NaN"),
        ({}, np.ones((4, 3)), [0, 1, 0], "labels have shape"),
        ({}, np.ones((4, 3)), [0, 1, 0, 2], "labels must be 0 to 1"),
        ({}, np.ones((4, 3)), ["A", "B", "A", "B"], "labels are no whole numbers"),
        ({}, np.ones((4, 3)), [0.5, 1, 0, 1], "labels are no whole numbers"),
        ({}, np.ones((4, 3)), [0, 1, 0, np.nan], "labels are no whole numbers"),
        ({}, [["a"] * 3] * 4, [0, 1, 0, 1], "features are no array of numbers"),
    ],
)
def test_bad_use_is_one_line(
    options: dict[str, Any], features: np.ndarray, labels: list[int], reason: str
) -> None:
    with pytest.raises(MezoroiError, match=reason):
        FeatureTuner(3, 2, **options).fit(features, labels)


def test_tensors_of_a_graph_and_whole_floats_are_taken(
    clouds: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_tuner, "_HIDDEN", 16)
    features, labels = clouds
    tensor = torch.tensor(features, requires_grad=True)

    def vectors(features: Any, labels: Any) -> np.ndarray:
        tuner = FeatureTuner(30, 6, dim=4, schedule="quick").fit(features, labels)
        return tuner.transform(features)

    expected = vectors(features, labels)
    np.testing.assert_array_equal(vectors(tensor, torch.tensor(labels)), expected)
    np.testing.assert_array_equal(vectors(features.tolist(), labels.astype(float)), expected)


@pytest.fixture
def float64_default() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("loss", ["softmax", "cosface"])
def test_learns_where_no_gradients_are_kept_and_float64_is_usual(
    loss: Any, clouds: tuple[np.ndarray, np.ndarray], float64_default: None
) -> None:
    tuner = FeatureTuner(30, 6, dim=4, loss=loss, schedule="quick")
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            tuner.fit(torch.tensor(clouds[0]), torch.tensor(clouds[1]))
        assert tuner.losses_[-1] < tuner.losses_[0]
    assert tuner.transform(clouds[0]).dtype == np.float32


def test_not_fitted() -> None:
    with pytest.raises(MezoroiError, match="not fitted"):
        FeatureTuner(3, 2).transform(np.ones((1, 3)))


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> FeatureTuner:
    monkeypatch.setattr(feature_tuner, "_HIDDEN", 16)
    features = np.random.default_rng(1).normal(size=(20, 5))
    tuner = FeatureTuner(5, 2, 6, dim=4, loss="cosface", schedule="quick", seed=3)
    return tuner.fit(features, np.arange(20) % 2)


def test_saved_and_loaded_it_transforms_alike(fitted: FeatureTuner, tmp_path: Path) -> None:
    features = np.random.default_rng(2).normal(size=(7, 5))
    fitted.save(tmp_path / "tuner.safetensors")
    loaded = FeatureTuner.load(tmp_path / "tuner.safetensors")
    np.testing.assert_array_equal(loaded.transform(features), fitted.transform(features))
    names = ("in_features", "num_classes", "layers", "dim", "loss", "schedule", "seed", "losses_")
    assert {name: getattr(loaded, name) for name in names} == {
        name: getattr(fitted, name) for name in names
    }
    assert {path.name for path in tmp_path.iterdir()} == {"tuner.safetensors"}


def test_numpys_numbers_are_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_tuner, "_HIDDEN", 16)
    labels = np.arange(20) % 2
    sizes = {"dim": np.int32(4), "seed": np.int64(1)}
    tuner = FeatureTuner(np.int64(5), labels.max() + 1, schedule="quick", **sizes)
    tuner.fit(np.random.default_rng(1).normal(size=(20, 5)), labels)
    tuner.save(tmp_path / "tuner.safetensors")
    assert FeatureTuner.load(tmp_path / "tuner.safetensors").num_classes == 2


def _stated(path: Path, **changes: Any) -> None:
    tensors = load_file(path)
    with safe_open(path, framework="pt") as file:
        about = {**json.loads(file.metadata()["mezoroi.feature-tuner"]), **changes}
    save_file(tensors, path, {"mezoroi.feature-tuner": json.dumps(about)})


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda path: path.unlink(), "does not exist"),
        (lambda path: path.write_bytes(b"PK no weights"), "no saved FeatureTuner"),
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), "no saved FeatureTuner"),
        (lambda path: save_file(load_file(path), path), "no saved FeatureTuner"),
        (lambda path: _stated(path, parameters={"in_features": 6}), "no saved FeatureTuner"),
        (lambda path: _stated(path, format=2), "format 2"),
    ],
)
def test_an_unusable_file_is_one_line(
    fitted: FeatureTuner, tmp_path: Path, harm: Callable[[Path], Any], reason: str
) -> None:
    path = tmp_path / "tuner.safetensors"
    fitted.save(path)
    harm(path)
    with pytest.raises(MezoroiError, match=reason) as error:
        FeatureTuner.load(path)
    assert "\n" not in str(error.value)


def test_what_is_not_fitted_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(MezoroiError, match="not fitted"):
        FeatureTuner(3, 2).save(tmp_path / "tuner.safetensors")


def test_labels_of_uneven_length_are_one_line() -> None:
    with pytest.raises(MezoroiError, match="labels are no array of numbers") as error:
        FeatureTuner(3, 2, schedule="quick").fit(np.ones((2, 3)), [[0], [0, 1]])
    assert "\n" not in str(error.value)


def test_presets_are_the_papers_networks_and_a_quick_one() -> None:
    assert list(PRESETS) == ["3-softmax", "3-cosface", "6-softmax", "6-cosface", "quick"]
    tuner = FeatureTuner.from_preset("6-cosface", 1472, 36, seed=5)
    assert (tuner.layers, tuner.loss, tuner.schedule, tuner.dim, tuner.seed) == (
        *(6, "cosface", "paper", 512),
        5,
    )
    assert FeatureTuner.from_preset("quick", 8, 2).schedule == "quick"
    assert FeatureTuner.from_preset("3-softmax", 8, 2, schedule="quick").schedule == "quick"
    with pytest.raises(MezoroiError, match="unknown preset `fast`: use one of 3-softmax"):
        FeatureTuner.from_preset("fast", 8, 2)


def test_the_papers_margin_and_scale_reach_the_loss() -> None:
    """CosFace by its formula: the own cosine less 0.45, all times 60, cross-entropy."""
    generator = torch.Generator().manual_seed(0)
    head = classification_head("cosface", 4, 3, generator)
    vectors = torch.randn(6, 4, generator=generator)
    labels = torch.tensor([0, 1, 2, 2, 1, 0])
    unit = nn.functional.normalize
    cosines = unit(vectors, dim=1) @ unit(head.W, dim=0)
    cosines[torch.arange(6), labels] -= 0.45
    expected = nn.functional.cross_entropy(60 * cosines, labels)
    torch.testing.assert_close(head(vectors, labels), expected)


def test_features_may_be_tensors_of_a_graph() -> None:
    features = torch.eye(6, dtype=torch.bfloat16).repeat(2, 1).requires_grad_()
    labels = torch.arange(12) % 2
    expected = FeatureTuner(6, 2, schedule="quick").fit(features.tolist(), labels.tolist())
    found = FeatureTuner(6, 2, schedule="quick").fit(features, labels)
    np.testing.assert_array_equal(found.transform(features), expected.transform(features.tolist()))
