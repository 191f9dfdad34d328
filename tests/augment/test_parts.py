"""Objects and parts in maps made by hand."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mezoroi.augment import (
    ChannelGrouping,
    box_iou,
    find_common_object,
    fit_parts,
    object_boxes,
    part_boxes,
    refine_parts,
)
from mezoroi.augment.grouping import (
    DIVERSITY_MARGIN,
    DIVERSITY_WEIGHT,
    grouping_loss,
)
from mezoroi.augment.parts import SMALLEST_OBJECT
from mezoroi.augment.picture import OBJECT_COLOUR, PART_COLOURS, draw_parts
from mezoroi.maps import part_attention

WHOLE = torch.tensor([0.0, 0.0, 1.0, 1.0])
SIDE = 12


def bump(y: float, x: float, wraps: bool = False, width: int = SIDE) -> torch.Tensor:
    """(SIDE, width) map with a peak at relative place y, x."""
    rows = (torch.arange(SIDE) / SIDE - y)[:, None]
    columns = torch.arange(width) / width - x
    if wraps:
        columns = (columns + 0.5) % 1 - 0.5
    return torch.exp(-(rows**2 + columns[None] ** 2) / (2 * 0.1**2))


def centres(boxes: torch.Tensor) -> torch.Tensor:
    return (boxes[..., :2] + boxes[..., 2:]) / 2


def test_the_object_is_where_the_map_is_high() -> None:
    maps = torch.stack([bump(0.5, 0.5), bump(0.25, 0.75), bump(0.5, 0.5) - 5])
    maps[1] -= 0.3  # what is negative is no object
    boxes, lost = object_boxes(maps, 0.4)
    assert lost.tolist() == [False, False, True]
    assert boxes[2].tolist() == WHOLE.tolist()
    for box, (x, y) in zip(boxes[:2], [(0.5, 0.5), (0.75, 0.25)], strict=True):
        np.testing.assert_allclose(centres(box), [x, y], atol=0.07)
    wider, _ = object_boxes(maps[:1], 0.05)
    assert bool((wider[0, 2:] - wider[0, :2] > boxes[0, 2:] - boxes[0, :2]).all())


def test_the_objects_box_lies_as_far_to_either_side() -> None:
    """A peak in the middle of the image; half of one that lies on the edge."""
    maps = torch.stack([bump(0.5, 0.5), bump(0.5, 0.0), bump(0.5, 1 - 1 / SIDE)])
    boxes, _ = object_boxes(maps, 0.4)
    np.testing.assert_allclose(boxes[0, :2] + boxes[0, 2:], 1, atol=1e-6)
    assert boxes[1, 0] == 0 and boxes[2, 2] == 1


@pytest.mark.parametrize("value", [-1.0, 0.0, 2.5])
def test_a_constant_map_falls_back_to_the_whole_image(value: float) -> None:
    flat = torch.full((2, 4, 6), value)
    rounded = flat * (1 + 1e-7 * torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(0)))
    for maps in (flat, rounded):
        for from_lowest in (False, True):
            boxes, lost = object_boxes(maps, 0.3, from_lowest)
            assert lost.all() and boxes.tolist() == [WHOLE.tolist()] * 2


def test_a_map_below_zero_is_counted_from_its_lowest_value() -> None:
    maps = torch.full((1, 4, 8), -3.0)
    maps[0, 1:3, 2:5] = -1.0
    assert object_boxes(maps, 0.5)[1].all()
    boxes, lost = object_boxes(maps, 0.5, from_lowest=True)
    assert not lost.any()
    torch.testing.assert_close(boxes, object_boxes(maps + 3, 0.5)[0])


def test_a_tiny_object_keeps_the_least_size_within_the_image() -> None:
    spot = torch.zeros(1, 8, 8)
    spot[0, 0, 7] = 1
    (box,), lost = object_boxes(spot, 0.9)
    assert not lost.any()
    np.testing.assert_allclose(box[2:] - box[:2], SMALLEST_OBJECT, atol=1e-6)
    assert box.min() >= 0 and box.max() <= 1


def made_features(places: torch.Tensor, wraps: bool = False) -> torch.Tensor:
    """(N, 4 P, SIDE, SIDE): four channels peak near each of an image's P places (N, P, 2)."""
    generator = torch.Generator().manual_seed(0)
    images = []
    for own in places:
        channels = []
        for (y, x), strength in itertools.product(own.tolist(), (1.0, 2.0, 0.5, 3.0)):
            channels.append(strength * bump(y, x, wraps) + 10 * strength)
        images.append(torch.stack(channels))
    noise = 0.01 * torch.rand(len(places), len(images[0]), SIDE, SIDE, generator=generator)
    return torch.stack(images) + noise


