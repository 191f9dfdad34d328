"""The parts bench on a few made-up photos: it runs, resumes and renders its page."""

from __future__ import annotations

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from mezoroi import MezoroiError, load_dataset
from mezoroi.bench import parts_boxes, parts_cells, parts_speed
from mezoroi.bench.cells import Arm
from mezoroi.bench.ledger import Ledger
from mezoroi.bench.parts import run_parts_bench
from mezoroi.config import Config
from mezoroi.models import InputSize
from mezoroi.presets import make_config
from mezoroi.training import GradingData


def fruit(rng: np.random.Generator, colour: tuple[int, int, int], back: int) -> np.ndarray:
    image = np.full((64, 64, 3), back, np.uint8)
    centre = tuple(int(place) for place in rng.integers(26, 38, 2))
    cv2.circle(image, centre, 16, colour, -1)
    return image


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Produce of 3 kinds, and tomatoes of 2 grades on white."""
    root = tmp_path_factory.mktemp("shared")
    rng = np.random.default_rng(0)
    colours = {"Apple": (200, 40, 40), "Lime": (60, 180, 60), "Plum": (90, 40, 120)}
    lines, rows = ["path,label,class,coarse_class,split"], ["image,grade,specimen,split"]
    for kind, colour in colours.items():
        for split, count in (("train", 6), ("val", 2), ("test", 3)):
            for number in range(count):
                name = f"{split}/{kind}/{number}.png"
                path = root / "produce" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(fruit(rng, colour, 90)).save(path)
                lines.append(f"{name},0,{kind},fruit,{split}")
                tomato = root / "fgrade4" / f"{split}-{kind}-{number}.png"
                tomato.parent.mkdir(exist_ok=True)
                Image.fromarray(fruit(rng, colour, 255)).save(tomato)
                rows.append(f"{tomato.name},{kind[0]},{tomato.stem},{split}")
    (root / "produce/labels.csv").write_text("\n".join(lines), encoding="utf-8")
    (root / "fgrade4/manifest.csv").write_text("\n".join(rows), encoding="utf-8")
    return root


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    small = ("input.height=64", "model.channels_per_grade=0", "model.embedding_dim=8")
    quick = ("loss.head=softmax", "train.epochs=2", "train.cached_views=1", "train.batch_size=6")
    parts = ("parts.start=1", "parts.negatives=4")
    monkeypatch.setattr(parts_cells, "BUDGET", (*small, *quick, *parts))
    monkeypatch.setattr(parts_cells, "SEEDS", (0,))
    monkeypatch.setattr(parts_cells, "ARMS", (parts_cells.PLAIN, parts_cells.ADAPTIVE))
    compared = (parts_cells.CONVENTIONAL, parts_cells.REMEDIES[4])
    monkeypatch.setattr(parts_cells, "REMEDIES", compared)
    monkeypatch.setattr(parts_cells, "FOLDS", 2)
    monkeypatch.setattr(parts_boxes, "BUDGET", (*small, *quick, *parts))
    monkeypatch.setattr(parts_boxes, "COUNT", 16)
    monkeypatch.setattr(parts_boxes, "SIDE", 64)
    monkeypatch.setattr(parts_boxes, "WAYS", {"common object, k-means": {}})
    monkeypatch.setattr(parts_speed, "EPOCHS", 4)


def run(part: str, shared: Path, work: Path) -> str:
    manifest = shared / "fgrade4/manifest.csv"
    run_parts_bench(part, shared / "produce", manifest, work, work / "page.md")
    return (work / "page.md").read_text(encoding="utf-8")


def test_losses_run_once_and_fill_their_table(shared: Path, tmp_path: Path, small: None) -> None:
    assert "not run yet" in run("page", shared, tmp_path)
    page = run("produce", shared, tmp_path)
    table = page.split("## Real tomatoes")[0]
    table = table.split("## Remedies")[0]
    assert table.count("not run yet") == 6  # differences to arms that are left out here
    assert f"| {parts_cells.ADAPTIVE.name} | " in table
    before = (tmp_path / "ledger" / "page-produce.jsonl").read_bytes()
    assert len(before.splitlines()) == 2
    run("produce", shared, tmp_path)
    assert (tmp_path / "ledger" / "page-produce.jsonl").read_bytes() == before
    cell = Ledger(tmp_path / "ledger" / "page-produce.jsonl").find(
        parts_cells.cell_settings("produce", parts_cells.ADAPTIVE, 0)
    )
    assert cell is not None
    # One epoch plain, one with half positive sets (3 images) and half negative ones (4).
    assert cell["images_per_observation"] == pytest.approx((1 + 3.5) / 2, abs=0.1)
    assert len(cell["truth"]) == len(cell["given"]) == 9 and len(cell["m1"]) == 4
    with pytest.raises(MezoroiError, match="unknown part"):
        run("half", shared, tmp_path)
    assert list((tmp_path / "runs").iterdir()) == []


def test_remedies_are_compared_by_folds_without_the_test_split(
    shared: Path, tmp_path: Path, small: None
) -> None:
    page = run("remedies", shared, tmp_path)
    lines = (tmp_path / "ledger" / "page-remedies.jsonl").read_text(encoding="utf-8").splitlines()
    results = [json.loads(line)["result"] for line in lines]
    assert len(results) == 4  # two arms in two folds
    scored = {Path(name).parts[0] for result in results for name in result["specimens"]}
    assert scored == {"train", "val"}
    assert sum(len(result["truth"]) for result in results) == 2 * 24  # each of 3 x 8 once per arm
    rows = page.split("## Remedies")[1].split("## Real tomatoes")[0]
    assert re.search(r"conventional pairwise loss \| \d+\.\d\d \|  \|", rows)
    assert re.search(r"alpha 2 \| \d+\.\d\d \| [+-]\d+\.\d\d points", rows)


def test_folds_are_cut_in_the_order_of_the_pictures(shared: Path) -> None:
    folds = parts_cells.produce_folds(shared / "produce")
    held_out = [
        {row.id for row in fold if row.split == "val" and row.grade == "Lime"}
        for fold in folds.values()
    ]
    names = [f"train/Lime/{n}.png" for n in range(6)] + [f"val/Lime/{n}.png" for n in range(2)]
    assert held_out == [set(names[:3]), set(names[3:6]), set(names[6:])]
    assert all(len(fold) == 24 for fold in folds.values())


def test_the_other_tables_share_cells_with_the_first(
    shared: Path, tmp_path: Path, small: None
) -> None:
    same = parts_cells.cell_settings("produce", parts_cells.ADAPTIVE, 0)
    ratio = next(arm for arm in parts_cells.RATIO_ARMS if arm.name == "ratio 1:1")
    assert parts_cells.cell_settings("produce", ratio, 0) == same
    assert parts_cells.cell_settings("produce", parts_cells.RATIO_ARMS[0], 0) != same
    page = run("truebox", shared, tmp_path)
    section = page.split("## The object's box")[1].split("## Boxes")[0]
    assert "not run yet" not in section
    assert len(Ledger(tmp_path / "ledger" / "page-truebox.jsonl")) == 3


def test_boxes_of_melons(shared: Path, tmp_path: Path, small: None) -> None:
    page = run("boxes", shared, tmp_path)
    section = page.split("## Boxes of parts")[1].split("## Throughput")[0]
    assert "not run yet" not in section
    ledger = Ledger(tmp_path / "ledger" / "page-boxes.jsonl")
    known = ledger.find(parts_boxes.box_settings(parts_boxes.KNOWN))
    assert known is not None
    assert known["object"] == pytest.approx(1, abs=0.02) and known["inside"] > 0.8
    assert all(0 <= known[key] <= 1 for key in ("mostly_inside", "overlap", "covered"))
    pictures = sorted(path.name for path in tmp_path.glob("parts-*.png"))
    assert pictures == [
        "parts-common-object-k-means.png",
        "parts-known-object-k-means.png",
    ]


def test_throughput(shared: Path, tmp_path: Path, small: None) -> None:
    page = run("throughput", shared, tmp_path)
    assert "not run yet" not in page.split("## Throughput")[1]
    ledger = Ledger(tmp_path / "ledger" / "page-throughput.jsonl")
    for arm, images in (
        (parts_cells.PLAIN, 1),
        (parts_cells.CUTMIX, 1),
        (parts_cells.ADAPTIVE, 3.5),
    ):
        cell = ledger.find(parts_speed.speed_settings(arm))
        assert cell is not None
        assert cell["images_per_observation"] == pytest.approx(images, abs=0.15)


def test_known_boxes_follow_the_views(shared: Path) -> None:
    dataset = load_dataset(shared / "fgrade4/manifest.csv")
    config: Config = make_config("tiny", overrides=["train.cached_views=3", "train.batch_size=5"])
    size = InputSize(64, 64, False)
    from mezoroi.bundle import build_network

    network, _ = build_network(dataset.standard, config, 0, False, "none")
    data = GradingData(dataset.select("train"), dataset.select("val"), network, size, config)
    seen: list[torch.Tensor] = []
    prepare = network.prepare
    network.prepare = lambda images: seen.append(images) or prepare(images)  # type: ignore
    data.setup("fit")
    boxes = parts_boxes.boxes_on_white(data)
    assert boxes.shape == (3, 18, 4)
    # The views as the network saw them: batches of five images, three views each.
    batches = [seen[n : n + 3] for n in range(0, 12, 3)]
    for view in range(3):
        images = torch.cat([batch[view] for batch in batches])
        dark = images.amin(dim=1) < 0.7 * images.amax(dim=(1, 2, 3))[:, None, None]
        found = torch.from_numpy(parts_boxes.mask_boxes(dark.numpy())).float() / 64
        assert (found - boxes[view]).abs().max() < 0.06


def test_remedies_weigh_pairs_more_for_either_loss() -> None:
    weights = {
        (config.loss.pairwise, config.loss.classification_share)
        for config in (parts_cells.arm_config(arm, 0) for arm in parts_cells.REMEDIES)
    }
    assert {("conventional", 0.25), ("adaptive", 0.25)} <= weights


def test_arms_of_the_ablation() -> None:
    def loss(arm: Arm) -> tuple[str, str, float | None]:
        config = parts_cells.arm_config(arm, 0)
        return config.augment, config.loss.pairwise, config.loss.pairwise_margin

    assert loss(parts_cells.PLAIN) == ("none", "none", None)
    assert loss(parts_cells.CUTMIX) == ("cutmix", "none", None)
    by_hand = parts_cells.MARGIN
    assert loss(parts_cells.CONVENTIONAL) == ("part-cutmix", "conventional", by_hand)
    assert loss(parts_cells.CONVENTIONAL_ADAPTIVE) == ("part-cutmix", "conventional", None)
    assert loss(parts_cells.PROPOSED) == ("part-cutmix", "adaptive", by_hand)
    assert loss(parts_cells.ADAPTIVE) == ("part-cutmix", "adaptive", None)
