"""The pieces of `mezoroi bench explain` that need no hours."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import mezoroi as mz
from mezoroi.bench import (
    explain_masks,
    explain_melons,
    explain_own,
    explain_real,
    explain_score,
    explain_speed,
)
from mezoroi.bench import explain_page as explain_page_module
from mezoroi.bench.explain import PARTS, run_explain_bench
from mezoroi.bench.explain_checks import check_method
from mezoroi.bench.explain_own import own_table, score_own_maps
from mezoroi.bench.explain_page import explain_page
from mezoroi.bench.explain_score import (
    Marked,
    false_alarms,
    maps_of,
    marked,
    score_method,
    score_trivial,
)
from mezoroi.bench.ledger import Ledger
from mezoroi.bench.tables import MISSING
from mezoroi.config import Config
from mezoroi.errors import MezoroiError
from mezoroi.explain import create
from mezoroi.explainers import make_explainers
from mezoroi.metrics import (
    best_share,
    best_threshold,
    iou_per_map,
    mask_boxes,
    mean_iou,
    trivial_maps,
)
from mezoroi.workflow import with_splits_of


def test_the_page_says_what_was_not_run(tmp_path: Path) -> None:
    page = explain_page({name: Ledger(tmp_path / f"{name}.jsonl") for name in PARTS})
    assert page.count(MISSING) > 10


def test_the_page_says_what_each_method_reads(grader: mz.Grader) -> None:
    page = explain_page({name: Ledger(Path(f"{name}.jsonl")) for name in PARTS})
    assert "| cam | last stage |" in page and "| dist-cam | feature map |" in page
    read = {"feature map": "encoder", "last stage": "encoder.deep_stages"}
    options = {"dist-cam": {"reference": grader.bundle.prototypes.features}}
    for name in ("grad-cam", "adapting-grad-cam", "dist-cam"):
        explainer = create(name, grader.network, **options.get(name, {}))
        assert explainer._layer == read[explain_melons.LAYERS[name]]  # type: ignore[attr-defined]


def test_an_unknown_part_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MezoroiError, match="unknown part `x`"):
        run_explain_bench("x", tmp_path, tmp_path, tmp_path / "page.md")
    with pytest.raises(MezoroiError, match="has no votes"):
        run_explain_bench("ceiling", tmp_path, tmp_path, tmp_path / "page.md")


def test_the_ceiling_of_experts_who_agree(tmp_path: Path) -> None:
    folder = tmp_path / "soybean_rust" / "votes"
    folder.mkdir(parents=True)
    votes = np.zeros((8, 8), np.uint8)
    votes[:4] = 255
    for name in "ab":
        Image.fromarray(votes).save(folder / f"{name}.png")
    assert run_explain_bench("ceiling", tmp_path, tmp_path, tmp_path / "page.md") == 1
    assert "1.000 (1.000 to 1.000)" in (tmp_path / "page.md").read_text(encoding="utf-8")


def test_maps_are_scored_against_the_masks_of_their_grade(
    grader: mz.Grader, dataset: mz.Dataset
) -> None:
    items = marked(grader, dataset)
    assert set(items.grades) <= {"A", "B", "D"} and items.masks.any(axis=(1, 2)).all()
    explainer = make_explainers(grader, ["activation-map"])["activation-map"]
    maps, milliseconds = maps_of(grader, "activation-map", explainer, items)
    assert maps.shape == items.masks.shape and milliseconds > 0
    right = ([True] * len(items),) * 2
    row = score_method("activation-map", maps, items, maps, items, right)
    assert np.mean(row["iou"]) == pytest.approx(mean_iou(maps, items.masks))
    assert np.mean(row["iou_best"]) >= np.mean(row["iou"]) - 1e-9
    assert len(row["localization_error"]) == len(items)
    few = items.every(4)
    assert list(few.ids) == list(items.ids)[::4] and len(few.images) == len(few.masks)
    trivial = score_trivial(items, few)
    assert trivial["whole image"]["iou"] == pytest.approx(items.masks.mean(axis=(1, 2)).tolist())


def _padded(count: int = 3) -> Marked:
    """Pictures that fill the middle half of the network's input; the mask is their upper half."""
    masks = np.zeros((count, 16, 16), bool)
    masks[:, 4:8] = True
    names = [str(number) for number in range(count)]
    return Marked(
        torch.zeros(count, 3, 16, 16), masks, ["D"] * count, names, names, [(4, 0, 8, 16)] * count
    )


