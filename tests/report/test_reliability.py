"""What the reports say about reliability."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mezoroi.errors import MezoroiError
from mezoroi.report.html import ReportItem, batch_report
from mezoroi.report.overlay import legend_strip, map_picture
from mezoroi.report.reliability import ClusterExample, reliability_page, reliability_text
from mezoroi.standard import GradingStandard

MELON = GradingStandard.melon()
CLUSTERS = [
    {
        "cluster": 1,
        "cases": 20,
        "right": 2,
        "error_rate": 0.9,
        "reliability": 0.1,
        "low": 0.03,
        "high": 0.3,
        "counts": {"A": {"A": 2, "B": 8}, "B": {"A": 10}},
        "adjusted": {"A": "B", "B": "A"},
    }
]
FACTS = {
    "method": "grad-cam",
    "split": "val",
    "variance": 0.95,
    "adjusts": True,
    "corrected": 12,
    "spoiled": 1,
}


def page_of(**changes: object) -> str:
    content = {
        "name": "fruit.jpg",
        "image": np.full((40, 60, 3), 90, np.uint8),
        "grade": "B",
        "similarity": {"A": 0.9, "B": 0.2, "C": 0.1, "D": 0.1},
        "thresholds": dict.fromkeys("ABCD", 0.4),
        "resembles": ["A"],
        "reliability": 5 / 6,
    }
    return batch_report([ReportItem(**(content | changes))], MELON, title="t", language="en")


def test_six_cases_are_not_told_as_ten() -> None:
    assert "8 of 10 such cases were right" in page_of()
    page = page_of(reliability_cases=6)
    assert "5 of 6 such cases were right (reliability 0.83" in page and "counted on 6" in page


def test_a_doubtful_grading_says_why_and_what_else_it_may_be() -> None:
    reason = {"key": "novel", "ja": "見ている場所が違います。", "en": "it looked elsewhere."}
    page = page_of(
        reliability_reason=reason, grade_set=("A", "B"), grade_set_coverage=0.9,
        cluster_map=np.eye(4),
    )  # fmt: skip
    assert "Ask an expert. Unreliable because it looked elsewhere." in page
    assert "当てにできない理由：見ている場所が違います。" in page
    assert "One of A, B, at 90 %" in page and 'class="cluster"' in page
    assert "ask an expert" in page and "Ask an expert" not in page_of()
    assert "One of" not in page_of(grade_set=("B",), grade_set_coverage=0.9)


def test_an_adjusted_grading_keeps_its_first_grade_and_is_ahead_of_nothing() -> None:
    page = page_of(adjusted_from="A")
    assert "First decided A;" in page and "changed from A" in page
    assert "ahead of" not in page and "ahead of" in page_of()


def test_the_clusters_in_words_and_as_a_page(tmp_path: Path) -> None:
    text = reliability_text(CLUSTERS, ("A", "B"))
    assert text == (
        "cluster 1: 20 fruits, 2 right, reliability 0.10 (0.03 to 0.30); "
        "TP 2, TN 0, FP 10, FN 8; adjusted A -> B, B -> A"
    )
    Image.new("RGB", (8, 8)).save(tmp_path / "one.jpg")
    shown = {1: [ClusterExample(tmp_path / name, "A", "B") for name in ("one.jpg", "gone.jpg")]}
    page = reliability_page(CLUSTERS, np.ones((1, 8, 8)), shown, ("A", "B"), FACTS, "en")
    assert page.count("expert A, given B") == 1
    assert "2 of 20 were right" in page and "12 corrected, 1 spoiled" in page
    assert "TP 2, TN 0, FP 10, FN 8" in page and "<table" not in page
    assert "components keep 95 % of the variance" in page
    assert "Grades are never changed" in reliability_page(
        CLUSTERS, np.ones((1, 8, 8)), {}, ("A", "B"), {**FACTS, "adjusts": False}
    )


def test_of_several_grades_the_page_counts_experts_against_given() -> None:
    counts = {"A": {"A": 5, "C": 2}, "C": {"B": 1}}
    entry = {**CLUSTERS[0], "counts": counts, "adjusted": {}}
    page = reliability_page([entry], np.ones((1, 8, 16)), {}, ("A", "B", "C"), FACTS, "en")
    rows = [re.sub(r"<[^>]+>", " ", row).split() for row in page.split("<tr>")[1:]]
    assert [row[:4] for row in rows] == [
        ["A", "B", "C"],
        ["A", "5", "–", "2"],
        ["C", "–", "1", "–"],
    ]


def test_the_mean_map_has_the_shape_of_the_images_and_its_scale_below() -> None:
    plane = np.zeros((10, 20))
    plane[:, 10:] = 1
    picture = map_picture(plane, 320)
    strip = legend_strip(320)
    assert picture.shape == (160 + len(strip), 320, 3)
    assert (picture[160:] == strip).all()
    dark, bright = picture[80, 40], picture[80, 280]
    assert dark.max() < 10 and bright.min() > 150
    with pytest.raises(MezoroiError, match="cannot be drawn"):
        map_picture(np.zeros(5), 320)
