"""The light check, the mean outline, and what reliability adds to the result."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mezoroi.app.drawing import describe
from mezoroi.app.light import FEWEST_PICTURES, deviations, light_of, training_light
from mezoroi.app.reading import Upload
from mezoroi.app.roles import Role
from mezoroi.app.store import fruits, runs, silhouettes
from mezoroi.app.tables import Fruit, GradingRow
from mezoroi.app.views import result_view
from mezoroi.capture.sources import FruitInput
from mezoroi.grading import Grading
from mezoroi.retrieval.gallery import THUMBNAILS
from mezoroi.standard import GradingStandard
from tests.app.conftest import App, work
from tests.app.filled import add, judge

TRAINING = {"brightness": [90.0, 120.0], "warmth": [0.95, 1.1], "tint": [1.0, 1.1]}


def plain(red: int, green: int, blue: int) -> np.ndarray:
    return np.full((12, 16, 3), (red, green, blue), np.uint8)


def test_light_of_one_colour_by_hand() -> None:
    found = light_of(plain(100, 120, 50))
    assert found["brightness"] == pytest.approx(0.299 * 100 + 0.587 * 120 + 0.114 * 50)
    assert found["warmth"] == 2.0
    assert found["tint"] == pytest.approx(120 / (100 * 50) ** 0.5)
    assert light_of(plain(0, 0, 0)) == {"brightness": 0.0, "warmth": 1.0, "tint": 1.0}


@pytest.mark.parametrize(
    ("colour", "kinds"),
    [
        ((100, 105, 100), []),
        ((85, 89, 85), []),
        ((60, 63, 60), ["darker"]),
        ((200, 210, 200), ["brighter"]),
        ((120, 105, 90), ["redder"]),
        ((90, 105, 110), ["bluer"]),
        ((90, 110, 90), ["greener"]),
        ((110, 100, 110), ["pinker"]),
        ((40, 45, 60), ["darker", "bluer", "pinker"]),
    ],
)
def test_what_differs_is_named(colour: tuple[int, int, int], kinds: list[str]) -> None:
    assert [entry["kind"] for entry in deviations(plain(*colour), TRAINING)] == kinds


def test_training_pictures_are_measured_and_few_say_nothing(tmp_path: Path) -> None:
    folder = tmp_path / THUMBNAILS
    folder.mkdir()
    for number in range(FEWEST_PICTURES):
        Image.fromarray(plain(*3 * [100 + number])).save(folder / f"{number}.jpg", quality=95)
        found = training_light(tmp_path)
        assert found["pictures"] == number + 1
        assert ("brightness" in found) == (number + 1 == FEWEST_PICTURES)
    (folder / "damaged.jpg").write_bytes(b"no picture")
    found = training_light(tmp_path)
    low, high = found["brightness"]
    assert low == pytest.approx(100, abs=1) and high == pytest.approx(107, abs=1)
    assert deviations(plain(30, 30, 30), {"pictures": 3}) == []


def test_a_dark_picture_is_said_to_be_dark(app: App, melons: Path) -> None:
    surface = np.asarray(
        Image.open(sorted(melons.glob("captures/*/surface.png"))[3]).convert("RGB")
    )
    client = app.client(Role.NEWCOMER)
    for factor in (1.0, 0.3):
        stream = io.BytesIO()
        Image.fromarray((surface * factor).astype(np.uint8)).save(stream, "PNG")
        client.post("/fruits", files={"file": ("a.png", stream.getvalue())})
    work(app.services)
    english = {"accept-language": "en"}
    said = "darker than the training pictures"
    assert said not in client.get("/fruits/1", headers=english).text
    assert said in client.get("/fruits/2", headers=english).text
    with app.services.database.read() as session:
        run = runs.active_run(session)
        assert run is not None and run.light is not None and run.light["pictures"] > 8


def say_more(app: App, number: int, more: dict[str, Any]) -> None:
    """Add to what the newest grading of a fruit says."""
    with app.services.database.write() as session:
        grading = fruits.newest_grading(session, number)
        assert grading is not None
        grading.result = {**grading.result, **more}


def test_why_an_expert_should_look_is_said_in_the_users_language(app: App) -> None:
    number = add(app.services, "A")
    more = {
        "ask_expert": True,
        "grade_set": ["A", "B"],
        "grade_set_coverage": 0.9,
        "reliability_reason": {"key": "novel", "ja": "見慣れない果実です。", "en": "A new kind."},
    }
    say_more(app, number, more)
    client = app.client(Role.NEWCOMER)
    page = client.get(f"/fruits/{number}", headers={"accept-language": "en"}).text
    assert "Please ask an expert. Unreliable because: A new kind." in page
    assert "in 90 % of cases" in page
    japanese = client.get(f"/fruits/{number}").text
    assert "熟練者に確かめてください。当てにできない理由：見慣れない果実です。" in japanese


def test_four_right_of_four_are_few_examples_and_not_ten_of_ten(app: App) -> None:
    number = add(app.services, "A", reliability=1.0)
    more = {"sureness": "few", "reliability_cases": 4, "reliability_interval": [0.51, 1.0]}
    say_more(app, number, more)
    client = app.client(Role.NEWCOMER)
    page = client.get(f"/fruits/{number}", headers={"accept-language": "en"}).text
    assert "Few examples: 4 of 4 such cases were right" in page and "0.51–1.00" in page
    japanese = client.get(f"/fruits/{number}").text
    assert "例が少ない" in japanese and "似た例 4 玉のうち 4 玉で正解" in japanese


def test_where_the_grader_looked_in_such_cases_is_shown(app: App) -> None:
    number = add(app.services, "A", reliability=0.9)
    client = app.client(Role.NEWCOMER)
    assert "似た例が平均して見ていた所" not in client.get(f"/fruits/{number}").text
    with app.services.database.read() as session:
        grading = fruits.newest_grading(session, number)
        assert grading is not None
        pictures = grading.result["pictures"]
    shown = {"name": "0" * 64 + ".jpg", "width": 640, "height": 320}
    say_more(app, number, {"pictures": {**pictures, "cluster_map": shown}})
    page = client.get(f"/fruits/{number}").text
    assert shown["name"] in page and "似た例が平均して見ていた所" in page


def test_an_adjusted_grade_is_ahead_of_nothing_and_its_cluster_is_shown(
    app: App, melons: Path
) -> None:
    path = sorted(melons.glob("captures/*/surface.png"))[0]
    surface = np.asarray(Image.open(path).convert("RGB"))
    standard = GradingStandard.melon()
    similarity = {"A": 0.9, "B": 0.2, "C": 0.1, "D": 0.0}
    usual = Grading("a.png", "A", similarity, dict.fromkeys(similarity, 0.5), {}, None, None,
                    surface, standard)  # fmt: skip
    clustered = replace(
        usual,
        grade="B",
        adjusted_from="A",
        reliability=0.8,
        reliability_cases=20,
        cluster_map=np.full(surface.shape[:2], 0.5, np.float32),
    )
    blobs = app.services.blobs
    upload = Upload(FruitInput("a.png", surface), None, None)
    found = describe(clustered, upload, blobs, shown_name="a.png")
    assert found["gap"] is None and found["is_clear"] is None and found["sureness"] == "fairly"
    shown = found["pictures"]["cluster_map"]
    assert max(shown["width"], shown["height"]) <= 640
    seen = describe(usual, upload, blobs, shown_name="a.png")
    assert seen["gap"] == pytest.approx(0.7) and seen["is_clear"] is True
    assert seen["sureness"] is None and seen["pictures"]["cluster_map"] is None


def test_the_mean_outline_is_that_of_fruits_that_experts_graded_so(app: App) -> None:
    def filmed(radius: float, own: str) -> int:
        number = add(app.services, "A")
        with app.services.database.write() as session:
            session.get_one(Fruit, number).media = "video/mp4"
            grading = fruits.newest_grading(session, number)
            assert grading is not None
            radii = [radius] * 4
            outline = {"mean": radii, "low": radii, "high": radii}
            grading.result = {
                **grading.result,
                "silhouette": outline,
                "outline": {"height_width": 1.0},
            }
        judge(app.services, number, "wrong", own=own)
        return number

    def mean(grade: str) -> silhouettes.MeanSilhouette | None:
        with app.services.database.read() as session:
            return silhouettes.mean_silhouette(session, grade)

    for radius in (0.9, 1.0, 1.1, 1.2):
        last = filmed(radius, "C")
    filmed(5.0, "B")
    assert mean("C") is None, "of four fruits there is no mean yet"
    filmed(1.3, "C")
    found = mean("C")
    assert found is not None and found.count == 5
    assert found.radii == pytest.approx([1.1] * 4)
    assert mean("A") is None
    with app.services.database.read() as session:
        row = session.get_one(GradingRow, last)
        view = result_view(row, "en", found)
    assert view.typical is not None and view.typical.startswith("M1.100 -0.000L")
    page = app.client(Role.NEWCOMER).get(f"/fruits/{last}", headers={"accept-language": "en"}).text
    assert "dashed: a circle" in page, "this one was graded A, which has no mean"
