"""What a session shows, put together from the statistics that are tested by themselves."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from mezoroi import metrics
from mezoroi.calibrating.reveal import MODEL, reveal
from mezoroi.errors import MezoroiError
from mezoroi.standard import GradingStandard

STANDARD = GradingStandard.from_grades("ABCD")
LABELS = {
    "f1": {"Sato": "A", "Ito": "A", "Abe": "A"},
    "f2": {"Sato": "A", "Ito": "B", "Abe": "D"},
    "f3": {"Sato": "B", "Ito": "B"},
    "f4": {"Sato": "B", "Ito": "C", "Abe": "C"},
    "f5": {},
}


def test_a_session_by_hand() -> None:
    shown = reveal(LABELS, STANDARD, {"f1": "A", "f2": "B", "f3": "B", "f4": "D"}, n_resamples=100)
    assert [fruit.id for fruit in shown.fruits] == ["f2", "f4", "f1", "f3", "f5"]
    disputed = shown.fruits[0]
    assert disputed.distribution == {"A": 1, "B": 1, "C": 0, "D": 1}
    assert disputed.proposed is None and disputed.model == "B"
    assert shown.fruits[1].proposed == "C"
    assert shown.fruits[-1].proposed is None and math.isnan(shown.fruits[-1].disagreement)
    assert shown.graders == ("Sato", "Ito", "Abe", MODEL)
    assert shown.same[0, 1] == 0.5 and shown.same[1, 3] == 0.75
    table = metrics.ratings_table(list(LABELS.values()), STANDARD.grades).ratings
    assert shown.alpha.value == metrics.krippendorff_alpha(table, 4)
    assert shown.fleiss.value == metrics.fleiss_kappa(table, 4)
    assert shown.against_model["Ito"].value == shown.kappa[1, 3]
    pair = metrics.kappa_interval(table[:, 0], table[:, 1], 4, n_resamples=100)
    for row, column in ((0, 1), (1, 0)):
        assert shown.kappa[row, column] == pair.value
        assert (shown.kappa_low[row, column], shown.kappa_high[row, column]) == (
            pair.low,
            pair.high,
        )
    assert shown.kappa_low[0, 1] < shown.kappa[0, 1] < shown.kappa_high[0, 1]
    assert np.isnan(shown.kappa.diagonal()).all()
    assert shown.strictness["Sato"].value == pytest.approx(np.mean([0, -2, 0, -1]))


def test_nobody_is_called_stricter_after_a_handful_of_fruits() -> None:
    def strict(count: int) -> dict[str, float | None]:
        labels = {str(n): {"Sato": "A", "Ito": "B"} for n in range(count)}
        labels["alone"] = {"Sato": "A"}
        return reveal(labels, STANDARD).to_dict()["strictness"]["Ito"]

    few, enough = strict(4), strict(5)
    assert (few["value"], few["low"], few["high"]) == (1, None, None)
    assert enough["value"] == 1 and 0 < enough["low"] < 1 < enough["high"]


def test_a_reveal_is_json_with_none_for_not_enough_data() -> None:
    shown = reveal({"f1": {"Sato": "A"}}, STANDARD).to_dict()
    again = json.loads(json.dumps(shown, allow_nan=False))
    assert again["alpha"]["value"] is None and again["strictness"]["Sato"]["value"] is None
    assert again["fruits"][0]["disagreement"] is None and again["against_model"] == {}
    same = reveal({"f1": {"Sato": "A", "Ito": "A"}, "f2": {"Sato": "A", "Ito": "A"}}, STANDARD)
    assert same.to_dict()["kappa_low"][0][1] is None, "one grade alone says nothing"


def test_kinds_without_order_have_no_kappa_by_distance() -> None:
    kinds = GradingStandard.from_grades("ABCD", ordered=False)
    shown = reveal(LABELS, kinds, {"f1": "A"}, n_resamples=50)
    assert np.isnan(shown.kappa).all() and shown.strictness == {} and shown.against_model == {}
    table = metrics.ratings_table(list(LABELS.values()), kinds.grades).ratings
    assert shown.alpha.value == metrics.krippendorff_alpha(table, 4, ordered=False)


def test_bad_sessions() -> None:
    with pytest.raises(MezoroiError, match="nobody has graded"):
        reveal({"f1": {}}, STANDARD)
    with pytest.raises(MezoroiError, match="rename that grader"):
        reveal({"f1": {MODEL: "A"}}, STANDARD, {})
    with pytest.raises(MezoroiError, match="unknown grade `E`"):
        reveal({"f1": {"Sato": "E"}}, STANDARD)


def test_what_two_fruits_or_one_grade_say_is_not_taken_for_knowledge() -> None:
    def grades(*given: str) -> dict[str, dict[str, str]]:
        names = ("Sato", "Ito")
        return {str(n): dict(zip(names, pair, strict=True)) for n, pair in enumerate(given)}

    one = reveal(grades("AB"), STANDARD).to_dict()
    two = reveal(grades("AA", "BB"), STANDARD).to_dict()
    for shown in (one, two):
        for figure in (shown["alpha"], shown["fleiss"]):
            assert figure["low"] is None and figure["high"] is None
        assert shown["kappa_low"][0][1] is None
    many = ("AA", "BB", "CC", "DD", "AB", "CD") * 2
    known = reveal(grades(*many), STANDARD).to_dict()
    assert None not in (known["alpha"]["low"], known["fleiss"]["low"], known["kappa_low"][0][1])
    constant = reveal(grades(*("A" + pair[1] for pair in many)), STANDARD, {"0": "B", "1": "C"})
    assert math.isnan(constant.kappa[0, 1]), "a grader of one grade"
    assert math.isnan(constant.against_model["Sato"].value)
    assert constant.alpha.low < constant.alpha.value