def test_what_lies_beside_a_picture_is_not_scored() -> None:
    items = _padded()
    trivial = score_trivial(items, items)
    assert trivial["whole image"]["iou"] == trivial["whole image"]["mass"] == [0.5] * 3
    blob = trivial_maps((3, 8, 16))["centre blob"]
    assert trivial["centre blob"]["iou"] == iou_per_map(blob, items.masks[:, 4:12]).tolist()
    assert len(set(trivial["random map"]["mass"])) == 3
    # A map of a method that marks all of the picture: what the border has changes nothing.
    for beside in (-9.0, 0.2, 9.0):
        maps = np.full((3, 16, 16), beside, np.float32)
        maps[:, 4:8], maps[:, 8:12] = 3.0, 1.0
        row = score_method("grad-cam", maps, items, maps, items, ([True] * 3,) * 2)
        assert row["iou"] == [1.0] * 3 and row["mass"] == [0.75] * 3
        assert row["localization_error"] == [0.0] * 3 and row["pointing"] == [1.0] * 3
        shown = items.pictures(maps)
        assert false_alarms(shown, shown, items.pictures(items.masks)) == [0.5] * 3


def test_thresholds_of_pictures_are_those_of_whole_planes() -> None:
    """Where pictures fill the input, the scores are the metrics' own."""
    rng = np.random.default_rng(0)
    items = replace(_padded(5), boxes=[(0, 0, 16, 16)] * 5, masks=rng.random((5, 16, 16)) < 0.3)
    maps = (rng.random((5, 16, 16)) + items.masks).astype(np.float32)
    row = score_method("grad-cam", maps, items, maps, items, ([True] * 5,) * 2)
    threshold, value = best_threshold(maps, items.masks, raw=True)
    assert row["threshold"] == threshold and np.mean(row["iou_best"]) == pytest.approx(value)
    assert row["share"] == best_share(maps, mask_boxes(items.masks), [True] * 5)


