"""Channel-grouping layers that learn with the network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import mezoroi as mz
from mezoroi.augment import channel_scale
from mezoroi.training import GradingModule
from mezoroi.training.mixing import Parts
from mezoroi.training.parts import fit_locator, locate
from tests.training.discs import Make, assembled, first_batch, make_discs, seeded

REFINED = ("augment=part-cutmix", "parts.grouping=refined", "parts.start=1", "parts.refresh=1")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_discs(tmp_path_factory.mktemp("discs"))


def test_a_checkpoint_of_another_version_is_one_line(
    photos: Path, tiny: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, run = tiny(*REFINED, "train.epochs=2"), tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(GradingModule, "on_train_epoch_end", _interrupted, raising=False)
        with pytest.raises(KeyboardInterrupt):
            mz.train(mz.load_dataset(photos), config, run)
    path = run / "checkpoints/last.ckpt"
    content = torch.load(path, weights_only=True)
    content["state_dict"] = {
        name: values for name, values in content["state_dict"].items() if "grouping" not in name
    }
    torch.save(content, path)
    with pytest.raises(mz.MezoroiError, match=r"last\.ckpt is of another version: train again"):
        mz.train(mz.load_dataset(photos), config, run, resume=True)


def _interrupted(module: GradingModule) -> None:
    if module.current_epoch == 1:
        raise KeyboardInterrupt


def test_a_channel_that_was_silent_says_nothing_later(photos: Path, tiny: Make) -> None:
    """Half precision holds no numbers of its size, were it counted in deviations."""
    module, data = assembled(mz.load_dataset(photos), tiny(*REFINED), wraps=False)
    fit_locator(module, data)
    assert module.grouping is not None
    channels = module.model.encoder.channels
    features = torch.rand(4, channels, 4, 4, generator=seeded(0))
    features[:, 5] = 0
    module.grouping.scale_to(*channel_scale(features))
    with torch.no_grad():
        features[:, 5] = 0.07
        expected = module._grouping_loss(features)
        with torch.autocast("cpu", dtype=torch.float16):
            found = module._grouping_loss(features)
    assert bool(expected.isfinite())
    torch.testing.assert_close(found, expected)


def test_refined_grouping_learns_with_the_network_end_to_end(photos: Path, tiny: Make) -> None:
    module, data = assembled(mz.load_dataset(photos), tiny(*REFINED), wraps=False)
    assert module.grouping is not None and not module.grouping.has_started
    first = fit_locator(module, data)
    assert module.grouping.has_started
    boxes, _ = locate(first)
    module.parts = Parts(data, boxes, None)
    batch = first_batch(data)
    mixed = module.mix_parts(batch, seeded(1))
    assert mixed is not None
    trained = list(module.model.encoder.stages[module.frozen :].parameters())

    def gradients() -> list[torch.Tensor]:
        module.zero_grad()
        module.mixed_losses(mixed, 0).backward()
        layers = [p.grad.clone() for p in module.grouping.parameters() if p.grad is not None]
        return [p.grad.clone() for p in trained if p.grad is not None] + layers

    ours = gradients()
    assert len(ours) == len(trained) + 2 and all(bool(one.any()) for one in ours[-2:])
    # The same step without the layers' loss moves the backbone elsewhere.
    layers, module.grouping = module.grouping, None
    module.zero_grad()
    module.mixed_losses(mixed, 0).backward()
    plain = [p.grad for p in trained if p.grad is not None]
    assert any(not torch.allclose(a, b) for a, b in zip(ours, plain, strict=False))
    module.grouping = layers

    # A later search goes on with the same layers, on the scale that the channels have by then.
    kept = layers.layer.bias.detach().clone()
    with torch.no_grad():
        trained[-1].add_(0.5)
    scale = layers.deviation.clone()
    again = fit_locator(module, data)
    assert again.finder.refined is layers
    assert torch.equal(layers.layer.bias, kept) and not torch.equal(layers.deviation, scale)
