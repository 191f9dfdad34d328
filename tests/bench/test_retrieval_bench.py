"""The retrieval bench on a few made-up pictures: it runs, resumes and renders its page."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import faiss
import numpy as np
import pytest
import torch
from PIL import Image

from mezoroi import MezoroiError
from mezoroi.bench import (
    retrieval_data,
    retrieval_million,
    retrieval_page,
    retrieval_speed,
    retrieval_tables,
    retrieval_trained,
)
from mezoroi.bench.ledger import Ledger
from mezoroi.bench.retrieval import PARTS, run_retrieval_bench
from mezoroi.bench.retrieval_data import (
    PACKAGED,
    Backbone,
    Pictures,
    features_of,
    fruit_rotation,
    grocery,
    on_clutter,
)
from mezoroi.models import MultiLayerFeatures, feature_tuner
from mezoroi.models.feature_tuner import Schedule
from mezoroi.models.multi_layer import one_layer
from mezoroi.retrieval import ReferenceIndex

VIEWS = 12


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six instances of 12 views on black, and produce of 2 kinds."""
    root = tmp_path_factory.mktemp("shared")
    rng = np.random.default_rng(0)
    for number in range(6):
        folder = root / f"fruit_rotation/kind/obj{number:04d}"
        folder.mkdir(parents=True)
        colour = rng.integers(60, 255, 3)
        for view in range(VIEWS):
            picture = np.zeros((40, 40, 3), np.uint8)
            picture[5:35, 5:35] = colour
            picture[5:35, 5 + 2 * view : 8 + 2 * view] = 255 - colour
            Image.fromarray(picture).save(folder / f"im{view:02d}.png")
    lines = ["path,label,class,coarse_class,split"]
    for kind in ("Apple", "Lime"):
        for split in ("train", "test"):
            for number in range(3):
                path = root / f"grocery_produce20/{split}/{kind}/{number}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                noise = rng.integers(0, 256, (48, 48, 3), dtype=np.uint8)
                Image.fromarray(noise).save(path)
                relative = path.relative_to(root / "grocery_produce20").as_posix()
                lines.append(f"{relative},0,{kind},fruit,{split}")
        icon = root / f"grocery_produce20/iconic/{kind}.jpg"
        icon.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (48, 48, 3), dtype=np.uint8)).save(icon)
    (root / "grocery_produce20/labels.csv").write_text("\n".join(lines), encoding="utf-8")
    return root


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieval_tables, "SCHEDULE", "quick")
    monkeypatch.setattr(retrieval_tables, "SEEDS", (0, 1))
    monkeypatch.setattr(retrieval_data, "SIDE", 64)
    monkeypatch.setattr(feature_tuner, "_HIDDEN", 16)
    monkeypatch.setitem(feature_tuner.SCHEDULES, "quick", Schedule(2, (1,)))
    monkeypatch.setattr(retrieval_trained, "BUDGET", Schedule(1, ()))
    monkeypatch.setattr(retrieval_trained, "SHORT", Schedule(1, (), batch_size=16))
    monkeypatch.setattr(retrieval_speed, "SIZES", (50,))
    monkeypatch.setattr(retrieval_speed, "_ROUNDS", 2)
    monkeypatch.setattr(retrieval_speed, "_SINGLES", 3)


def test_tables_run_once_and_fill_the_page(shared: Path, tmp_path: Path, small: None) -> None:
    def run(part: str) -> str:
        run_retrieval_bench(
            part,
            shared / "fruit_rotation",
            shared / "grocery_produce20",
            tmp_path,
            tmp_path / "page.md",
        )
        return (tmp_path / "page.md").read_text(encoding="utf-8")

    empty = run("page")
    assert "not run yet" in empty
    run("tables")
    page = run("grocery")
    sections = page.split("\n## ")
    assert ["not run yet" in section for section in sections] == [
        *(False, False, True, True, False, False, False),
        *(True, True),
    ]
    before = [path.read_bytes() for path in sorted(tmp_path.glob("ledger/*.jsonl"))]
    run("tables")
    assert [path.read_bytes() for path in sorted(tmp_path.glob("ledger/*.jsonl"))] == before
    with pytest.raises(MezoroiError, match="unknown part"):
        run("half")
    assert set(PARTS) == {"tables", "trained", "short", "grocery", "speed", "million"}


