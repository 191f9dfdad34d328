"""What a new grader learns from: experts' grades, and the dataset that is made of them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mezoroi as mz
from mezoroi.app import retraining
from mezoroi.app.blobs import Blobs
from mezoroi.app.examples import Example
from mezoroi.app.painting import mask_png
from mezoroi.app.roles import Role
from mezoroi.app.store import expert_grades, fruits, runs, verdicts
from mezoroi.app.store.expert_grades import ExpertGraded
from mezoroi.app.tables import Fruit, GradingRow, User
from mezoroi.app.tables_learning import Specimen
from mezoroi.errors import MezoroiError
from mezoroi.standard import GradingStandard
from tests.app.conftest import App
from tests.app.filled import add, judge, result, user_of

STANDARD = GradingStandard.from_grades("AB")


def fruit(number: int, grade: str, picture: str = "", **more: object) -> ExpertGraded:
    content = {"fruit_id": number, "content": f"content-{number}", "grade": grade}
    return ExpertGraded(**(content | {"picture": picture, "outline": None, "mask": None} | more))  # type: ignore[arg-type]


def example(number: int, grade: str) -> Example:
    name = f"fruit-{number}"
    return Example(name, name, grade, Path("x.png"), (f"content-{number}",), None, None)


def test_fruits_are_dealt_out_grade_by_grade_and_stay_where_they_were() -> None:
    fruits = [example(number, "AB"[number % 2]) for number in range(40)]
    splits = retraining.deal(fruits, {})
    for grade in "AB":
        counts = Counter(splits[item.specimen] for item in fruits if item.grade == grade)
        assert counts == {"train": 14, "val": 2, "test": 4}
    five = Counter(retraining.deal(fruits[:10], {}).values())
    assert five == {"train": 6, "val": 2, "test": 2}
    known = {item.keys[0]: splits[item.specimen] for item in fruits}
    more = [*fruits, *(example(number, "A") for number in range(40, 50))]
    again = retraining.deal(more, known)
    assert {name: again[name] for name in splits} == splits


def test_what_one_grader_learned_from_tests_none(tmp_path: Path) -> None:
    for name, split in (("old", "test"), ("new", "train"), ("third", "val")):
        (tmp_path / name).mkdir()
        content = f'{{"data": {{"splits": {{"x": "{split}"}}, "content": {{"x": "abc"}}}}}}'
        (tmp_path / name / "grader.json").write_text(content)
    folders = [tmp_path / name for name in ("old", "new", "third")]
    assert retraining.splits_of_runs(folders) == {"abc": "train"}


def test_the_dataset_holds_grades_outlines_and_masks(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "blobs")
    generator = np.random.default_rng(0)
    fruits = []
    for number in range(12):
        stream = tmp_path / "x.png"
        Image.fromarray(generator.integers(0, 256, (32, 64, 3), dtype=np.uint8)).save(stream)
        picture = blobs.keep_picture(stream.read_bytes(), "png")
        mask = blobs.keep_picture(mask_png({"A": np.eye(32, 64) > 0}), "png")
        outline = {"height_width": 1.0 + number}
        fruits.append(fruit(number, "AB"[number % 2], picture, outline=outline, mask=mask))
    fruits.append(fruit(12, "A", fruits[0].picture))  # no outline
    notes = retraining.write_dataset(fruits, STANDARD, {}, blobs, tmp_path / "data", panoramas=True)
    dataset = mz.load_dataset(tmp_path / "data")
    assert len(dataset) == 12 and dataset.has_outlines and dataset.is_panorama
    assert notes == ["1 fruits without an outline left out", "8 train, 2 val, 2 test"]
    first = next(item for item in dataset if item.specimen == "fruit-0")
    mask_found = dataset.mask_of(first, "A")
    assert mask_found is not None and np.array_equal(mask_found, np.eye(32, 64) > 0)
    with pytest.raises(MezoroiError, match="grade B has 4 fruits"):
        retraining.write_dataset(fruits[:9], STANDARD, {}, blobs, tmp_path / "few", panoramas=True)
    known = {item.content: "train" for item in fruits}
    with pytest.raises(MezoroiError, match="none can test"):
        retraining.write_dataset(fruits, STANDARD, known, blobs, tmp_path / "no", panoramas=True)


def test_the_grade_is_the_experts_majority_of_their_newest_verdicts(
    either: App, photo: bytes
) -> None:
    app = either
    with app.services.database.write() as session:
        run = runs.active_run(session)
        assert run is not None
        people = {user.name: user.id for user in session.query(User)}
        picture = {"name": "p.jpg", "width": 2, "height": 1}
        result = {"pictures": {"surface": picture}, "outline": None}
        for content in ("one", "two", "one"):
            item = Fruit(content=content, media="image/png", size=1, uploader_id=1)
            session.add(item)
            session.flush()
            row = GradingRow(fruit_id=item.id, run_id=run.id, standard_id=run.standard_id)
            row.grade, row.result = "A", result
            session.add(row)
            session.flush()

        def say(grading: int, name: str, grade: str | None) -> None:
            found = session.get_one(GradingRow, grading)
            answer = "wrong" if grade is not None else None
            verdicts.give_verdict(session, found, people[name], answer, own_grade=grade)

        say(1, "expert", "B")
        say(2, "expert", "C")
        say(2, "expert", "D")
        say(2, "admin", "B")
        say(2, "newcomer", "C")
    with app.services.database.read() as session:
        found = expert_grades.expert_graded(session)
    assert [(item.fruit_id, item.content, item.grade) for item in found] == [
        (1, "one", "B"),
        (2, "two", "B"),
    ]
    with app.services.database.write() as session:
        session.add(Specimen(fruit_id=2, name="fruit-2", consensus="D"))
        session.add(Specimen(fruit_id=3, name="fruit-3", consensus="C"))
    with app.services.database.read() as session:
        found = expert_grades.expert_graded(session)
    assert [(item.fruit_id, item.grade) for item in found] == [(2, "D"), (3, "C")], (
        "what was settled in a session counts before all else"
    )


def test_a_grade_and_the_mask_of_a_later_grading_are_learned_together(app: App) -> None:
    number = add(app.services, "B")
    judge(app.services, number, "wrong", own="C")
    judge(app.services, number, "wrong", own="D", by=Role.ADMIN)
    judge(app.services, number, "wrong", own="C")
    user = user_of(app.services, Role.EXPERT)
    with app.services.database.write() as session:
        run = runs.active_run(session)
        assert run is not None
        grading = fruits.add_grading(session, number, run, result("B"))
        verdicts.look_first(session, grading, user.id)
        verdicts.keep_mask(session, grading, user.id, "a-mask.png")
    with app.services.database.read() as session:
        (found,) = expert_grades.expert_graded(session)
    assert (found.grade, found.mask) == ("C", "a-mask.png")
    judge(app.services, number, "wrong", own="D")
    with app.services.database.read() as session:
        assert expert_grades.expert_graded(session)[0].grade == "D", "said by both"
    judge(app.services, number, None)
    with app.services.database.read() as session:
        assert expert_grades.expert_graded(session)[0].grade == "C", "only this was taken back"


def test_an_answer_that_is_taken_back_leaves_the_blind_grade(app: App) -> None:
    number = add(app.services, "B")
    judge(app.services, number, "agree", blind="C")
    judge(app.services, number, None)
    other = add(app.services, "B", content="1" * 64)
    judge(app.services, other, "wrong", blind="B")
    with app.services.database.read() as session:
        found = {each.fruit_id: each.grade for each in expert_grades.expert_graded(session)}
    assert found == {number: "C"}, "what is clearly wrong is not learned, whoever said it before"