def test_maps_wait_for_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a GPU has not done yet is not left out of the time."""
    waited: list[object] = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    explain_score._now(torch.device("cpu"))
    assert waited == []
    explain_score._now(torch.device("cuda"))
    assert waited == [torch.device("cuda")]


def test_a_run_of_ones_own_is_scored_against_the_masks_of_its_data(
    run_dir: Path, melons: Path, grader: mz.Grader, dataset: mz.Dataset
) -> None:
    rows, skipped = score_own_maps(run_dir, melons, "activation-map,grad-cam", "train")
    assert skipped == [] and list(rows)[:2] == ["activation-map", "grad-cam"]
    items = marked(grader, with_splits_of(grader, dataset).select("train"))
    explainer = make_explainers(grader, ["activation-map"])["activation-map"]
    maps, _ = maps_of(grader, "activation-map", explainer, items)
    row = rows["activation-map"]
    assert row["count"] == len(items)
    assert row["iou"] == pytest.approx(mean_iou(maps, items.masks))
    assert row["iou_interval"][0] <= row["iou"] <= row["iou_interval"][1]
    assert rows["whole image"]["iou"] == pytest.approx(items.masks.mean(axis=(1, 2)).mean())
    assert set(row["per_grade"]) == set(items.grades) and not any(row["undefined"].values())
    own = [
        mask.mean() for mask, grade in zip(items.masks, items.grades, strict=True) if grade == "D"
    ]
    assert rows["whole image"]["per_grade"]["D"]["iou"] == pytest.approx(np.mean(own))
    assert rows["whole image"]["per_grade"]["D"]["count"] == len(own)
    lines = own_table(rows).splitlines()
    assert f"{row['iou']:.3f}" in lines[1] and f"D ({len(own)})" in lines[len(rows) + 2]
    assert f"{row['per_grade']['D']['iou']:.3f}" in lines[len(rows) + 3]


def test_what_is_undefined_is_counted() -> None:
    items = _padded(4)
    maps = np.full((4, 16, 16), -1.0, np.float32)  # nothing speaks for the grade
    maps[0, 4:8] = 1.0
    scores = score_method("grad-cam", maps, items, maps, items, ([True] * 4,) * 2)
    row = {**explain_own._summary(scores), "milliseconds": 1.0}
    assert row["undefined"]["mass"] == 3 and row["undefined"]["iou"] == 0
    assert row["mass"] == 1 and row["per_grade"]["D"]["mass"] == 1
    assert own_table({"grad-cam": row}).splitlines()[-1] == "undefined of 4, grad-cam: mass 3"


def test_the_page_has_every_grade() -> None:
    cell = {"iou": [0.5, 0.7, 0.1, None], "grades": ["A", "A", "D", "D"]}
    older = {"iou": [0.5, 0.7, 0.1, None]}
    text = explain_page_module._grade_table({"cam": [cell, cell], "lime": [], "lost": [older]})
    assert text.splitlines()[0] == "| mIoU at 0.5 | A | D |"
    assert text.splitlines()[2:] == ["| cam | 0.600 | 0.100 (2 undefined) |"]
    assert explain_page_module._grade_table({"cam": [older]}) == ""


def test_the_page_names_methods_of_fewer_seeds() -> None:
    cell: dict[str, float] = {}
    found = {"cam": [cell] * 3, "lime": [cell], "occlusion": [cell] * 2, "dist-cam": []}
    assert explain_page_module._of_fewer(found, 3) == " (lime of 1, occlusion of 2)"
    assert explain_page_module._of_fewer(found, 1) == ""


def test_data_without_masks_cannot_be_scored(
    run_dir: Path, dataset: mz.Dataset, tmp_path: Path
) -> None:
    for item in dataset:
        folder = tmp_path / "bare" / item.grade
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(item.image, folder / f"{item.specimen}.png")
    with pytest.raises(MezoroiError, match="holds no mask"):
        score_own_maps(run_dir, tmp_path / "bare", "activation-map", "train")
    for item in dataset:  # masks in which nothing is painted
        beside = tmp_path / "bare" / "masks" / item.grade / f"{item.specimen}.png"
        beside.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", Image.open(item.image).size).save(beside)
    with pytest.raises(MezoroiError, match="holds no mask"):
        score_own_maps(run_dir, tmp_path / "bare", "activation-map", "train")


@pytest.mark.parametrize("name", ["dist-cam", "adapting-grad-cam"])
def test_checks_of_a_method(name: str, grader: mz.Grader, dataset: mz.Dataset) -> None:
    learning = dataset.with_splits({item.id: "train" for item in dataset})
    items = marked(grader, dataset)
    explainer = make_explainers(grader, [name], learning)[name]
    maps, _ = maps_of(grader, name, explainer, items)
    before = {key: value.clone() for key, value in grader.network.state_dict().items()}
    checks = check_method(grader, name, learning, items, maps, {})
    assert all(value.equal(before[key]) for key, value in grader.network.state_dict().items())
    assert set(checks) == {"randomised", "noisy", "deletion", "insertion"}
    assert all(len(values) == len(items.every(len(items) // 9)) for values in checks.values())
    for name in ("randomised", "noisy"):
        assert np.nanmin(checks[name]) >= -1 and np.nanmax(checks[name]) <= 1


def test_false_alarms_use_one_scale() -> None:
    masks = np.zeros((2, 4, 4), bool)
    masks[:, 0] = True
    val = np.where(masks, 3.0, -1.0)
    quiet, loud = np.full((1, 4, 4), -1.0), np.full((1, 4, 4), 3.0)
    assert false_alarms(np.concatenate([quiet, loud]), val, masks) == [0.0, 1.0]


def _defects(folder: Path) -> Path:
    """A made-up set in the layout of `magnetic_tile`: dark spots on grey tiles."""
    rng = np.random.default_rng(0)
    lines = ["id,class,group,suggested_split,mask_fraction,width,height"]
    for grade in ("free", "hole", "line"):
        for kind in ("images", "masks"):
            (folder / kind / grade).mkdir(parents=True)
        for number in range(8):
            image = rng.integers(110, 140, (40, 60), np.uint8)
            mask = np.zeros((40, 60), np.uint8)
            if grade == "hole":
                mask[10:20, 20:30] = 255
            if grade == "line":
                mask[25:28] = 255
            image[mask > 0] = 20
            name = f"{grade}-{number}"
            Image.fromarray(image).save(folder / "images" / grade / f"{name}.jpg")
            Image.fromarray(mask).save(folder / "masks" / grade / f"{name}.png")
            split = "test" if number >= 6 else "train"
            lines.append(f"{name},{grade},{name},{split},0,60,40")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def test_a_real_cell(tmp_path: Path, tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    _defects(tmp_path / "magnetic_tile")
    monkeypatch.setattr(explain_real, "SETS", ("magnetic_tile",))
    monkeypatch.setattr(explain_real, "EXPLAINERS", ("activation-map", "cam"))
    config = tiny("train.epochs=1")
    ledger = Ledger(tmp_path / "real.jsonl")
    explain_real.run_real(tmp_path, tmp_path, ledger, config=config)
    assert len(ledger) == 3
    cell = ledger.find(explain_real.real_settings("magnetic_tile", "cam", config))
    assert cell is not None
    assert len(cell["iou"]) == 4 and len(cell["false_alarms"]) == 2
    with pytest.raises(MezoroiError, match="has no labels"):
        explain_real.load_defects(tmp_path)


PER_GRADE = 5


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Work folder of the parts about melons, which make these once."""
    return tmp_path_factory.mktemp("melon-parts")


