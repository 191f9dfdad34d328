"""Curves, recall, certainty, streaks and certificates, on cases solved by hand."""

from __future__ import annotations

import math
from datetime import date, datetime, timedelta, timezone

import numpy as np
import pytest

from mezoroi.errors import MezoroiError
from mezoroi.metrics import weighted_kappa
from mezoroi.practice import progress
from mezoroi.practice.progress import Answer, CertificateRule
from mezoroi.standard import GradingStandard

STANDARD = GradingStandard.from_grades("ABCD")
START = datetime(2026, 7, 1, 9, tzinfo=timezone.utc)


def answers(pairs: str, phase: str = "practice", certainty: str = "sure") -> list[Answer]:
    """From "AB CC": truth and grade given, a minute apart."""
    return [
        Answer(str(n), two[0], two[1], certainty, n + 1.0, START + timedelta(minutes=n), phase)
        for n, two in enumerate(pairs.split())
    ]


def test_learning_curve_by_hand() -> None:
    given = answers("AA AB BB CC DD DA AA")
    points = progress.learning_curve(list(reversed(given)), block=4)
    assert [(p.first, p.last, p.accuracy.value, p.seconds) for p in points] == [
        (1, 4, 0.75, 2.5),
        (5, 7, 2 / 3, 6.0),
    ]
    assert len(progress.learning_curve(given, block=6)) == 1
    # Wilson (1927): (p + z^2 / 2n ± z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)
    z, n, p = 1.959964, 4, 0.75
    half = z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    ends = (points[0].accuracy.low, points[0].accuracy.high)
    assert ends == pytest.approx((centre - half, centre + half), abs=1e-6)
    with pytest.raises(MezoroiError, match="at least 1"):
        progress.learning_curve(given, block=0)


def test_recall_confusion_kappa() -> None:
    given = answers("AA AB BB CD DD DD")
    recall = progress.recall_by_grade(given, STANDARD)
    assert [recall[grade].value for grade in "ABCD"] == [0.5, 1, 0, 1]
    counts = progress.confusion(given, STANDARD)
    assert counts[0].tolist() == [1, 1, 0, 0] and counts[2, 3] == 1 and counts.sum() == 6
    kappa = progress.kappa_against_standard(given, STANDARD, n_resamples=100)
    expected = weighted_kappa([0, 0, 1, 2, 3, 3], [0, 1, 1, 3, 3, 3], 4)
    assert kappa.value == pytest.approx(expected) and kappa.low <= kappa.value


@pytest.mark.parametrize("given", ["AB", "AA BA CA DA", "AA AB AC", "AA BB"])
def test_too_little_says_nothing_of_kappa(given: str) -> None:
    """One fruit, one grade given, one grade asked, and two that are right on half of the draws."""
    assert math.isnan(progress.kappa_against_standard(answers(given), STANDARD).low)


def test_without_answers_nothing_is_claimed() -> None:
    assert math.isnan(progress.share_right([]).value)
    assert progress.confusion([], STANDARD).sum() == 0
    assert math.isnan(progress.kappa_against_standard([], STANDARD).value)
    kinds = GradingStandard.from_grades("ABCD", ordered=False)
    assert math.isnan(progress.kappa_against_standard(answers("AA BB"), kinds).value)
    assert progress.learning_curve([]) == []
    with pytest.raises(MezoroiError, match="unknown grade 'E'"):
        progress.confusion(answers("AE"), STANDARD)


def test_certainty() -> None:
    given = answers("AA AB", certainty="guess") + answers("AA BB CC", certainty="sure")
    table = progress.certainty_table(given)
    assert table["guess"].value == 0.5 and table["sure"].value == 1
    assert math.isnan(table["fairly"].value)


def test_streaks_end_with_a_day_off_but_not_before_today_is_over() -> None:
    days = [0, 1, 3, 4, 5]
    given = [
        Answer("1", "A", "A", "sure", 1.0, START + timedelta(days=day), "practice") for day in days
    ]
    first = date(2026, 7, 1)
    lengths = [
        progress.streak(given, first + timedelta(days=day), timezone.utc) for day in range(8)
    ]
    assert lengths == [1, 2, 2, 1, 2, 3, 3, 0]


def test_days_begin_in_the_zone_of_the_packing_house() -> None:
    tokyo = timezone(timedelta(hours=9))
    late = [Answer("1", "A", "A", "sure", 1.0, datetime(2026, 7, 1, 16, tzinfo=timezone.utc))]
    assert progress.streak(late, date(2026, 7, 2), tokyo) == 1
    assert progress.streak(late, date(2026, 7, 3), timezone.utc) == 0


def test_certificates() -> None:
    rule = CertificateRule(fruits=8)

    def missing(given: list[Answer]) -> list[tuple[str, str | None]]:
        found = progress.certificate_shortfalls(given, STANDARD, rule)
        return [(one.what, one.grade) for one in found]

    right = "AA BB CC DD AA BB CC DD"
    assert missing(answers(right, "1 week")) == []
    assert missing(answers(right, "post-test")) == [("fruits", None)]
    given_up = answers("AA BB CC DA AA BB CC DA AA BB CC AA BB CC AA BB CC", "1 week")
    assert missing(given_up) == [("recall", "D"), ("kappa", None)]
    one_grade = answers("AA AA AA AA AA AA AA AA", "1 week")
    assert missing(one_grade) == [("kappa", None)]
    assert missing(answers("AA BB DD AA BB DD AA BB", "1 week")) == [], "no C in the test"
    poor = progress.certificate_shortfalls(
        answers("AB BB CC DD AA BB CC DC", "1 week"), STANDARD, rule
    )
    assert (poor[0].what, poor[0].reached, poor[0].needed) == ("accuracy", 0.75, 0.85)


def test_no_threshold_is_met_by_what_is_undefined() -> None:
    rule = CertificateRule(accuracy=0, recall=0, kappa=-1, fruits=0)
    found = progress.certificate_shortfalls([], STANDARD, rule)
    assert [one.what for one in found] == ["accuracy", "kappa"]


def test_all_right_in_a_short_test_is_no_certainty() -> None:
    kappa = progress.kappa_against_standard(answers("AA BB CC DD AA BB CC DD"), STANDARD)
    assert (kappa.value, kappa.high) == (1, 1) and kappa.low == pytest.approx(
        8 / (8 + 1.96**2), abs=1e-4
    )


def test_kappa_is_resampled_by_specimen() -> None:
    twice = [a for a in answers("AA AB BB CD") for _ in range(25)]
    single = progress.kappa_against_standard(answers("AA AB BB CD"), STANDARD)
    many = progress.kappa_against_standard(twice, STANDARD)
    assert np.allclose([many.low, many.high], [single.low, single.high])
