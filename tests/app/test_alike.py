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
from mezoroi.retrieval.reference import Neighbour, Reference
from tests.app.conftest import jpeg

SHAPE = {"height_width": 0.8}
FRUIT = FruitInput("one", np.zeros((4, 4, 3), np.uint8), None)


class _Gallery:
    """Forty reference fruits of every grade, the most similar first."""

    def __init__(self, folder: Path) -> None:
        self.picture = folder / "picture.jpg"
        self.picture.write_bytes(jpeg(0))
        self.index = SimpleNamespace(
            references=lambda ids: [Reference(name, more={"outline": SHAPE}) for name in ids]
        )

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


def numbers_shown(specimen: Specimen, grade: str, hidden: set[str]) -> list[int]:
    """Which of a grade's reference fruits are shown; the similarity tells its number."""
    shown = alike(specimen, [grade], mz.GradingStandard.melon(), hidden)[grade]
    assert all((one.silhouette is not None) == (grade == "C") for one in shown)
    return [round(100 * (1 - one.similarity)) for one in shown]


def test_two_are_shown_where_the_tests_hide_the_most_similar(tmp_path: Path) -> None:
    tests = practice_settings.PracticeSettings().test_fruits * len(practice_settings.TESTS)
    hidden = {f"{grade}{number}" for grade in "AB" for number in range(1, tests + 1)}
    specimen = prepared(tmp_path)
    assert numbers_shown(specimen, "A", hidden) == [21, 22]
    assert numbers_shown(specimen, "B", hidden) == [0, 21]
    assert numbers_shown(specimen, "C", hidden) == [0, 1]
    assert len(numbers_shown(specimen, "D", set())) == ALIKE_SHOWN


@pytest.mark.parametrize(("hidden", "shown"), [({"A1"}, [2]), ({"A1", "A2"}, [])])
def test_of_fruits_prepared_earlier_fewer_are_shown(hidden: set[str], shown: list[int]) -> None:
    kept = [{"id": f"A{n}", "similarity": 1 - n / 100, "picture": "x"} for n in (1, 2)]
    specimen = Specimen(alike={"A": kept})
    assert numbers_shown(specimen, "A", hidden) == shown
    assert numbers_shown(specimen, "B", hidden) == []
