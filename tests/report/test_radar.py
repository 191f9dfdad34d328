from __future__ import annotations

import io
import math
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image, ImageFont

from mezoroi.errors import MezoroiError
from mezoroi.report.fonts import font_path
from mezoroi.report.radar import radar_png, radar_svg, similarity_table_html
from mezoroi.report.radar_axes import figure, position
from mezoroi.standard import GradingStandard

SVG = "{http://www.w3.org/2000/svg}"
MELON = GradingStandard.melon()
SIMILARITY = {"A": 0.41, "B": 0.83, "C": 0.22, "D": 0.37}
THRESHOLDS = {"A": 0.5, "B": 0.45, "C": 0.4, "D": 0.37}


def draw(similarity=SIMILARITY, thresholds=THRESHOLDS, standard=MELON, grade="B", **options):
    return ET.fromstring(radar_svg(similarity, thresholds, standard, grade=grade, **options))


def with_class(root, name):
    return [element for element in root.iter() if element.get("class") == name]


def pixels(svg, scale=1):
    return np.asarray(Image.open(io.BytesIO(radar_png(svg, scale))).convert("L"), float)


@pytest.mark.parametrize(
    ("number", "count", "value", "expected"),
    [
        (0, 4, 1.0, (100, 40)),  # up, the whole radius
        (1, 4, 0.0, (120, 100)),  # right, a third of the radius
        (2, 4, 0.5, (100, 140)),  # down, two thirds
        (3, 4, -0.5, (100, 100)),  # the centre
        (3, 4, -1.0, (100, 100)),  # below the centre is drawn at the centre
        (1, 3, 1.0, (100 + 60 * math.sqrt(3) / 2, 130)),
        (1, 2, 1.0, (100, 160)),
    ],
)
def test_position_by_hand(number, count, value, expected):
    assert position(number, count, value, (100, 100), 60) == pytest.approx(expected, abs=0.01)


def test_marks_and_rings_stand_where_the_similarity_says():
    root = draw()
    radii = [float(ring.get("r")) for ring in with_class(root, "ring")]
    full = radii[2]
    assert radii == pytest.approx([full / 3, full * 2 / 3, full], abs=0.01)
    ring = with_class(root, "ring")[0]
    cx, cy = float(ring.get("cx")), float(ring.get("cy"))
    marks = [(float(mark.get("cx")), float(mark.get("cy"))) for mark in with_class(root, "mark")]
    reach = {grade: (value + 0.5) / 1.5 * full for grade, value in SIMILARITY.items()}
    expected = [
        (cx, cy - reach["A"]),
        (cx + reach["B"], cy),
        (cx, cy + reach["C"]),
        (cx - reach["D"], cy),
    ]
    np.testing.assert_allclose(marks, expected, atol=0.02)
    tick = with_class(root, "threshold")[1]  # B: upright stroke across the axis to the right
    x = cx + (0.45 + 0.5) / 1.5 * full
    assert float(tick.get("x1")) == float(tick.get("x2")) == pytest.approx(x, abs=0.02)
    assert float(tick.get("y1")) + float(tick.get("y2")) == pytest.approx(2 * cy, abs=0.02)


def test_zero_ring_is_the_solid_one():
    dashes = [ring.get("stroke-dasharray") for ring in with_class(draw(), "ring")]
    assert dashes[0] is None
    assert None not in dashes[1:]


def test_filled_marks_resemble_hollow_ones_do_not():
    fills = [mark.get("fill") for mark in with_class(draw(), "mark")]
    assert fills == ["#ffffff", "#56B4E9", "#ffffff", "#D55E00"]  # D is at its threshold


def test_tips_say_the_numbers_and_the_decided_one_is_bold():
    tips = with_class(draw(), "tip")
    assert ["".join(tip.itertext()) for tip in tips] == ["A .41", "B .83", "C .22", "D .37"]
    assert [tip.get("font-weight") for tip in tips] == [None, "700", None, None]
    assert [tip.get("font-weight") for tip in with_class(draw(grade=None), "tip")] == [None] * 4


