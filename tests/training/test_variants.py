"""Other standards, heads and inputs than the melons' own."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import mezoroi as mz
from mezoroi.bundle import build_network
from mezoroi.config import Config
from mezoroi.losses import SoftmaxHead, make_head
from mezoroi.models import Encoder, InputSize
from mezoroi.training import GradingModule
from mezoroi.training.data import frozen_stages
from mezoroi.workflow import effective_config
from tests.commands import TINY, Run

Make = Callable[..., Config]


def without_outlines(dataset: mz.Dataset) -> mz.Dataset:
    rows = tuple(replace(item, outline=None, mask=None) for item in dataset)
    return replace(dataset, observations=rows)


@pytest.fixture(scope="module")
def photos(dataset: mz.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Square photos of the surfaces in folders of two grades, good and poor."""
    folder = tmp_path_factory.mktemp("photos")
    for number, item in enumerate(dataset):
        grade = "good" if item.grade in ("A", "B") else "poor"
        image = Image.open(item.image).convert("RGB").crop((0, 0, 64, 64))
        (folder / grade).mkdir(exist_ok=True)
        image.save(folder / grade / f"{number:02d}.jpg")
    return folder


def test_photos_of_two_grades(photos: Path, tiny: Make, tmp_path: Path) -> None:
    dataset = mz.load_dataset(photos)
    mz.train(dataset, tiny("train.epochs=1"), tmp_path / "run")
    grader = mz.Grader.load(tmp_path / "run")
    assert grader.bundle.input_kind == "photo" and not grader.bundle.size.wraps
    assert (grader.bundle.size.height, grader.bundle.size.width) == (64, 64)
    assert grader.network.outline_encoder is None
    grading = grader.grade(dataset.observations[0].image)
    assert set(grading.similarity) == {"good", "poor"} == set(grading.activation_maps)
    total = sum(grading.activation_maps.values())
    np.testing.assert_allclose(total, 1, atol=1e-5)


def test_a_softmax_head_trains_and_is_saved(
    dataset: mz.Dataset, tiny: Make, tmp_path: Path
) -> None:
    config = tiny("train.epochs=1", "loss.head=softmax")
    trained = mz.train(dataset, config, tmp_path / "run")
    loaded = mz.Grader.load(tmp_path / "run")
    assert isinstance(loaded.bundle.head, SoftmaxHead)
    names = loaded.bundle.outline_names
    _, fresh = build_network(dataset.standard, config, len(names), True, "none")
    weight = loaded.bundle.head.linear.weight
    assert torch.equal(weight, trained.bundle.head.linear.weight)
    assert not torch.equal(weight, fresh.linear.weight)
    source = dataset.observations[0].image
    assert loaded.grade(source).to_dict() == trained.grade(source).to_dict()


def test_a_model_without_class_channels_grades_without_maps(
    dataset: mz.Dataset, tiny: Make, tmp_path: Path
) -> None:
    grader = mz.train(dataset, tiny("train.epochs=1", "model.channels_per_grade=0"), tmp_path / "r")
    grading = grader.grade(dataset.observations[0].image)
    assert grading.activation_maps == {} and grading.map_grade is None
    assert not grading.map_differs
    grading.save(tmp_path / "out")
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"grading.json", "radar.svg", "radar.png"}


def test_melons_without_outlines_are_all_judged_on_the_surface(
    dataset: mz.Dataset, tiny: Make, tmp_path: Path
) -> None:
    grader = mz.train(without_outlines(dataset), tiny("train.epochs=1"), tmp_path / "run")
    assert grader.standard.surface_grades == ("A", "B", "C", "D")
    assert grader.standard.precedence == dataset.standard.precedence
    grading = grader.grade(dataset.observations[0].image)
    assert set(grading.activation_maps) == {"A", "B", "C", "D"}
    assert grading.not_judged == []


def test_a_melon_without_its_outline_is_never_judged_by_it(
    grader: mz.Grader, dataset: mz.Dataset
) -> None:
    surface = mz.Grader(grader.bundle)
    for item in dataset:
        image = np.array(Image.open(item.image).convert("RGB"))
        grading = surface.grade(image)
        assert math.isnan(grading.similarity["C"]) and grading.not_judged == ["C"]
        assert grading.grade != "C" and "C" not in grading.resembles
        best = max(("A", "B", "D"), key=lambda name: grading.similarity[name])
        assert grading.grade == best
        text = json.dumps(grading.to_dict(), allow_nan=False)
        assert json.loads(text)["similarity"]["C"] is None


