"""An exported grader says what the grader says, and is left where it can be used."""

from __future__ import annotations

import json
import logging
import re
import shutil
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import mezoroi as mz
from mezoroi import exporting, grading_graph
from mezoroi.capture.images import read_image
from mezoroi.config import Config
from mezoroi.datasets.melons import indexed_melon
from mezoroi.exporting import Exported, export_grader
from mezoroi.files import content_hash
from mezoroi.grading_graph import GradingGraph, in_onnx, largest_difference
from mezoroi.maps import upsample_maps
from mezoroi.models.plain import PlainSurface
from mezoroi.models.preprocess import fit_image
from mezoroi.new_grade import add_grade
from tests.commands import Run, assert_refused

onnx = pytest.importorskip("onnx", reason="the extra `onnx` is not installed")
pytest.importorskip("onnxscript", reason="the extra `onnx` is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the extra `dev` is not installed")

PAGE = Path(__file__).parents[1] / "docs" / "export.md"
SHORT = ("train.epochs=1", "train.cached_views=1", "input.height=32")
TOLERANCE = 1e-4
FRUITS = 7


@dataclass(frozen=True)
class Case:
    """A grader, fruits that it did or did not learn from, and its export."""

    grader: mz.Grader
    dataset: mz.Dataset
    exported: Exported
    program: torch.onnx.ONNXProgram

    @property
    def about(self) -> dict[str, Any]:
        return json.loads((self.exported.folder / "grader.json").read_text(encoding="utf-8"))

    def session(self) -> Any:
        return session_of(self.exported.folder / "grader.onnx")

    def inputs(self, chosen: slice) -> dict[str, np.ndarray]:
        about, observations = self.about, self.dataset.observations[chosen]
        size = (about["height"], about["width"])
        pixels = [fit_image(read_image(item.image), *size).pixels for item in observations]
        inputs = {"images": (np.stack(pixels).transpose(0, 3, 1, 2) / 255).astype(np.float32)}
        if about["outline_names"]:
            rows = [
                [(item.outline or {})[name] for name in about["outline_names"]]
                for item in observations
            ]
            inputs["outlines"] = np.array(rows, dtype=np.float32)
        return inputs


def session_of(path: Path) -> Any:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> mz.Dataset:
    """Photos in a folder per grade, of three shapes, without outlines."""
    folder = tmp_path_factory.mktemp("photos")
    for index in range(24):
        melon, _ = indexed_melon(index, seed=1, height=64)
        path = folder / melon.grade / f"{index:04d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(melon.surface[:, : (64, 40, 100)[index % 3]]).save(path)
    return mz.load_dataset(folder)


@pytest.fixture(scope="module")
def case_of(
    run_dir: Path,
    dataset: mz.Dataset,
    photos: mz.Dataset,
    tiny: Callable[..., Config],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str], Case]:
    """Each case, made when it is first asked for."""
    made: dict[str, Case] = {}

    def make(name: str) -> Case:
        place = tmp_path_factory.mktemp(name)
        fruits = photos if name == "photos" else dataset
        if name == "melons":
            grader = mz.Grader.load(run_dir, device="cpu")
        elif name == "added grade":
            run = shutil.copytree(run_dir, place / "run")
            examples = [dataset.observations[number].image.parent for number in (0, 1)]
            grader = add_grade(mz.Grader.load(run, device="cpu"), run, "E", examples)
        elif name == "exemplars":
            grader = with_exemplars(mz.Grader.load(run_dir, device="cpu"), dataset)
        elif name == "plain surface":
            grader = with_plain_surface(mz.Grader.load(run_dir, device="cpu"))
        else:
            settings = ("model.channels_per_grade=0",) if name == "no class channels" else ()
            grader = mz.train(fruits, tiny(*SHORT, *settings), place / "run")
        programs: list[torch.onnx.ONNXProgram] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(exporting, "in_onnx", lambda *given: noted(programs, in_onnx(*given)))
            exported = export_grader(grader, place / "exported")
        return Case(grader, fruits, exported, programs[0])

    def case(name: str) -> Case:
        if name not in made:
            made[name] = make(name)
        return made[name]

    return case


def noted(found: list[Any], item: Any) -> Any:
    found.append(item)
    return item


def with_exemplars(grader: mz.Grader, dataset: mz.Dataset) -> mz.Grader:
    """The grader as if it had been trained with ``model.exemplars=3``; of A it knows two fruits."""
    embeddings = torch.from_numpy(grader.predict(dataset).embeddings)
    grades = torch.from_numpy(dataset.labels)
    kept = torch.cat(
        [torch.nonzero(grades == grade)[: 2 + 3 * bool(grade), 0] for grade in range(4)]
    )
    bundle = grader.bundle
    prototypes = replace(
        bundle.prototypes, exemplars=embeddings[kept], exemplar_grades=grades[kept]
    )
    config = bundle.config.model_copy(
        update={"model": bundle.config.model.model_copy(update={"exemplars": 3})}
    )
    return mz.Grader(replace(bundle, prototypes=prototypes, config=config), device="cpu")


