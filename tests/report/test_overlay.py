from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib import colormaps
from PIL import Image

from mezoroi.errors import MezoroiError
from mezoroi.report.overlay import legend_strip, overlay, overlay_layer

GREY = np.full((40, 60, 3), 100, np.uint8)


def magma(value):
    return np.array(colormaps["magma"](value)[:3]) * 255


def test_blend_by_hand():
    picture = overlay(GREY, np.full((4, 6), 0.8), opacity=0.25, legend=False)
    expected = np.broadcast_to(0.75 * 100 + 0.25 * magma(0.8), (40, 60, 3))
    np.testing.assert_allclose(picture, expected, atol=1.5)
    assert picture.dtype == np.uint8


def test_same_value_same_colour_in_every_picture():
    faint = np.full((8, 8), 0.1)
    faint[:, 4:] = 0.3
    strong = np.full((8, 8), 0.3)
    strong[:, 4:] = 1.0
    surface = np.full((64, 64, 3), 100, np.uint8)
    first, second = (overlay(surface, m, contour=None, legend=False) for m in (faint, strong))
    np.testing.assert_array_equal(first[:, -8:], second[:, :8])
    assert not np.array_equal(first[:, :8], second[:, :8])


def test_opacity_zero_is_the_surface_and_inputs_stay():
    surface = np.random.default_rng(0).integers(0, 255, (30, 30, 3), np.uint8)
    values = np.random.default_rng(1).random((5, 5))
    before = surface.copy(), values.copy()
    shown = overlay(surface, values, opacity=0, contour=None, legend=False)
    np.testing.assert_array_equal(shown, surface)
    overlay(surface, values)
    np.testing.assert_array_equal(surface, before[0])
    np.testing.assert_array_equal(values, before[1])


def test_contour_runs_where_the_map_crosses_a_half():
    ramp = np.tile(np.linspace(0, 1, 201), (100, 1))  # crosses 0.5 in column 100
    plain = overlay(np.full((100, 201, 3), 90, np.uint8), ramp, contour=None, legend=False)
    drawn = overlay(np.full((100, 201, 3), 90, np.uint8), ramp, legend=False)
    changed = np.flatnonzero((plain != drawn).any(axis=(0, 2)))
    assert changed.min() >= 97
    assert changed.max() <= 103
    assert drawn[50, 100].max() < 60  # black inside
    assert drawn[50, 98:103].max() > 200  # white around it
    never = overlay(GREY, np.full((4, 6), 0.4), legend=False)
    np.testing.assert_array_equal(
        never, overlay(GREY, np.full((4, 6), 0.4), contour=None, legend=False)
    )


def test_legend_stands_below_and_runs_from_zero_to_one():
    picture = overlay(np.zeros((40, 400, 3), np.uint8), np.zeros((2, 2)))
    strip = legend_strip(400)
    np.testing.assert_array_equal(picture[40:], strip)
    row = strip[8].astype(float)
    coloured = np.flatnonzero((row != 255).any(axis=1))
    np.testing.assert_allclose(row[coloured[0]], magma(0.0), atol=1.5)
    np.testing.assert_allclose(row[coloured[len(coloured) // 2]], magma(0.5), atol=2.5)
    np.testing.assert_allclose(row[coloured[-1]], magma(1.0), atol=2.5)
    for width in (1, 20, 3000):
        assert legend_strip(width).shape[1] == width


def test_layer_is_the_map_alone():
    layer = Image.open(io.BytesIO(overlay_layer(np.full((3, 5), 0.6), (30, 50))))
    assert (layer.mode, layer.size) == ("RGBA", (50, 30))
    values = np.asarray(layer)
    np.testing.assert_allclose(values[..., :3], np.broadcast_to(magma(0.6), (30, 50, 3)), atol=1.5)
    assert (values[..., 3] == 255).all()


@pytest.mark.parametrize(
    ("surface", "values", "options"),
    [
        (GREY[..., 0], np.zeros((2, 2)), {}),
        (GREY.astype(float), np.zeros((2, 2)), {}),
        (GREY, np.zeros((1, 2, 2)), {}),
        (GREY, np.full((2, 2), np.nan), {}),
        (GREY, np.full((2, 2), 3.0), {}),
        (GREY, np.full((2, 2), -0.5), {}),
        (GREY, np.zeros((2, 2)), {"opacity": 1.5}),
    ],
)
def test_bad_input(surface, values, options):
    with pytest.raises(MezoroiError, match=": "):
        overlay(surface, values, **options)
