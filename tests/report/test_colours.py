from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest

from mezoroi.errors import MezoroiError
from mezoroi.report.colours import GRADE_COLOURS, contrast, grade_colour, ink_on
from mezoroi.standard import MAX_GRADES, GradingStandard


def lab(colour):
    rgb = np.array([[[int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]]], np.float32)
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB)[0, 0]


def test_melon_grades_have_the_agreed_colours():
    colours = [grade_colour(GradingStandard.melon(), grade) for grade in "ABCD"]
    assert colours == ["#009E73", "#56B4E9", "#E69F00", "#D55E00"]


def test_enough_colours_and_no_two_alike():
    assert len(GRADE_COLOURS) == MAX_GRADES
    nearest = min(
        np.linalg.norm(lab(a) - lab(b)) for a, b in itertools.combinations(GRADE_COLOURS, 2)
    )
    assert nearest > 10  # about 2.3 is just noticeable


def test_contrast_against_published_values():
    assert contrast("#000000", "#FFFFFF") == pytest.approx(21)
    assert contrast("#777777", "#FFFFFF") == pytest.approx(4.48, abs=0.005)
    assert contrast("#FFFFFF", "#777777") == contrast("#777777", "#FFFFFF")


@pytest.mark.parametrize("colour", GRADE_COLOURS)
def test_ink_reads_on_every_colour(colour):
    assert contrast(ink_on(colour), colour) >= 4.5


def test_unknown_grade():
    with pytest.raises(MezoroiError, match="unknown grade `E`"):
        grade_colour(GradingStandard.melon(), "E")
