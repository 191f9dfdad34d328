"""What an export writes, replaces, and refuses."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import mezoroi as mz
from mezoroi import exporting
from mezoroi.exporting import Exported, export_grader
from mezoroi.grading_graph import GradingGraph, largest_difference
from tests.commands import Run, assert_refused
from tests.exporting.conftest import TOLERANCE, Case, session_of

pytest.importorskip("onnx", reason="the extra `onnx` is not installed")
pytest.importorskip("onnxscript", reason="the extra `onnx` is not installed")
pytest.importorskip("onnxruntime", reason="the extra `dev` is not installed")


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
    start = "backbone `test_efficientnet` cannot be exported (Could not guard on data-dependent"
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
    size = (tmp_path / "out/grader.onnx").stat().st_size / 1e6
    line = (
        rf"{tmp_path}/out/grader.onnx: {size:.1f} MB, on made-up images at most \d+e-\d+ from the "
    )
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
