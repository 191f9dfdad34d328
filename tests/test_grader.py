"""Grader and Grading: sources, order, failures, and what is written."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image

import mezoroi as mz
from mezoroi.capture.images import read_image
from mezoroi.capture.sources import FruitInput, read_fruit
from mezoroi.evaluation import evaluate
from mezoroi.files import file_name
from mezoroi.models import FruitImages


@pytest.fixture(scope="module")
def captures(dataset: mz.Dataset) -> list[Path]:
    return [item.image.parent for item in dataset.observations[:6]]


def assert_same(one: mz.Grading, other: mz.Grading, tolerance: float = 1e-5) -> None:
    assert one.grade == other.grade
    for grade, value in one.similarity.items():
        assert value == pytest.approx(other.similarity[grade], abs=tolerance, nan_ok=True)
    assert one.activation_maps.keys() == other.activation_maps.keys()
    for grade, values in one.activation_maps.items():
        np.testing.assert_allclose(values, other.activation_maps[grade], atol=tolerance)


def test_a_capture_folder_and_its_surface_image_are_one_fruit(
    grader: mz.Grader, captures: list[Path]
) -> None:
    folder = grader.grade(captures[0])
    assert folder.source == str(captures[0])
    assert folder.outline == json.loads((captures[0] / "outline.json").read_text())
    assert_same(folder, grader.grade(captures[0] / "surface.png"), 0)
    assert_same(folder, grader.grade(str(captures[0])), 0)
    assert not np.isnan(folder.similarity["C"])


def test_a_photo_and_the_array_it_holds_are_graded_alike(
    grader: mz.Grader, captures: list[Path], tmp_path: Path
) -> None:
    photo = tmp_path / "photo.png"
    shutil.copy(captures[0] / "surface.png", photo)
    pixels = np.array(Image.open(photo).convert("RGB"))
    copy = pixels.copy()
    assert_same(grader.grade(photo), grader.grade(pixels), 0)
    np.testing.assert_array_equal(pixels, copy)
    assert grader.grade(pixels).source == "image"
    assert grader.grade(photo).outline is None


def test_gradings_are_compared_and_kept_in_sets_by_identity(
    grader: mz.Grader, captures: list[Path]
) -> None:
    first, second = grader.grade(captures[0]), grader.grade(captures[0])
    assert first == first and first != second
    assert first in [second, first] and len({first, second, first}) == 2


def test_similarity_is_the_cosine_with_the_prototypes(
    grader: mz.Grader, dataset: mz.Dataset
) -> None:
    chosen = dataset.subset([0, 3])
    predictions = grader.predict(chosen)
    prototypes = grader.bundle.prototypes.embeddings.double().numpy()
    for row, item in enumerate(chosen):
        embedding = predictions.embeddings[row].astype(float)
        grading = grader.grade(item.image)
        for index, grade in enumerate(grader.standard.grades):
            cosine = embedding @ prototypes[index]
            cosine /= np.linalg.norm(embedding) * np.linalg.norm(prototypes[index])
            assert predictions.similarity[row, index] == pytest.approx(cosine, abs=1e-5)
            assert grading.similarity[grade] == pytest.approx(cosine, abs=1e-5)
        assert grading.grade == max(grading.similarity, key=lambda g: grading.similarity[g])
        assert predictions.grades[row] == grader.standard.grades.index(grading.grade)


@pytest.mark.parametrize("batch_size", [1, 4, 16])
def test_a_batch_is_graded_as_its_fruits_alone(
    grader: mz.Grader, captures: list[Path], batch_size: int
) -> None:
    photo = np.array(Image.open(captures[0] / "surface.png").convert("RGB"))
    sources = [*captures, photo[:, :64], photo]
    for source, result in zip(sources, grader.grade_many(sources, batch_size), strict=True):
        assert isinstance(result, mz.Grading)
        assert_same(result, grader.grade(source))


def test_a_batch_keeps_its_order_and_goes_on_past_failures(
    grader: mz.Grader, captures: list[Path], tmp_path: Path
) -> None:
    text = tmp_path / "text.jpg"
    text.write_text("no photo")
    missing = tmp_path / "missing.png"
    half = tmp_path / "half"
    half.mkdir()
    shutil.copy(captures[1] / "surface.png", half)
    (half / "outline.json").write_text('{"roundness": 0.9}')
    sources = [captures[0], text, captures[1], missing, tmp_path, half, np.zeros((4, 4)), "nope"]
    sources += [captures[2]]
    results = list(grader.grade_many(iter(sources), batch_size=4))
    failed = [isinstance(result, mz.GradingFailure) for result in results]
    assert failed == [False, True, False, True, True, True, True, True, False]
    names = [result.source for result in results]
    assert names == [str(s) if not isinstance(s, np.ndarray) else "image" for s in sources]
    for result in results:
        if isinstance(result, mz.GradingFailure):
            assert result.error and "\n" not in result.error and ": " in result.error
            assert result.to_dict() == {"source": result.source, "error": result.error}
    assert "the outline has no" in results[5].to_dict()["error"]
    with pytest.raises(mz.MezoroiError, match="the outline has no"):
        grader.grade(half)


NO_FRUITS = {
    "None": (None, "NoneType"),
    "an empty cell": (float("nan"), "float"),
    "an empty text": ("", "an empty text"),
    "bytes": (b"photo.jpg", "bytes"),
    "a picture": (Image.new("RGB", (8, 8)), "Image"),
    "a tensor": (torch.zeros(8, 8, 3, dtype=torch.uint8), "Tensor"),
}


@pytest.mark.parametrize(("source", "called"), NO_FRUITS.values(), ids=NO_FRUITS)
def test_what_is_no_fruit_fails_alone(
    grader: mz.Grader, captures: list[Path], source: object, called: str
) -> None:
    message = rf"^a fruit is a path or an \(H, W, 3\) uint8 array, not {called}: "
    first, failure, last = grader.grade_many([captures[0], source, captures[1]])  # type: ignore[list-item]
    assert isinstance(first, mz.Grading) and isinstance(last, mz.Grading)
    assert isinstance(failure, mz.GradingFailure)
    assert failure.source == (source if isinstance(source, str) else "image")
    assert re.match(message, failure.error)
    with pytest.raises(mz.MezoroiError, match=message):
        grader.grade(source)  # type: ignore[arg-type]


def test_a_path_that_the_system_refuses_fails_alone(
    grader: mz.Grader, captures: list[Path]
) -> None:
    failure, graded = grader.grade_many(["x" * 5000, captures[0]])
    assert isinstance(graded, mz.Grading)
    assert isinstance(failure, mz.GradingFailure) and "too long" in failure.error


def test_a_batch_is_read_lazily(grader: mz.Grader, captures: list[Path]) -> None:
    taken: list[Path] = []

    def sources():  # type: ignore[no-untyped-def]
        for path in captures:
            taken.append(path)
            yield path

    results = grader.grade_many(sources(), batch_size=2)
    assert taken == []
    next(results)
    assert taken == captures[:2]
    with pytest.raises(ValueError, match="batch_size"):
        next(grader.grade_many(captures, batch_size=0))


@pytest.mark.parametrize("shape", [(64, 128), (200, 400), (90, 60), (33, 100)])
def test_maps_sum_to_one_and_have_the_shape_of_the_image(
    grader: mz.Grader, shape: tuple[int, int]
) -> None:
    image = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    grading = grader.grade(image)
    assert list(grading.activation_maps) == ["A", "B", "D"]
    maps = np.stack(list(grading.activation_maps.values()))
    assert maps.dtype == np.float32
    assert maps.min() >= 0 and maps.max() <= 1 + 1e-6
    np.testing.assert_allclose(maps.sum(axis=0), 1, atol=1e-5)
    rows, columns = maps.shape[1:]
    assert abs(columns - rows * shape[1] / shape[0]) <= shape[1] / shape[0] + 1
    assert grading.surface.shape == image.shape


def test_grading_leaves_the_global_generators_and_the_network_alone(
    grader: mz.Grader, captures: list[Path], rng_state: Callable[[], object]
) -> None:
    before, tensors = rng_state(), {n: v.clone() for n, v in grader.network.state_dict().items()}
    list(grader.grade_many(captures))
    assert rng_state() == before
    assert not grader.network.training
    after = grader.network.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in tensors.items())


def made(similarity: dict[str, float], thresholds: dict[str, float], **changes: object):
    return mz.Grading(
        source="fruit",
        grade=max(similarity, key=lambda g: similarity[g]),
        similarity=similarity,
        thresholds=thresholds,
        activation_maps={},
        map_grade=None,
        outline=None,
        surface=np.zeros((8, 16, 3), np.uint8),
        standard=mz.GradingStandard.melon(),
        **changes,
    )


def test_likeness_follows_the_thresholds() -> None:
    limits = {"A": 0.5, "B": 0.5, "C": 0.9, "D": -1.0}
    several = made({"A": 0.5, "B": 0.8, "C": 0.89, "D": -0.99}, limits)
    assert several.resembles == ["B", "A", "D"]
    assert not several.is_unlike_all
    none = made({"A": 0.4, "B": 0.2, "C": 0.3, "D": -1.0}, {**limits, "D": 0.0})
    assert none.resembles == [] and none.is_unlike_all
    unknown = made({"A": 0.4, "B": 0.6, "C": float("nan"), "D": -0.5}, {**limits, "D": 0.0})
    assert unknown.resembles == ["B"] and unknown.not_judged == ["C"]


def test_maps_that_point_elsewhere_are_told() -> None:
    plane = np.ones((2, 2), np.float32)
    base = made({"A": 0.9, "B": 0.1, "C": 0.0, "D": 0.0}, dict.fromkeys("ABCD", 0.0))
    for map_grade, differs in [("A", False), ("D", True), (None, False)]:
        grading = replace(base, activation_maps={"A": plane, "D": plane}, map_grade=map_grade)
        assert grading.map_differs is differs
    by_outline = replace(base, grade="C", activation_maps={"A": plane, "D": plane}, map_grade="A")
    assert not by_outline.map_differs
    # A blemish makes a D also of a fruit of bad shape.
    assert replace(by_outline, map_grade="D").map_differs


def test_one_pass_serves_the_grading_and_the_embedding(
    grader: mz.Grader, captures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from mezoroi.runner import Runner

    fruits = [read_fruit(path, "surface") for path in captures[:3]]
    gradings = [grader.grade_read(fruit) for fruit in fruits]
    embedded = grader.embed(fruits)
    passes = []
    run = Runner.run
    monkeypatch.setattr(Runner, "run", lambda *given: passes.append(1) or run(*given))
    both, seen = grader.grade_and_embed(fruits)
    assert len(passes) == 1
    assert torch.equal(seen.embeddings, embedded.embeddings)
    assert torch.equal(seen.feature_maps, embedded.feature_maps)
    assert len(both) == 3
    for one, other in zip(both, gradings, strict=True):
        assert one.source == other.source
        assert_same(one, other)


def test_limits_of_signs_are_kept_and_a_run_without_them_still_grades(
    run_dir: Path, captures: list[Path], tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    stored = load_file(run_dir / "prototypes.safetensors")
    limits = stored["sign_limits"].numpy()
    # Learned for the surface grades that take precedence over another: B and D, not A and C.
    assert np.isnan(limits).tolist() == [[True] * 2, [False] * 2, [True] * 2, [False] * 2]
    assert (limits[[1, 3], 0] <= limits[[1, 3], 1]).all()
    earlier = tmp_path / "earlier"
    shutil.copytree(run_dir, earlier)
    save_file(
        {name: value for name, value in stored.items() if name != "sign_limits"},
        earlier / "prototypes.safetensors",
    )
    new, old = mz.Grader.load(run_dir, "cpu"), mz.Grader.load(earlier, "cpu")
    assert torch.isnan(old.bundle.prototypes.sign_limits).all()
    for path in captures:
        grading = old.grade(path)
        assert_same(grading, new.grade(path), 0)
        assert not grading.map_differs


def test_the_maps_point_by_precedence(grader: mz.Grader, captures: list[Path]) -> None:
    limits = torch.full((4, 2), float("nan"))
    for low, high, differs in [(0.0, 1.0, False), (0.0, 0.0, True)]:
        limits[3] = torch.tensor([low, high])
        prototypes = replace(grader.bundle.prototypes, sign_limits=limits.clone())
        changed = mz.Grader(replace(grader.bundle, prototypes=prototypes), "cpu")
        for path in captures:
            grading = changed.grade(path)
            if grading.grade != "D":
                assert grading.map_differs is differs
                assert (grading.map_grade == "D") is differs or grading.grade == "C"


def test_everything_promised_is_written(
    grader: mz.Grader, captures: list[Path], tmp_path: Path
) -> None:
    grading = grader.grade(captures[0])
    folder = tmp_path / "網 目" / "out"
    grading.save(folder)
    assert {path.name for path in folder.iterdir()} == {
        "grading.json",
        "radar.svg",
        "radar.png",
        "activation-A.png",
        "activation-B.png",
        "activation-D.png",
        "activation-maps.npz",
    }
    content = json.loads((folder / "grading.json").read_text(encoding="utf-8"))
    assert content == json.loads(json.dumps(grading.to_dict()))
    assert content["grade"] == grading.grade and content["reliability"] is None
    assert set(content["similarity"]) == {"A", "B", "C", "D"}
    assert ElementTree.parse(folder / "radar.svg").getroot().tag.endswith("svg")
    for name in ("radar.png", "activation-A.png"):
        with Image.open(folder / name) as image:
            assert image.format == "PNG" and min(image.size) > 30
    with np.load(folder / "activation-maps.npz") as maps:
        for grade, values in grading.activation_maps.items():
            np.testing.assert_array_equal(maps[grade], values)
    before = sorted(path.name for path in folder.iterdir())
    grading.save(folder)  # again, over the old one
    assert sorted(path.name for path in folder.iterdir()) == before
    assert content == json.loads((folder / "grading.json").read_text(encoding="utf-8"))


def test_no_picture_of_another_grading_is_left(
    grader: mz.Grader, captures: list[Path], tmp_path: Path
) -> None:
    grading = grader.grade(captures[0])
    replace(grading, cluster_map=grading.activation_maps["A"]).save(tmp_path)
    assert (tmp_path / "reliability-cluster.png").is_file()
    replace(grading, activation_maps={"A": grading.activation_maps["A"]}).save(tmp_path)
    pictures = {path.name for path in tmp_path.glob("*-*.png")}
    assert pictures == {"activation-A.png"}


def test_grades_that_differ_in_what_file_names_leave_out_have_their_own_pictures(
    grader: mz.Grader, dataset: mz.Dataset, tmp_path: Path
) -> None:
    grading = grader.grade(dataset.observations[0].image)
    maps = list(grading.activation_maps.values())
    alike = dict(zip(("a/b", "a_b", "A?b"), maps, strict=True))
    replace(grading, activation_maps=alike).save(tmp_path)
    names = ["activation-a_b.png", "activation-a_b-2.png", "activation-A_b-3.png"]
    assert {path.name for path in tmp_path.glob("activation-*.png")} == set(names)
    for name, values in zip(names, maps, strict=True):
        replace(grading, activation_maps={"one": values}).save(tmp_path / "one")
        alone = (tmp_path / "one" / "activation-one.png").read_bytes()
        assert (tmp_path / name).read_bytes() == alone


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("A", "A"),
        ("a/b\\c:d", "a_b_c_d"),
        ("..", "_"),
        ("", "_"),
        ("良 品", "良 品"),
        ("x\n", "x_"),
    ],
)
def test_file_names_are_safe(text: str, name: str) -> None:
    assert file_name(text) == name


@pytest.mark.parametrize("device", ["gpu", "cuda:97"])
def test_a_device_that_is_not_there_is_one_line(grader: mz.Grader, device: str) -> None:
    with pytest.raises(mz.MezoroiError, match=f"^device `{device}` cannot be used here") as caught:
        mz.Grader(grader.bundle, device)
    assert "\n" not in str(caught.value)


def test_grade_many_refuses_a_single_path(grader: mz.Grader) -> None:
    with pytest.raises(TypeError, match=r"use grade\(\)"):
        next(grader.grade_many("photo.jpg"))


def test_fruits_without_an_outline_are_predicted_as_they_are_graded(
    grader: mz.Grader, dataset: mz.Dataset
) -> None:
    rows = [replace(o, outline=None) if i % 2 else o for i, o in enumerate(dataset.observations)]
    some = replace(dataset, observations=tuple(rows[:8]))
    found = grader.predict(some)
    index = grader.standard.grades.index("C")
    assert np.isnan(found.similarity[1::2, index]).all()  # judged on the outline
    assert np.isfinite(found.similarity[::2]).all()
    for row, item in enumerate(some):
        fruit = FruitInput(item.id, read_image(item.image), item.outline)
        graded = grader.grade_read(fruit)
        assert graded.grade == grader.standard.grades[found.grades[row]]
        expected = [graded.similarity[name] for name in grader.standard.grades]
        np.testing.assert_allclose(found.similarity[row], expected, atol=1e-5)
    scores = evaluate(grader, some, n_resamples=10)
    assert scores["observations"] == 8


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_large_photo_is_predicted_and_trained_on_as_it_is_graded(
    grader: mz.Grader, dataset: mz.Dataset, tmp_path: Path, suffix: str
) -> None:
    photo = tmp_path / f"large{suffix}"
    pixels = np.random.default_rng(3).integers(0, 256, (900, 1800, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(photo)
    one = replace(dataset.observations[0], image=photo, outline=None)
    alone = replace(dataset, observations=(one,))
    seen = grader.embed([read_fruit(photo, "surface")])
    size = grader.bundle.size
    shown = FruitImages(alone, size.height, size.width, megabytes=1).pixels(0)
    np.testing.assert_array_equal(shown, seen.fitted[0].pixels)
    found = grader.predict(alone)
    np.testing.assert_allclose(found.embeddings, seen.embeddings.numpy(), atol=1e-5)
    graded = grader.grade(photo)
    expected = [graded.similarity[name] for name in grader.standard.grades]
    np.testing.assert_allclose(found.similarity[0], expected, atol=1e-5)


def test_an_outline_of_another_version_is_refused_in_a_dataset_too(
    grader: mz.Grader, dataset: mz.Dataset
) -> None:
    odd = replace(dataset.observations[0], outline={"roundness": 0.9})
    with pytest.raises(mz.MezoroiError, match=f"{odd.id}: the outline has no"):
        grader.predict(replace(dataset, observations=(odd,)))