def with_plain_surface(grader: mz.Grader) -> mz.Grader:
    """The grader as if its training fruits had surface of which maps say nothing."""
    kinds = torch.tensor([[-0.4, 0.2], [0.2, 0.2], [0.4, 0.6]])
    grader.network.plain = PlainSurface(grader.network.encoder.grid, 2, *kinds)
    return mz.Grader(grader.bundle, device="cpu")


CASES = ("melons", "photos", "exemplars", "plain surface", "no class channels", "added grade")


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
    by_exemplars = case_of("exemplars").grader.predict(case_of("melons").dataset).similarity
    assert np.abs(by_prototype - by_exemplars).max() > 100 * TOLERANCE
    maps = [
        case_of(name).grader.predict(case_of(name).dataset).maps
        for name in ("melons", "plain surface")
    ]
    assert np.abs(maps[0] - maps[1]).max() > 100 * TOLERANCE
    added = case_of("added grade").about
    assert added["grades"] == ["A", "B", "C", "D", "E"] and added["added_grades"] == ["E"]
    assert added["surface_grades"] == ["A", "B", "D"]


@pytest.mark.parametrize("name", ["melons", "exemplars"])
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


@pytest.fixture
def quick(
    case_of: Callable[[str], Case], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Exported]:
    """`export_grader` of the melons, with the graph that was translated before."""
    case = case_of("melons")
    monkeypatch.setattr(exporting, "in_onnx", lambda *_: case.program)
    return lambda folder: export_grader(case.grader, folder)