def test_its_surface_similarity_is_the_cosine_of_the_surface_parts(
    grader: mz.Grader, dataset: mz.Dataset
) -> None:
    item = dataset.observations[2]
    seen = grader.predict(dataset.subset([2])).embeddings[0, :16].astype(float)
    grading = grader.grade(np.array(Image.open(item.image).convert("RGB")))
    for index, grade in enumerate(grader.standard.grades):
        if grade != "C":
            prototype = grader.bundle.prototypes.embeddings[index, :16].double().numpy()
            cosine = seen @ prototype / np.linalg.norm(seen) / np.linalg.norm(prototype)
            assert grading.similarity[grade] == pytest.approx(cosine, abs=1e-5)


def test_an_unordered_standard_is_kept(dataset: mz.Dataset, tiny: Make, tmp_path: Path) -> None:
    standard = mz.GradingStandard.from_grades(("D", "B", "A", "C"), ordered=False)
    kinds = replace(without_outlines(dataset), standard=standard)
    mz.train(kinds, tiny("train.epochs=1"), tmp_path / "run")
    grader = mz.Grader.load(tmp_path / "run")
    assert grader.standard == standard
    from mezoroi.evaluation import evaluate

    scores = evaluate(grader, kinds, n_resamples=20)["grading"]
    assert scores["quadratic_weighted_kappa"]["value"] is None
    assert "order" in scores["quadratic_weighted_kappa"]["reason"]
    assert scores["accuracy"]["value"] is not None


def test_a_grade_that_is_not_held_out_is_told_by_the_thresholds_of_the_others(
    run: Run, dataset: mz.Dataset, tmp_path: Path
) -> None:
    seen: dict[str, int] = {}
    lines = ["image,grade,split"]
    for item in dataset:
        number = seen[item.grade] = seen.get(item.grade, 0) + 1
        split = "val" if number < 3 and item.grade != "B" else "train"
        lines.append(f"{item.image},{item.grade},{split}")
    table = tmp_path / "melons.csv"
    table.write_text("\n".join(lines), encoding="utf-8")
    status, _, err = run("train", table, "-o", tmp_path / "run", *TINY)
    assert status == 0 and "note: no val or calibration fruit of B: " in err
    own = next(item.image for item in dataset if item.grade == "B")
    grading = mz.Grader.load(tmp_path / "run").grade(own)
    others = sorted(value for grade, value in grading.thresholds.items() if grade != "B")
    assert grading.thresholds["B"] == others[1]


def test_a_single_grade_on_the_surface_has_no_map(
    run: Run, dataset: mz.Dataset, melons: Path, tiny: Make, tmp_path: Path
) -> None:
    rows = [item for item in dataset if item.grade in "AC"]
    melon = dataset.standard
    standard = mz.GradingStandard(
        grades=("A", "C"),
        precedence=("C", "A"),
        descriptions={name: melon.descriptions[name] for name in ("A", "C")},
    )
    data = tmp_path / "data"
    for item in rows:
        shutil.copytree(item.image.parent, data / item.grade / item.image.parent.name)
    for mask in data.rglob("mask.png"):
        mask.unlink()
    standard.to_yaml(data / "standard.yaml")
    folder = tmp_path / "run"
    status, _, err = run("train", data, "-o", folder, *TINY)
    note = "note: A alone is judged on the surface: there will be no activation maps\n"
    assert (status, err) == (0, note)
    assert run("train", data, "-o", folder, *TINY, "--resume")[0] == 0
    grading = mz.Grader.load(folder).grade(rows[0].image.parent)
    assert grading.activation_maps == {} and grading.map_grade is None
    # Without outlines both are judged on the surface.
    bare = replace(
        dataset, observations=tuple(replace(item, outline=None) for item in rows), standard=standard
    )
    assert effective_config(bare, tiny()) == tiny()


def module_for(standard: mz.GradingStandard, config: Config, outlines: int = 0) -> GradingModule:
    network, head = build_network(standard, config, outlines, True, "none")
    return GradingModule(network, head, standard, config, InputSize(64, 128, True))


