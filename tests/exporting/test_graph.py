"""An exported grader says what the grader says."""

from __future__ import annotations

import logging
import re
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import mezoroi as mz
from mezoroi import grading_graph
from mezoroi.capture.images import read_image
from mezoroi.exporting import export_grader
from mezoroi.files import content_hash
from mezoroi.maps import upsample_maps
from mezoroi.models.preprocess import fit_image
from tests.exporting.conftest import FRUITS, TOLERANCE, Case

onnx = pytest.importorskip("onnx", reason="the extra `onnx` is not installed")
pytest.importorskip("onnxscript", reason="the extra `onnx` is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the extra `dev` is not installed")
PAGE = Path(__file__).parents[2] / "docs" / "export.md"


CASES = (
    "melons",
    "photos",
    "exemplars and plain surface",
    "reading",
    "no class channels",
    "added grade",
)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("batch", [1, 3, FRUITS])
def test_it_says_what_the_grader_says(
    case_of: Callable[[str], Case], name: str, batch: int
) -> None:
    case = case_of(name)
    expected = case.grader.predict(case.dataset.subset(range(FRUITS)))
    session, outputs = case.session(), list(case.about["outputs"])
    parts = [
        session.run(outputs, case.inputs(slice(start, min(start + batch, FRUITS))))
        for start in range(0, FRUITS, batch)
    ]
    found = dict(zip(outputs, map(np.concatenate, zip(*parts, strict=True)), strict=True))
    close(found["similarity"], expected.similarity)
    close(found["embedding"], expected.embeddings)
    if name == "no class channels":
        assert set(found) == {"similarity", "embedding"} and expected.maps.shape[1] == 0
    else:
        close(found["activation_maps"], expected.maps)
        assert np.ptp(found["activation_maps"]) > 1e-3
    # Fruits differ by more than the tolerance, so an answer that ignores them would not pass.
    assert np.ptp(found["similarity"], axis=0).min() > 10 * TOLERANCE


def close(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)


def test_cases_are_what_they_are_called(case_of: Callable[[str], Case]) -> None:
    assert case_of("melons").about["outline_names"] and case_of("melons").about["wraps"]
    photos = case_of("photos")
    assert not photos.about["outline_names"] and not photos.about["wraps"]
    assert photos.about["input_kind"] == "photo"
    by_prototype = case_of("melons").grader.predict(case_of("melons").dataset).similarity
    both = case_of("exemplars and plain surface")
    by_exemplars = both.grader.predict(both.dataset).similarity
    assert np.abs(by_prototype - by_exemplars).max() > 100 * TOLERANCE
    by_reading = case_of("reading").grader.predict(case_of("reading").dataset).similarity
    assert np.abs(by_prototype - by_reading).max() > 100 * TOLERANCE
    maps = [case.grader.predict(case.dataset).maps for case in (case_of("melons"), both)]
    assert np.abs(maps[0] - maps[1]).max() > 100 * TOLERANCE
    added = case_of("added grade").about
    assert added["grades"] == ["A", "B", "C", "D", "E"] and added["added_grades"] == ["E"]
    assert added["surface_grades"] == ["A", "B", "D"]


@pytest.mark.parametrize("name", ["melons", "exemplars and plain surface", "reading"])
def test_a_fruit_without_an_outline_is_judged_by_its_surface(
    case_of: Callable[[str], Case], name: str
) -> None:
    case = case_of(name)
    inputs = case.inputs(slice(0, 3))
    inputs["outlines"][0] = np.nan
    inputs["outlines"][2, 1:] = np.nan  # a part of an outline is none
    (found,) = case.session().run(["similarity"], inputs)
    for number in (0, 2):
        photo = read_image(case.dataset.observations[number].image)
        expected = case.grader.grade(photo).similarity
        assert np.isnan(expected["C"])
        close(found[number], np.array(list(expected.values())))
    known = case.grader.predict(case.dataset.subset([1])).similarity
    close(found[[1]], known)


def test_the_description_names_everything(case_of: Callable[[str], Case]) -> None:
    case = case_of("melons")
    about, bundle, session = case.about, case.grader.bundle, case.session()
    assert about == case.exported.description
    assert about["export_format"] == 1
    assert about["versions"]["mezoroi"] == mz.__version__
    assert about["fingerprint"] == bundle.fingerprint
    assert (about["input_kind"], about["height"], about["width"]) == ("surface", 64, 128)
    assert about["grades"] == ["A", "B", "C", "D"]
    assert about["surface_grades"] == ["A", "B", "D"]
    assert about["outline_names"] == list(bundle.outline_names)
    assert list(about["thresholds"].values()) == pytest.approx(bundle.prototypes.thresholds)
    cells = {"rows": 4, "columns": 8, "step": [16.0, 16.0], "offset": [0.0, 0.0]}
    assert about["map_cells"] == cells
    entry = about["standard"]["grades"]["D"]
    described = mz.GradingStandard.melon().descriptions["D"]
    assert entry["title"] == described.title and set(entry["title"]) == {"ja", "en"}
    assert entry["description"] == described.description
    assert {"reliability", "neighbours", "second_reader", "adjusting"} <= set(about["not_included"])
    for kind, given in (("inputs", session.get_inputs()), ("outputs", session.get_outputs())):
        shapes = {item.name: list(item.shape) for item in given}
        assert shapes == {name: entry["shape"] for name, entry in about[kind].items()}
        assert {item.type for item in given} == {"tensor(float)"}
    assert case_of("no class channels").about["map_cells"] is None
    assert case_of("no class channels").about["surface_grades"] == []


