"""The pieces of `mezoroi bench grading` that need no hours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mezoroi.bench import melons
from mezoroi.bench.baselines import COLOUR_HISTOGRAM, TEXTURE, run_baseline
from mezoroi.bench.cells import MUTUAL_CHANNEL, SOFTMAX, run_cell, share_of_training, surface_only
from mezoroi.bench.grading import PARTS, run_grading_bench
from mezoroi.bench.ledger import Ledger
from mezoroi.bench.page import grading_page
from mezoroi.bench.tables import MISSING
from mezoroi.bench.tomatoes import FROZEN_READING
from mezoroi.datasets import Dataset, complete_splits, load_dataset
from mezoroi.datasets.melons import write_melons
from mezoroi.errors import MezoroiError
from mezoroi.presets import make_config


@pytest.fixture(scope="module")
def small_melons(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("bench") / "melons"
    write_melons(folder, 10, 5, height=64)
    return complete_splits(load_dataset(folder))


def test_surface_only_drops_the_outline_grade(small_melons: Dataset) -> None:
    surface = surface_only(small_melons)
    assert surface.standard.grades == ("A", "B", "D")
    assert surface.standard.precedence == ("D", "B", "A")
    assert {item.grade for item in surface} == {"A", "B", "D"}
    assert not surface.has_outlines
    assert len(surface) == 30


def test_share_of_training_keeps_the_test_fruits(small_melons: Dataset) -> None:
    half = share_of_training(small_melons, 0.5, seed=0)
    assert {i.id for i in half.select("test")} == {i.id for i in small_melons.select("test")}
    whole, less = small_melons.select("train").counts(), half.select("train").counts()
    assert less == {grade: max(2, round(0.5 * count)) for grade, count in whole.items()}
    assert {i.id for i in half} <= {i.id for i in small_melons}
    assert share_of_training(small_melons, 0.5, seed=0) == half


@pytest.mark.parametrize("arm", [MUTUAL_CHANNEL, SOFTMAX, FROZEN_READING], ids=lambda arm: arm.name)
def test_a_cell_grades_every_test_fruit(arm, small_melons: Dataset, tmp_path: Path) -> None:
    base = make_config("tiny", overrides=["train.epochs=1"])
    test = small_melons.select("test")
    result = run_cell(arm, base, 0, small_melons, {"unseen": test}, tmp_path, {"arm": arm.name})
    unseen = result["unseen"]
    np.testing.assert_array_equal(unseen["truth"], test.labels)
    assert len(unseen["given"]) == len(test)
    assert unseen["specimens"] == list(test.specimens)
    assert (unseen["maps"] is None) == (arm is SOFTMAX)
    assert not any((tmp_path / "runs").iterdir())


@pytest.mark.parametrize("name", [COLOUR_HISTOGRAM, TEXTURE])
def test_baselines_learn_what_they_can_see(name: str, tmp_path: Path) -> None:
    """Two grades that differ in both colour and texture are told apart."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for grade, colour in (("A", 60), ("B", 180)):
        (tmp_path / grade).mkdir()
        for number in range(8):
            image = np.full((64, 64, 3), colour, np.uint8)
            if grade == "B":
                image += rng.integers(0, 60, image.shape, dtype=np.uint8)
            image[..., 0] += rng.integers(0, 10, dtype=np.uint8)
            Image.fromarray(image).save(tmp_path / grade / f"{number}.png")
    dataset = complete_splits(load_dataset(tmp_path))
    result = run_baseline(name, dataset, {"unseen": dataset.select("test")})["unseen"]
    assert result["given"] == result["truth"]


def test_the_page_says_what_was_not_run(tmp_path: Path) -> None:
    page = grading_page({name: Ledger(tmp_path / f"{name}.jsonl") for name in PARTS})
    assert page.count(MISSING) > 10


def test_the_page_pools_the_repeats(tmp_path: Path) -> None:
    ledgers = {name: Ledger(tmp_path / f"{name}.jsonl") for name in PARTS}
    specimens = [str(n) for n in range(10)]
    for arm, right in ((MUTUAL_CHANNEL.name, 8), (SOFTMAX.name, 5)):
        for repeat in melons.REPEATS:
            answers = {"truth": [1] * 10, "given": [1] * right + [0] * (10 - right)}
            cell = {
                test: {**answers, "specimens": specimens, "maps": None}
                for test in (melons.PAPER_TEST, melons.LARGE_TEST)
            }
            settings = melons.melon_settings(melons.SURFACE, arm, repeat)
            ledgers["melons"].compute(settings, lambda cell=cell: cell)
    page = grading_page(ledgers)
    assert "80.0% (" in page
    assert "[80.0%, 80.0%, 80.0%]" in page
    assert "+30.0 points" in page


def test_an_unknown_part_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MezoroiError, match="unknown part `x`"):
        run_grading_bench("x", tmp_path, tmp_path, tmp_path / "page.md")
    assert not (tmp_path / "page.md").exists()
