"""Photos that a manifest can name."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.datasets.manifests import photo


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Eight photos, 0.png to 7.png."""
    for i in range(8):
        photo(tmp_path / "photos" / f"{i}.png", seed=i)
    return tmp_path
