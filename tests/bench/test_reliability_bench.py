"""The pieces of `mezoroi bench reliability` that need no hours."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.reliability.test_clusters import blobs

import mezoroi as mz
from mezoroi.bench import reliability_hans, reliability_labels
from mezoroi.bench.ledger import Ledger
from mezoroi.bench.reliability import PARTS, run_reliability_bench
from mezoroi.bench.reliability_page import reliability_page
from mezoroi.bench.reliability_resplits import (
    MELONS,
    melon_config,
    resplit_cell,
    resplit_settings,
)
from mezoroi.bench.tables import MISSING
from mezoroi.config import Config
from mezoroi.datasets.clever_hans import write_clever_hans
from mezoroi.errors import MezoroiError
from mezoroi.reliability import Answers


def answers_about(count: int) -> tuple[Answers, np.ndarray]:
    """Answers that are wrong wherever the map has its spot in the first of four places."""
    rng = np.random.default_rng(0)
    maps, place = blobs(count)
    truth = rng.integers(0, 3, count)
    given = np.where(place == 0, (truth + 1) % 3, truth)
    logits = 2 * np.eye(3)[given] + rng.normal(size=(count, 3))
    neighbours = np.repeat(given[:, None], 4, axis=1)
    silent = np.full((count, 3), np.nan)
    return Answers(given, logits / 9, logits, neighbours, maps, silent), truth


def test_resplits_score_what_was_fitted_on_other_fruits() -> None:
    answers, truth = answers_about(240)
    cell = resplit_cell(answers, truth, np.arange(240), 0.5, resplits=3)
    assert cell["fruits"] == 240 and len(cell["draws"]) == 3
    for draw in cell["draws"]:
        assert (draw["calibration"], draw["test"]) == (120, 120)
        assert 0.65 < draw["before"] < 0.85 and draw["applied"]
        assert draw["after"] == draw["published"] > draw["before"] + 0.1
        # The head and the neighbours cannot tell these errors, the clusters can.
        assert draw["signals"]["saliency cluster"]["auroc"] > 0.95
        assert draw["signals"]["neighbours"]["auroc"] == 0.5
        assert draw["signals"]["prototype margin"]["ece"] is None
        assert set(draw["sets"]) == {"least", "adaptive"}


def test_resplits_never_separate_a_specimen() -> None:
    answers, truth = answers_about(120)
    groups = np.repeat(np.arange(12), 10)
    cell = resplit_cell(answers, truth, groups, 0.5, resplits=4)
    assert {draw["calibration"] % 10 for draw in cell["draws"]} == {0}


def test_five_in_a_hundred_labels_are_made_wrong(dataset: mz.Dataset) -> None:
    rows = [replace(item, id=f"{copy}-{item.id}") for copy in range(5) for item in dataset]
    many = replace(dataset, observations=tuple(rows))
    found, wrong = reliability_labels.corrupted(many, seed=1)
    changed = {
        after.id for before, after in zip(many, found, strict=True) if before.grade != after.grade
    }
    assert changed == wrong and len(wrong) == 7
    assert reliability_labels.corrupted(many, seed=2)[1] != wrong


def test_a_misleading_background_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = ("input.height=64", "model.channels_per_grade=0", "loss.head=softmax", "train.epochs=1")
    monkeypatch.setattr(reliability_hans, "SETTINGS", (*tiny, "train.cached_views=1"))
    folder = tmp_path / "photos"
    write_clever_hans(folder, 18, seed=2)
    photos = mz.load_dataset(folder)
    cell = reliability_hans.hans_cell(photos, 0, "grad-cam", tmp_path, lambda *_: None)
    test = photos.select("test")
    assert cell["truth"] == test.labels.tolist()
    assert sum(count for count, _ in cell["clusters"]) == len(photos.select("calibration"))
    assert len(cell["published"]) == len(cell["adjusted"]) == len(cell["cued"]) == len(test)
    assert 0 < cell["variance"] <= 1 + 1e-9


def test_the_page_says_what_was_not_run_and_shows_what_was(tmp_path: Path) -> None:
    ledgers = {name: Ledger(tmp_path / f"{name}.jsonl") for name in PARTS}
    assert reliability_page(ledgers).count(MISSING) > 20
    answers, truth = answers_about(120)
    cell = resplit_cell(answers, truth, np.arange(120), 0.5, resplits=2)
    ledgers["melons"].compute(resplit_settings(MELONS, melon_config()), lambda: cell)
    two = reliability_hans.hans_settings("two grades", 0, "grad-cam", reliability_hans.PER_GRADE)
    hans = {
        "truth": [0, 0, 1, 1],
        "given": [1, 0, 0, 1],
        "published": [0, 0, 1, 1],
        "adjusted": [1, 0, 0, 1],
        "specimens": list("abcd"),
        "clusters": [[2, 1.0], [2, 0.0]],
    }
    ledgers["clever-hans"].compute(two, lambda: hans)
    config = melon_config()
    for fold in range(reliability_labels.FOLDS):
        found = {"wrong": [True, False], "score": [0.9, 0.1], "model": [0.1, 0.9]}
        found |= {"neighbours": [1.0, 0.0], "cluster": [None, None]}
        settings = reliability_labels.label_settings(0, fold, config, 122)
        ledgers["labels"].compute(settings, lambda found=found: found)  # type: ignore[misc]
    page = reliability_page(ledgers)
    assert "| grad-cam | 50.0 (50.0) | 100.0 (100.0) | +50.0 (+0.0 to +100.0) |" in page
    assert "| 0 | 3 of 6 | 1.00 | 0.00 | 1.00 | nan |" in page
    assert "| saliency cluster | " in page


def test_an_unknown_part_and_missing_tomatoes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MezoroiError, match="unknown part `x`"):
        run_reliability_bench("x", tmp_path, tmp_path, tmp_path / "page.md")
    with pytest.raises(MezoroiError, match="give the tomato manifest"):
        run_reliability_bench("tomatoes", tmp_path, tmp_path / "no.csv", tmp_path / "page.md")
    assert isinstance(reliability_hans.hans_config(1), Config)
