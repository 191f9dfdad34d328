"""New graders learn from what the grader in use learned from, and from the app's fruits."""

from __future__ import annotations

import csv
import json
import shutil
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mezoroi as mz
from mezoroi.app import retraining
from mezoroi.app.blobs import Blobs
from mezoroi.app.examples import Example, each_once
from mezoroi.app.painting import mask_png
from mezoroi.app.roles import Role
from mezoroi.app.settings import Settings
from mezoroi.app.store import jobs, runs, verdicts
from mezoroi.app.store.expert_grades import ExpertGraded
from mezoroi.app.tables import GradingRow, User
from mezoroi.app.trainer import Trainer
from mezoroi.app.training_data import load, look
from mezoroi.app.worker_start import read_start_line, start_line
from mezoroi.cli import main
from mezoroi.errors import MezoroiError
from mezoroi.files import content_hash, read_json, write_json, write_table
from tests.app.conftest import App, work
from tests.app.helpers import send

ENGLISH = {"accept-language": "en"}
AppWith = Callable[..., App]


@pytest.fixture
def copy(melons: Path, tmp_path: Path) -> Path:
    """The grader's dataset, at a place that may vanish."""
    return Path(shutil.copytree(melons, tmp_path / "melons"))


def picture(blobs: Blobs, seed: int) -> str:
    """A surface that nobody has seen."""
    path = blobs.root / "x.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (64, 128, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return blobs.keep_picture(path.read_bytes(), "png")


def write(
    fruits: list[ExpertGraded], training: mz.Dataset, run: Path, blobs: Blobs, folder: Path
) -> tuple[mz.Dataset, list[str]]:
    """What a new grader would learn from, and what is said about it."""
    known = retraining.splits_of_runs([run])
    notes = retraining.write_dataset(
        fruits, training.standard, known, blobs, folder, panoramas=True, training=training
    )
    return mz.load_dataset(folder), notes


def test_observations_keep_their_side_their_outline_and_their_mask(
    dataset: mz.Dataset, run_dir: Path, grader: mz.Grader, tmp_path: Path
) -> None:
    blobs = Blobs(tmp_path / "blobs")
    outline = dict(dataset.observations[0].outline or {})
    fruits = [
        ExpertGraded(n, f"upload-{n}", "ABCD"[n % 4], picture(blobs, n), outline, None)
        for n in range(8)
    ]
    fruits.append(ExpertGraded(8, "upload-8", "A", picture(blobs, 8), None, None))
    made, notes = write(fruits, dataset, run_dir, blobs, tmp_path / "made")
    assert made.has_outlines and len(made) == len(dataset) + 8
    found = {content_hash(item.image): item for item in made}
    side_of = grader.bundle.data["splits"]
    masks = 0
    for item in dataset:
        same = found[content_hash(item.image)]
        assert same.split == side_of[item.id] and same.grade == item.grade
        assert same.outline == item.outline
        for grade in dataset.standard.grades:
            before, after = dataset.mask_of(item, grade), made.mask_of(same, grade)
            assert (before is None) == (after is None)
            assert before is None or np.array_equal(before, after)
            masks += before is not None
    assert masks > 0
    fresh = [item for item in made if item.specimen.startswith("fruit-")]
    assert {item.split for item in fresh} == {"train", "test"}
    assert notes[0] == "1 fruits without an outline left out"
    assert [line.split(":")[0] for line in notes[1:3]] == ["from the training data", "from the app"]


def test_a_specimen_is_on_one_side_and_what_learned_tests_nothing(
    dataset: mz.Dataset, run_dir: Path, grader: mz.Grader, tmp_path: Path
) -> None:
    sides = grader.bundle.data["splits"]
    learned = next(item for item in dataset if sides[item.id] == "train")
    tested = next(item for item in dataset if sides[item.id] == "test")
    shutil.copy(tested.image, tmp_path / "new.png")
    with Image.open(tmp_path / "new.png") as image:
        image.transpose(Image.Transpose.ROTATE_180).save(tmp_path / "new.png")
    new = replace(
        learned, id="new.png", image=tmp_path / "new.png", split="test", mask=None
    )  # the same fruit once more, and whoever listed it says that it tests
    rows = (*dataset.observations, new)
    made, _ = write(
        [], replace(dataset, observations=rows), run_dir, Blobs(tmp_path), tmp_path / "m"
    )
    same = next(item for item in made if content_hash(item.image) == content_hash(new.image))
    assert same.split == "train"
    for item in made.select("test"):
        names = [
            n for n, h in grader.bundle.data["content"].items() if h == content_hash(item.image)
        ]
        assert {sides[name] for name in names} <= {"test"}


