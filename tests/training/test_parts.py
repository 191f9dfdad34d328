"""Training with mixed images: what is learned from, what is left alone, and resuming."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import mezoroi as mz
from mezoroi.datasets import complete_splits
from mezoroi.explain import create
from mezoroi.losses import make_head
from mezoroi.losses.heads import losses_by_image, shared_losses
from mezoroi.losses.pairwise import negative_distances
from mezoroi.training import GradingData, GradingModule, finished_epochs
from mezoroi.training.mixing import (
    Parts,
    classification_loss,
    hidden_margin,
    pairwise_loss,
    set_embeddings,
    with_margin,
    without_margin,
)
from mezoroi.training.parts import class_maps, feature_maps, find_margins, fit_locator, locate
from tests.training.discs import Make, assembled, first_batch, make_discs, seeded

ADAPTIVE = ("augment=part-cutmix", "loss.pairwise=adaptive", "parts.negatives=10")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_discs(tmp_path_factory.mktemp("discs"))


@pytest.fixture(params=["cached", "fresh"])
def melon_parts(
    request: pytest.FixtureRequest, dataset: mz.Dataset, tiny: Make
) -> tuple[GradingModule, GradingData]:
    views = 2 if request.param == "cached" else 0
    module, data = assembled(dataset, tiny(*ADAPTIVE, f"train.cached_views={views}"), wraps=True)
    boxes, _ = locate(fit_locator(module, data))
    module.parts = Parts(data, boxes, None)
    return module, data


def with_loss(module: GradingModule, **changes: object) -> None:
    """Give the module other settings of its losses."""
    loss = module.config.loss.model_copy(update=changes)
    module.config = module.config.model_copy(update={"loss": loss})


def test_a_mixed_batch_holds_what_its_labels_say(
    melon_parts: tuple[GradingModule, GradingData], dataset: mz.Dataset
) -> None:
    module, data = melon_parts
    assert module.parts is not None
    assert module.parts.boxes.shape == (data.train_views, len(data.train_images), 4, 4)
    batch = first_batch(data)
    kept = {name: values.clone() for name, values in batch.items()}
    mixed = module.mix_parts(batch, seeded(0))
    assert mixed is not None and mixed.sets is not None
    assert all(torch.equal(batch[name], kept[name]) for name in kept)
    sets, count = mixed.sets, len(batch["labels"])
    name = "hidden" if "hidden" in batch else "images"
    total = count + 2 * len(sets) + int((~sets.positive).sum())
    assert len(mixed.batch[name]) == len(mixed.batch["outlines"]) == len(mixed.labels) == total
    assert torch.equal(mixed.batch[name][:count], batch[name])
    np.testing.assert_allclose(mixed.shares.sum(dim=1), 1, atol=1e-6)
    labels = data.train_images.labels
    outline_grade = dataset.standard.grades.index("C")
    # Fruits judged on their outline are whole, and lend nothing.
    assert outline_grade not in labels[sets.refs]
    assert outline_grade not in labels[sets.first] and outline_grade not in labels[sets.second]
    one = slice(count, count + len(sets))
    two = slice(count + len(sets), count + 2 * len(sets))
    for rows, lenders in ((one, sets.first[:, None]), (two, sets.second)):
        assert torch.equal(mixed.batch["outlines"][rows], batch["outlines"][sets.rows])
        assert torch.equal(mixed.labels[rows, 0], labels[sets.refs])
        assert torch.equal(mixed.labels[rows, 1 : 1 + lenders.shape[1]], labels[lenders])
        changed = mixed.batch[name][rows] != batch[name][sets.rows]
        assert changed.flatten(1).any(dim=1).all()
    same = (mixed.labels == mixed.labels[:, :1]).all(dim=1)
    assert same[one][sets.positive].all() and not same[one][~sets.positive].any()
    assert mixed.whole.sum() == count and mixed.taught.sum() == count + 2 * len(sets)


@pytest.mark.parametrize("melon_parts", ["cached"], indirect=True)
def test_margins_of_hidden_panoramas_repeat_the_other_side(
    melon_parts: tuple[GradingModule, GradingData],
) -> None:
    module, data = melon_parts
    batch = first_batch(data)
    margin = hidden_margin(batch["hidden"], module.model, 128)
    # A pixel's margin of 32 at stride 8.
    assert margin == 4 and batch["hidden"].shape[3] == 16 + 8
    inner = without_margin(batch["hidden"], margin)
    mixed = module.mix_parts(batch, seeded(0))
    assert mixed is not None
    made = mixed.batch["hidden"][len(batch["labels"]) : -1]
    assert torch.equal(with_margin(without_margin(made, margin), margin)[:4], made[:4])
    # The frozen stages see only what is near, so that the margins are nearly those of the inside.
    rebuilt = with_margin(inner, margin)
    core = (rebuilt - batch["hidden"])[..., 2:-2].abs().mean()
    assert core < 0.1 * batch["hidden"].abs().mean()


@pytest.mark.parametrize("kind", ["adaptive", "conventional"])
@pytest.mark.parametrize("margin", [None, 1.2])
def test_the_pairwise_loss_of_a_batch_is_that_of_its_sets(
    melon_parts: tuple[GradingModule, GradingData], kind: str, margin: float | None
) -> None:
    module, data = melon_parts
    with_loss(module, pairwise=kind, pairwise_margin=margin)
    margins = find_margins(module, 1)
    if margin is not None:
        assert margins.m1.tolist() == pytest.approx([margin] * 4)
    mixed = module.mix_parts(first_batch(data), seeded(1))
    assert mixed is not None and mixed.sets is not None
    generator = seeded(3)
    embedding = torch.randn(len(mixed.labels), 16, generator=generator)
    embedding = torch.nn.functional.normalize(embedding, dim=1)
    ref, one, two, complete = (
        values.double().numpy() for values in set_embeddings(embedding, mixed)
    )
    m1, m2 = margins.m1.double().numpy(), margins.m2.double().numpy()
    totals, number = [], 0
    for row, positive in enumerate(mixed.sets.positive.tolist()):
        d = [np.linalg.norm(a[row] - b[row]) for a, b in ((ref, one), (ref, two), (one, two))]
        if positive:
            totals.append(sum(d))
            continue
        upper = 1 if kind == "adaptive" else 0
        between = sum(max(0, m1[n] - d[n]) + upper * max(0, d[n] - m2[n]) for n in range(3))
        away = np.linalg.norm(ref[row] - complete[number])
        totals.append(between + max(0, m1[3] - away))
        number += 1
    found = pairwise_loss(embedding, mixed, margins, module.config)
    assert found.item() == pytest.approx(np.mean(totals), rel=1e-5)


def test_distances_as_they_are(melon_parts: tuple[GradingModule, GradingData]) -> None:
    module, _ = melon_parts
    embedding = 3 * torch.randn(5, module.model.surface_dim + 2, generator=seeded(0))
    with_loss(module, pairwise="adaptive")
    lengths = module.comparable(embedding).norm(dim=1)
    assert lengths.tolist() == pytest.approx([1.0] * 5)
    unit = find_margins(module, 1)
    with_loss(module, pairwise="adaptive", pairwise_distance="raw")
    assert torch.equal(module.comparable(embedding), embedding[:, : module.model.surface_dim])
    raw = find_margins(module, 1)
    assert bool((raw.m1 > 2).any()) and bool((unit.m1 <= 2).all())


def test_margins_are_those_of_generated_negatives(
    melon_parts: tuple[GradingModule, GradingData],
) -> None:
    module, _ = melon_parts
    before = {name: value.clone() for name, value in module.state_dict().items()}
    margins = find_margins(module, 1)
    assert margins.m1.shape == (4,) and margins.m2.shape == (3,)
    assert bool((margins.m2 > margins.m1[:3]).all()) and bool((margins.m1 > 0).all())
    # Another fruit is farther away than one of which parts came over.
    assert margins.m1[:2].max() < margins.m1[3]
    again, later = find_margins(module, 1), find_margins(module, 2)
    assert torch.equal(margins.m1, again.m1) and not torch.equal(margins.m1, later.m1)
    after = module.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert negative_distances(*(torch.rand(3, 2) for _ in range(4))).shape == (3, 4)


def test_mixed_images_cost_nothing_of_the_class_channels(
    melon_parts: tuple[GradingModule, GradingData],
) -> None:
    module, data = melon_parts
    batch = first_batch(data)
    with_loss(module, pairwise="none", swap_tile=0)
    mixed = module.mix_parts(batch, seeded(0))
    assert mixed is not None
    loss = module.mixed_losses(mixed, 0)
    with torch.no_grad():
        output = module.run(mixed.batch)
        taught = mixed.taught
        head = shared_losses(
            module.head, output.embedding[taught], mixed.labels[taught], mixed.shares[taught]
        )
        whole = module.run(batch)
        channels = module._mutual_channel_loss(whole, batch["labels"])
    assert loss.item() == pytest.approx((head.mean() + channels).item(), rel=1e-4)


def test_equation_17_weighs_grades_against_pairs_on_tiles_that_stay(
    melon_parts: tuple[GradingModule, GradingData],
) -> None:
    module, data = melon_parts
    with_loss(module, classification_share=0.2, swap_tile=2, swap_share=1.0)
    assert module.parts is not None and module._draw_board(0) is not None
    margins = find_margins(module, 1)
    module.parts = replace(module.parts, margins=margins)
    batch = first_batch(data)
    mixed = module.mix_parts(batch, seeded(2))
    assert mixed is not None
    loss = module.mixed_losses(mixed, 0)
    with torch.no_grad():
        embedding = module.run(mixed.batch).embedding
        grades = classification_loss(module.head, embedding, mixed)
        pairs = pairwise_loss(module.comparable(embedding), mixed, margins, module.config)
        channels = module._mutual_channel_loss(module.run(batch), batch["labels"])
    assert abs(grades - pairs) > 0.1
    expected = 0.2 * grades + 0.8 * pairs + channels
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize("head", ["arcface", "softmax"])
def test_shared_labels(head: str, tiny: Make) -> None:
    layer = make_head(tiny(f"loss.head={head}").loss, 4, 8)
    embeddings = torch.randn(5, 8, generator=seeded(0))
    labels = torch.tensor([0, 1, 2, 3, 1])
    each = losses_by_image(layer, embeddings, labels)
    assert each.mean().item() == pytest.approx(layer(embeddings, labels).item(), rel=1e-5)
    other = labels.flip(0)
    shares = torch.tensor([[0.25, 0.75]]).repeat(5, 1)
    found = shared_losses(layer, embeddings, torch.stack([labels, other], dim=1), shares)
    expected = 0.25 * each + 0.75 * losses_by_image(layer, embeddings, other)
    torch.testing.assert_close(found, expected)


def test_class_maps_of_a_plain_network_are_cam(photos: Path, tiny: Make) -> None:
    config = tiny("model.channels_per_grade=0", "loss.head=softmax", "train.cached_views=0")
    module, data = assembled(mz.load_dataset(photos), config, wraps=False)
    images = data.train_images.images([0, 5, 9])
    found = class_maps(module, feature_maps(module, {"images": images}))
    explainer = create("cam", module.model, head=module.head.linear.weight)
    for grade in range(3):
        expected = explainer(images, [grade] * 3)
        torch.testing.assert_close(found[:, grade], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("grouping", ["k-means", "refined"])
def test_training_on_parts_resumes_to_the_same_weights(
    dataset: mz.Dataset, tiny: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, grouping: str
) -> None:
    settings = ("train.epochs=4", "train.batch_size=4", "parts.refresh=2")
    config = tiny(*ADAPTIVE, *settings, f"parts.grouping={grouping}")
    dataset = dataset.subset(range(16))
    mz.train(dataset, config, tmp_path / "straight")
    step = GradingModule.training_step

    def step_until(self, batch, index):  # type: ignore[no-untyped-def]
        if self.current_epoch == 2 and index == 1:  # between two searches for parts
            raise KeyboardInterrupt
        return step(self, batch, index)

    with monkeypatch.context() as patch:
        patch.setattr(GradingModule, "training_step", step_until)
        with pytest.raises(KeyboardInterrupt):
            mz.train(dataset, config, tmp_path / "run")
    assert finished_epochs(tmp_path / "run") == 2
    mz.train(dataset, config, tmp_path / "run", resume=True)
    runs = tmp_path / "straight", tmp_path / "run"
    one, other = (load_file(run / "grader.safetensors") for run in runs)
    assert [name for name in one if not torch.equal(one[name], other[name])] == []
    assert not any("grouping" in name for name in one)  # of training, not of the grader
    first, second = ((run / "parts/parts.json").read_text() for run in runs)
    assert first == second
    epochs = json.loads(first)["epochs"]
    assert [item["epoch"] for item in epochs] == [1, 2, 3]
    assert ["views" in item for item in epochs] == [True, False, True]
    assert sorted(path.name for path in (tmp_path / "run/parts").iterdir()) == [
        "epoch-001.png",
        "epoch-003.png",
        "parts.json",
    ]


def test_without_negative_sets_no_margin_is_measured(
    photos: Path, tiny: Make, tmp_path: Path
) -> None:
    """Two neighbouring grades that may not be set against each other have positive sets alone."""
    dataset = mz.load_dataset(photos)
    rows = tuple(item for item in dataset if item.grade in "ab")
    two = replace(dataset, observations=rows, standard=mz.GradingStandard.from_grades(["a", "b"]))
    settings = ("parts.positive_share=1", "parts.skip_neighbours=true", "train.batch_size=2")
    mz.train(two, tiny(*ADAPTIVE, *settings), tmp_path / "run")
    epochs = json.loads((tmp_path / "run/parts/parts.json").read_text())["epochs"]
    assert not any("m1" in item for item in epochs)
    # A positive set adds two images to its reference.
    seen = {item["images"] for item in epochs}
    assert seen == {3 * len(complete_splits(two, 0).select("train"))}


def test_batches_smaller_than_a_set_and_a_grade_of_two_fruits(
    photos: Path, tiny: Make, tmp_path: Path
) -> None:
    """The others of a set come from the whole training set."""
    dataset = complete_splits(mz.load_dataset(photos), 0)
    own = [item.id for item in dataset.select("train") if item.grade == "c"]
    few = dataset.subset([item.id not in own[2:] for item in dataset])
    settings = ("train.batch_size=2", "train.epochs=2", "parts.positive_share=0.5")
    mz.train(few, tiny(*ADAPTIVE, *settings), tmp_path / "run")
    (epoch,) = json.loads((tmp_path / "run/parts/parts.json").read_text())["epochs"]
    # Two more images for a positive set and three for a negative one.
    count = len(few.select("train"))
    assert 3 * count < epoch["images"] < 4 * count


def test_kinds_have_no_neighbours(
    photos: Path, tiny: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which is said before views are prepared, for minutes."""
    monkeypatch.delattr(GradingData, "setup")
    dataset = mz.load_dataset(photos)
    kinds = mz.GradingStandard.from_grades(["a", "b", "c"], ordered=False)
    config = tiny(*ADAPTIVE, "parts.skip_neighbours=true")
    with pytest.raises(mz.MezoroiError, match="no order"):
        mz.train(replace(dataset, standard=kinds), config, tmp_path / "run")


