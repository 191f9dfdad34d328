"""Outlines that are drawn from measurements alone."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from mezoroi.app.store import specimens
from mezoroi.app.tables_learning import Specimen
from mezoroi.app.templating import make_environment
from mezoroi.app.views_learning import alike, fruit_view
from mezoroi.capture.outline import outline_features
from mezoroi.standard import GradingStandard
from tests.app.conftest import App

BUMPED = {"height_width": 1.01, "bumpiness": 0.005, "bumpiness_variation": 0.002}
SMOOTH = {"height_width": 1.01, "bumpiness": 0.0021, "bumpiness_variation": 0.0007}


def measured(path: str) -> dict[str, float]:
    points = re.findall(r"(-?[\d.]+) (-?[\d.]+)", path)
    return outline_features([np.array(points, dtype=float) * (1, -1)])


def test_a_fruit_is_drawn_with_its_bump_where_that_is_seen(prepared: App) -> None:
    with prepared.services.database.read() as session:
        specimen = session.get_one(Specimen, specimens.known_specimens(session)[0].id)
        shown = {}
        for name, outline in (("bumped", BUMPED), ("smooth", SMOOTH)):
            specimen.result = {**specimen.result, "outline": outline, "silhouette": None}
            shown[name] = fruit_view(specimen, turns=True)
        filmed = {"mean": [1.0] * 90, "low": [1.0] * 90, "high": [1.0] * 90}
        specimen.result = {**specimen.result, "outline": BUMPED, "silhouette": filmed}
        shown["filmed"] = fruit_view(specimen, turns=True)
        session.rollback()
    assert {name: view.is_bumped for name, view in shown.items()} == {
        "bumped": True,
        "smooth": False,
        "filmed": False,
    }
    paths = {name: (view.silhouette or {})["mean"] for name, view in shown.items()}
    assert measured(paths["bumped"])["bumpiness"] == pytest.approx(0.009, rel=0.3)
    assert measured(paths["smooth"])["bumpiness"] < 0.0005


def test_the_caption_of_a_similar_fruit_tells_of_a_drawn_bump_alone() -> None:
    macros: Any = make_environment("en").get_template("practice/_parts.html").module
    kept = [
        {"id": name, "similarity": 0.9, "picture": "x", "outline": outline}
        for name, outline in (("bumped", BUMPED), ("smooth", SMOOTH))
    ]
    found = alike(Specimen(alike={"C": kept}), ["C"], GradingStandard.melon(), set())["C"]
    bumped, smooth = (str(macros.outline(view, True)) for view in found)
    assert "bumps" in bumped and "place of the bump made up" in bumped
    assert "bumps" not in smooth and "made up" not in smooth
    whole = str(macros.outline(found[0]))
    assert "Only the size of the bump is measured, not its place." in whole
