"""The second reader against scikit-learn's kernel ridge regression, and what it must not do."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.gaussian_process.kernels import Matern
from sklearn.kernel_ridge import KernelRidge
from sklearn.preprocessing import StandardScaler

from mezoroi.models import SecondReader, second_reader


def drawn(count: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features of which the first two tell the three grades, on scales of their own."""
    rng = np.random.default_rng(seed)
    grades = rng.integers(0, 3, count)
    features = rng.normal(size=(count, 5))
    features[:, 0] += 2 * (grades == 1)
    features[:, 1] += 2 * (grades == 2)
    return features * [1, 10, 0.1, 5, 1] + [0, 3, 0, 100, 0], grades


def test_it_is_scikit_learns_kernel_ridge_on_standardised_features() -> None:
    features, grades = drawn()
    new, truth = drawn(seed=1)
    reader = SecondReader.fit(features, grades, 3, (5,))
    scaler = StandardScaler().fit(features)
    known, unknown = (scaler.transform(one) / np.sqrt(5) for one in (features, new))
    distances = np.linalg.norm(known[:, None] - known, axis=2)
    length = np.median(distances[np.triu_indices(60, 1)])
    assert reader.length == pytest.approx(length)
    one_hot = np.eye(3)[grades]
    shares = one_hot.mean(axis=0)
    kernel = Matern(length, nu=0.5)
    peer = KernelRidge(alpha=second_reader.RIDGE, kernel="precomputed")
    peer.fit(kernel(known), one_hot - shares)
    expected = peer.predict(kernel(unknown, known)) + shares
    np.testing.assert_allclose(reader.read(new), expected, atol=1e-5)
    np.testing.assert_allclose(reader.read(new).sum(axis=1), 1, atol=1e-5)
    assert (reader.read(new).argmax(axis=1) == truth).mean() > 0.6


def test_far_from_all_fruits_it_knows_only_how_frequent_grades_are() -> None:
    features, grades = drawn()
    reader = SecondReader.fit(features, grades, 4, (5,))
    far = reader.read(features[:1] + 1e6)[0]
    assert far == pytest.approx(np.bincount(grades, minlength=4) / 60)
    assert far[3] == 0


def test_what_never_differed_in_training_says_nothing() -> None:
    features, grades = drawn()
    same = np.column_stack([features, np.full(60, 7.0)])
    reader = SecondReader.fit(same, grades, 3, (6,))
    other = same.copy()
    other[:, 5] = 1e9
    np.testing.assert_array_equal(reader.read(other), reader.read(same))


def test_blocks_weigh_the_same_however_many_features_they_have() -> None:
    features, grades = drawn()
    once = SecondReader.fit(features, grades, 3, (3, 2))
    thrice = np.column_stack([features[:, :3], *[features[:, 3:]] * 3])
    several = SecondReader.fit(thrice, grades, 3, (3, 6))
    np.testing.assert_allclose(several.read(thrice), once.read(features), atol=1e-5)
    assert not np.allclose(
        SecondReader.fit(thrice, grades, 3, (9,)).read(thrice), once.read(features)
    )


def test_of_very_many_fruits_some_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second_reader, "MOST", 20)
    features, grades = drawn()
    one, again, other = (SecondReader.fit(features, grades, 3, (5,), seed) for seed in (0, 0, 1))
    assert one.fruits.shape == (20, 5) and one.weights.shape == (20, 3)
    np.testing.assert_array_equal(one.fruits, again.fruits)
    assert not np.array_equal(one.fruits, other.fruits)


@pytest.mark.parametrize("count", [1, 5])
def test_equal_fruits_are_no_reason_to_fail(count: int) -> None:
    reader = SecondReader.fit(np.ones((count, 2)), np.zeros(count, int), 2, (2,))
    np.testing.assert_allclose(reader.read([[1.0, 1.0], [5.0, 0.0]]), [[1, 0], [1, 0]])


@pytest.mark.parametrize(("rows", "blocks"), [(59, (5,)), (60, (4,))])
def test_shapes_that_do_not_fit_are_refused(rows: int, blocks: tuple[int, ...]) -> None:
    features, grades = drawn()
    with pytest.raises(ValueError, match="blocks that add up to M"):
        SecondReader.fit(features, grades[:rows], 3, blocks)