def test_what_is_in_both_counts_once() -> None:
    def fruit(number: int, grade: str, mask: Path | None = None) -> Example:
        keys = (f"upload-{number}", f"picture-{number}")
        return Example(f"fruit-{number}", f"fruit-{number}", grade, Path("f"), keys, None, mask)

    def item(number: int, key: str) -> Example:
        name = f"data-{number}"
        return Example(name, f"data/{number}", "A", Path("d"), (key,), {"x": 1.0}, None, "val")

    fruits = [fruit(1, "A"), fruit(2, "B"), fruit(3, "A", Path("mask.png")), fruit(4, "A")]
    earlier = [item(1, "upload-1"), item(2, "picture-2"), item(3, "upload-3"), item(4, "else")]
    own, kept = each_once(fruits, earlier)
    assert [each.name for each in own] == ["fruit-4"]
    assert [(each.name, each.grade, each.image.name) for each in kept] == [
        ("data-1", "A", "d"),
        ("data-2", "B", "f"),
        ("data-3", "A", "f"),
        ("data-4", "A", "d"),
    ]
    assert kept[2].mask == Path("mask.png")
    assert all(each.split == "val" and each.outline == {"x": 1.0} for each in kept)
    assert set(kept[1].keys) == {"upload-2", "picture-2"}


