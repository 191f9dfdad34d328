"""Presets, files, overrides, and what is said about wrong ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from mezoroi.errors import MezoroiError
from mezoroi.presets import PRESETS, make_config, notes_on_preset


def test_later_sources_win(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text("train:\n  epochs: 7\n  lr: 1e-4\n", encoding="utf-8")
    config = make_config("tiny", file, ["train.epochs=9", "model.backbone=resnet18"])
    assert config.train.epochs == 9  # override over file
    assert config.train.lr == 1e-4  # file over default
    assert config.train.batch_size == 8  # preset over default
    assert config.train.seed == 0  # default
    assert config.model.backbone == "resnet18" and config.model.embedding_dim == 16


def test_sections_left_empty_keep_their_defaults(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text("train:\n  # epochs: 7\nloss: {}\n", encoding="utf-8")
    assert make_config("tiny", file) == make_config("tiny")
    file.write_text("# nothing\n", encoding="utf-8")
    assert make_config("tiny", file) == make_config("tiny")


def test_only_a_file_that_leaves_nothing_of_a_preset_is_noted(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    content = make_config().model_dump()
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    for preset in ("paper", "tiny"):
        (note,) = notes_on_preset(preset, file)
        assert str(file) in note and f"`--preset {preset}`" in note
    assert notes_on_preset("quick", file) == notes_on_preset("paper", None) == ()
    file.write_text(yaml.safe_dump(make_config("paper").model_dump()), encoding="utf-8")
    assert notes_on_preset("paper", file) == ()
    del content["train"]["lr"]
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    assert notes_on_preset("paper", file) == ()


def test_the_papers_recipe() -> None:
    paper = make_config("paper")
    assert paper.model.backbone == "resnet50" and paper.model.channels_per_grade == 5
    train = paper.train
    assert (train.optimizer, train.batch_size, train.lr, train.epochs) == ("sgd", 32, 1e-3, 250)
    assert set(PRESETS) == {"quick", "gradual", "paper", "tiny"}


@pytest.mark.parametrize(
    ("override", "section", "name", "value"),
    [
        ("train.lr=1e-3", "train", "lr", 1e-3),
        ("input.width=null", "input", "width", None),
        ("jitter.flip=false", "jitter", "flip", False),
        ("model.weights=/a=b.pth", "model", "weights", "/a=b.pth"),
        ("parts.object=cam", "parts", "object", "cam"),
    ],
)
def test_overrides_are_read_as_yaml(override: str, section: str, name: str, value: object) -> None:
    assert getattr(getattr(make_config(overrides=[override]), section), name) == value


def test_a_setting_may_stand_outside_the_sections(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text("augment: cutmix\n", encoding="utf-8")
    assert make_config(file=file).augment == "cutmix"
    both = ["augment=part-cutmix", "loss.pairwise=adaptive"]
    assert make_config(file=file, overrides=both).augment == "part-cutmix"
    with pytest.raises(MezoroiError, match="set more epochs or an earlier start"):
        make_config(overrides=["augment=part-cutmix", "train.epochs=2"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.epoch=3", "setting `train.epoch`: no such setting, perhaps `train.epochs`: see "),
        ("trian.epochs=3", "setting `trian`: no such setting, perhaps `train`: see "),
        ("lr=3", "setting `lr`: no such setting, perhaps `train.lr`: see "),
        ("qqqqqq=3", "setting `qqqqqq`: no such setting: see docs/config.md"),
        ("train.epochs.x=3", "setting `train.epochs`: "),
        ("train.epochs=0", "setting `train.epochs`: input should be greater than or equal to 1"),
        ("train.epochs=many", "setting `train.epochs`: "),
        ("train.epochs=2.5", "setting `train.epochs`: "),
        ("train.epochs=nan", "setting `train.epochs`: "),
        ("train.epochs=true", "setting `train.epochs`: give a number, not true or false"),
        ("input.width=yes", "setting `input.width`: give a number, not true or false"),
        ("train.balance=3", "setting `train.balance`: "),
        ("train.lr=nan", "setting `train.lr`: "),
        ("train.lr=.nan", "setting `train.lr`: "),
        ("train.lr=inf", "setting `train.lr`: "),
        ("train.weight_decay=.inf", "setting `train.weight_decay`: "),
        ("loss.scale=-1", "setting `loss.scale`: "),
        ("loss.head=svm", "setting `loss.head`: "),
        ("model.stride=17", "setting `model.stride`: "),
        ("train.seed=99999999999999999999", "setting `train.seed`: "),
        ("train=3", "`train` is a section: write train.NAME=value"),
        ("loss.kept_channels=6", "loss.kept_channels is 6, but there are model.channels_per_"),
        ("augment=cutout", "setting `augment`: input should be 'none', "),
        ("augment.kind=cutmix", "setting `augment`: "),
        ("loss.pairwise=adaptive", "set augment=part-cutmix too"),
        ("parts.start=0", "setting `parts.start`: "),
        ("train.epochs", "has no value: write --set section.name=value"),
        ("=3", "has no value: write --set section.name=value"),
        ("train.epochs=[", "the value is not readable"),
        ("model.weights=2026-13-45", "the value is not readable"),
    ],
)
def test_a_wrong_override_is_named_in_one_line(override: str, message: str) -> None:
    with pytest.raises(MezoroiError) as caught:
        make_config(overrides=[override])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"train:\n  epoch: 3\n", "setting `train.epoch` in "),
        (b"- train\n", "must map sections to settings"),
        (b"just text", "must map sections to settings"),
        (b"train: [\n", "is not readable YAML"),
        (b"train: {lr: 1}\nsplit:\ntrain: {epochs: 3}\n", "`train` stands twice, lines 1, 3"),
        (b"train: {lr: 1, lr: 2}\n", "`lr` stands twice"),
        (b"train: &a [*a]\n", "is a section: write its settings below it"),
        (b"\xff\xfe\x00", "is not readable YAML"),
        (b"1: 2\n", "setting `1`"),
        (b"train: 5\n", "is a section: write its settings below it"),
        (b"train.epochs: 5\n", "no such setting, write `epochs` below `train:`: see docs"),
    ],
)
def test_a_wrong_file_is_named_in_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "my.yaml"
    file.write_bytes(content)
    with pytest.raises(MezoroiError) as caught:
        make_config(file=file)
    assert message in str(caught.value) and "my.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_is_not_blamed_for_what_it_does_not_say(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text("train:\n  epochs: 2\n", encoding="utf-8")
    for override in ("train.epohcs=3", "train.epochs=many", "train=5", "model.stride=17"):
        with pytest.raises(MezoroiError) as caught:
            make_config("tiny", file, [override])
        assert "my.yaml" not in str(caught.value)
    file.write_text("train: 5\n", encoding="utf-8")
    with pytest.raises(MezoroiError, match=r"^setting `train.epohcs`: no such setting"):
        make_config("tiny", file, ["train.epohcs=3"])


def test_as_many_channels_are_kept_as_there_are() -> None:
    assert make_config(overrides=["loss.kept_channels=5"]).loss.kept_channels == 5
    plain = make_config(overrides=["loss.kept_channels=6", "model.channels_per_grade=0"])
    assert plain.model.channels_per_grade == 0


def test_a_missing_file_and_preset_are_named(tmp_path: Path) -> None:
    with pytest.raises(MezoroiError, match="does not exist"):
        make_config(file=tmp_path / "none.yaml")
    with pytest.raises(MezoroiError, match="is a folder: give the path of a settings file"):
        make_config(file=tmp_path)
    with pytest.raises(
        MezoroiError, match="unknown preset `fast`: use one of quick, paper, gradual, tiny"
    ):
        make_config("fast")