@given(st.integers(0, 10**6), st.booleans())
@settings(max_examples=5, deadline=None)
def test_channels_that_peak_together_make_a_part(seed: int, wraps: bool) -> None:
    """Parts move about from image to image, and channels have their own scale and zero."""
    generator = torch.Generator().manual_seed(seed)
    home = torch.tensor([[0.2, 0.3], [0.5, 0.7], [0.8, 0.3]])
    places = home + 0.1 * (torch.rand(20, 3, 2, generator=generator) - 0.5)
    if wraps:  # every panorama is turned
        places[..., 1] = (places[..., 1] + torch.rand(20, 1, generator=generator)) % 1
    features = made_features(places, wraps)
    finder = fit_parts(features, WHOLE.repeat(20, 1), 3, wraps=wraps)
    expected = torch.eye(3).repeat_interleave(4, dim=1)
    assert torch.equal(finder.groups, expected)  # numbered from top to bottom
    boxes = finder.boxes(features, WHOLE.repeat(20, 1))
    found = centres(boxes[:, 1:])
    assert (found[..., 1] - places[..., 0]).abs().max() < 0.08
    apart = found[..., 0] - places[..., 1]
    if wraps:
        apart = (apart + 0.5) % 1 - 0.5
    assert apart.abs().max() < 0.08


def sparse_features(count: int = 40) -> torch.Tensor:
    """(count, 13, SIDE, SIDE) after a ReLU: four channels for each of three rows, one that is dead.

    Channels of different rows are silent in the same images, those of one row in different ones.
    """
    generator = torch.Generator().manual_seed(0)
    features = torch.zeros(count, 13, SIDE, SIDE)
    for number in range(count):
        for row in range(3):
            column = float(torch.rand(1, generator=generator)) * 0.6 + 0.2
            for one in range(4):
                if number % 4 == one:
                    features[number, 4 * row + one] = bump(0.2 + 0.3 * row, column)
    return (features - 0.3).clamp_min(0)


@pytest.mark.parametrize("wraps", [False, True])
def test_sparse_channels_are_grouped_by_their_peaks_not_by_their_silence(wraps: bool) -> None:
    features = sparse_features()
    finder = fit_parts(features, WHOLE.repeat(40, 1), 3, wraps=wraps)
    assert torch.equal(finder.groups[:, :12], torch.eye(3).repeat_interleave(4, dim=1))
    assert not finder.groups[:, 12].any()  # the channel that never fires is in no part


def test_fewer_channels_that_fire_than_parts_leave_parts_without_channels() -> None:
    features = sparse_features()
    features[:, :8] = 1.5  # constant is silent, too
    objects = WHOLE.repeat(40, 1)
    features[:, 9:] = 0
    finder = fit_parts(features, objects, 3)
    assert finder.groups.sum() == finder.groups[:, 8].sum() == 1
    assert bool(finder.boxes(features, objects).isfinite().all())
    assert not fit_parts(torch.zeros_like(features), objects, 3).groups.any()


@given(
    st.integers(0, 10**6),
    st.integers(2, 5),
    st.floats(0, 0.5),
    st.floats(0, 0.5),
    st.floats(0.25, 0.5),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_parts_lie_within_the_object_whatever_the_attention(
    seed: int, parts: int, x0: float, y0: float, side: float, wraps: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)
    attention = torch.rand(3, parts, 6, 9, generator=generator)
    attention[1] = 0.7  # constant
    attention[2, 0] = 0
    box = torch.tensor([x0, y0, x0 + side, y0 + side])
    objects = WHOLE.repeat(3, 1) if wraps else box.repeat(3, 1)
    boxes = part_boxes(attention, objects, wraps)
    assert boxes.shape == (3, 1 + parts, 4) and torch.equal(boxes[:, 0], objects)
    assert bool((boxes[..., 2:] > boxes[..., :2]).all()) and bool(boxes.isfinite().all())
    inner = boxes[:, 1:]
    assert bool((inner[..., 1] >= objects[:, None, 1] - 1e-5).all())
    assert bool((inner[..., 3] <= objects[:, None, 3] + 1e-5).all())
    assert bool((inner[..., 0] >= objects[:, None, 0] - 1e-5).all())
    if wraps:
        assert bool((inner[..., 0] < 1).all())
    else:
        assert bool((inner[..., 2] <= objects[:, None, 2] + 1e-5).all())


def test_parts_apart_hardly_overlap() -> None:
    places = torch.tensor([[[0.25, 0.25], [0.5, 0.7], [0.8, 0.3]]]).repeat(6, 1, 1)
    features = made_features(places)
    boxes = fit_parts(features, WHOLE.repeat(6, 1), 3).boxes(features, WHOLE.repeat(6, 1))
    for one, two in itertools.combinations(range(1, 4), 2):
        assert box_iou(boxes[:, one], boxes[:, two]).max() < 0.1


def test_the_common_object_is_found_whatever_its_sign() -> None:
    generator = torch.Generator().manual_seed(1)
    shape = torch.stack([bump(*place) for place in torch.rand(30, 2, generator=generator).tolist()])
    gains = torch.randn(8, generator=generator)
    features = shape[:, None] * gains[:, None, None]
    features = features + 0.05 * torch.randn(features.shape, generator=generator)
    for sign in (1, -1):
        found = find_common_object(features, sign * shape[:, ::2, ::2])(features)
        correlation = np.corrcoef(found.flatten(), sign * shape.flatten())[0, 1]
        assert correlation > 0.9


def test_part_attention_is_the_groups_mean() -> None:
    features = torch.rand(2, 5, 3, 4, generator=torch.Generator().manual_seed(0))
    groups = torch.tensor([[1.0, 0, 0, 1, 0], [0, 2, 0, 0, 1], [0, 0, 0, 0, 0]])
    found = part_attention(features, groups)
    torch.testing.assert_close(found[:, 0], (features[:, 0] + features[:, 3]) / 2)
    torch.testing.assert_close(found[:, 1], (2 * features[:, 1] + features[:, 4]) / 3)
    assert not found[:, 2].any()
    each = part_attention(features, torch.stack([groups, groups.flip(1)]))
    torch.testing.assert_close(each[0], found[0])
    torch.testing.assert_close(each[1, 0], (features[1, 1] + features[1, 4]) / 2)


def test_the_grouping_loss_is_the_papers() -> None:
    attention = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(3)).double()
    values = attention.numpy()
    total = 0.0
    for image in values:
        for part in range(3):
            own = image[part]
            top, left = np.unravel_index(own.argmax(), own.shape)
            peaks = image.max(axis=(1, 2), keepdims=True)
            others = np.delete(image / peaks, part, axis=0).max(axis=0)
            for row in range(4):
                for column in range(5):
                    share = own[row, column] / own.sum()
                    away = ((row - top) / 4) ** 2 + ((column - left) / 5) ** 2
                    more = others[row, column] - DIVERSITY_MARGIN
                    total += share * (away + DIVERSITY_WEIGHT * more)
    assert grouping_loss(attention).item() == pytest.approx(total / 2, rel=1e-9)


