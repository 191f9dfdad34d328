"""How sharply activation maps tell grades apart."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import brentq

import mezoroi as mz
from mezoroi.bundle import build_network
from mezoroi.config import Config
from mezoroi.losses import precedence_loss
from mezoroi.maps import activation_map, grade_evidence
from mezoroi.models import FruitImages, InputSize
from mezoroi.models.plain import PlainSurface
from mezoroi.training import GradingModule
from mezoroi.training.temperature import FLATTEST, MIN_FRUITS, SHARPEST, fit_temperature

Make = Callable[..., Config]
SIZE = InputSize(64, 128, wraps=True)


@pytest.fixture(scope="module")
def images(dataset: mz.Dataset) -> FruitImages:
    """7 melons of A, 7 of B, then the others; C is judged on the outline, D rules nothing out."""
    by_grade = sorted(dataset, key=lambda item: item.grade)
    ordered = replace(dataset, observations=tuple(by_grade))
    return FruitImages(ordered, SIZE.height, SIZE.width, megabytes=100)


def untrained(config: Config, gain: float = 1.0) -> GradingModule:
    """A module in evaluation mode, `gain` times as sure, that shows A in most places."""
    standard = mz.GradingStandard.melon()
    network, head = build_network(standard, config, 0, True, config.model.weights)
    module = GradingModule(network, head, standard, config, SIZE).eval()
    if network.class_channels is not None:
        norm = network.class_channels[1]
        with torch.no_grad():
            norm.bias[:5].add_(1.0)
            norm.weight.mul_(gain)
            norm.bias.mul_(gain)
    return module


def evidence_of(module: GradingModule, images: FruitImages) -> np.ndarray:
    """(N, S, cells) float64 of the fruits of A and B, the first 14."""
    model = module.model
    with torch.inference_mode():
        shown = model.prepare(images.images(list(range(14))))
        feature_map = model.without_margin(model.encoder(shown))
        channels = model.class_channels(feature_map)  # type: ignore[misc]
    return grade_evidence(channels, model.channels_per_grade).flatten(2).double().numpy()


def slope(evidence: np.ndarray, sharpness: float) -> float:
    """By hand: the mean over positions of d/ds of -log P(A) on A fruits and -log P(A or B) on B."""
    total = []
    for fruit, values in enumerate(evidence):
        weights = np.exp(sharpness * values)
        mean = (weights * values).sum(axis=0) / weights.sum(axis=0)
        may = slice(0, 1) if fruit < 7 else slice(0, 2)
        own = (weights[may] * values[may]).sum(axis=0) / weights[may].sum(axis=0)
        total.append((mean - own).mean())
    return float(np.mean(total))


def test_it_is_the_one_with_the_least_loss(images: FruitImages, pretrained: Make) -> None:
    """Where its derivative, taken by hand in float64, is zero; whatever the channels' scale."""
    found = []
    for gain in (1.0, 2.0):
        module = untrained(pretrained("train.seed=1"), gain)
        evidence = evidence_of(module, images)
        wanted = 1 / brentq(lambda s, seen=evidence: slope(seen, s), 1 / FLATTEST, 1 / SHARPEST)
        found.append(fit_temperature(module, images))
        assert found[-1] == pytest.approx(wanted, rel=1e-3)
    assert found[1] == pytest.approx(2 * found[0], rel=1e-3)
    assert SHARPEST < found[0] < found[1] < FLATTEST


def test_plain_surface_does_not_count(images: FruitImages, pretrained: Make) -> None:
    module = untrained(pretrained("train.seed=1"))
    everywhere = fit_temperature(module, images)
    plain = PlainSurface(
        module.model.encoder.grid,
        2,
        torch.tensor([-0.5, 0.5]),
        torch.tensor([0.3, 0.3]),
        torch.tensor([0.5, 0.5]),
    )
    module.model.plain = plain
    found = fit_temperature(module, images)
    chosen = list(range(14))
    model = module.model
    with torch.inference_mode():
        shown = model.prepare(images.images(chosen))
        share = model.plain_share(shown)
        channels = model.class_channels(  # type: ignore[misc]
            model.without_margin(model.encoder(shown))
        )
    assert share is not None and 0.1 < float(share.mean()) < 0.9
    evidence = grade_evidence(channels, model.channels_per_grade)
    possible = torch.tensor(7 * [[True, False, False]] + 7 * [[True, True, False]])
    costs = {
        t: float(precedence_loss(evidence / t, possible, 1 - share))
        for t in (found / 1.05, found, 1.05 * found, everywhere)
    }
    assert min(costs, key=costs.__getitem__) == found != everywhere


def test_weights_count_positions() -> None:
    evidence = torch.randn(2, 3, 2, 2, generator=torch.Generator().manual_seed(1))
    possible = torch.tensor([[True, False, False], [True, True, False]])
    weights = torch.tensor([[[1.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 3.0]]])
    one = precedence_loss(evidence[:1, :, :1, :1], possible[:1])
    other = precedence_loss(evidence[1:, :, 1:, 1:], possible[1:])
    torch.testing.assert_close(precedence_loss(evidence, possible, weights), (one + 3 * other) / 4)
    same = precedence_loss(evidence, possible, torch.full((2, 2, 2), 0.2))
    torch.testing.assert_close(same, precedence_loss(evidence, possible))