def test_another_backbone_has_features_and_cells_of_its_own(
    shared: Path, tmp_path: Path, small: None
) -> None:
    resnet = Backbone("resnet18", "none")
    paths = fruit_rotation(shared / "fruit_rotation").paths[:2]
    found = [
        features_of("fruit", paths, backbone.extractor(), tmp_path, backbone).shape
        for backbone in (PACKAGED, resnet, PACKAGED, resnet)
    ]
    assert found == [(2, 1776), (2, 1472)] * 2
    assert len(list((tmp_path / "features").iterdir())) == 2
    # Cells of the default backbone keep the settings they have in ledgers.
    assert retrieval_tables.layer_settings("GAP", PACKAGED) == {
        "bench": "retrieval",
        "layer": "GAP",
        "weights": "package",
    }
    own = retrieval_tables.table_settings("GAP", "as published", "-", 0, resnet)
    assert (own["backbone"], own["weights"]) == ("resnet18", "none")
    page = retrieval_page.retrieval_page(
        {part: Ledger(tmp_path / f"{part}.jsonl") for part in PARTS}, resnet
    )
    assert "The backbone is `resnet18` with the weights `none`" in page


def test_trained_backbones_fill_their_section(
    shared: Path, tmp_path: Path, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrieval_tables, "PROTOCOLS", (retrieval_tables.OTHER_FRUIT,))
    fruit, page = shared / "fruit_rotation", tmp_path / "page.md"
    for _ in range(2):
        count = run_retrieval_bench("trained", fruit, shared / "grocery_produce20", tmp_path, page)
        assert count == 2 * (2 * 9 + 1)  # seeds, losses, kinds of features, and colours
    section = page.read_text(encoding="utf-8").split("\n## ")[2]
    assert section.startswith("Feature kinds, backbone trained")
    assert "not run yet" not in section.split("### Single layers")[0]
    assert section.count("| mean colour | - |") == 1


