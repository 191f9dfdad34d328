"""Run folders are claimed by one training; splits of a training are known again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

import mezoroi as mz
from mezoroi import workflow
from mezoroi.config import Config
from mezoroi.cross_validation import cross_validate
from mezoroi.files import content_hash
from mezoroi.new_grade import add_grade
from mezoroi.new_references import NewReference
from mezoroi.references import add_references, gallery_of
from mezoroi.training import GradingData
from mezoroi.workflow import effective_standard, input_size, with_splits_of

Make = Callable[..., Config]


def test_a_finished_run_is_not_overwritten(dataset: mz.Dataset, tiny: Make, run_dir: Path) -> None:
    before = content_hash(run_dir / "grader.safetensors")
    with pytest.raises(mz.MezoroiError, match="already holds a training: continue it with"):
        mz.train(dataset, tiny(), run_dir)
    assert content_hash(run_dir / "grader.safetensors") == before
    assert (run_dir / "grader.json").is_file()


@pytest.mark.parametrize("what", ["settings", "dataset"])
def test_a_run_is_not_resumed_with_other_things(
    dataset: mz.Dataset, tiny: Make, run_dir: Path, what: str
) -> None:
    if what == "dataset":
        dataset = dataset.subset(range(len(dataset) - 4))
    config = tiny("train.lr=0.5") if what == "settings" else tiny()
    with pytest.raises(mz.MezoroiError, match=f"the {what} differs? from th"):
        mz.train(dataset, config, run_dir, resume=True)
    assert (run_dir / "grader.json").is_file()


def test_settings_that_a_run_was_not_started_with_are_named(
    dataset: mz.Dataset, tiny: Make, run_dir: Path
) -> None:
    def refused(*overrides: str) -> str:
        with pytest.raises(mz.MezoroiError) as caught:
            mz.train(dataset, tiny(*overrides), run_dir, resume=True)
        return str(caught.value)

    assert "started with (train.lr is 0.5, was 0.001): use" in refused("train.lr=0.5")
    two = refused("augment=mixup", "input.width=96")
    assert "(augment is mixup, was none; input.width is 96, was null)" in two
    names = ("epochs=7", "seed=7", "workers=7", "patience=7", "cached_views=7")
    many = refused(*(f"train.{name}" for name in names))
    assert many.count(" is 7, was ") == 3 and "; 2 more): use" in many


def test_resuming_a_finished_run_gives_the_same_grader(
    dataset: mz.Dataset, tiny: Make, run_dir: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run_dir, copy)
    mz.train(dataset, tiny(), copy, resume=True)
    for name in ("grader.safetensors", "prototypes.safetensors", "epochs.csv"):
        assert content_hash(copy / name) == content_hash(run_dir / name)


def test_resuming_a_finished_run_keeps_what_was_added_to_it(
    dataset: mz.Dataset, tiny: Make, run_dir: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run_dir, copy)
    added = NewReference("added", dataset.observations[0].image, {"grade": "A"})
    assert add_references(mz.Grader.load(copy), [added]) == []
    add_grade(mz.Grader.load(copy), copy, "E", [dataset.observations[1].image.parent])
    before = {path: content_hash(path) for path in copy.rglob("*") if path.is_file()}
    grader = mz.train(dataset, tiny(), copy, resume=True)
    assert grader.standard.grades[-1] == "E"
    assert len(gallery_of(grader).index.references(["added"])) == 1
    changed = [path for path, content in before.items() if content_hash(path) != content]
    assert changed == []


@pytest.mark.parametrize("change", ["titles", "order", "precedence"])
def test_a_run_is_not_resumed_under_another_standard(
    dataset: mz.Dataset, tiny: Make, run_dir: Path, change: str
) -> None:
    content = dataset.standard.to_dict()
    if change == "titles":
        content["grades"]["A"]["title"] = {"en": "finest"}
    elif change == "order":
        content["grades"] = dict(reversed(content["grades"].items()))
    else:
        content["precedence"].reverse()
    other = replace(dataset, standard=mz.GradingStandard.from_dict(content))
    with pytest.raises(mz.MezoroiError, match="the grading standard is another than the one"):
        mz.train(other, tiny(), run_dir, resume=True)


def test_a_run_that_did_not_record_its_standard_is_resumed(
    dataset: mz.Dataset, tiny: Make, run_dir: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run_dir, copy)
    record = json.loads((copy / "run.json").read_text(encoding="utf-8"))
    del record["standard"]
    (copy / "run.json").write_text(json.dumps(record))
    assert mz.train(dataset, tiny(), copy, resume=True).standard == dataset.standard


def test_a_second_cross_validation_trains_nothing(
    dataset: mz.Dataset, tiny: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny("train.epochs=1")
    first = cross_validate(dataset, config, tmp_path, 2)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.glob("fold-*/*")}
    monkeypatch.setattr(workflow, "fit", None)
    assert cross_validate(dataset, config, tmp_path, 2) == first
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("fold-*/*")} == times


def test_a_folder_of_other_things_is_not_claimed(
    dataset: mz.Dataset, tiny: Make, tmp_path: Path
) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(mz.MezoroiError, match="is not empty: give another folder"):
        mz.train(dataset, tiny(), tmp_path)
    with pytest.raises(mz.MezoroiError, match="is a file: give a folder"):
        mz.train(dataset, tiny(), tmp_path / "thesis.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_grade_that_cannot_be_learned_is_named(
    dataset: mz.Dataset, tiny: Make, tmp_path: Path
) -> None:
    only = [i for i, item in enumerate(dataset) if item.grade == "B"][1:]
    splits = {item.id: "train" if i % 3 else "val" for i, item in enumerate(dataset)}
    splits |= {dataset.observations[i].id: "test" for i in only}
    with pytest.raises(mz.MezoroiError, match="grade `B` has fewer than 2 training"):
        mz.train(dataset.with_splits(splits), tiny(), tmp_path / "run")


@pytest.mark.parametrize(
    ("brought", "kept", "message"),
    [
        (None, 3, "too few specimens (grade `B` has 3): at least 4 of every grade are needed, or "),
        ("train", 2, "too few specimens in train (grade `B` has 2): at least 3 of every grade are"),
    ],
)
def test_the_number_of_fruits_that_is_asked_for_is_enough(
    dataset: mz.Dataset,
    tiny: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    brought: str | None,
    kept: int,
    message: str,
) -> None:
    def with_few(number: int) -> mz.Dataset:
        few = [item for item in dataset if item.grade == "B"][:number]
        rows = [item for item in dataset if item.grade != "B"] + few
        return replace(dataset, observations=tuple(replace(item, split=brought) for item in rows))

    with pytest.raises(mz.MezoroiError) as caught:
        mz.train(with_few(kept), tiny(), tmp_path / "run")
    assert str(caught.value).startswith(message)

    def stop(*_: object) -> None:
        raise InterruptedError

    monkeypatch.setattr(workflow, "fit", stop)
    with pytest.raises(InterruptedError):
        mz.train(with_few(kept + 1), tiny(), tmp_path / "run")


def test_one_specimen_of_two_images_is_enough_to_learn_from(
    dataset: mz.Dataset, tiny: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = [item for item in dataset if item.grade == "B"][:6]
    pairs = [replace(item, specimen=f"pair {i // 2}") for i, item in enumerate(few)]
    rows = (*(item for item in dataset if item.grade != "B"), *pairs)
    learned: list[mz.Dataset] = []

    def stop(module: object, data: GradingData, *_: object) -> None:
        learned.append(data.train_images.dataset)
        raise InterruptedError

    monkeypatch.setattr(workflow, "fit", stop)
    with pytest.raises(InterruptedError):
        mz.train(replace(dataset, observations=rows), tiny(), tmp_path / "run")
    assert learned[0].counts()["B"] == 2


def test_evaluation_uses_the_splits_of_the_training(grader: mz.Grader, dataset: mz.Dataset) -> None:
    marked = with_splits_of(grader, dataset)
    assert {item.id: item.split for item in marked} == grader.bundle.data["splits"]
    assert set(marked.splits) == {"train", "val", "test"}
    sides = {split: set(marked.select(split).specimens) for split in marked.splits}
    assert not sides["train"] & sides["test"] and not sides["train"] & sides["val"]


def test_images_are_known_by_content_not_by_name(
    grader: mz.Grader, dataset: mz.Dataset, tmp_path: Path
) -> None:
    splits = grader.bundle.data["splits"]
    seen = next(i for i, item in enumerate(dataset) if splits[item.id] == "train")
    rows = list(dataset.observations)
    rows[seen] = replace(rows[seen], id="renamed.png")
    other = next(i for i in range(len(rows)) if i != seen and splits[rows[i].id] == "train")
    stranger = tmp_path / "stranger.png"
    Image.new("RGB", (128, 64), "green").save(stranger)
    rows[other] = replace(rows[other], image=stranger, specimen="a stranger")
    marked = with_splits_of(grader, replace(dataset, observations=tuple(rows)))
    assert marked.observations[seen].split == "train"
    assert marked.observations[other].split == "test"


def test_another_picture_of_a_trained_fruit_is_no_test(
    grader: mz.Grader, dataset: mz.Dataset, tmp_path: Path
) -> None:
    splits = grader.bundle.data["splits"]
    picture = tmp_path / "again.png"
    Image.new("RGB", (128, 64), "green").save(picture)
    new = []
    for split in ("train", "val", "test"):
        known = next(item for item in dataset if splits[item.id] == split)
        assert known.specimen != known.id
        new.append(replace(known, id=f"{split}.png", image=picture))
    unnamed = replace(new[0], id=(own := "own.png"), specimen=own)
    beside = replace(dataset, observations=(*new, unnamed, dataset.observations[0]))
    marked = with_splits_of(grader, beside)
    assert [item.split for item in marked][:4] == ["train", "val", "test", "test"]
    assert marked.notes == dataset.notes
    # A bundle of an earlier version knows pictures alone.
    data = {name: value for name, value in grader.bundle.data.items() if name != "specimens"}
    older = mz.Grader(replace(grader.bundle, data=data), device="cpu")
    assert [item.split for item in with_splits_of(older, beside)][:4] == ["test"] * 4


def test_other_fruits_may_be_numbered_as_those_of_the_training(
    grader: mz.Grader, dataset: mz.Dataset, tmp_path: Path
) -> None:
    picture = tmp_path / "next-year.png"
    Image.new("RGB", (128, 64), "green").save(picture)
    rows = tuple(replace(item, image=picture) for item in dataset.observations[:5])
    marked = with_splits_of(grader, replace(dataset, observations=rows))
    assert marked.splits == ("test",)
    (note,) = marked.notes
    assert note.startswith("5 of 5 images are of specimens named as in the training, the first ")


def test_a_fruit_that_was_trained_on_is_no_test(grader: mz.Grader, dataset: mz.Dataset) -> None:
    everything = dataset.with_splits({item.id: "test" for item in dataset})
    with pytest.raises(mz.MezoroiError, match="in the test split, but the grader was trained"):
        with_splits_of(grader, everything)


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_fruit_that_was_trained_on_is_no_test_under_another_name(
    grader: mz.Grader, dataset: mz.Dataset, split: str
) -> None:
    splits = grader.bundle.data["splits"]
    known = next(item for item in dataset if splits[item.id] == split)
    own = next(item for item in dataset if splits[item.id] == "test")
    rows = (replace(known, id="../elsewhere.png", specimen="s9", split="test"), own)
    with pytest.raises(mz.MezoroiError, match=r"^\.\./elsewhere\.png is in the test split"):
        with_splits_of(grader, replace(dataset, observations=rows))


def test_of_a_picture_on_two_sides_what_was_learned_from_counts(
    grader: mz.Grader, dataset: mz.Dataset
) -> None:
    data = dict(grader.bundle.data)
    learned = next(name for name, split in data["splits"].items() if split == "train")
    data["splits"] = {**data["splits"], "twin": "test"}
    data["content"] = {**data["content"], "twin": data["content"][learned]}
    twins = mz.Grader(replace(grader.bundle, data=data), device="cpu")
    marked = with_splits_of(twins, dataset)
    assert next(item for item in marked if item.id == learned).split == "train"
    # The training's own test fruit is one, although it looks the same; under another id it is not.
    tested = replace(next(item for item in dataset if item.id == learned), id="twin", split="test")
    again = with_splits_of(twins, replace(dataset, observations=(tested,)))
    assert again.observations[0].split == "test"
    other = replace(dataset, observations=(replace(tested, id="other"),))
    with pytest.raises(mz.MezoroiError, match="other is in the test split"):
        with_splits_of(twins, other)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("model.backbone=resnet99", "resnet99"),
        ("parts.skip_neighbours=true", "no order"),
    ],
)
def test_a_refused_start_leaves_nothing_behind(
    dataset: mz.Dataset, tiny: Make, tmp_path: Path, setting: str, message: str
) -> None:
    standard = replace(dataset.standard, ordered=False)
    config = tiny(setting, "augment=part-cutmix", "model.weights=none")
    with pytest.raises(mz.MezoroiError, match=message):
        mz.train(replace(dataset, standard=standard), config, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_splits_can_leave_sessions_out(dataset: mz.Dataset, tiny: Make, tmp_path: Path) -> None:
    sessions = {item.id: f"day {i % 5}" for i, item in enumerate(dataset)}
    rows = tuple(replace(item, session=sessions[item.id]) for item in dataset)
    config = tiny("split.group=session", "train.epochs=1")
    grader = mz.train(replace(dataset, observations=rows), config, tmp_path / "run")
    splits = grader.bundle.data["splits"]
    sides = {}
    for name, split in splits.items():
        sides.setdefault(sessions[name], set()).add(split)
    assert all(len(found) == 1 for found in sides.values())


def test_standard_and_size_follow_the_data(dataset: mz.Dataset, tiny: Make) -> None:
    assert effective_standard(dataset) is dataset.standard
    bare = replace(dataset, observations=tuple(replace(item, outline=None) for item in dataset))
    assert effective_standard(bare).outline_grades == ()
    size = input_size(dataset, tiny())
    assert (size.height, size.width, size.wraps) == (64, 128, True)
    assert input_size(dataset, tiny("input.width=96")).width == 96


def test_a_hidden_file_of_a_killed_start_is_no_other_run(
    dataset: mz.Dataset, tiny: Make, tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".run.x1.json").write_text("")
    mz.train(dataset, tiny("train.epochs=1"), tmp_path / "run")