def test_maps_that_show_nothing_leave_the_whole_image_and_are_counted(
    photos: Path, tiny: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, data = assembled(
        mz.load_dataset(photos), tiny(*ADAPTIVE, "parts.object=cam"), wraps=False
    )

    def constant(_: GradingModule, features: torch.Tensor) -> torch.Tensor:
        return torch.ones(len(features), 3, *features.shape[2:])

    monkeypatch.setattr("mezoroi.training.parts.class_maps", constant)
    boxes, lost = locate(fit_locator(module, data))
    assert bool(lost.all()) and len(lost) == data.train_views * len(data.train_images)
    assert torch.equal(
        boxes[:, :, 0], torch.tensor((0.0, 0.0, 1.0, 1.0)).expand(boxes[:, :, 0].shape)
    )


def test_a_map_that_is_negative_all_over_still_shows_where(
    photos: Path, tiny: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, data = assembled(
        mz.load_dataset(photos), tiny(*ADAPTIVE, "parts.object=cam"), wraps=False
    )
    fitted = fit_locator(module, data)

    def below_zero(_: GradingModule, features: torch.Tensor) -> torch.Tensor:
        maps = torch.full((len(features), 3, *features.shape[2:]), -5.0)
        maps[:, :, 0, 0] = -1.0
        return maps

    monkeypatch.setattr("mezoroi.training.parts.class_maps", below_zero)
    boxes, lost = locate(fitted)
    assert not lost.any()
    assert bool((boxes[:, :, 0, 2:] < 1).all())  # its corner, not the whole image


def test_parts_of_photos_of_many_sizes(photos: Path, tiny: Make, tmp_path: Path) -> None:
    config = tiny(*ADAPTIVE, "parts.object=cam", "parts.grouping=refined", "train.cached_views=0")
    grader = mz.train(mz.load_dataset(photos), config, tmp_path / "run")
    assert grader.bundle.config == config
    picture = Image.open(tmp_path / "run/parts/epoch-001.png")
    assert picture.size == (4 * 224, 3 * 224)
    record = json.loads((tmp_path / "run/parts/parts.json").read_text())["epochs"][0]
    assert 0 <= record["whole_images"] <= record["views"]


@pytest.mark.parametrize("kind", ["cutmix", "mixup"])
def test_other_mixtures_leave_fruits_judged_on_the_outline_whole(
    dataset: mz.Dataset, tiny: Make, kind: str
) -> None:
    config = tiny(f"augment={kind}", "parts.mix_share=1", "train.batch_size=16")
    module, data = assembled(dataset, config, wraps=True)
    batch = first_batch(data)
    mixed = module._mix_batch(batch, seeded(1))
    assert mixed is not None
    outline = batch["labels"] == dataset.standard.grades.index("C")
    assert outline.any() and torch.equal(mixed.batch["hidden"][outline], batch["hidden"][outline])
    assert bool((mixed.shares[outline, 0] == 1).all()) and bool(mixed.whole[outline].all())
    assert not bool((mixed.labels[~outline] == dataset.standard.grades.index("C")).any())
    assert torch.equal(mixed.batch["outlines"], batch["outlines"])
    assert module.mixed_losses(mixed, 0).isfinite()


def test_a_bundle_from_before_these_settings_is_read(run_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(run_dir, tmp_path / "old")
    path = tmp_path / "old/grader.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    del content["config"]["augment"], content["config"]["parts"]
    for name in ("pairwise", "pairwise_alpha", "pairwise_margin", "classification_share"):
        del content["config"]["loss"][name]
    path.write_text(json.dumps(content), encoding="utf-8")
    found, expected = (mz.Grader.load(place).bundle.config for place in (tmp_path / "old", run_dir))
    assert found.augment == found.loss.pairwise == "none"
    kept = {"parts": expected.parts}  # a preset may have other parts; without mixing none count
    assert found.model_copy(update=kept) == expected


def test_without_two_surface_grades_there_is_nothing_to_exchange(
    dataset: mz.Dataset, tiny: Make, tmp_path: Path
) -> None:
    rows = tuple(item for item in dataset if item.grade in ("A", "C"))
    melon = dataset.standard
    standard = mz.GradingStandard(
        grades=("A", "C"),
        precedence=("C", "A"),
        descriptions={name: melon.descriptions[name] for name in ("A", "C")},
    )
    two = replace(dataset, observations=rows, standard=standard)
    with pytest.raises(mz.MezoroiError, match="1 grades whose parts can be exchanged"):
        mz.train(two, tiny(*ADAPTIVE), tmp_path / "run")