def test_a_melon_cell(work: Path, tmp_path: Path, tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explain_melons, "EXPLAINERS", ("activation-map", "adapting-grad-cam"))
    monkeypatch.setattr(explain_melons, "REPEATS", (0,))
    config: Config = tiny("train.epochs=1")
    ledger = Ledger(tmp_path / "melons.jsonl")
    explain_melons.run_melons(work, ledger, config=config, per_grade=PER_GRADE)
    assert len(ledger) == 3
    settings = explain_melons.melon_settings("activation-map", 0, config, PER_GRADE)
    cell = ledger.find(settings)
    assert cell is not None and len(cell["iou"]) == 3 and cell["milliseconds"] > 0


def test_a_cell_of_masks_that_teach(
    work: Path, tmp_path: Path, tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explain_masks, "REPEATS", (0,))
    monkeypatch.setattr(explain_masks, "MASKS", (0, 2))
    config: Config = tiny("train.epochs=1")
    ledger = Ledger(tmp_path / "masks.jsonl")
    explain_masks.run_masks(work, ledger, config=config, per_grade=PER_GRADE)
    cells = [ledger.find(explain_masks.masks_settings(n, 0, config, PER_GRADE)) for n in (0, 2)]
    assert all(cell is not None and cell["maps"]["masks"] == 3 for cell in cells)
    settings = [yaml.safe_load(p.read_text()) for p in work.glob("explain-runs/*/config.yaml")]
    assert {one["loss"]["mask_weight"] for one in settings} == {0, 1}
    melons = explain_melons.made_melons(work, PER_GRADE, lambda *_: None)
    split = explain_melons.split_melons(melons, PER_GRADE, 0)
    few = explain_masks.with_few_masks(split, 2, 0)
    kept = Counter((o.split, o.grade) for o in few if o.mask is not None)
    assert {kept["train", grade] for grade in "ABD"} == {2} and kept["val", "A"] == 0
    assert [o.mask for o in few.select("test")] == [o.mask for o in split.select("test")]


def test_the_speed_part_measures_against_the_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("captum.attr")
    pytest.importorskip("pytorch_grad_cam")
    monkeypatch.setattr(explain_speed, "ROUNDS", 1)
    image = explain_speed.torch.from_numpy(explain_speed._picture(7)).permute(2, 0, 1)[None]
    times = explain_speed._cams(explain_speed._network(), image.float())
    assert times["activation-map ms"] > 0 and times["peer grad-cam ms"] > 0
