"""Similarity with grades: to prototypes, to the most similar training fruits, and as read."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

import mezoroi as mz
from mezoroi.bundle import PROTOTYPES, SECOND_READER, Prototypes, no_limits, read_bundle
from mezoroi.capture.images import read_image
from mezoroi.config import Config
from mezoroi.errors import MezoroiError
from mezoroi.new_grade import add_grade
from mezoroi.presets import make_config
from mezoroi.similarity import GradeSimilarity, similarity_of_reading, surface_target

CPU = torch.device("cpu")


def prototypes_of(exemplars: torch.Tensor, members: torch.Tensor) -> Prototypes:
    grades = int(members.max()) + 1
    means = torch.stack([exemplars[members == grade].mean(dim=0) for grade in range(grades)])
    empty = torch.zeros(grades)
    return Prototypes(means, torch.zeros(grades, 1), empty, no_limits(grades), exemplars, members)


def test_the_mean_cosine_with_the_nearest_of_each_grade() -> None:
    """Grade 0 lies at 0 and 90 degrees, grade 1 at 180; a fruit at 0 and one at 45 degrees."""
    exemplars = torch.tensor([[2.0, 0.0], [0.0, 1.0], [-3.0, 0.0]])
    kept = prototypes_of(exemplars, torch.tensor([0, 0, 1]))
    fruits = torch.tensor([[5.0, 0.0], [1.0, 1.0]])
    root = 0.5**0.5
    one = GradeSimilarity(kept, 1, 2, CPU)(fruits)
    torch.testing.assert_close(one, torch.tensor([[1.0, -1.0], [root, -root]]))
    two = GradeSimilarity(kept, 2, 2, CPU)(fruits)  # grade 1 has one fruit only
    torch.testing.assert_close(two, torch.tensor([[0.5, -1.0], [root, -root]]))
    mean = GradeSimilarity(kept, 0, 2, CPU)(fruits)  # of grade 0: (1, 0.5)
    near = torch.tensor([2 / 5**0.5, 3 / 10**0.5])
    torch.testing.assert_close(mean, torch.stack([near, torch.tensor([-1.0, -root])], dim=1))
    surface = GradeSimilarity(kept, 1, 1, CPU)(fruits)  # the second number is not compared
    torch.testing.assert_close(surface, torch.tensor([[1.0, -1.0], [1.0, -1.0]]))


@pytest.mark.parametrize("nearest", [1, 3, 50])
def test_it_equals_a_loop_in_double_precision(nearest: int) -> None:
    rng = np.random.default_rng(nearest)
    exemplars, fruits = rng.normal(size=(40, 6)), rng.normal(size=(5, 6))
    members = rng.permutation(np.arange(40) % 3)
    kept = prototypes_of(torch.from_numpy(exemplars), torch.from_numpy(members))
    found = GradeSimilarity(kept, nearest, 6, CPU)(torch.from_numpy(fruits))
    for row, fruit in enumerate(fruits):
        for grade in range(3):
            cosines = [
                fruit @ other / np.linalg.norm(fruit) / np.linalg.norm(other)
                for other, member in zip(exemplars, members, strict=True)
                if member == grade
            ]
            expected = np.mean(sorted(cosines)[-nearest:])
            assert float(found[row, grade]) == pytest.approx(expected, abs=1e-12)


@pytest.fixture(scope="module")
def run(
    dataset: mz.Dataset, tiny: Callable[..., Config], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A run that grades by the two most similar training fruits."""
    folder = tmp_path_factory.mktemp("runs") / "exemplars"
    mz.train(dataset, tiny("model.exemplars=2", "train.epochs=1"), folder)
    return folder


def test_a_grader_compares_with_its_training_fruits(run: Path, dataset: mz.Dataset) -> None:
    grader = mz.Grader.load(run, device="cpu")
    splits = grader.bundle.data["splits"]
    learned = [item for item in dataset if splits[item.id] == "train"]
    seen = grader.predict(dataset)
    rows = [place for place, item in enumerate(dataset) if splits[item.id] == "train"]
    unit = seen.embeddings / np.linalg.norm(seen.embeddings, axis=1, keepdims=True)
    cosines = unit @ unit[rows].T
    labels = np.array([item.grade for item in learned])
    for column, grade in enumerate(grader.standard.grades):
        nearest = np.sort(cosines[:, labels == grade], axis=1)[:, -2:]
        np.testing.assert_allclose(seen.similarity[:, column], nearest.mean(axis=1), atol=1e-5)
    grading = grader.grade(dataset.observations[0].image)
    expected = dict(zip(grader.standard.grades, seen.similarity[0], strict=True))
    assert grading.grade == max(expected, key=expected.__getitem__)


def test_maps_explain_the_similarity_that_decides(run: Path, dataset: mz.Dataset) -> None:
    grader = mz.Grader.load(run, device="cpu")
    width = grader.network.surface_dim
    surfaces = torch.from_numpy(grader.predict(dataset).embeddings)[:, :width]
    decides = GradeSimilarity(grader.bundle.prototypes, 2, width, torch.device("cpu"))(surfaces)
    for grade in grader.standard.surface_grades:
        target = surface_target(grader.bundle, grade)
        column = grader.standard.grades.index(grade)
        torch.testing.assert_close(target(surfaces), decides[:, column], atol=1e-6, rtol=0)
        by_prototype = F.cosine_similarity(
            surfaces, grader.bundle.prototypes.embeddings[column, :width]
        )
        assert (by_prototype - decides[:, column]).abs().max() > 1e-3
        assert grader.standard.surface_grades[target.index or 0] == grade