def test_all_weights_are_in_the_one_file(case_of: Callable[[str], Case]) -> None:
    exported = case_of("melons").exported
    path = exported.folder / "grader.onnx"
    assert sorted(item.name for item in exported.folder.iterdir()) == ["grader.json", "grader.onnx"]
    assert path.stat().st_size == exported.size
    assert content_hash(path) == exported.description["graph"]["sha256"]
    model = onnx.load(path, load_external_data=False)
    onnx.checker.check_model(model, full_check=True)
    assert not any(item.external_data for item in model.graph.initializer)
    assert [(item.domain, item.version) for item in model.opset_import] == [("", 18)]
    content = path.read_bytes()
    assert not [word for word in (b".py", b"site-packages", b"Traceback") if word in content]


def test_it_says_how_far_it_is_from_the_grader(case_of: Callable[[str], Case]) -> None:
    for name in CASES:
        exported = case_of(name).exported
        assert exported.difference is not None and 0 < exported.difference < TOLERANCE
        assert exported.description["graph"]["largest_difference"] == exported.difference


def test_the_grader_stays_as_it_was(
    run_dir: Path, tmp_path: Path, dataset: mz.Dataset, rng_state: Callable[[], Any], capfd: Any
) -> None:
    grader = mz.Grader.load(run_dir, device="cpu")
    few = dataset.subset(range(3))
    before, network = grader.predict(few), grader.network
    handle = network.encoder.register_forward_hook(lambda *_: calls.append(1))
    network.class_channels.train()  # type: ignore[union-attr]
    calls: list[int] = []

    def state() -> tuple[Any, ...]:
        modules = list(network.modules())
        return (
            [id(module) for module in modules],
            [module.training for module in modules],
            [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in modules],
            [(n, p.requires_grad, p.device, p.dtype, p.clone()) for n, p in state_of(network)],
            torch.is_grad_enabled(),
            torch.get_default_dtype(),
            list(warnings.filters),
            [logging.getLogger(name).level for name in grading_graph._TALKERS],
            rng_state(),
        )

    old = state()
    capfd.readouterr()
    export_grader(grader, tmp_path / "exported")
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")
    new = state()
    assert str(new) == str(old)
    assert all(torch.equal(a[-1], b[-1]) for a, b in zip(new[3], old[3], strict=True))
    handle.remove()
    network.eval()
    after = grader.predict(few)
    np.testing.assert_array_equal(after.similarity, before.similarity)
    np.testing.assert_array_equal(after.maps, before.maps)


def state_of(network: nn.Module) -> list[tuple[str, torch.Tensor]]:
    return [*network.named_parameters(), *network.named_buffers()]


def example(
    case: Case, photo: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """The names that the example of the page defines, run on a photo beside the export."""
    (block,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    assert block.startswith("# tests/exporting/test_graph.py runs this")
    shutil.copytree(case.exported.folder, place / "exported")
    shutil.copy(photo, place / "photo.png")
    beside = photo.with_name("outline.json")
    if beside.exists():
        shutil.copy(beside, place / "outline.json")
    monkeypatch.chdir(place)
    names: dict[str, Any] = {}
    exec(compile(block, str(PAGE), "exec"), names)
    return names


@pytest.mark.parametrize("name", ["melons", "photos", "no class channels"])
def test_the_example_of_the_page(
    case_of: Callable[[str], Case],
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    case = case_of(name)
    photo = case.dataset.observations[5].image
    capsys.readouterr()
    names = example(case, photo, tmp_path, monkeypatch)
    source = photo if name == "photos" else photo.parent
    grading = case.grader.grade(source)
    first, *others = capsys.readouterr().out.splitlines()
    title = case.grader.standard.descriptions[grading.grade].title.get("ja", "")
    assert first == f"{grading.grade} {title}"
    likeness = [" resembles it" if g in grading.resembles else "" for g in grading.similarity]
    expected = [
        f"  {grade} {value:.3f}{like}"
        for (grade, value), like in zip(grading.similarity.items(), likeness, strict=True)
    ]
    assert others == expected
    if name == "no class channels":
        assert "evidence" not in names
        return
    shown = fit_image(read_image(photo), case.about["height"], case.about["width"])
    for grade, plane in grading.activation_maps.items():
        np.testing.assert_allclose(shown.crop(names["evidence"][grade]), plane, atol=TOLERANCE)


def test_functions_of_the_page_are_the_grader_s(
    case_of: Callable[[str], Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = case_of("melons")
    names = example(case, case.dataset.observations[0].image, tmp_path, monkeypatch)
    rng = np.random.default_rng(0)
    for rows, columns in ((64, 128), (65, 128), (31, 90), (200, 130), (9, 300), (128, 250)):
        image = rng.integers(0, 256, (rows, columns, 3), dtype=np.uint8)
        for size in ((64, 128), (63, 65)):
            expected = fit_image(image, *size).pixels
            np.testing.assert_array_equal(names["fitted"](image, *size), expected)
    maps = rng.random((3, 4, 8)).astype(np.float32)
    for wraps in (True, False):
        names["about"]["wraps"] = wraps
        for offset in (0.0, 7.5):
            names["about"]["map_cells"]["offset"] = [offset, offset]
            grid = mz.maps.Grid((16.0, 16.0), (offset, offset))
            expected = upsample_maps(torch.from_numpy(maps)[None], 64, 128, wraps, grid)[0]
            np.testing.assert_allclose(names["in_pixels"](maps), expected, atol=1e-5)


def test_every_key_of_the_description_is_documented(case_of: Callable[[str], Case]) -> None:
    page = PAGE.read_text(encoding="utf-8")
    about = case_of("melons").about
    keys = {*about, *about["graph"], *about["map_cells"], *about["inputs"], *about["outputs"]}
    assert not {key for key in keys if f"`{key}`" not in page}
