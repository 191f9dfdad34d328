"""The part `backbones` of `mezoroi bench explain`, with settings for seconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import mezoroi as mz
from mezoroi.bench import explain_backbones
from mezoroi.bench.cells import ARCFACE, SOFTMAX, surface_only
from mezoroi.bench.explain_backbones import (
    BEHIND_RELU,
    CLASSIFIER,
    MEAN,
    NEAREST,
    OTHER,
    SIMILAR,
    STEEL,
    TRIVIAL,
    backbones_settings,
    behind_relu,
    given_classes,
    last_layer,
    network_config,
    reasons,
    run_backbones,
    run_steel,
    steel_settings,
)
from mezoroi.bench.explain_backbones_page import (
    ARRANGEMENTS,
    CAM,
    COMPARED,
    METRIC,
    SAME,
    _beats_chance,
    _scores,
    backbones_section,
)
from mezoroi.bench.explain_score import marked
from mezoroi.bench.ledger import Ledger
from mezoroi.bench.tables import MISSING
from mezoroi.config import Config
from mezoroi.explainers import make_explainers

Tiny = Callable[..., Config]
SCRATCH = "resnet10t"


@pytest.fixture
def base(tiny: Tiny) -> Config:
    return tiny("train.epochs=1", "model.stride=32", "model.embedding_dim=8")


@pytest.fixture(autouse=True)
def _one_small_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    own = {SCRATCH: {"model": {"weights": "none"}}}
    monkeypatch.setattr(explain_backbones, "BACKBONES", own)
    monkeypatch.setattr("mezoroi.bench.explain_backbones_page.BACKBONES", own)
    for module in ("explain_backbones", "explain_backbones_page"):
        monkeypatch.setattr(f"mezoroi.bench.{module}.REPEATS", (0,))


@pytest.fixture
def steel(tmp_path: Path) -> Path:
    """A folder of data with photos like those of steel: a defect of three kinds on plain ground."""
    folder, rng = tmp_path / "data" / STEEL, np.random.default_rng(0)
    lines = ["id,class,suggested_split"]
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for number in range(24):
        kind = ("inclusion", "patches", "scratches")[number % 3]
        mask = np.zeros((64, 64), bool)
        top, left = rng.integers(8, 24, 2)
        height, width = ((24, 6), (20, 20), (6, 24))[number % 3]
        mask[top : top + height, left : left + width] = True
        photo = rng.normal(140, 8, (64, 64, 3)) - 90 * mask[..., None]
        Image.fromarray(photo.clip(0, 255).astype(np.uint8)).save(folder / f"images/{number}.jpg")
        Image.fromarray(mask).save(folder / f"masks/{number}.png")
        lines.append(f"{number},{kind},{'test' if number >= 18 else 'train'}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path / "data"


def test_cells_of_a_backbone(tmp_path: Path, base: Config) -> None:
    ledger = Ledger(tmp_path / "backbones.jsonl")
    missing = len(ARRANGEMENTS) + len(COMPARED)
    assert backbones_section(ledger, base, 8).count(MISSING) == 2 * missing
    run_backbones(tmp_path, ledger, config=base, per_grade=8)
    softmax, arcface, trivial = (
        ledger.find(backbones_settings(SCRATCH, row, 0, base, 8))
        for row in (SOFTMAX.name, ARCFACE.name, TRIVIAL)
    )
    assert softmax is not None and arcface is not None and trivial is not None
    assert {*softmax["rows"]} == {"cam", "dist-cam", BEHIND_RELU, OTHER, MEAN}
    assert {*arcface["rows"]} == {*softmax["rows"]} - {"cam"}
    # The last layer of a ResNet is behind a ReLU.
    for score in ("iou", "pointing", "localization_error"):
        behind = arcface["rows"][BEHIND_RELU][score]
        assert behind == pytest.approx(arcface["rows"]["dist-cam"][score], abs=0.01)
    assert softmax["rows"]["cam"]["ids"] == softmax["rows"]["dist-cam"]["ids"]
    assert {*softmax["right"]} == {CLASSIFIER, NEAREST, SIMILAR}
    assert set(trivial["whole image"]["localization_error"]) <= {0, 1}
    page, _, of_steel = backbones_section(ledger, base, 8).partition("### Steel")
    assert MISSING not in page and "trained from scratch" in page and "1 of 1" in page
    assert of_steel.count(MISSING) == missing
    assert "explain nothing: none of those run" not in page  # of an epoch on a few melons
    assert f"{SCRATCH}, {ARCFACE.name}, by its {SIMILAR}" in page.rpartition("explain nothing")[2]
    assert len(list(tmp_path.glob("explain-runs/*"))) == 2  # CAM and Dist-CAM share a network


def test_cells_of_steel(
    tmp_path: Path, base: Config, monkeypatch: pytest.MonkeyPatch, steel: Path
) -> None:
    longer = {SCRATCH: {"model": {"weights": "none"}, "train": {"epochs": 9, "batch_size": 4}}}
    monkeypatch.setattr(explain_backbones, "BACKBONES", longer)
    ledger = Ledger(tmp_path / "backbones.jsonl")
    run_steel(steel, tmp_path, ledger, config=base)
    settings = steel_settings(SCRATCH, SOFTMAX.name, 0, base)
    assert (settings["config"]["train"]["epochs"], settings["config"]["train"]["batch_size"]) == (
        base.train.epochs,
        4,
    )
    cell = ledger.find(settings)
    assert cell is not None and len(cell["right"][CLASSIFIER]) == len(cell["rows"]["cam"]["ids"])
    of_melons, _, page = backbones_section(ledger, base, 8, base).partition("### Steel")
    assert MISSING in of_melons and MISSING not in page


def test_both_methods_read_the_layer_that_the_classifier_reads(
    dataset: mz.Dataset, base: Config, tmp_path: Path
) -> None:
    """On one network, CAM's map averages to the head's score, and Dist-CAM's to its weights'."""
    config = network_config(SCRATCH, SOFTMAX, 0, base)
    grader = mz.train(surface_only(dataset), config, tmp_path / "run")
    explainers = make_explainers(grader, ["cam", "dist-cam"])
    images = torch.rand(2, 3, grader.bundle.size.height, grader.bundle.size.width)
    maps = {name: one(images, [0, 2]) for name, one in explainers.items()}
    network = grader.network
    with torch.no_grad():
        output = network(network.prepare(images))
        pooled = output.feature_map.mean(dim=(2, 3))
        scores = grader.bundle.head.get_logits(output.embedding)  # type: ignore[operator]
        zero = network.surface_embedding(torch.zeros_like(pooled))
        constant = grader.bundle.head.get_logits(zero)  # type: ignore[operator]
    # The score is linear in the pooled layer but for what the batch norm adds to every image.
    spoken = (scores - constant)[[0, 1], [0, 2]]
    assert maps["cam"].mean(dim=(1, 2)).allclose(spoken, rtol=1e-3, atol=1e-4)
    distance = (pooled - grader.bundle.prototypes.features[[0, 2]]).abs().clamp_min(1e-6)
    weights = (1 / distance) / (1 / distance).sum(dim=1, keepdim=True)
    assert maps["dist-cam"].mean(dim=(1, 2)).allclose((weights * pooled).sum(dim=1), rtol=1e-4)
    assert maps["cam"].shape == maps["dist-cam"].shape


def test_rows_that_tell_what_the_weights_do(
    dataset: mz.Dataset, base: Config, tmp_path: Path
) -> None:
    grader = mz.train(surface_only(dataset), ARCFACE.config(base), tmp_path / "run")
    items = marked(grader, surface_only(dataset)).every(5)
    numbers = [grader.standard.grades.index(grade) for grade in items.grades]
    layer = last_layer(grader, items)
    assert bool((layer < 0).any())  # a linear bottleneck
    explainer = make_explainers(grader, ["dist-cam"])["dist-cam"]
    references = behind_relu(grader, items)
    found = reasons(grader, items, references)

    def pixels(maps: torch.Tensor) -> np.ndarray:
        return explainer.to_pixels(maps, *items.images.shape[2:]).numpy()

    other = pixels(explainer(items.images, [(one + 1) % 3 for one in numbers]))
    np.testing.assert_allclose(found[OTHER], other, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found[MEAN], pixels(layer.clamp_min(0).mean(dim=1)), rtol=1e-5)
    assert (found[BEHIND_RELU] >= 0).all() and (found[OTHER] < 0).any()


def test_the_papers_class_is_that_of_the_nearest_prototype() -> None:
    features = np.array([[0.0, 1.0], [4.0, 0.0], [3.0, 3.0]])
    references = torch.tensor([[0.0, 0.0], [5.0, 1.0]])
    grader = SimpleNamespace(
        bundle=SimpleNamespace(prototypes=SimpleNamespace(features=references))
    )
    predictions = SimpleNamespace(
        features=features, logits=np.array([[0, 1], [1, 0], [0, 1]]), grades=np.array([1, 1, 0])
    )
    given = given_classes(grader, predictions)  # type: ignore[arg-type]
    assert given[NEAREST].tolist() == [0, 1, 1]
    assert given[CLASSIFIER].tolist() == [1, 0, 1] and given[SIMILAR].tolist() == [1, 1, 0]


def test_a_wrong_class_is_an_error_whatever_the_box() -> None:
    row = {
        "localization_error": [0.0, 1.0, 0.0, None],
        "iou": [0.1, 0.2, 0.3, 0.4],
        "pointing": [1, 0, 1, None],
        "specimens": list("abcd"),
        "grades": list("ABAB"),
    }
    right = {CLASSIFIER: [True, True, False, False], NEAREST: [True] * 4}
    cell = {"rows": {"cam": row, "dist-cam": row}, "right": right}
    scores = _scores(cell, CAM)
    assert scores["top1"].tolist() == [0, 1, 1, 1]
    assert scores["box of right"].tolist() == [0, 1]
    assert np.isnan(_scores(cell, SAME)["top1"][3])
    assert _beats_chance([_scores(cell, SAME)]) and not _beats_chance([scores])
    assert replace(SAME, arm=ARCFACE.name, rule=SIMILAR) == METRIC