def test_outline_grades_take_no_part_in_the_mutual_channel_loss(tiny: Make) -> None:
    standard = mz.GradingStandard.melon()
    module = module_for(standard, tiny("loss.swap_tile=0"))
    hidden = torch.rand(4, 3, 64, 128)
    only_shape = {"images": hidden, "labels": torch.tensor([2, 2, 2, 2])}
    module.losses(only_shape, 0).backward()
    assert module.model.class_channels[0].weight.grad.abs().sum() == 0
    assert module.model.surface_embedding[0].weight.grad.abs().sum() > 0
    # Whatever a C fruit shows, L_dis and L_div are those of the others.
    mixed = {"images": hidden, "labels": torch.tensor([0, 2, 3, 2])}
    output = module.run(mixed)
    module.mutual_channel.generator.manual_seed(0)
    found = module._mutual_channel_loss(output, mixed["labels"])
    altered = replace(output, class_channels=output.class_channels.clone())
    altered.class_channels[[1, 3]] *= 7
    module.mutual_channel.generator.manual_seed(0)
    assert torch.equal(found, module._mutual_channel_loss(altered, mixed["labels"]))


def test_the_margin_is_in_degrees(tiny: Make) -> None:
    head = make_head(tiny("loss.margin_degrees=15", "loss.scale=16").loss, 3, 8)
    generator = torch.Generator().manual_seed(0)
    torch.nn.init.normal_(head.W, generator=generator)
    embedding = torch.randn(1, 8, generator=generator)
    embedding = torch.nn.functional.normalize(embedding, dim=1)
    weights = torch.nn.functional.normalize(head.W.detach(), dim=0)
    cosines = (embedding @ weights)[0].double()
    logits = 16 * cosines.clone()
    own = int(cosines.argmin())  # whose loss is far above float32's rounding
    logits[own] = 16 * torch.cos(torch.acos(cosines[own]) + math.radians(15))
    expected = torch.logsumexp(logits, 0) - logits[own]
    assert expected > 1
    assert head(embedding, torch.tensor([own])).item() == pytest.approx(expected.item(), rel=1e-5)


def test_new_layers_backbone_and_class_channels_have_their_own_rates(tiny: Make) -> None:
    config = tiny(
        "train.optimizer=sgd",
        "train.schedule=constant",
        "train.lr=0.5",
        "train.backbone_lr_factor=0.1",
        "train.channel_lr_factor=4",
        "train.weight_decay=0.01",
    )
    module = module_for(mz.GradingStandard.from_grades("AB"), config)
    optimizer = module.configure_optimizers()
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    frozen = list(module.model.encoder.stages[:3].parameters())
    backbone = list(module.model.encoder.stages[3:].parameters())
    assert all(id(p) not in rates and not p.requires_grad for p in frozen)
    assert {rates[id(p)] for p in backbone} == {0.05}
    assert {rates[id(p)] for p in module.head.parameters()} == {0.5}
    assert {rates[id(p)] for p in module.model.class_channels.parameters()} == {2.0}  # type: ignore[union-attr]
    assert {rates[id(p)] for p in module.model.surface_embedding.parameters()} == {0.5}
    assert len(rates) == sum(p.requires_grad for p in module.parameters())
    assert optimizer.param_groups[0]["momentum"] == 0.9


@pytest.mark.parametrize("backbone", ["resnet18", "hrnet_w18_small"])
def test_a_backbone_without_weights_is_trained_whole(
    dataset: mz.Dataset, tiny: Make, tmp_path: Path, backbone: str
) -> None:
    choices = (f"model.backbone={backbone}", "model.weights=none", "model.stride=32")
    config = tiny("train.epochs=1", *choices)
    assert config.train.frozen_stages == 3
    trained = mz.train(dataset, config, tmp_path / "run").network.encoder
    names = len(mz.load_dataset(dataset.root).outline_names)
    fresh = build_network(dataset.standard, config, names, True, "none")[0].encoder.state_dict()
    learned = {name: value.cpu() for name, value in trained.state_dict().items()}
    for kind in ("conv1.weight", "0.weight", "running_mean", "running_var"):
        first = next((name for name in learned if name.endswith(kind)), None)
        assert first is None or not torch.equal(learned[first], fresh[first])
    assert sum(not torch.equal(value, fresh[n]) for n, value in learned.items()) > len(fresh) / 2


def test_only_a_chain_of_stages_is_frozen(dataset: mz.Dataset, tiny: Make) -> None:
    config = tiny()  # as if its weights were from a file
    assert config.model.weights != "none"
    for backbone, count in (("resnet18", 3), ("hrnet_w18_small", 0)):
        assert frozen_stages(Encoder(backbone, 32, "none"), config) == count
