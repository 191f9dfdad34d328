"""The scores are found by their names, and loaded only then."""

from __future__ import annotations

import pytest

import mezoroi.metrics as metrics


def test_every_public_name_is_found() -> None:
    assert set(metrics.__all__) == set(metrics._HOMES)
    for name in metrics.__all__:
        assert getattr(metrics, name).__name__ == name
        assert name in dir(metrics)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="mean_iuo"):
        _ = metrics.mean_iuo  # type: ignore[attr-defined]