def test_briefly_trained_backbones_have_cells_of_their_own(
    shared: Path, tmp_path: Path, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    fruit, page = shared / "fruit_rotation", tmp_path / "page.md"
    followed: list[Schedule] = []
    follow = feature_tuner.follow
    monkeypatch.setattr(
        retrieval_trained, "follow", lambda *what: followed.append(what[0]) or follow(*what)
    )
    for _ in range(2):
        count = run_retrieval_bench("short", fruit, shared / "grocery_produce20", tmp_path, page)
        assert count == 2 * 2 * 5  # seeds, losses, kinds of features
    short = retrieval_trained.SHORT
    assert followed == [short] * 4 and short != retrieval_trained.BUDGET
    for line in (tmp_path / "ledger/page-short.jsonl").read_text(encoding="utf-8").splitlines():
        assert json.loads(line)["settings"]["backbone trained"] == asdict(short) | {
            "drops": list(short.drops)
        }
    sections = page.read_text(encoding="utf-8").split("\n## ")
    assert "not run yet" in sections[2]
    assert sections[3].startswith("Feature kinds, backbone briefly trained")
    assert "not run yet" not in sections[3]


def test_mean_colours_are_scored_as_they_are(shared: Path, tmp_path: Path, small: None) -> None:
    """Six fruits of a colour each: nothing is easier, and nothing harder where all are grey."""
    pictures = fruit_rotation(shared / "fruit_rotation")
    pixels = retrieval_trained._pixels(pictures.paths)
    found = []
    for name, shown in (("own", pixels), ("grey", torch.full_like(pixels, 99))):
        ledger = Ledger(tmp_path / f"{name}.jsonl")
        retrieval_trained.run_colours(pictures, shown, ledger)
        settings = retrieval_trained.colour_settings(retrieval_tables.PUBLISHED, 0)
        found.append(ledger.find(settings)["map"])  # type: ignore[index]
    assert found[0] > 0.9 > 0.5 > found[1]


@pytest.mark.parametrize(
    ("backbone", "loss"),
    [(PACKAGED, "cosface"), (Backbone("resnet18", "none"), "softmax")],
)
def test_a_backbone_learns_the_fruits_behind_stride_8(
    shared: Path, small: None, backbone: Backbone, loss: str
) -> None:
    pictures = fruit_rotation(shared / "fruit_rotation")
    chosen = np.flatnonzero(pictures.views < 6)
    pixels = retrieval_trained._pixels([pictures.paths[n] for n in chosen])
    assert (pixels.dtype, pixels.shape) == (torch.uint8, (36, 3, 64, 64))

    def train() -> tuple[list[float], MultiLayerFeatures]:
        extractor = Backbone(backbone.name, backbone.weights).extractor()
        if backbone.weights == "none":
            extractor.network.load_state_dict(first)
        schedule = Schedule(6, (5,), batch_size=7)  # 35 pictures and one
        labels = pictures.labels[chosen] + 10
        losses = retrieval_trained.train_backbone(extractor, pixels, labels, loss, 3, schedule)
        return losses, extractor

    with torch.random.fork_rng():
        torch.manual_seed(0)
        extractor = backbone.extractor()
    first = {name: values.clone() for name, values in extractor.network.state_dict().items()}
    losses, trained = train()
    assert losses[-1] < 0.95 * losses[0]
    assert not trained.network.training
    again, _ = train()
    assert again == losses
    prepared = extractor.prepare(pixels / 255)
    with torch.inference_mode():
        before, after = extractor.eval()(prepared), trained(prepared)
    for layer in ("conv2", "conv3"):
        torch.testing.assert_close(
            one_layer(after, trained.dims, layer), one_layer(before, extractor.dims, layer)
        )
    for layer in ("conv4", "conv5", "GAP"):
        assert not torch.allclose(
            one_layer(after, trained.dims, layer), one_layer(before, extractor.dims, layer)
        )


def test_a_backbone_with_branches_is_not_cut(shared: Path, small: None) -> None:
    extractor = Backbone("hrnet_w18_small", "none").extractor()
    pixels = torch.zeros(4, 3, 64, 64, dtype=torch.uint8)
    with pytest.raises(MezoroiError, match="no chain of stages"):
        retrieval_trained.train_backbone(extractor, pixels, np.arange(4), "softmax", 0)


def test_protocols_keep_learning_and_testing_apart(shared: Path) -> None:
    pictures = fruit_rotation(shared / "fruit_rotation")
    assert (len(pictures.labels), set(pictures.labels)) == (72, set(range(6)))
    for seed in retrieval_tables.SEEDS:
        learning, testing = retrieval_tables.split_of(pictures, retrieval_tables.OTHER_VIEWS, seed)
        assert not (learning & testing).any()
        assert set(pictures.labels[learning]) == set(pictures.labels[testing])
        learning, testing = retrieval_tables.split_of(pictures, retrieval_tables.OTHER_FRUIT, seed)
        assert not set(pictures.labels[learning]) & set(pictures.labels[testing])
    four = pictures.evenly_spaced(np.ones(72, bool))
    assert np.bincount(pictures.labels[four]).tolist() == [4] * 6
    assert pictures.views[four & (pictures.labels == 0)].tolist() == [0, 3, 6, 9]


def test_produce_is_read_by_split(shared: Path) -> None:
    tests: Pictures = grocery(shared / "grocery_produce20", "test")
    icons = grocery(shared / "grocery_produce20", "iconic")
    assert tests.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert [path.stem for path in icons.paths] == ["Apple", "Lime"]


def test_clutter_is_around_the_fruit_alone() -> None:
    fruit = np.zeros((60, 40, 3), np.uint8)
    fruit[10:50, 5:35] = (200, 120, 40)
    behind = np.full((100, 100, 3), 77, np.uint8)
    picture, rows, columns = on_clutter(fruit, behind, 3)
    box = picture[rows, columns]
    assert (box[len(box) // 2, box.shape[1] // 2] == (200, 120, 40)).all()
    outside = picture.copy()
    outside[rows, columns] = 77
    assert (outside == 77).all()
    np.testing.assert_array_equal(on_clutter(fruit, behind, 3)[0], picture)


def test_speed_of_the_index(tmp_path: Path, small: None) -> None:
    found = retrieval_speed._index_speed(tmp_path, 50)
    assert all(value > 0 for value in found.values())
    ledger = Ledger(tmp_path / "speed.jsonl")
    ledger.compute(retrieval_speed.index_settings(50), lambda: found)
    section = retrieval_page._speed_section(ledger)
    head, line, row = (text.count("|") for text in section.splitlines() if text.startswith("|"))
    assert head == line == row
    assert f"{found['search_to_same']:.2f} x" in section


def test_the_peer_of_the_index_gives_its_answer(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(60, retrieval_speed.DIM)).astype(np.float32)
    ids = [f"果実-{number}" for number in range(60)]
    retrieval_speed._same_load(ids, vectors, tmp_path / "same.faiss")
    kept = json.loads((tmp_path / "same.json").read_text(encoding="utf-8"))
    peer = faiss.read_index(str(tmp_path / "same.faiss"))
    place = tmp_path / "ours.sqlite"
    assert retrieval_speed._load(place, ids, vectors) > 0
    with ReferenceIndex.open(place) as index:
        found, similarity = index.search(3 * vectors[:5], retrieval_speed.K)
    names, cosines = retrieval_speed._same_search(peer, kept)(3 * vectors[:5])
    assert names == found
    np.testing.assert_allclose(cosines, similarity, atol=1e-6)


def test_a_small_million(shared: Path, tmp_path: Path, small: None) -> None:
    ledger = Ledger(tmp_path / "million.jsonl")
    retrieval_million.run_million(
        shared / "fruit_rotation",
        shared / "grocery_produce20",
        tmp_path,
        ledger,
        PACKAGED,
        count=2000,
    )
    for kind in retrieval_million.KINDS:
        cell = ledger.find(retrieval_million.million_settings(kind, 2000))
        assert cell is not None
        assert cell["recall_at_10"] > 0.99
        assert cell["kind"] == "exact"
    assert not (tmp_path / "million").exists()