def test_it_stays_where_nothing_tells_it(images: FruitImages, pretrained: Make) -> None:
    assert fit_temperature(untrained(pretrained("loss.precedence_weight=0")), images) == 1
    assert fit_temperature(untrained(pretrained("model.channels_per_grade=0")), images) == 1
    few = images.dataset.subset([number < MIN_FRUITS - 1 for number in range(len(images))])
    assert fit_temperature(untrained(pretrained()), FruitImages(few, 64, 128, 100)) == 1
    enough = images.dataset.subset([number < MIN_FRUITS for number in range(len(images))])
    assert fit_temperature(untrained(pretrained()), FruitImages(enough, 64, 128, 100)) != 1
    one = replace(
        images.dataset,
        observations=tuple(replace(item, specimen="one") for item in images.dataset),
    )
    assert fit_temperature(untrained(pretrained()), FruitImages(one, 64, 128, 100)) == 1
    unordered = untrained(pretrained())
    unordered.possible.fill_(True)
    assert fit_temperature(unordered, images) == 1


def test_grades_of_the_outline_do_not_count(images: FruitImages, pretrained: Make) -> None:
    """Whatever grade is listed last on the surface: here A is the strongest and D the weakest."""
    module = untrained(pretrained("train.seed=1"))
    module.possible.copy_(module.possible.flip(0, 1))
    on_surface = images.dataset.subset([item.grade != "C" for item in images.dataset])
    found = fit_temperature(module, images)
    assert found == fit_temperature(module, FruitImages(on_surface, 64, 128, 100)) != 1


def test_it_stays_within_its_limits(images: FruitImages, pretrained: Make) -> None:
    assert fit_temperature(untrained(pretrained(), 1e-3), images) == pytest.approx(
        SHARPEST, rel=1e-3
    )
    assert fit_temperature(untrained(pretrained(), 1e3), images) == pytest.approx(
        FLATTEST, rel=1e-3
    )


def test_scaled_channels_leave_embeddings_alone(images: FruitImages, pretrained: Make) -> None:
    module = untrained(pretrained("train.seed=1"))
    with torch.inference_mode():
        shown = module.model.prepare(images.images([0, 8, 20]))
        before = module.model(shown)
        module.model.scale_channels(2.5)
        after = module.model(shown)
    torch.testing.assert_close(after.embedding, before.embedding, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(after.class_channels, 2.5 * before.class_channels)
    assert not torch.allclose(
        activation_map(after.class_channels, 5), activation_map(before.class_channels, 5)
    )


def test_training_divides_by_it(dataset: mz.Dataset, pretrained: Make, tmp_path: Path) -> None:
    """The maps of a training that fits it, on three of seven fruits of each grade, and without."""
    held_out = dataset.with_splits(
        {item.id: "val" if number % 7 < 4 else "train" for number, item in enumerate(dataset)}
    )
    config = pretrained("train.epochs=4", "train.seed=1")
    found = {}
    for name in ("fitted", "left"):
        with pytest.MonkeyPatch.context() as patch:
            if name == "left":
                patch.setattr("mezoroi.workflow.fit_temperature", lambda *_: 1.0)
            found[name] = mz.train(held_out, config, tmp_path / name)
    fitted, left = (found[name] for name in ("fitted", "left"))
    bundle = left.bundle
    module = GradingModule(bundle.network, bundle.head, bundle.standard, config, bundle.size)
    images = FruitImages(held_out.select("val"), 64, 128, 100)
    temperature = fit_temperature(module.eval(), images)
    assert abs(math.log(temperature)) > 0.05
    one, other = (grader.predict(dataset) for grader in (fitted, left))
    np.testing.assert_array_equal(one.grades, other.grades)
    np.testing.assert_allclose(one.embeddings, other.embeddings, rtol=1e-3, atol=1e-4)
    wanted = torch.from_numpy(other.maps).log().div(temperature).softmax(dim=1)
    np.testing.assert_allclose(one.maps, wanted.numpy(), atol=1e-4)


def test_masks_that_teach_say_it_themselves(images: FruitImages, pretrained: Make) -> None:
    """As in training, precedence is asked only of fruits without a mask."""
    fruits = images.dataset
    assert all(item.mask is not None for item in fruits.observations[:14])
    bare = tuple(replace(item, mask=None) for item in fruits)
    unmasked = FruitImages(replace(fruits, observations=bare), 64, 128, 100)
    wanted = fit_temperature(untrained(pretrained("train.seed=1")), images)
    taught = untrained(pretrained("train.seed=1", "loss.mask_weight=1"))
    assert fit_temperature(taught, images) == 1 != wanted
    assert fit_temperature(taught, unmasked) == wanted