def test_not_judged_axis():
    root = draw({"A": 0.4, "B": math.nan, "D": -0.12}, grade="A")  # C is missing altogether
    tips = ["".join(tip.itertext()) for tip in with_class(root, "tip")]
    assert tips == ["A .40", "B –", "C –", "D −.12"]
    dashed = [axis.get("stroke-dasharray") is not None for axis in with_class(root, "axis")]
    assert dashed == [False, True, True, False]
    assert len(with_class(root, "mark")) == 2
    assert with_class(root, "outline")[0].get("fill") == "none"
    assert "nan" not in ET.tostring(root, "unicode").lower()
    assert root.find(f"{SVG}desc").text == "A .40 (判定), B 判定対象外, C 判定対象外, D −.12"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.83, ".83"), (-0.123, "−.12"), (1, "1.00"), (0.996, "1.00"), (0.994, ".99"), (-1, "−1.00"),
     (0, ".00"), (-0.001, ".00"), (math.nan, "–")],
)  # fmt: skip
def test_figure(value, text):
    assert figure(value) == text


@pytest.mark.parametrize("count", [2, 3, 4, 8, 20])
@pytest.mark.parametrize("language", ["ja", "en"])
@pytest.mark.parametrize("name", ["G{}", "とても長い等級の名前{}番"])
def test_every_number_of_grades_stays_inside_the_picture(count, language, name):
    standard = GradingStandard.from_grades(name.format(number) for number in range(count))
    values = dict.fromkeys(standard.grades, -0.888)
    svg = radar_svg(values, None, standard, grade=standard.grades[1], language=language)
    assert len(with_class(ET.fromstring(svg), "axis")) == count
    image = pixels(svg)
    assert image.shape == (420, 420)
    assert image.min() < 50
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    assert border.min() == 255  # no label is cut off


def test_names_are_escaped():
    standard = GradingStandard.from_grades(["<b>&", '"x"'])
    svg = radar_svg({"<b>&": 0.5}, None, standard, grade="<b>&")
    assert "<b>" not in svg
    assert "<b>& .50" in ET.fromstring(svg).find(f"{SVG}desc").text
    assert "<b>" not in similarity_table_html({"<b>&": 0.5}, None, standard, grade=None)


def test_nothing_outside_is_referred_to():
    svg = radar_svg(SIMILARITY, THRESHOLDS, MELON, grade="B")
    assert re.findall(r"https?://[^\"]*", svg) == ["http://www.w3.org/2000/svg"]
    assert not re.search(r"href|url\(|@import|<style", svg)


def test_japanese_glyphs_are_drawn_with_the_packaged_font():
    def drawn(text):
        return pixels(
            '<svg xmlns="http://www.w3.org/2000/svg" width="60" height="60">'
            f'<text x="8" y="46" font-size="40" font-family="IPAexGothic">{text}</text></svg>'
        )

    grade, order, missing = drawn("等"), drawn("級"), drawn("\U0001f348")
    assert grade.min() < 50
    assert not np.array_equal(grade, order)  # missing glyphs would all be the same box, or nothing
    assert not np.array_equal(grade, missing)
    mask = ImageFont.truetype(str(font_path()), 40).getmask("等")
    expected = np.asarray(mask, float).sum() / 255
    assert (255 - grade).sum() / 255 == pytest.approx(expected, rel=0.1)  # the same ink


def test_png_scales():
    svg = radar_svg(SIMILARITY, THRESHOLDS, MELON, grade="B")
    assert pixels(svg, scale=2).shape == (840, 840)
    with pytest.raises(MezoroiError, match="cannot be drawn"):
        radar_png("not a picture")


def test_locating_the_font_leaves_matplotlib_alone():
    code = (
        "import sys; from mezoroi.report.fonts import font_path; assert font_path().is_file();"
        "assert 'matplotlib_fontja' not in sys.modules and 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_table_says_the_same():
    table = ET.fromstring(
        similarity_table_html(SIMILARITY, THRESHOLDS, MELON, grade="B", language="en")
    )
    rows = [[cell.text for cell in row] for row in table.iter("tr")]
    assert rows == [
        ["Grade", "Similarity", "Threshold", "Likeness"],
        ["A", ".41", ".50", "does not"],
        ["B (decided)", ".83", ".45", "resembles"],
        ["C", ".22", ".40", "does not"],
        ["D", ".37", ".37", "resembles"],
    ]
    bare = ET.fromstring(similarity_table_html({"A": 0.4}, None, MELON, grade=None))
    assert [[cell.text for cell in row] for row in bare.iter("tr")][:3] == [
        ["等級", "類似度"], ["A", ".40"], ["B", "判定対象外"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    "options",
    [
        {"similarity": {"E": 0.1}},
        {"thresholds": {"E": 0.1}},
        {"grade": "E"},
        {"similarity": {"A": 1.2}},
        {"similarity": {"A": -math.inf}},
        {"language": "fr"},
        {"size": 20},
    ],
)
def test_bad_input(options):
    with pytest.raises(MezoroiError, match=": "):
        draw(**options)
