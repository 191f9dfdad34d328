"""The two most similar reference fruits of a grade, also where most of them are in tests."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import mezoroi as mz
from mezoroi.app import practice_settings, preparing
from mezoroi.app.blobs import Blobs
from mezoroi.app.tables_learning import Specimen
from mezoroi.app.views_learning import ALIKE_SHOWN, alike
from mezoroi.capture.sources import FruitInput
from mezoroi.retrieval.reference import Neighbour
from tests.app.conftest import jpeg

FRUIT = FruitInput("one", np.zeros((4, 4, 3), np.uint8), None)


class _Gallery:
    """Forty reference fruits of every grade, the most similar first."""

    def __init__(self, folder: Path) -> None:
        self.picture = folder / "picture.jpg"
        self.picture.write_bytes(jpeg(0))

    def neighbours(self, vectors: Any, k: int, where: dict[str, str]) -> list[list[Neighbour]]:
        grade = where["grade"]
        names = [f"{grade}{number}" for number in range(40)]
        return [
            [
                Neighbour(name, grade, 1 - place / 100, str(self.picture))
                for place, name in enumerate(names[:k])
            ]
        ]


def prepared(folder: Path) -> Specimen:
    """A specimen as the worker prepares it; it is reference A0 itself."""
    grader: Any = SimpleNamespace(
        gallery=_Gallery(folder),
        standard=mz.GradingStandard.melon(),
        embed=lambda fruits: SimpleNamespace(embeddings=torch.zeros(1, 2)),
    )
    kept = preparing._alike(grader, Blobs(folder / "blobs"), FRUIT, {"A0"})
    return Specimen(alike=kept)


def test_two_are_shown_where_the_tests_hide_the_most_similar(tmp_path: Path) -> None:
    tests = practice_settings.PracticeSettings().test_fruits * len(practice_settings.TESTS)
    hidden = {f"{grade}{number}" for grade in "AB" for number in range(1, tests + 1)}
    specimen = prepared(tmp_path)
    assert [item["id"] for item in alike(specimen, "A", hidden)] == ["A21", "A22"]
    assert [item["id"] for item in alike(specimen, "B", hidden)] == ["B0", "B21"]
    assert [item["id"] for item in alike(specimen, "C", hidden)] == ["C0", "C1"]
    assert len(alike(specimen, "D", set())) == ALIKE_SHOWN


@pytest.mark.parametrize(("hidden", "shown"), [({"A1"}, ["A2"]), ({"A1", "A2"}, [])])
def test_of_fruits_prepared_earlier_fewer_are_shown(hidden: set[str], shown: list[str]) -> None:
    kept = [{"id": f"A{number}", "similarity": 0.5, "picture": "x"} for number in (1, 2)]
    specimen = Specimen(alike={"A": kept})
    assert [item["id"] for item in alike(specimen, "A", hidden)] == shown
    assert alike(specimen, "B", hidden) == []