def test_masks_that_are_no_pngs_are_taken_along(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for number in range(12):
        folder = tmp_path / "data" / "AB"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 256, (32, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    shape = {"label": "A", "shape_type": "rectangle", "points": [[4, 4], [20, 12]]}
    content = {"shapes": [shape], "imageHeight": 32, "imageWidth": 64}
    (tmp_path / "data" / "A" / "0.json").write_text(json.dumps(content))
    training = mz.load_dataset(tmp_path / "data")
    blobs = Blobs(tmp_path / "blobs")
    mask = blobs.keep_picture(mask_png({"B": np.eye(64, 128) > 0}), "png")
    fruits = [
        ExpertGraded(n, f"upload-{n}", "AB"[n], picture(blobs, n), {"x": 1.0}, mask)
        for n in range(2)
    ]
    retraining.write_dataset(
        fruits, training.standard, {}, blobs, tmp_path / "made", panoramas=True, training=training
    )
    made = mz.load_dataset(tmp_path / "made")
    assert not made.has_outlines, "the dataset has none, and it is most of what there is"
    assert sum(item.mask is not None for item in made) == 3
    before, after = (
        data.mask_of(next(item for item in data if item.mask), "A") for data in (training, made)
    )
    assert before is not None and before.sum() == 16 * 8 and np.array_equal(before, after)


def test_a_dataset_that_does_not_fit_is_refused_in_one_line(
    dataset: mz.Dataset, melons: Path, tmp_path: Path, run_dir: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    content = dataset.standard.to_dict()
    seen = look(melons, content, panoramas=True)
    assert (seen.counts, seen.is_there) == ({"A": 7, "B": 7, "C": 7, "D": 7}, True)
    assert seen.masks == sum(item.mask is not None for item in dataset)
    for number in range(4):
        folder = tmp_path / "photos" / "ABCD"[number]
        folder.mkdir(parents=True)
        for name in "xy":
            Image.new("RGB", (40, 30)).save(folder / f"{name}.png")
    shutil.copytree(tmp_path / "photos", tmp_path / "other")
    (tmp_path / "other" / "D").rename(tmp_path / "other" / "E")
    for path, reason in (
        (tmp_path / "none", "does not exist"),
        (tmp_path / "photos", "holds photos and the grader in use learned from unrolled surfaces"),
        (tmp_path / "other", "has the grades A, B, C, E and the grader in use A, B, C, D"),
    ):
        with pytest.raises(MezoroiError, match=reason) as refused:
            look(path, content, panoramas=True)
        assert "\n" not in str(refused.value)
    assert load(tmp_path / "photos", dataset.standard, panoramas=False)
    options = ["--data", str(tmp_path / "data"), "--training", str(tmp_path / "none")]
    with pytest.raises(SystemExit) as ended:
        main(["serve", str(run_dir), "--port", "0", *options])
    error = capsys.readouterr().err
    assert ended.value.code == 2 and error.count("\n") == 1 and "does not exist" in error


def test_the_trainer_is_told_of_it(tmp_path: Path) -> None:
    for training in (None, tmp_path / "melons"):
        settings = Settings(tmp_path, tmp_path, training=training)
        assert read_start_line(start_line(settings, "x"))[0].training == training


def test_the_page_says_how_many_come_from_where(make_app: AppWith, copy: Path) -> None:
    app = make_app(training=copy)
    admin = app.client(Role.ADMIN)
    page = admin.get("/graders", headers=ENGLISH).text
    assert f"28 fruits in {copy}." in page and "Together" in page
    assert 'class="main" disabled' not in page, "28 fruits are enough"
    assert f"{copy} の果実 28 玉" in admin.get("/graders", headers={"accept-language": "ja"}).text
    shutil.rmtree(copy)
    page = admin.get("/graders", headers=ENGLISH).text
    assert "The training data is not in" in page and "Together" not in page
    assert 'class="main" disabled' in page


def judge_some(app: App, melons: Path, count: int) -> None:
    """Send fruits that no grader has seen, and grade them as an expert."""
    for place, path in enumerate(sorted(melons.glob("captures/*/surface.png"))[:count]):
        with Image.open(path) as image:
            turned = image.convert("RGB").transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        stream = app.services.settings.data / "x.png"
        turned.save(stream)
        assert send(app, stream.read_bytes()) == place + 1
    work(app.services)
    with app.services.database.write() as session:
        admin = session.query(User).filter_by(name="admin").one()
        for row in session.query(GradingRow).all():
            own = "ABCD"[row.fruit_id % 4]
            answer = "agree" if own == row.grade else "wrong"
            verdicts.give_verdict(session, row, admin.id, answer, own_grade=own)


def without_outlines(folder: Path) -> None:
    """Leave the outlines out of a dataset: the app has none of fruits that were not filmed."""
    for path in folder.glob("captures/*/outline.json"):
        path.unlink()
    with (folder / "manifest.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    write_table(folder / "manifest.csv", [{**row, "outline": ""} for row in rows])


def run_trainer(app: App) -> tuple[str, str, str]:
    """Train; state, detail and log of the job."""
    app.client(Role.ADMIN).post("/graders/train")
    heard, told = socket.socketpair()
    with heard, told:
        Trainer(app.services.settings, "trainer", heard.fileno()).run()
    with app.services.database.read() as session:
        job = jobs.recent_jobs(session, [jobs.TRAIN], 1)[0]
    return job.state, job.detail, job.log


def test_a_grader_learns_from_both_then_from_the_fruits_alone(
    make_app: AppWith, run_dir: Path, copy: Path, melons: Path, tmp_path: Path,
    grader: mz.Grader,
) -> None:  # fmt: skip
    shutil.copytree(run_dir, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints"))
    content = read_json(tmp_path / "run" / "grader.json", "")
    content["config"]["train"]["epochs"] = 1  # new graders take the settings of the one in use
    write_json(tmp_path / "run" / "grader.json", content)
    app = make_app(tmp_path / "run", training=copy)
    without_outlines(copy)
    judge_some(app, melons, 4)
    state, detail, log = run_trainer(app)
    assert (state, detail) == ("done", "")
    assert "from the app: 4 train" in log and "from the training data: " in log
    with app.services.database.read() as session:
        new = runs.list_runs(session)[0]
    assert new.metrics["learned_from"] == {"app": 4, "training": 28}
    tested = [name for name, side in grader.bundle.data["splits"].items() if side == "test"]
    assert new.metrics["compared"]["fruits"] >= len(tested) > 0
    page = app.client(Role.ADMIN).get("/graders", headers=ENGLISH).text
    assert "Made with 4 fruits of the app and 28 of the training data." in page
    shutil.rmtree(copy)
    state, detail, log = run_trainer(app)
    assert state == "failed" and "has vanished: learning from the app's fruits alone" in log
    assert "fruits with an expert's grade" in detail
