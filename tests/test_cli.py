"""The command line: verbs, exit statuses, and what they print."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import mezoroi as mz
from mezoroi.capture.sources import find_sources
from mezoroi.datasets.folders import require_outside
from mezoroi.presets import PRESETS
from mezoroi.training import GradingModule
from tests.commands import TINY, Run, assert_refused

VERBS = (
    "make-melons",
    "train",
    "grade",
    "evaluate",
    "cross-validate",
    "demo",
    "settings",
    "export",
)


@pytest.mark.parametrize("verb", [*VERBS, "bench grading"])
def test_every_verb_has_help_with_an_example(run: Run, verb: str) -> None:
    status, out, _ = run(*verb.split(), "--help")
    assert status == 0
    assert f"Example: mezoroi {verb}" in " ".join(out.split())


def test_the_tool_lists_its_verbs_and_version(run: Run) -> None:
    status, out, _ = run("--help")
    assert status == 0 and all(verb in out for verb in (*VERBS, "bench"))
    assert run("--version") == (0, f"mezoroi {mz.__version__}\n", "")


def test_help_needs_no_torch() -> None:
    code = (
        "import sys\nfrom mezoroi import cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit as stop: assert stop.code == 0\n"
        "heavy = {'torch', 'timm', 'pandas', 'matplotlib', 'scipy', 'cv2', 'numpy'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "Usage" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fly",), "fly"),
        (("train",), "Missing argument 'data'"),
        (("train", "data"), "-o"),
        (("train", "data", "-o", "out", "--nonsense"), "--nonsense"),
        (("make-melons", "out", "--per-grade", "many"), "--per-grade"),
        (("make-melons", "out", "--per-grade", "0"), "--per-grade"),
        (("make-melons", "out", "--seed", "-1"), "--seed"),
        (("cross-validate", "data", "--folds", "1"), "--folds"),
        (("cross-validate", "data", "--group", "day"), "--group"),
        (("train", "nowhere", "-o", "out"), "nowhere does not exist"),
        (("train", "nowhere", "-o", "out", "--preset", "fast"), "unknown preset `fast`"),
        (("train", "nowhere", "-o", "out", "--set", "train.epoch=1"), "no such setting"),
        (("train", "nowhere", "-o", "out", "--set", "train.lr=nan"), "train.lr"),
        (("grade", "nowhere", "photo.jpg", "-o", "out"), "is no run folder"),
        (("evaluate", "nowhere", "data"), "is no run folder"),
        (("export", "nowhere", "-o", "out"), "is no run folder"),
    ],
)
def test_bad_usage_is_one_line(
    run: Run,
    arguments: tuple[str, ...],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, err = run(*arguments)
    assert_refused((status, out, err))
    assert len(err.splitlines()) == 1 and message in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("group", ["", "bench", "reliability", "study"])
def test_without_a_verb_the_help_is_printed_as_it_is(run: Run, group: str) -> None:
    status, out, err = run(*group.split())
    assert (status, out) == (2, "")
    assert err == run(*group.split(), "--help")[1]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("train",), "Missing argument 'data': see mezoroi train --help"),
        (("fly",), "No such command 'fly': see mezoroi --help"),
        (
            ("grade", "run", "photo", "-o", "out", "--language", "fr"),
            "Invalid value for '--language': 'fr' is not one of 'ja', 'en': "
            "see mezoroi grade --help",
        ),
        (("reliability", "fit"), "Missing argument 'run': see mezoroi reliability fit --help"),
    ],
)
def test_bad_usage_points_at_the_help_of_its_verb(
    run: Run, arguments: tuple[str, ...], line: str
) -> None:
    assert run(*arguments) == (2, "", f"error: {line}\n")


def test_make_melons_is_repeatable(run: Run, tmp_path: Path) -> None:
    arguments = ("--per-grade", 1, "--seed", 3, "--json")
    status, out, _ = run("make-melons", tmp_path / "melons", *arguments)
    assert status == 0
    assert json.loads(out) == {"folder": str(tmp_path / "melons"), "melons": 4}
    assert run("make-melons", tmp_path / "melons", *arguments)[0] == 0  # nothing left to make
    status, out, err = run("make-melons", tmp_path / "melons", "--per-grade", 2, "--seed", 3)
    assert_refused((status, out, err))
    assert len(mz.load_dataset(tmp_path / "melons", trainable=False)) == 4


def test_settings_are_a_file_that_train_takes(run: Run, tmp_path: Path) -> None:
    status, out, _ = run("settings")
    (tmp_path / "my.yaml").write_text(out, encoding="utf-8")
    assert status == 0
    for preset in PRESETS:
        assert mz.make_config(preset, tmp_path / "my.yaml") == mz.make_config(preset)


def test_a_preset_that_a_settings_file_takes_back_is_told(run: Run, tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text(yaml.safe_dump(mz.make_config().model_dump()))
    given = ("--config", tmp_path / "my.yaml", "--preset", "paper")
    note = f"note: {tmp_path / 'my.yaml'} has a value for all that `--preset paper` sets: "
    (tmp_path / "empty").mkdir()
    for verb in ("train", "cross-validate"):
        _, _, err = run(verb, tmp_path / "empty", "-o", tmp_path / "run", *given)
        assert err.startswith(note)


def test_train_then_resume(run: Run, melons: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    status, out, _ = run("train", melons, "-o", folder, *TINY, "--json")
    assert status == 0
    assert json.loads(out) == {
        "run": str(folder),
        "observations": 28,
        "splits": {"train": 20, "val": 4, "test": 4},
        "grades": ["A", "B", "C", "D"],
    }
    assert_refused(run("train", melons, "-o", folder, *TINY))
    status, out, err = run("train", melons, "-o", folder, *TINY, "--resume")
    assert (status, err) == (0, "")
    assert "learned from 20 of 28 observations (4 val, 4 test) of grades A, B, C, D" in out


@pytest.mark.parametrize("verb", ["train", "cross-validate"])
def test_a_run_among_the_grades_is_refused(
    run: Run, verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for grade in "AB":
        (tmp_path / "photos" / grade).mkdir(parents=True)
        for number in range(4):
            Image.new("RGB", (16, 16)).save(tmp_path / f"photos/{grade}/{grade}{number}.png")
    monkeypatch.chdir(tmp_path / "photos")
    for out in ("run", "runs/mine"):
        assert_refused(run(verb, ".", "-o", out, *TINY), f"{out} lies in ., where", "for a grade")
    assert sorted(path.name for path in Path().iterdir()) == ["A", "B"]
    require_outside(tmp_path / "run", Path())
    require_outside(Path(".run"), Path())  # hidden, as the folders of grades are not
    Path("images").mkdir()
    require_outside(Path("run"), Path())
    Path("manifest.csv").touch()
    require_outside(Path("images/run"), Path())


def test_an_interruption_is_told_and_keeps_what_was_done(
    run: Run, melons: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = GradingModule.training_step

    def interrupted(self, batch, index):  # type: ignore[no-untyped-def]
        if self.current_epoch == 1:
            raise KeyboardInterrupt
        return step(self, batch, index)

    arguments = ("train", melons, "-o", tmp_path / "run", *TINY, "--set", "train.epochs=2")
    with monkeypatch.context() as patch:
        patch.setattr(GradingModule, "training_step", interrupted)
        status, out, err = run(*arguments)
    assert (status, out) == (130, "")
    assert err == (
        "interrupted: what was finished is kept; run the same command with --resume to continue\n"
    )
    assert run("grade", tmp_path / "run", melons, "-o", tmp_path / "out")[0] == 2  # not finished
    assert run(*arguments, "--resume")[0] == 0


def test_grade_writes_a_folder_per_fruit_and_a_report(
    run: Run, run_dir: Path, melons: Path, tmp_path: Path
) -> None:
    photos = tmp_path / "写真 folder"
    photos.mkdir()
    for number in (1, 2):
        shutil.copy(melons / f"captures/melon-000{number}/surface.png", photos / f"果{number}.png")
    capture = melons / "captures/melon-0003"
    out = tmp_path / "出力"
    status, printed, err = run("grade", run_dir, photos, capture, "-o", out, "--json")
    assert status == 0 and err == ""
    content = json.loads(printed)
    assert [item["source"] for item in content["results"]] == [
        str(photos / "果1.png"),
        str(photos / "果2.png"),
        str(capture),
    ]
    for name, result in zip(("果1", "果2", "melon-0003"), content["results"], strict=True):
        assert json.loads((out / name / "grading.json").read_text(encoding="utf-8")) == result
        assert (out / name / "radar.png").is_file()
    page = (out / "report.html").read_text(encoding="utf-8")
    assert content["report"] == str(out / "report.html") and "果1.png" in page
    assert "http://" not in page.replace("http://www.w3.org", "") and "<script src" not in page


def test_a_batch_goes_on_past_bad_files(
    run: Run, run_dir: Path, melons: Path, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    shutil.copy(melons / "captures/melon-0001/surface.png", photos / "b.png")
    (photos / "a.jpg").write_text("no photo")
    (photos / "c.png").write_bytes((photos / "b.png").read_bytes()[:2000])
    missing = tmp_path / "missing.jpg"
    out = tmp_path / "out"
    status, printed, err = run("grade", run_dir, photos, missing, "-o", out, "--json")
    assert status == 1 and "Traceback" not in err
    results = json.loads(printed)["results"]
    assert ["error" in item for item in results] == [True, False, True, True]
    page = (out / "report.html").read_text(encoding="utf-8")
    for item in (results[0], results[2], results[3]):
        assert Path(item["source"]).name in page and "\n" not in item["error"]
    assert {path.name for path in out.iterdir()} == {"b", "report.html"}
    status, printed, _ = run("grade", run_dir, photos, missing, "-o", out)
    assert status == 1 and "1 graded, 3 failed" in printed
    assert f"{missing}: {missing} does not exist" in printed


def test_where_nothing_can_be_graded_the_reason_is_an_error(
    run: Run, run_dir: Path, tmp_path: Path
) -> None:
    text, missing, out = tmp_path / "text.jpg", tmp_path / "missing.jpg", tmp_path / "out"
    text.write_text("no photo")
    status, printed, err = run("grade", run_dir, text, "-o", out, "--json")
    assert status == 2 and err.splitlines()[-1].startswith(f"error: {text} is not a JPEG")
    assert "error" in json.loads(printed)["results"][0]
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "text.jpg は JPEG" in page and "text.jpg is not a JPEG" in page
    status, printed, err = run("grade", run_dir, missing, text, "-o", out)
    assert status == 2 and "0 graded, 2 failed" in printed
    assert err == (
        f"error: none of 2 fruits could be graded, the first: {missing} does not exist: "
        "check the path\n"
    )


@pytest.mark.parametrize(
    ("verb", "done"),
    [
        (("search", "RUN", "BAD"), "searched for"),
        (("explain", "RUN", "BAD", "--method", "dist-cam"), "explained"),
        (("references", "RUN", "add", "BAD"), "added"),
        (("capture", "BAD"), "captured"),
    ],
)
def test_every_verb_ends_alike_where_nothing_worked(
    verb: tuple[str, ...], done: str, run: Run, run_dir: Path, melons: Path, tmp_path: Path
) -> None:
    own = tmp_path / "run"
    shutil.copytree(run_dir, own)
    text, other = tmp_path / "text.jpg", tmp_path / "other.jpg"
    text.write_text("no photo")
    other.write_text("nor this")
    good = melons / "captures/melon-0001/surface.png"
    out = () if verb[0] == "references" else ("-o", tmp_path / "out")

    def ends(*given: Path) -> tuple[int, str]:
        filled = [one if one != "RUN" else own for one in verb if one != "BAD"]
        place = verb.index("BAD")
        status, _, err = run(*filled[:place], *given, *filled[place:], *out)
        return status, err.splitlines()[-1] if err else ""

    status, line = ends(text)
    assert status == 2 and line.startswith("error: ") and "text.jpg" in line
    status, line = ends(text, other)
    assert status == 2 and line.startswith(f"error: none of 2 fruits could be {done}, the first: ")
    if verb[0] != "capture":  # a surface is no fruit to unroll
        assert ends(text, good)[0] == 1


def test_the_same_names_get_their_own_folders(
    run: Run, run_dir: Path, melons: Path, tmp_path: Path
) -> None:
    sources = []
    for folder, name in (("x", "p.png"), ("y", "p.png"), ("z", "P.png"), ("z", "p-2.png")):
        path = tmp_path / folder / name
        path.parent.mkdir(exist_ok=True)
        shutil.copy(melons / "captures/melon-0001/surface.png", path)
        sources.append(path)
    assert run("grade", run_dir, *sources, "-o", tmp_path / "out")[0] == 0
    folders = [path.name for path in (tmp_path / "out").iterdir() if path.is_dir()]
    assert len({name.casefold() for name in folders}) == 4
    written = [
        json.loads(path.read_text())["source"] for path in (tmp_path / "out").rglob("grading.json")
    ]
    assert sorted(written) == sorted(map(str, sources))


@pytest.mark.parametrize("verb", ["grade", "explain"])
def test_nothing_is_written_among_the_frames_of_a_fruit(
    run: Run, verb: str, run_dir: Path, tmp_path: Path
) -> None:
    (tmp_path / "fruit").mkdir()
    for number in range(3):
        Image.new("RGB", (64, 64)).save(tmp_path / f"fruit/im{number}.png")
    for source in (tmp_path, tmp_path / "fruit"):
        outcome = run(verb, run_dir, source, "-o", tmp_path)
        assert_refused(outcome, "fruit holds the frames of a fruit", "give another folder with -o")
    assert [path.name for path in tmp_path.iterdir()] == ["fruit"]


def test_charts_are_not_taken_for_fruit(
    run: Run, run_dir: Path, melons: Path, tmp_path: Path
) -> None:
    """Of what was written below, or by a search beside, the photos."""
    photo = tmp_path / "photo.png"
    shutil.copy(melons / "captures/melon-0001/surface.png", photo)
    assert run("grade", run_dir, tmp_path, "-o", tmp_path / "out")[0] == 0
    methods = ("--method", "activation-map")
    assert run("explain", run_dir, photo, "-o", tmp_path / "why", *methods)[0] == 0
    assert run("search", run_dir, photo, "-o", tmp_path / "alike")[0] == 0
    assert run("search", run_dir, photo.rename(tmp_path / "x.png"), "-o", tmp_path)[0] == 2
    other = shutil.copy(tmp_path / "x.png", tmp_path / "alike/other.png")
    assert len(list(tmp_path.rglob("*.png"))) > 7
    assert find_sources([tmp_path], "surface") == [Path(other), tmp_path / "x.png"]
    # A list of another program's says nothing.
    (tmp_path / "search.json").write_text('{"sheet": "x.png"}', encoding="utf-8")
    assert tmp_path / "x.png" in find_sources([tmp_path], "surface")


def test_evaluate(run: Run, run_dir: Path, melons: Path, tmp_path: Path) -> None:
    status, out, _ = run(
        "evaluate", run_dir, melons, "--split", "test", "-o", tmp_path / "scores", "--json"
    )
    assert status == 0
    scores = json.loads(out)
    written = json.loads((tmp_path / "scores/evaluation.json").read_text(encoding="utf-8"))
    assert written == scores
    grader, dataset = mz.Grader.load(run_dir), mz.load_dataset(melons)
    splits = grader.bundle.data["splits"]
    test = [item for item in dataset if splits[item.id] == "test"]
    assert scores["observations"] == len(test)
    right = [grader.grade(item.image).grade == item.grade for item in test]
    assert scores["grading"]["accuracy"]["value"] == pytest.approx(np.mean(right))
    with Image.open(tmp_path / "scores/confusion.png") as plot:
        assert plot.format == "PNG"
    status, out, _ = run("evaluate", run_dir, melons, "--split", "all", "-o", tmp_path / "all")
    assert status == 0 and str(tmp_path / "all/evaluation.json") in out
    status, out, err = run("evaluate", run_dir, melons, "--split", "calibration")
    assert_refused((status, out, err))
    assert "it has train, val, test" in err


def test_evaluate_takes_fruits_of_one_grade(
    run: Run, run_dir: Path, melons: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "data" / "A" / "fruit"
    folder.parent.mkdir(parents=True)
    shutil.copytree(melons / "captures/melon-0001", folder)
    (folder / "mask.png").unlink(missing_ok=True)
    out = tmp_path / "scores"
    data = tmp_path / "data"
    status, printed, err = run("evaluate", run_dir, data, "--split", "all", "-o", out, "--json")
    assert (status, err) == (0, "")
    assert json.loads(printed)["observations"] == 1


def test_evaluate_refuses_other_grades(run: Run, run_dir: Path, tmp_path: Path) -> None:
    for grade in ("Z1", "Z2"):
        for number in range(2):
            path = tmp_path / "data" / grade / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (16, 16), (number, 9, 9)).save(path)
    status, out, err = run("evaluate", run_dir, tmp_path / "data", "-o", tmp_path / "scores")
    assert_refused((status, out, err))


def test_cross_validation_grades_every_fruit_once(run: Run, melons: Path, tmp_path: Path) -> None:
    arguments = ("cross-validate", melons, "-o", tmp_path / "cv", "--folds", 2, *TINY, "--json")
    status, out, _ = run(*arguments)
    assert status == 0
    scores = json.loads(out)
    assert scores == json.loads((tmp_path / "cv/cross-validation.json").read_text(encoding="utf-8"))
    assert len(scores["folds"]) == 2
    assert sum(fold["observations"] for fold in scores["folds"]) == 28
    assert scores["pooled"]["observations"] == scores["pooled"]["specimens"] == 28
    matrix = sum(np.array(fold["grading"]["confusion_matrix"]) for fold in scores["folds"])
    np.testing.assert_array_equal(matrix, scores["pooled"]["grading"]["confusion_matrix"])
    held_out = []
    for number in range(2):
        record = json.loads((tmp_path / f"cv/fold-{number}/grader.json").read_text())
        held_out.append({i for i, split in record["data"]["splits"].items() if split == "test"})
    assert not held_out[0] & held_out[1] and len(held_out[0] | held_out[1]) == 28


@pytest.mark.parametrize("verb", ["train", "cross-validate"])
def test_faulty_data_are_told_in_one_line_before_pytorch_is_loaded(
    tmp_path: Path, verb: str
) -> None:
    """Whose loading takes seconds."""
    code = "import sys; sys.modules['torch'] = None; from mezoroi.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, verb, "nowhere", "-o", "out"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(mz.__file__).parents[1])},
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    expected = "error: nowhere does not exist: give a folder of grades or a manifest\n"
    assert done.stderr.endswith(expected) and "Traceback" not in done.stderr


def test_a_terminal_that_cannot_write_japanese_is_no_obstacle(tmp_path: Path) -> None:
    code = "from mezoroi.cli import main; main(['make-melons', 'メロン', '--per-grade', '1'])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": "ascii:strict"},
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode("unicode_escape").strip() == "4 melons in メロン"
