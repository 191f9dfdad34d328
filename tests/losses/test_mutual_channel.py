"""MC-Loss against a loop written from the formulas, hand-solved maps, and numerical gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mezoroi.losses import MutualChannelLoss


def loop_discriminality(features: np.ndarray, labels: list[int], classes: int, xi: int) -> float:
    """g_c = mean over p of max_j F_{c,j}(p); cross-entropy(g, y)."""
    total = 0.0
    for n in range(len(features)):
        scores = []
        for c in range(classes):
            best = []
            for row in range(features.shape[2]):
                for column in range(features.shape[3]):
                    best.append(max(features[n, c * xi + j, row, column] for j in range(xi)))
            scores.append(sum(best) / len(best))
        total += math.log(sum(math.exp(s) for s in scores)) - scores[labels[n]]
    return total / len(features)


def loop_diversity(features: np.ndarray, classes: int, xi: int) -> float:
    """1 - D / xi, D = mean over n, c of sum_p max_j softmax_p(F_{c,j})(p)."""
    terms = []
    for n in range(len(features)):
        for c in range(classes):
            shares = []
            for j in range(xi):
                values = [math.exp(v) for v in features[n, c * xi + j].ravel()]
                shares.append([v / sum(values) for v in values])
            terms.append(sum(max(s[p] for s in shares) for p in range(len(shares[0]))))
    return 1 - sum(terms) / len(terms) / xi


def drawn(seed: int, count: int, classes: int, xi: int, height: int, width: int) -> np.ndarray:
    values = np.random.default_rng(seed).normal(0.5, 1.5, (count, classes * xi, height, width))
    return np.maximum(values, 0)


shapes = st.tuples(
    st.integers(0, 10**6),
    st.integers(1, 4),
    st.integers(2, 4),
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(1, 4),
)


@given(shapes, st.data())
@settings(max_examples=40, deadline=None)
def test_it_agrees_with_a_loop_in_float64(shape: tuple[int, ...], data: st.DataObject) -> None:
    _seed, count, classes, xi, _height, _width = shape
    features = drawn(*shape)
    labels = data.draw(st.lists(st.integers(0, classes - 1), min_size=count, max_size=count))
    loss = MutualChannelLoss(classes, xi, dis_weight=0.7, div_weight=1.9).eval()
    tensor, truth = torch.from_numpy(features), torch.tensor(labels)
    dis = loop_discriminality(features, labels, classes, xi)
    div = loop_diversity(features, classes, xi)
    assert loss.discriminality(tensor, truth).item() == pytest.approx(dis, rel=1e-10)
    assert loss.diversity(tensor).item() == pytest.approx(div, rel=1e-10, abs=1e-12)
    assert loss(tensor, truth).item() == pytest.approx(0.7 * dis + 1.9 * div, rel=1e-10)


@given(shapes)
@settings(max_examples=40, deadline=None)
def test_diversity_lies_between_disjoint_and_identical(shape: tuple[int, ...]) -> None:
    xi = shape[3]
    value = MutualChannelLoss(shape[2], xi).diversity(torch.from_numpy(drawn(*shape))).item()
    assert -1e-12 <= value <= 1 - 1 / xi + 1e-12


@pytest.mark.parametrize("xi", [1, 2, 3, 5])
def test_identical_channels_have_the_largest_loss_of_diversity(xi: int) -> None:
    one = torch.from_numpy(drawn(3, 2, 3, 1, 4, 5))
    identical = one.repeat_interleave(xi, dim=1)
    assert MutualChannelLoss(3, xi).diversity(identical).item() == pytest.approx(1 - 1 / xi)


def test_disjoint_peaks_have_none() -> None:
    xi, classes = 4, 2
    features = torch.zeros(1, classes * xi, 2, 2, dtype=torch.float64)
    for channel in range(classes * xi):
        features[0, channel].view(-1)[channel % xi] = 60.0
    assert MutualChannelLoss(classes, xi).diversity(features).item() == pytest.approx(0, abs=1e-12)


def test_two_channels_half_alike_are_solved_by_hand() -> None:
    # Two positions, channel 1 uniform, channel 2 on the first: D = 1 + 1/2, L_div = 1 - 3/4.
    features = torch.zeros(1, 4, 1, 2, dtype=torch.float64)
    features[0, 1, 0, 0] = features[0, 3, 0, 0] = 80.0
    assert MutualChannelLoss(2, 2).diversity(features).item() == pytest.approx(0.25)


def test_discriminality_takes_the_largest_channel_at_each_position() -> None:
    # Class 0 fires 2 at either position by different channels: g = (2, 0).
    features = torch.zeros(1, 4, 1, 2, dtype=torch.float64)
    features[0, 0, 0, 0] = features[0, 1, 0, 1] = 2.0
    loss = MutualChannelLoss(2, 2).eval().discriminality(features, torch.tensor([0]))
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-2.0)))


@given(shapes, st.floats(0.1, 20))
@settings(max_examples=40, deadline=None)
def test_sharp_pooling_agrees_with_numpy(shape: tuple[int, ...], sharpness: float) -> None:
    _, count, classes, xi, _, _ = shape
    features = drawn(*shape)
    places = features.reshape(count, classes, xi, -1).max(axis=2)
    pooled = np.log(np.exp(sharpness * places).mean(axis=2)) / sharpness
    expected = np.mean(np.log(np.exp(pooled).sum(axis=1)) - pooled[:, 0])
    loss = MutualChannelLoss(classes, xi, sharpness=sharpness).eval()
    found = loss.discriminality(torch.from_numpy(features), torch.zeros(count, dtype=torch.long))
    assert found.item() == pytest.approx(expected, rel=1e-9)


def test_sharp_pooling_lies_between_the_mean_and_the_largest() -> None:
    features = torch.zeros(1, 2, 1, 4, dtype=torch.float64)
    features[0, 0, 0, 1] = 4.0
    label = torch.tensor([0])
    values = [
        MutualChannelLoss(2, 1, sharpness=r).discriminality(features, label).item()
        for r in (0.0, 1e-4, 1.0, 1e3)
    ]
    mean, almost, middle, largest = values
    assert mean == pytest.approx(math.log(1 + math.exp(-1.0)))
    assert almost == pytest.approx(mean, rel=1e-3)
    assert largest == pytest.approx(math.log(1 + math.exp(-4.0)), rel=0.01)
    assert mean > middle > largest


@pytest.mark.parametrize("sharpness", [0.0, 3.0])
@pytest.mark.parametrize("training", [False, True])
def test_gradients_agree_with_finite_differences(training: bool, sharpness: float) -> None:
    classes, xi = 3, 2
    features = torch.from_numpy(drawn(5, 2, classes, xi, 2, 3)) + torch.arange(
        2 * classes * xi * 6, dtype=torch.float64
    ).reshape(2, classes * xi, 2, 3).mul(1e-3)  # no ties: the maximum has a gradient everywhere
    features.requires_grad_(True)
    labels = torch.tensor([2, 0])

    def discriminality(values: torch.Tensor) -> torch.Tensor:
        seeded = torch.Generator().manual_seed(4)  # the same draw for every evaluation
        loss = MutualChannelLoss(classes, xi, generator=seeded, sharpness=sharpness)
        return loss.train(training).discriminality(values, labels)

    assert torch.autograd.gradcheck(discriminality, (features,))
    assert torch.autograd.gradcheck(MutualChannelLoss(classes, xi).diversity, (features,))


def test_dropped_channels_get_no_gradient_and_the_default_keeps_half() -> None:
    classes, xi = 4, 5
    features = torch.rand(3, classes * xi, 1, 8, generator=torch.Generator().manual_seed(0))
    features = (features + 1).requires_grad_(True)
    loss = MutualChannelLoss(classes, xi, generator=torch.Generator().manual_seed(1))
    loss.discriminality(features, torch.tensor([0, 1, 2])).backward()
    assert features.grad is not None
    moved = features.grad.abs().sum(dim=(0, 2, 3)).view(classes, xi) > 0
    assert (moved.sum(dim=1) <= math.ceil(xi / 2)).all()
    assert moved.any(dim=1).all()


def test_a_draw_keeps_exactly_so_many_channels_of_each_class_shared_by_the_batch() -> None:
    # One position and different heights tell from g which channel won.
    classes, xi, kept = 3, 5, 2
    seen = set()
    loss = MutualChannelLoss(classes, xi, kept, generator=torch.Generator().manual_seed(9))
    features = torch.ones(2, classes * xi, 1, 1, dtype=torch.float64, requires_grad=True)
    for _ in range(60):
        (gradient,) = torch.autograd.grad(
            loss.discriminality(features, torch.tensor([0, 1])), features
        )
        # Equal maxima share the gradient, so every kept channel has one.
        alive = (gradient.abs() > 0).view(2, classes, xi)
        assert torch.equal(alive[0], alive[1])
        assert (alive[0].sum(dim=1) == kept).all()
        seen.add(tuple(alive[0].flatten().tolist()))
    assert len(seen) > 30


def test_draws_come_from_the_given_generator_alone() -> None:
    features, labels = torch.rand(4, 12, 3, 3), torch.tensor([0, 1, 2, 0])

    def series(seed: int) -> list[float]:
        loss = MutualChannelLoss(3, 4, 1, generator=torch.Generator().manual_seed(seed))
        return [loss(features, labels).item() for _ in range(8)]

    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = series(7)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(2)
    assert series(7) == first
    assert series(8) != first
    assert len(set(first)) > 1


def test_evaluation_drops_nothing_and_draws_nothing() -> None:
    generator = torch.Generator().manual_seed(3)
    loss = MutualChannelLoss(3, 4, 1, generator=generator).eval()
    before = generator.get_state()
    features = drawn(1, 3, 3, 4, 3, 3)
    value = loss.discriminality(torch.from_numpy(features), torch.tensor([0, 1, 2]))
    assert value.item() == pytest.approx(loop_discriminality(features, [0, 1, 2], 3, 4))
    assert torch.equal(before, generator.get_state())


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
def test_lower_precision_keeps_its_type_and_agrees(dtype: torch.dtype, tolerance: float) -> None:
    features = drawn(2, 4, 3, 3, 4, 4)
    loss = MutualChannelLoss(3, 3).eval()
    value = loss(torch.from_numpy(features).to(dtype), torch.tensor([0, 1, 2, 1]))
    assert value.dtype == dtype
    exact = loop_discriminality(features, [0, 1, 2, 1], 3, 3) + loop_diversity(features, 3, 3)
    assert value.item() == pytest.approx(exact, rel=tolerance)


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ((1, 3), "num_classes"),
        ((3, 0), "channels_per_class"),
        ((3, 2, 3), "kept_channels"),
        ((3, 2, 0), "kept_channels"),
    ],
)
def test_bad_sizes_are_named(arguments: tuple[int, ...], names: str) -> None:
    with pytest.raises(ValueError, match=names):
        MutualChannelLoss(*arguments)


def test_a_negative_sharpness_is_named() -> None:
    with pytest.raises(ValueError, match="sharpness"):
        MutualChannelLoss(2, 2, sharpness=-1.0)


def test_shapes_are_checked_in_plain_language() -> None:
    loss = MutualChannelLoss(3, 2)
    with pytest.raises(ValueError, match=r"feature_map must have shape \(N, 6, H, W\)"):
        loss(torch.rand(2, 5, 3, 3), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="feature_map must have shape"):
        loss.diversity(torch.rand(6, 3, 3))
    with pytest.raises(ValueError, match=r"labels must have shape \(2,\)"):
        loss(torch.rand(2, 6, 3, 3), torch.tensor([0, 1, 2]))