def test_a_fruit_without_its_outline_is_compared_by_its_surface(
    run: Path, dataset: mz.Dataset
) -> None:
    grader = mz.Grader.load(run, device="cpu")
    photo = read_image(dataset.observations[0].image)
    grading = grader.grade(photo)
    assert np.isnan(grading.similarity["C"])
    assert all(-1 <= grading.similarity[grade] <= 1 for grade in "ABD")


def test_examples_of_a_new_grade_become_exemplars(
    run: Path, dataset: mz.Dataset, tmp_path: Path
) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    grader = mz.Grader.load(copy, device="cpu")
    examples = [dataset.observations[place].image.parent for place in (0, 1, 2)]
    count = len(grader.bundle.prototypes.exemplars)
    add_grade(grader, copy, "E", examples)
    bundle = read_bundle(copy)
    assert len(bundle.prototypes.exemplars) == count + 3
    assert bundle.prototypes.exemplar_grades[-3:].tolist() == [4, 4, 4]
    assert mz.Grader.load(copy, device="cpu").grade(examples[0]).similarity["E"] > 0.5


def test_a_run_of_an_earlier_version_has_none(run_dir: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run_dir, tmp_path / "run")
    tensors = load_file(copy / PROTOTYPES)
    assert tensors["exemplars"].shape[0] == 0
    save_file({k: v for k, v in tensors.items() if "exemplar" not in k}, copy / PROTOTYPES)
    old, new = read_bundle(copy).prototypes, read_bundle(run_dir).prototypes
    assert old.exemplars.shape == new.exemplars.shape == (0, new.embeddings.shape[1])
    assert old.exemplar_grades.shape == (0,)
    assert mz.Grader.load(copy, device="cpu").bundle.config.model.exemplars == 0


@pytest.fixture(scope="module")
def reading_run(
    dataset: mz.Dataset, tiny: Callable[..., Config], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A run whose second reader grades."""
    folder = tmp_path_factory.mktemp("runs") / "reading"
    mz.train(dataset, tiny("model.similarity=reading", "train.epochs=1"), folder)
    return folder


def test_a_reading_by_hand() -> None:
    """Three grades: half A and half B; surely C; a little below 0 counts as nothing."""
    reading = torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0], [-0.2, 1.2, 0.0]])
    ordered = torch.tensor([[0.5, 0.5, -0.5], [-1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    torch.testing.assert_close(similarity_of_reading(reading, True), ordered)
    kinds = torch.tensor([[0.0, 0.0, -1.0], [-1.0, -1.0, 1.0], [-1.0, 1.0, -1.0]])
    torch.testing.assert_close(similarity_of_reading(reading, False), kinds)


def test_what_cannot_be_judged_has_no_similarity() -> None:
    """Of A and C, whose chances are 3 to 1; and where neither has any, both are as likely."""
    nan = torch.nan
    reading = torch.tensor([[0.6, nan, 0.2], [-0.1, nan, 0.0]])
    expected = torch.tensor([[0.5, nan, -0.5], [0.0, nan, 0.0]])
    found = similarity_of_reading(reading, True)
    torch.testing.assert_close(found, expected, equal_nan=True)


@given(st.lists(st.floats(0.01, 1), min_size=2, max_size=7))
def test_the_most_similar_grade_is_the_median_of_the_reading(chances: list[float]) -> None:
    reading = torch.tensor([chances], dtype=torch.float64)
    found = similarity_of_reading(reading, True)[0]
    assert float(found.min()) >= -1 and float(found.max()) <= 1
    best = int(found.argmax())
    share = reading[0] / reading.sum()
    assert float(share[: best + 1].sum()) >= 0.5 - 1e-9
    assert float(share[best:].sum()) >= 0.5 - 1e-9
    likeliest = similarity_of_reading(reading, False)[0]
    assert float(share[int(likeliest.argmax())]) == pytest.approx(float(share.max()))


def test_a_grader_grades_as_its_second_reader_reads(
    reading_run: Path, dataset: mz.Dataset, tmp_path: Path
) -> None:
    grader = mz.Grader.load(reading_run, device="cpu")
    seen = grader.predict(dataset)
    expected = similarity_of_reading(torch.from_numpy(seen.reading), True).numpy()
    np.testing.assert_allclose(seen.similarity, expected, atol=1e-6)
    grading = grader.grade(dataset.observations[0].image)
    assert list(grading.similarity.values()) == pytest.approx(expected[0].tolist(), abs=1e-4)
    held_out = [item.id for item in dataset if grader.bundle.data["splits"][item.id] == "val"]
    rows = [place for place, item in enumerate(dataset) if item.id in held_out]
    limits = grader.bundle.prototypes.thresholds.numpy()
    own = expected[rows, dataset.labels[rows]]
    assert limits.min() >= own.min() - 1e-5, "fruits of a grade are compared as gradings are"
    photo = grader.grade(read_image(dataset.observations[0].image))
    assert np.isnan(photo.similarity["C"]) and photo.grade in "ABD"
    copy = shutil.copytree(reading_run, tmp_path / "run")
    with pytest.raises(MezoroiError, match="`E` cannot be added without training"):
        add_grade(grader, copy, "E", [dataset.observations[0].image.parent])
    (copy / SECOND_READER).unlink()
    with pytest.raises(MezoroiError, match=r"second-reader\.safetensors is missing"):
        mz.Grader.load(copy, device="cpu")


def test_exemplars_and_a_reading_exclude_each_other() -> None:
    with pytest.raises(MezoroiError, match="exemplars=3 compares embeddings"):
        make_config(overrides=["model.similarity=reading", "model.exemplars=3"])
