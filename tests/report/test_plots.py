from __future__ import annotations

import io
import warnings

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from mezoroi.errors import MezoroiError
from mezoroi.report.plots import confusion_matrix_png, training_curve_png


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def test_charts_are_drawn_in_both_languages_without_missing_glyphs():
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns of glyphs that a font lacks
        for language in ("ja", "en"):
            matrix = confusion_matrix_png(
                [[9, 1], [2, 0]], ["傷なし", "腐れ"], title="判定", language=language
            )
            curve = training_curve_png(
                {"train_loss": [2.0, 1.0], "val_accuracy": [0.5, float("nan")]},
                best_epoch=1, title="学習", language=language,
            )  # fmt: skip
            for png in (matrix, curve):
                assert pixels(png).min() < 60


def test_languages_and_counts_change_the_picture():
    first = confusion_matrix_png([[9, 1], [2, 8]], ["A", "B"])
    assert first == confusion_matrix_png([[9, 1], [2, 8]], ["A", "B"])
    assert first != confusion_matrix_png([[9, 1], [2, 8]], ["A", "B"], language="en")
    assert first != confusion_matrix_png([[9, 1], [8, 2]], ["A", "B"])


def test_shade_is_the_share_of_the_row():
    image = pixels(confusion_matrix_png([[0, 4], [0, 400]], ["A", "B"]))
    darkest = np.array(mpl.colormaps["Blues"](1.0)[:3]) * 255
    full = (np.abs(image - darkest) < 2).all(axis=2)
    rows = np.flatnonzero(full.sum(axis=1) > 80)
    assert len(rows) > 0.6 * image.shape[0]  # both rows' cells on the right are full, 4 as 400


def test_settings_of_matplotlib_stay():
    before = dict(mpl.rcParams)
    confusion_matrix_png([[1, 0], [0, 1]], ["A", "B"])
    assert dict(mpl.rcParams) == before


def test_bad_input():
    with pytest.raises(MezoroiError, match="does not match"):
        confusion_matrix_png([[1, 0]], ["A", "B"])
    with pytest.raises(MezoroiError, match="no curve"):
        training_curve_png({})
    with pytest.raises(MezoroiError, match="language"):
        confusion_matrix_png([[1]], ["A"], language="fr")