def test_an_earlier_export_is_replaced(
    quick: Callable[..., Exported], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First with its weights beside it, as a large network has them."""
    monkeypatch.setattr(exporting, "_MOST_INLINE", 0)
    exported = quick(tmp_path / "out")
    names = ["grader.json", "grader.onnx", "grader.onnx.data"]
    assert sorted(item.name for item in (tmp_path / "out").iterdir()) == names
    total = sum((tmp_path / "out" / name).stat().st_size for name in names[1:])
    assert exported.size == total and (tmp_path / "out/grader.onnx").stat().st_size < total / 5
    moved = (tmp_path / "out").rename(tmp_path / "moved")
    session_of(moved / "grader.onnx")
    monkeypatch.undo()
    monkeypatch.setattr(exporting, "in_onnx", lambda *_: None)
    with pytest.raises(AttributeError):
        quick(moved)
    assert sorted(item.name for item in moved.iterdir()) == names


def test_weights_of_an_earlier_export_do_not_stay(
    quick: Callable[..., Exported], tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    quick(folder)
    (folder / "grader.onnx.data").write_bytes(b"old")
    (folder / "mine.txt").write_text("kept")
    quick(folder)
    names = ["grader.json", "grader.onnx", "mine.txt"]
    assert sorted(item.name for item in folder.iterdir()) == names


def test_a_graph_that_says_something_else_is_refused(
    quick: Callable[..., Exported], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick(tmp_path)
    before = {item.name: item.read_bytes() for item in tmp_path.iterdir()}
    run = GradingGraph.run

    def off(change: Callable[[torch.Tensor], torch.Tensor]) -> None:
        def wrong(graph: GradingGraph, inputs: Mapping[str, torch.Tensor]) -> Any:
            outputs = run(graph, inputs)
            return outputs | {"similarity": change(outputs["similarity"])}

        monkeypatch.setattr(GradingGraph, "run", wrong)

    for change, message in (
        (lambda values: values + 0.002, "off by 0.002"),
        (lambda values: values.nan_to_num(), "off by nan"),
        (lambda values: values[:2], "off by nan"),
    ):
        off(change)
        with pytest.raises(mz.MezoroiError, match=message):
            quick(tmp_path)
        assert {item.name: item.read_bytes() for item in tmp_path.iterdir()} == before


def test_a_graph_that_does_not_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "grader.onnx").write_bytes(b"nonsense")
    with pytest.raises(mz.MezoroiError, match=r"does not run .*: export again"):
        largest_difference(tmp_path / "grader.onnx", {}, {})


def test_a_description_that_cannot_be_written_leaves_none(
    quick: Callable[..., Exported], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph without its description is unfinished; an old description of a new graph is wrong."""
    quick(tmp_path)

    def full(*_: Any) -> None:
        raise mz.MezoroiError("disk is full: delete something")

    monkeypatch.setattr(exporting, "write_json", full)
    with pytest.raises(mz.MezoroiError, match="disk is full"):
        quick(tmp_path)
    assert [item.name for item in tmp_path.iterdir()] == ["grader.onnx"]


def test_without_onnxruntime_nothing_is_compared(
    quick: Callable[..., Exported], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert quick(tmp_path).difference is None
    about = json.loads((tmp_path / "grader.json").read_text(encoding="utf-8"))
    assert about["graph"]["largest_difference"] is None


class Moody(nn.Module):
    """Does what the values say, which no graph can."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values if float(values.sum()) > 0 else -values


def test_a_backbone_that_cannot_be_exported(
    run_dir: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    grader = mz.Grader.load(run_dir, device="cpu")
    grader.network.encoder.deep_stages.append(Moody())
    with pytest.raises(mz.MezoroiError) as error:
        export_grader(grader, tmp_path / "out")
    message = str(error.value)
    start = "backbone `efficientnet_lite0` cannot be exported (Could not guard on data-dependent"
    assert message.startswith(start)
    assert message.endswith("): train with another one, such as efficientnet_lite0")
    assert "\n" not in message and not (tmp_path / "out").exists()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("module", ["onnx", "onnxscript"])
def test_without_the_extra_the_verb_says_what_to_install(
    run: Run, run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    outcome = run("export", run_dir, "-o", tmp_path / "out")
    assert_refused(outcome, "install it with `pip install 'mezoroi[onnx]'`")
    assert len(outcome[2].splitlines()) == 1 and not (tmp_path / "out").exists()


def test_folders_that_cannot_be_used(
    run: Run, run_dir: Path, tmp_path: Path, case_of: Callable[[str], Case]
) -> None:
    def refused(run_folder: Path, out: Path, message: str) -> None:
        outcome = run("export", run_folder, "-o", out)
        assert_refused(outcome, message)
        assert len(outcome[2].splitlines()) == 1

    file = tmp_path / "file"
    file.write_text("in the way")
    refused(run_dir, file, f"{file} is a file: give a folder with -o")
    refused(run_dir, file / "below", f"{file} is a file: give a folder with -o")
    refused(tmp_path / "nowhere", tmp_path / "out", "is no run folder")
    refused(tmp_path, tmp_path / "out", "grader.json is missing")
    refused(case_of("melons").exported.folder, tmp_path / "out", "is an export of a run")
    copied = shutil.copytree(run_dir, tmp_path / "run")
    before = (copied / "grader.json").read_bytes()
    refused(run_dir, copied, f"{copied} is a run folder: give another folder with -o")
    (copied / "run.json").unlink()
    (copied / "prototypes.safetensors").unlink()
    (copied / "grader.safetensors").write_bytes(b"\x07" * 500)
    refused(run_dir, copied, "is a run folder")
    (copied / "grader.safetensors").unlink()
    refused(run_dir, copied, "grader.json is of no export: give another folder with -o")
    assert (copied / "grader.json").read_bytes() == before
    damaged = shutil.copytree(run_dir, tmp_path / "damaged")
    (damaged / "grader.safetensors").write_bytes(b"\x07" * 500)
    refused(damaged, tmp_path / "out", "grader.safetensors is damaged")
    assert not (tmp_path / "out").exists()


def test_the_verb(run: Run, run_dir: Path, tmp_path: Path) -> None:
    status, out, err = run("export", run_dir, "-o", tmp_path / "out")
    assert (status, err) == (0, "")
    line = rf"{tmp_path}/out/grader.onnx: 11\.\d MB, on made-up images at most \d+e-\d+ from the "
    assert re.fullmatch(line + rf"grader; described in {tmp_path}/out/grader.json\n", out)


@pytest.mark.usefixtures("quick")
def test_the_verb_for_machines(run: Run, run_dir: Path, tmp_path: Path) -> None:
    status, out, err = run("export", run_dir, "-o", tmp_path / "out", "--json")
    assert (status, err) == (0, "")
    told = json.loads(out)
    assert told["graph"] == str(tmp_path / "out/grader.onnx")
    assert told["bytes"] == Path(told["graph"]).stat().st_size
    assert 0 < told["largest_difference"] < TOLERANCE
    about = json.loads(Path(told["description"]).read_text(encoding="utf-8"))
    assert (told["inputs"], told["outputs"]) == (about["inputs"], about["outputs"])


def example(
    case: Case, photo: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """The names that the example of the page defines, run on a photo beside the export."""
    (block,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    assert block.startswith("# tests/test_exporting.py runs this")
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
