from __future__ import annotations

import base64
import io
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from mezoroi.errors import MezoroiError
from mezoroi.report.html import ReportItem, batch_report, decision_gap
from mezoroi.retrieval.reference import Neighbour
from mezoroi.standard import GradingStandard

MELON = GradingStandard.melon()
PHOTO = np.tile(np.linspace(0, 255, 90).astype(np.uint8)[None, :, None], (60, 1, 3))
MAPS = {grade: np.full((4, 6), share) for grade, share in (("A", 0.2), ("B", 0.7), ("D", 0.1))}
VOID = {"meta", "input", "img", "br", "link"}


def item(**changes):
    content = {
        "name": "fruit.mp4",
        "image": PHOTO,
        "grade": "B",
        "similarity": {"A": 0.41, "B": 0.83, "C": 0.22, "D": math.nan},
        "thresholds": dict.fromkeys("ABCD", 0.4),
        "activation_maps": MAPS,
        "resembles": ["B"],
        "reliability": 0.83,
    }
    return ReportItem(**(content | changes))


class Page(HTMLParser):
    """Elements, and text by language, of a page whose tags must all be closed in order."""

    def __init__(self, html):
        super().__init__()
        self.open, self.elements, self.texts = [], [], {"ja": "", "en": "", None: ""}
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append((tag, dict(attributes).get("lang")))

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        languages = [language for tag, language in self.open if language and tag != "html"]
        self.texts[languages[-1] if languages else None] += data

    def named(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def decoded(source):
    return Image.open(io.BytesIO(base64.b64decode(source.split(",")[1])))


def page(*items, standard=MELON, **options):
    return Page(batch_report(items, standard, **({"title": "t"} | options)))


def test_one_file_without_the_network():
    html = batch_report([item()], MELON, title="t")
    outside = html.replace("http://www.w3.org/2000/svg", "")
    assert "http:" not in outside
    assert "https:" not in outside
    parsed = Page(html)
    assert all(image["src"].startswith("data:image/") for image in parsed.named("img"))
    assert not parsed.named("link")
    assert [script.get("src") for script in parsed.named("script")] == [None]


def test_photo_is_embedded():
    source = page(item()).named("img")[0]["src"]
    photo = np.asarray(decoded(source).convert("RGB"))
    assert photo.shape == PHOTO.shape
    assert np.abs(photo.astype(int) - PHOTO).mean() < 5
    large = page(item(image=np.zeros((1000, 3000, 3), np.uint8))).named("img")[0]["src"]
    assert decoded(large).size == (1024, 341)


def test_everything_from_outside_is_escaped():
    evil = "<script>alert('x')</script>"
    html = batch_report(
        [item(name=evil, notices=[evil]), ReportItem(evil, error=evil)], MELON, title=evil
    )
    assert "<script>alert" not in html
    parsed = Page(html)
    assert len(parsed.named("script")) == 1
    # title, h1; per item its line in the list and its heading
    assert parsed.texts[None].count(evil) == 2 + 2 * 2
    for language in ("ja", "en"):
        assert parsed.texts[language].count(evil) == 1 + 2  # one notice; the error twice
    names = GradingStandard.from_grades([evil, "ok"])
    other = ReportItem("x", PHOTO, evil, {evil: 0.5}, resembles=[evil])
    assert "<script>alert" not in batch_report([other], names, title="t")


def test_both_languages_and_the_one_shown_first():
    for language in ("ja", "en"):
        parsed = page(item(), language=language)
        radios = [radio for radio in parsed.named("input") if radio.get("name") == "language"]
        assert [r["id"] for r in radios if "checked" in r] == [f"language-{language}"]
        assert parsed.named("html")[0]["lang"] == language
    for word in ("判定", "等級", "信頼度", "明確"):
        assert word in parsed.texts["ja"]
    for word in ("Grade B", "clear", "reliability", "of 10 such cases"):
        assert word in parsed.texts["en"]
    assert not re.search("[ぁ-ん一-龥]", re.sub("B 等級.*", "", parsed.texts["en"]))


def test_close_call_in_words():
    assert decision_gap({"A": 0.41, "B": 0.83, "D": math.nan}) == pytest.approx(0.42)
    assert math.isnan(decision_gap({"A": 0.41, "B": math.nan}))
    close = page(item(similarity={"A": 0.80, "B": 0.83}))
    assert "close call" in close.texts["en"]
    assert "僅差" in close.texts["ja"]
    assert "close call" not in page(item()).texts["en"]


def test_notices():
    calm = page(item(map_grade="B"))
    assert "points at" not in calm.texts["en"]
    assert "nlike all" not in calm.texts["en"]
    differs = page(item(map_grade="D"))
    assert "Decided B, but the map points at D" in differs.texts["en"]
    assert "着目箇所は D を" in differs.texts["ja"]
    unlike = page(item(is_unlike_all=True, resembles=[]))
    assert "Unlike all grades" in unlike.texts["en"]
    assert "どの等級の見本にも似ていません" in unlike.texts["ja"]


def test_errors_and_notices_are_in_the_readers_language():
    parsed = page(
        item(notices=["the video is HDR"]),
        ReportItem("x.mp4", error="x.mp4 is empty"),
        in_japanese={"the video is HDR": "HDR 動画です", "x.mp4 is empty": "空です"}.get,
    )
    for english, japanese, times in (("is HDR", "HDR 動画", 1), ("is empty", "空です", 2)):
        assert parsed.texts["en"].count(english) == times
        assert parsed.texts["ja"].count(japanese) == times
        assert english not in parsed.texts["ja"] + parsed.texts[None]


def test_reliability_never_overstates():
    assert "fairly sure: 8 of 10" in page(item(reliability=0.89)).texts["en"]
    assert "sure: 9 of 10" in page(item(reliability=0.99)).texts["en"]
    assert "unsure: 3 of 10" in page(item(reliability=0.3)).texts["en"]
    assert "of 10" not in page(item(reliability=None)).texts["en"]
    known = page(item(reliability=0.8, reliability_interval=(0.71, 0.87), reliability_cases=90))
    assert "95 % interval 0.71–0.87, counted on 90" in known.texts["en"]
    assert "95% 区間 0.71–0.87" in known.texts["ja"]


def test_maps_switch_by_radio_and_the_decided_one_is_shown():
    parsed = page(item(), item(grade="C"), item(grade="C", map_grade="D"))
    for number, shown in ((1, "map-1-2"), (2, "map-2-bare"), (3, "map-3-3")):
        radios = [r for r in parsed.named("input") if r.get("name") == f"map-{number}"]
        assert [r["id"] for r in radios if "checked" in r] == [shown]
        assert len(radios) == 4
    labels = {label.get("for") for label in parsed.named("label")}
    assert {"map-1-1", "map-1-2", "map-1-3", "map-1-bare"} <= labels
    layers = [div["data-grade"] for div in parsed.named("div") if div.get("class") == "layer"]
    assert layers == ["A", "B", "D"] * 3
    assert "judged on the outline" in parsed.texts["en"]


def test_an_outline_that_decides_is_drawn():
    measured = {"height_width": 0.84, "bumpiness": 0.012, "bumpiness_variation": 0.004}
    parsed = page(item(grade="C", outline=measured))
    (drawn,) = [each for each in parsed.named("path") if each.get("d", "").count("L") > 60]
    radii = np.hypot(*np.array(re.findall(r"(-?[\d.]+) (-?[\d.]+)", drawn["d"]), dtype=float).T)
    assert radii.min() < 0.95 and radii.max() > 1.15
    assert "height / width 0.84" in parsed.texts["en"] and "縦横比 0.84" in parsed.texts["ja"]
    assert "bumps 0.012" in parsed.texts["en"] and "not its place" in parsed.texts["en"]
    smooth = page(item(grade="C", outline={"height_width": 1.0, "bumpiness": 0.0}))
    assert "bumps 0.000" in smooth.texts["en"] and "not its place" not in smooth.texts["en"]
    for other in (
        item(outline=measured),
        item(grade="C"),
        item(grade="C", outline={"bumpiness": 1}),
    ):
        assert "drawn from measurements" not in page(other).texts["en"]


def test_failed_item_is_listed_and_linked():
    parsed = page(item(), ReportItem("broken.mp4", error="no fruit was found: film it again"))
    assert parsed.texts["en"].count("no fruit was found: film it again") == 2
    ids = {attributes.get("id") for _, attributes in parsed.elements}
    links = [a["href"] for a in parsed.named("a")]
    assert {"#fruit-1", "#fruit-2", "#top"} == set(links)
    assert {link[1:] for link in links} <= ids
    assert len(parsed.named("svg")) == 2  # the good one's, in both languages


def test_ids_are_unique():
    parsed = page(item(), item(), item())
    ids = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_empty_batch_and_bare_items():
    assert "No fruit has been graded yet" in page().texts["en"]
    bare = page(ReportItem("x"))
    assert "No grade" in bare.texts["en"]
    assert len(bare.named("img")) == 0


def test_twenty_grades():
    standard = GradingStandard.from_grades([f"kind {n}" for n in range(20)], ordered=False)
    maps = {grade: np.full((3, 3), 0.05) for grade in standard.grades}
    similarity = {grade: n / 20 for n, grade in enumerate(standard.grades)}
    twenty = ReportItem("x", PHOTO, "kind 19", similarity, activation_maps=maps)
    parsed = page(twenty, standard=standard)
    assert len([d for d in parsed.named("div") if d.get("class") == "layer"]) == 20


@pytest.mark.parametrize(
    "changes",
    [
        {"grade": "E"},
        {"map_grade": "E"},
        {"resembles": ["E"]},
        {"activation_maps": {"E": np.zeros((2, 2))}},
        {"activation_maps": {"A": np.full((2, 2), 7.0)}},
        {"image": PHOTO.astype(float)},
        {"reliability": 1.5},
    ],
)
def test_bad_items(changes):
    with pytest.raises(MezoroiError, match=": "):
        page(item(**changes))


def test_unknown_language():
    with pytest.raises(MezoroiError, match="language"):
        page(language="fr")


def test_neighbours_with_their_pictures(tmp_path):
    picture = tmp_path / "thumbnail.jpg"
    Image.fromarray(PHOTO).save(picture)
    found = [
        Neighbour("first", "B", 0.93, str(picture)),
        Neighbour("second", None, 0.41, str(tmp_path / "gone.jpg")),
        *(Neighbour(f"more {n}", "A", 0.1, None) for n in range(5)),
    ]
    html = batch_report([item(neighbours=found)], MELON, title="t")
    assert "似ている参考玉" in html and "first" in html
    assert '<span lang="ja">類似度 </span><span lang="en">similarity </span>.93' in html
    assert base64.b64encode(picture.read_bytes()).decode() in html
    assert "second" in html and "more 1" in html and "more 2" not in html
    assert "似ている参考玉" not in batch_report([item()], MELON, title="t")
