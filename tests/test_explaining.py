"""`mezoroi explain`: sheets, maps, and what is said about them."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mezoroi as mz
from mezoroi import cli, explaining
from mezoroi.errors import MezoroiError
from mezoroi.explain import EXPLAINERS
from mezoroi.explainers import choose_explainers, make_explainers
from mezoroi.explaining import explain_to_folder
from mezoroi.report.sheet import Panel, Sheet, contact_sheet_png
from mezoroi.workflow import with_splits_of

PASS = "activation-map,grad-cam,dist-cam"


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        cli.main([str(argument) for argument in arguments])
    return int(stop.value.code)


def test_the_verb_writes_a_sheet_and_raw_maps(
    run_dir: Path, melons: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sources = [melons / "captures" / "melon-0001", melons / "captures" / "melon-0002"]
    assert run("explain", run_dir, *sources, "--method", PASS, "-o", tmp_path, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["methods"] == PASS.split(",")
    found = json.loads((tmp_path / "explain.json").read_text(encoding="utf-8"))
    assert found["results"] == answer["results"]
    assert found["scales"]["activation-map"] == 1
    for result in answer["results"]:
        folder = Path(result["folder"])
        with np.load(folder / "maps.npz") as maps:
            assert sorted(maps) == sorted(PASS.split(","))
            assert {maps[name].shape for name in maps} == {(4, 8)}
        assert Image.open(folder / "methods.png").width > 800
        assert result["map_differs"] in (True, False)


@pytest.mark.parametrize("method", ["occlusion", "grad-cam"])
def test_the_brightest_of_one_fruit_is_as_bright_as_the_scale(
    grader: mz.Grader,
    melons: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
) -> None:
    """Raw maps are finer or coarser than what is shown, and reach beyond a photo's edges."""
    photo = Image.open(melons / "captures" / "melon-0001" / "surface.png").convert("RGB")
    photo.crop((0, 0, photo.width, photo.height // 2)).save(tmp_path / "wide.png")
    seen: list[Sheet] = []
    monkeypatch.setattr(
        explaining, "contact_sheet_png", lambda sheet, language: seen.append(sheet) or b""
    )
    explainers = make_explainers(grader, [method], options={"occlusion": {"patch": 8, "stride": 4}})
    explain_to_folder(grader, [tmp_path / "wide.png"], tmp_path / "out", explainers)
    (panel,) = seen[0].panels
    assert float(panel.values.max()) == pytest.approx(panel.top, rel=1e-5)


def test_a_dataset_brings_the_experts_masks(
    grader: mz.Grader, melons: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = tmp_path / "few"
    rows = (melons / "manifest.csv").read_text(encoding="utf-8").splitlines()
    for line in rows[1:4]:
        name = line.split("/")[1]
        shutil.copytree(melons / "captures" / name, few / "captures" / name)
    (few / "manifest.csv").write_text("\n".join(rows[:4]) + "\n", encoding="utf-8")
    shutil.copy(melons / "standard.yaml", few)
    seen: list[Sheet] = []
    monkeypatch.setattr(
        explaining, "contact_sheet_png", lambda sheet, language: seen.append(sheet) or b""
    )
    explainers = make_explainers(grader, ["activation-map"])
    results = explain_to_folder(grader, [few], tmp_path / "out", explainers, grade="D")
    assert [Path(result.source).name for result in results] == [sheet.name for sheet in seen]
    assert all(sheet.mask is not None and sheet.grade == "D" for sheet in seen)
    assert all(sheet.mask.shape == sheet.photo.shape[:2] for sheet in seen)


def test_a_fruit_that_cannot_be_read_is_listed(
    run_dir: Path, melons: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sources = [melons / "captures" / "melon-0001", tmp_path / "missing.jpg"]
    status = run("explain", run_dir, *sources, "--method", "dist-cam", "-o", tmp_path / "out")
    assert status == 1
    assert "1 explained, 1 failed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--method", "gradcam"), "unknown method `gradcam`"),
        (("--method", "cam"), "use activation-map"),
        (("--method", "adapting-grad-cam"), "give them with --training"),
        (("--method", "lime", "--grade", "C"), "has no place on the surface"),
        (("--method", ","), "no method is named"),
    ],
)
def test_what_does_not_suit_is_one_line(
    run_dir: Path,
    melons: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    source = melons / "captures" / "melon-0001"
    assert run("explain", run_dir, source, "-o", tmp_path / "out", *arguments) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and message in error


def test_all_leaves_out_what_does_not_suit(grader: mz.Grader, dataset: mz.Dataset) -> None:
    explainers, skipped = choose_explainers(grader, "all", dataset, {})
    assert list(explainers) == [name for name in EXPLAINERS if name != "cam"]
    assert len(skipped) == 1 and skipped[0].startswith("cam is left out: ")


def test_a_plain_softmax_grader_has_cam(dataset: mz.Dataset, tiny, tmp_path: Path) -> None:
    config = tiny("model.channels_per_grade=0", "loss.head=softmax", "train.epochs=1")
    grader = mz.train(dataset, config, tmp_path / "plain")
    explainers, skipped = choose_explainers(grader, "all", None, {})
    assert "cam" in explainers
    assert [line.split()[0] for line in skipped] == ["activation-map", "adapting-grad-cam"]


def test_a_fruit_is_not_its_own_nearest_training_fruit(
    grader: mz.Grader, dataset: mz.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mezoroi import explaining

    learning = with_splits_of(grader, dataset)
    taught = [item for item in learning.select("train") if item.grade in "ABD"]
    explainers = make_explainers(grader, ["adapting-grad-cam"], learning)
    bank = explainers["adapting-grad-cam"].bank  # type: ignore[attr-defined]
    assert len(bank.features) == len(taught)  # val, calibration and test teach nothing
    seen = []
    together = explaining.explain_together

    def noted(chosen, image, targets):
        seen.append(chosen["adapting-grad-cam"].bank)
        return together(chosen, image, targets)

    monkeypatch.setattr(explaining, "explain_together", noted)
    other = next(item for item in learning if item.split != "train" and item.grade == "D")
    sources = [item.image.parent for item in (taught[0], other)]
    explain_to_folder(grader, sources, tmp_path, explainers, grade="D")
    assert [len(bank.features) - len(one.features) for one in seen] == [1, 0]
    left = set(bank.contents) - set(seen[0].contents)
    assert len(left) == 1 and explainers["adapting-grad-cam"].bank is bank  # type: ignore[attr-defined]


def test_only_training_fruits_teach(
    run_dir: Path, melons: Path, dataset: mz.Dataset, tmp_path: Path, capsys
) -> None:
    strange = tmp_path / "strange"
    for grade in "ABCD":
        (strange / grade).mkdir(parents=True)
        pixels = np.full((64, 128, 3), 20 + 40 * ord(grade) % 200, np.uint8)
        for number in range(2):
            Image.fromarray(pixels + number).save(strange / grade / f"{number}.png")
    source = melons / "captures" / "melon-0001"
    options = ("--method", "adapting-grad-cam", "-o", tmp_path / "out")
    assert run("explain", run_dir, source, "--training", strange, *options) == 2
    assert "no fruit that the grader was trained with" in capsys.readouterr().err
    assert run("explain", run_dir, source, "--training", melons, *options) == 0


def test_a_sheet_has_one_scale_per_method_and_the_experts_outline() -> None:
    photo = np.full((100, 200, 3), 120, np.uint8)
    faint = Panel("lime", np.full((4, 8), 0.1, np.float32), top=1.0)
    strong = Panel("lime", np.full((4, 8), 0.9, np.float32), top=1.0)
    mask = np.zeros((100, 200), bool)
    mask[20:60, 50:120] = True

    def drawn(panel: Panel, **more: object) -> np.ndarray:
        sheet = Sheet("m", photo, [panel], grade="D", decided="D", **more)  # type: ignore[arg-type]
        return np.asarray(Image.open(io.BytesIO(contact_sheet_png(sheet, "en"))), np.float64)

    one, two = drawn(faint), drawn(strong)
    assert one.shape == two.shape and two.mean() > one.mean() + 1
    marked = drawn(faint, mask=mask)
    assert (np.abs(marked - one).max(axis=2) > 100).sum() > 500
    differing = drawn(faint, map_grade="A")
    assert differing.shape[0] > one.shape[0]


def test_unknown_grade(grader: mz.Grader, melons: Path, tmp_path: Path) -> None:
    with pytest.raises(MezoroiError, match="explain one of A, B, D"):
        explain_to_folder(grader, [melons], tmp_path, {}, grade="Z")
