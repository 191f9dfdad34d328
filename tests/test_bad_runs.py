"""Run folders, checkpoints and disks that are wrong give one clear line; what was written stays."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from mezoroi import workflow
from mezoroi.errors import MezoroiError
from mezoroi.models import GradingModel
from mezoroi.training import finished_epochs
from mezoroi.training.fit import AtomicCheckpointIO, EpochLog
from tests.commands import TINY, Run, assert_refused


@pytest.fixture
def copied(run_dir: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    shutil.copytree(run_dir, folder)
    return folder


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 60, 3), np.uint8)).save(path)
    return path


NAMES = ("grader.json", "grader.safetensors", "prototypes.safetensors")
READER = "second-reader.safetensors"


@pytest.mark.parametrize("name", NAMES)
def test_a_run_folder_with_a_missing_file(run: Run, copied: Path, photo: Path, name: str) -> None:
    (copied / name).unlink()
    assert_refused(run("grade", copied, photo, "-o", copied.parent / "out"), name)


@pytest.mark.parametrize("name", [*NAMES, READER])
@pytest.mark.parametrize("damage", ["truncated", "empty", "noise"])
def test_a_run_folder_with_a_damaged_file(
    run: Run, copied: Path, photo: Path, name: str, damage: str
) -> None:
    path = copied / name
    content = path.read_bytes()
    damaged = {"truncated": content[: len(content) // 2], "empty": b"", "noise": b"\x07" * 500}
    path.write_bytes(damaged[damage])
    outcome = run("grade", copied, photo, "-o", copied.parent / "out")
    assert_refused(outcome, name)
    assert len(outcome[2].splitlines()) == 1
    assert not (copied.parent / "out").exists()


def test_a_run_folder_of_another_version(run: Run, copied: Path, photo: Path) -> None:
    record = json.loads((copied / "grader.json").read_text(encoding="utf-8"))
    for version in (99, None, "1"):
        (copied / "grader.json").write_text(json.dumps({**record, "format": version}))
        outcome = run("grade", copied, photo, "-o", copied.parent / "out")
        assert_refused(outcome, f"has format {version}, this version reads 2")
    (copied / "grader.json").write_text("[]")
    assert_refused(run("grade", copied, photo, "-o", copied.parent / "out"), "has format None")


@pytest.mark.parametrize(
    "key", ["standard", "config", "outline_names", "size", "input_kind", "data"]
)
def test_a_record_that_lacks_something(run: Run, copied: Path, photo: Path, key: str) -> None:
    record = json.loads((copied / "grader.json").read_text(encoding="utf-8"))
    del record[key]
    (copied / "grader.json").write_text(json.dumps(record))
    outcome = run("grade", copied, photo, "-o", copied.parent / "out")
    assert_refused(outcome, "grader.json is damaged")


def test_files_of_two_runs_mixed(run: Run, copied: Path, photo: Path) -> None:
    weights = copied / "grader.safetensors"
    tensors = load_file(weights)
    save_file({n: v for n, v in tensors.items() if not n.startswith("head.")}, weights)
    outcome = run("grade", copied, photo, "-o", copied.parent / "out")
    assert_refused(outcome, "files that do not fit")
    save_file(tensors, weights)
    stored = load_file(copied / "prototypes.safetensors")
    for broken in (
        {"embeddings": stored["embeddings"]},
        {**stored, "embeddings": stored["embeddings"][:, :5].contiguous()},
        {**stored, "thresholds": stored["thresholds"][:2].contiguous()},
        {**stored, "embeddings": stored["embeddings"][:, 0].contiguous()},
        {**stored, "thresholds": stored["thresholds"][0].clone()},
        {**stored, "exemplars": stored["exemplars"].clone(), "exemplar_grades": torch.zeros(3)},
        {name: one for name, one in stored.items() if name != "embeddings"},
        load_file(copied / READER),
    ):
        save_file(broken, copied / "prototypes.safetensors")
        outcome = run("grade", copied, photo, "-o", copied.parent / "out")
        assert_refused(outcome, "files that do not fit")
        assert len(outcome[2].splitlines()) == 1


def test_a_second_reader_of_another_run(run: Run, copied: Path, photo: Path) -> None:
    stored = load_file(copied / READER)
    for broken in (
        {name: one for name, one in stored.items() if name != "shares"},
        {**stored, "mean": stored["mean"][:5].contiguous()},
        {**stored, "weights": stored["weights"][:, :2].contiguous()},
        {**stored, "length": -stored["length"]},
        {name: one for name, one in stored.items() if name != "length"},
    ):
        save_file(broken, copied / READER)
        outcome = run("grade", copied, photo, "-o", copied.parent / "out")
        assert_refused(outcome, "files that do not fit")
        assert len(outcome[2].splitlines()) == 1


def test_a_folder_that_is_no_run(run: Run, tmp_path: Path, photo: Path) -> None:
    assert_refused(run("grade", tmp_path, photo, "-o", tmp_path / "out"), "grader.json is missing")
    assert_refused(run("grade", photo, photo, "-o", tmp_path / "out"), "is no run folder")


def test_a_damaged_checkpoint_to_resume(
    run: Run, copied: Path, melons: Path, small_backbone: tuple[str, str]
) -> None:
    (copied / "grader.json").unlink()  # a finished training reads none
    checkpoint = copied / "checkpoints/last.ckpt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:5000])
    same = [word for override in small_backbone for word in ("--set", override)]
    outcome = run("train", melons, "-o", copied, "--preset", "tiny", *same, "--resume")
    assert_refused(outcome, "last.ckpt is damaged: train again in another folder with -o")


def test_a_table_of_epochs_that_a_spreadsheet_saved(
    run: Run, copied: Path, melons: Path, small_backbone: tuple[str, str]
) -> None:
    same = [word for override in small_backbone for word in ("--set", override)]
    arguments = ("train", melons, "-o", copied, "--preset", "tiny", *same, "--resume")
    log = copied / "epochs.csv"
    whole = log.read_text(encoding="utf-8")
    for other in (whole.replace(",", ";"), whole.replace("\n0,", "\nfirst,"), "\xff"):
        log.write_bytes(other.encode("latin-1"))
        assert_refused(run(*arguments), "epochs.csv is no longer the table", "delete it")
        with pytest.raises(MezoroiError, match=r"epochs\.csv is no longer"):
            resumed_rows(log)
    for text, epochs in ((f"\ufeff{whole}", ["0", "1"]), ("", [])):
        log.write_text(text, encoding="utf-8")
        assert run(*arguments)[0] == 0 and resumed_rows(log) == epochs
    log.unlink()
    assert run(*arguments)[0] == 0 and resumed_rows(log) == []


def resumed_rows(path: Path) -> list[str]:
    """The epochs that a training knows which goes on with its third one."""
    log = EpochLog(path)
    log.on_train_start(SimpleNamespace(current_epoch=2), None)  # type: ignore[arg-type]
    return [row["epoch"] for row in log.rows]


def test_a_folder_without_a_training_to_resume_is_told(
    run: Run, melons: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begun(*_: object) -> None:
        raise MezoroiError("begun: enough")

    monkeypatch.setattr(workflow, "fit", begun)
    arguments = ("train", melons, "-o", tmp_path / "slip", *TINY, "--resume")
    note = f"note: nothing to resume in {tmp_path / 'slip'}: a new training begins\n"
    assert run(*arguments)[2] == f"{note}error: begun: enough\n"
    assert run(*arguments)[2] == "error: begun: enough\n"


def test_an_output_folder_that_cannot_be_written(
    run: Run,
    run_dir: Path,
    melons: Path,
    photo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wall = tmp_path / "wall"
    wall.write_text("a file")
    # Before the network runs: what it found would be lost.
    monkeypatch.setattr(GradingModel, "forward", None)
    for arguments in (
        ("grade", run_dir, photo),
        ("train", melons, *TINY),
        ("evaluate", run_dir, melons),
        ("search", run_dir, photo),
        ("explain", run_dir, photo),
        ("demo",),
        ("cross-validate", melons, *TINY),
    ):
        for out in (wall, wall / "out"):
            refused = f"{wall} is a file: give a folder with -o"
            assert_refused(run(*arguments, "-o", out), refused)
    assert_refused(run("make-melons", wall / "melons", "--per-grade", 1), str(wall))
    assert wall.read_text() == "a file"


def test_a_disk_that_fills_during_training(
    run: Run, melons: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resource = pytest.importorskip("resource")
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    save, saved = AtomicCheckpointIO.save_checkpoint, []

    def fill_at_the_second(self, *arguments, **options):  # type: ignore[no-untyped-def]
        saved.append(1)
        if len(saved) == 2:  # from here on no file can grow beyond 1 MB
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
        save(self, *arguments, **options)

    folder = tmp_path / "run"
    arguments = ("train", melons, "-o", folder, *TINY, "--set", "train.epochs=3")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with monkeypatch.context() as patch:
        patch.setattr(AtomicCheckpointIO, "save_checkpoint", fill_at_the_second)
        try:
            outcome = run(*arguments)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert_refused(outcome, "cannot write", "last.ckpt", "check free space")
    assert len(outcome[2].splitlines()) == 1
    assert finished_epochs(folder) == 1  # the first checkpoint is whole
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["last.ckpt"]
    assert not (folder / "grader.json").exists()
    status, _, _ = run(*arguments, "--resume")
    assert status == 0
    status, _, _ = run("train", melons, "-o", tmp_path / "straight", *arguments[4:])
    assert status == 0
    first, second = (load_file(tmp_path / n / "grader.safetensors") for n in ("run", "straight"))
    assert all((first[name] == second[name]).all() for name in second)