def test_the_grouping_loss_goes_round_a_panorama_the_shorter_way() -> None:
    attention = torch.rand(2, 3, 4, 6, generator=torch.Generator().manual_seed(3)).double()
    turned = attention.roll(2, dims=3)
    plain, wrapped = grouping_loss(attention), grouping_loss(attention, wraps=True)
    torch.testing.assert_close(grouping_loss(turned, wraps=True), wrapped)
    assert wrapped < plain


def test_parts_cannot_please_the_grouping_loss_by_fading() -> None:
    attention = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(4)).double()
    faint = attention * torch.tensor([1.0, 1e-3, 1e-6])[None, :, None, None]
    torch.testing.assert_close(grouping_loss(faint), grouping_loss(attention))


def test_refining_lowers_the_grouping_loss_and_leaves_features_alone() -> None:
    generator = torch.Generator().manual_seed(2)
    home = torch.tensor([[0.2, 0.3], [0.5, 0.7], [0.8, 0.3]])
    features = made_features(home + 0.05 * torch.rand(24, 3, 2, generator=generator))
    features = features + 0.3 * torch.rand(features.shape, generator=generator)
    copy = features.clone()
    finder = fit_parts(features, WHOLE.repeat(24, 1), 3)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    layers = ChannelGrouping(3, features.shape[1])
    assert not layers.has_started
    layers.start(finder)
    assert layers.has_started
    weights = layers(finder.evidence(features))
    torch.testing.assert_close(weights, (6 * finder.groups - 3).sigmoid().expand(24, -1, -1))
    refine_parts(layers, features, generator, steps=80, lr=0.01)
    refined = layers.finder()
    assert torch.equal(before, torch.get_rng_state()) and torch.equal(features, copy)
    assert all(parameter.grad is None for parameter in layers.parameters())
    with torch.no_grad():
        losses = [grouping_loss(one.attention(features)) for one in (finder, refined)]
    assert losses[1] < 0.8 * losses[0]
    boxes = refined.boxes(features, WHOLE.repeat(24, 1))[:, 1:]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert box_iou(boxes[:, one], boxes[:, other]).mean() < 0.3


def test_fewer_channels_than_parts_are_refused() -> None:
    with pytest.raises(ValueError, match="2 channels do not make 3 parts"):
        fit_parts(torch.rand(4, 2, 3, 3), WHOLE.repeat(4, 1), 3)


def test_the_picture_shows_boxes_in_their_colours_across_the_seam() -> None:
    image = np.full((50, 100, 3), 30, np.uint8)
    boxes = np.array([[[0, 0, 1, 1], [0.9, 0.2, 1.1, 0.6], [0.4, 0.4, 0.6, 0.8]]])
    sheet = cv2.imdecode(np.frombuffer(draw_parts([image], boxes), np.uint8), cv2.IMREAD_COLOR)
    assert sheet is not None
    sheet = sheet[..., ::-1]
    height, width = sheet.shape[:2]
    assert (height, width) == (224, 448)

    def shown(y: float, x: float) -> tuple[int, ...]:
        return tuple(sheet[round(y * height), round(x * width)].tolist())

    assert shown(0.4, 0.9) == PART_COLOURS[0] == shown(0.4, 0.1)  # its left and right edges
    assert shown(0.6, 0.4) == PART_COLOURS[1]
    assert shown(0.5, 0) == OBJECT_COLOUR
    assert shown(0.1, 0.2) == (30, 30, 30)
