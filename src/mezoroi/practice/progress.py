"""What a learner has reached: learning curve, recall, certainty, streak, certificate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo

import numpy as np
from numpy.typing import NDArray

from mezoroi.errors import MezoroiError
from mezoroi.metrics.grading import grading_metrics, grading_report
from mezoroi.metrics.intervals import Interval, known_ends
from mezoroi.practice.schedule import CERTAINTIES
from mezoroi.standard import GradingStandard

PRACTICE = "practice"
FEW = 5
"""A share of fewer answers is told with their number: alone it would say too much."""


@dataclass(frozen=True)
class Answer:
    """One answer of one learner.

    Attributes
    ----------
    specimen : the physical fruit
    truth, given : agreed grade and the grade answered
    certainty : guess, fairly or sure; empty where it was not said
    seconds : that the answer took
    at : when, with time zone
    phase : practice, or the name of a test
    """

    specimen: str
    truth: str
    given: str
    certainty: str
    seconds: float
    at: datetime
    phase: str = PRACTICE

    @property
    def right(self) -> bool:
        """Whether the answer is the agreed grade."""
        return self.given == self.truth


@dataclass(frozen=True)
class Share(Interval):
    """A share right with its interval.

    Attributes
    ----------
    right, count : answers that were right, and all of them
    """

    right: int = 0
    count: int = 0

    @property
    def is_few(self) -> bool:
        """Whether there are answers, but fewer than `FEW`."""
        return 0 < self.count < FEW


@dataclass(frozen=True)
class CurvePoint:
    """One block of consecutive answers.

    Attributes
    ----------
    first, last : numbers of its answers, from 1
    accuracy : share right, with its 95 % Wilson interval
    seconds : median time of an answer
    """

    first: int
    last: int
    accuracy: Interval
    seconds: float


def learning_curve(answers: Sequence[Answer], block: int = 20) -> list[CurvePoint]:
    """Share of right answers in blocks of `block` answers, in the order of time.

    The intervals are Wilson's (1927) and treat the answers of a block as independent. The last
    block may be shorter; it is left out below half a block. Practice steers its difficulty, so its
    curve says how practice goes; learning is measured by the tests.
    """
    if block < 1:
        raise MezoroiError(f"a block of {block} answers holds nothing: use at least 1")
    ordered = sorted(answers, key=lambda answer: answer.at)
    points: list[CurvePoint] = []
    for start in range(0, len(ordered), block):
        part = ordered[start : start + block]
        if points and 2 * len(part) < block:
            break
        points.append(
            CurvePoint(
                start + 1,
                start + len(part),
                share_right(part),
                float(np.median([answer.seconds for answer in part])),
            )
        )
    return points


def share_right(answers: Sequence[Answer]) -> Share:
    """Share of right answers with its 95 % Wilson interval (Wilson 1927); NaN without answers."""
    from statsmodels.stats.proportion import proportion_confint

    if not answers:
        return Share(math.nan, math.nan, math.nan)
    right = sum(answer.right for answer in answers)
    low, high = proportion_confint(right, len(answers), method="wilson")
    return Share(right / len(answers), float(low), float(high), right=right, count=len(answers))


def recall_by_grade(answers: Sequence[Answer], standard: GradingStandard) -> dict[str, Share]:
    """Share right among the fruits of each grade; NaN for a grade that did not occur."""
    return {
        grade: share_right([answer for answer in answers if answer.truth == grade])
        for grade in standard.grades
    }


def confusion(answers: Sequence[Answer], standard: GradingStandard) -> NDArray[np.int64]:
    """(G, G) counts, rows agreed grades, columns grades answered."""
    if not answers:
        return np.zeros((len(standard.grades),) * 2, dtype=np.int64)
    truth, given = _numbers(answers, standard)
    return np.asarray(grading_metrics(truth, given, len(standard.grades))["confusion_matrix"])


def kappa_against_standard(
    answers: Sequence[Answer], standard: GradingStandard, n_resamples: int = 1000
) -> Interval:
    """Quadratic-weighted kappa with the agreed grades, 95 % bootstrap interval by specimen.

    NaN with fewer than two specimens, where only one grade is agreed or given (which kappa takes
    for chance), and for unordered grades. Its ends are NaN where it is undefined on many resamples.
    """
    nothing = Interval(math.nan, math.nan, math.nan)
    if len({answer.specimen for answer in answers}) < 2 or not standard.ordered:
        return nothing
    truth, given = _numbers(answers, standard)
    if len(set(truth)) < 2 or len(set(given)) < 2:
        return nothing
    specimens = [answer.specimen for answer in answers]
    report = grading_report(truth, given, standard.grades, specimens, n_resamples=n_resamples)
    entry = report["quadratic_weighted_kappa"]
    value, low, high = (
        math.nan if entry[key] is None else entry[key] for key in ("value", "low", "high")
    )
    return known_ends(Interval(value, low, high, entry["n_undefined"]), n_resamples)


def certainty_table(answers: Sequence[Answer]) -> dict[str, Share]:
    """Share right by stated certainty: who is well calibrated is right more often when sure."""
    return {
        name: share_right([answer for answer in answers if answer.certainty == name])
        for name in CERTAINTIES
    }


def streak(answers: Sequence[Answer], today: date, zone: tzinfo | None = None) -> int:
    """Days in a row with practice, up to today, or up to yesterday if today has none yet.

    Parameters
    ----------
    zone : in which days begin; default that of the computer
    """
    days = {answer.at.astimezone(zone).date() for answer in answers}
    day = today if today in days else today - timedelta(days=1)
    length = 0
    while day in days:
        length, day = length + 1, day - timedelta(days=1)
    return length


@dataclass(frozen=True)
class CertificateRule:
    """What a certificate takes; the admin sets it.

    Attributes
    ----------
    accuracy : least share right in the test
    recall : least share right in every grade of the test, so that no grade is given up
    kappa : least quadratic-weighted kappa; not asked of unordered grades
    fruits : least number of fruits in the test
    test : the test that counts; a delayed one shows what lasts
    """

    accuracy: float = 0.85
    recall: float = 0.7
    kappa: float = 0.8
    fruits: int = 20
    test: str = "1 week"


@dataclass(frozen=True)
class Shortfall:
    """One thing that a certificate still takes.

    Attributes
    ----------
    what : fruits, accuracy, recall or kappa
    reached, needed : numbers; `reached` is NaN where it is undefined
    grade : whose recall, else None
    """

    what: str
    reached: float
    needed: float
    grade: str | None = None


def certificate_shortfalls(
    answers: Sequence[Answer],
    standard: GradingStandard,
    rule: CertificateRule = CertificateRule(),
) -> list[Shortfall]:
    """What is missing for a certificate; nothing when it is earned.

    Only the answers of the test that the rule names count, and the grades of its fruits.
    """
    counted = [answer for answer in answers if answer.phase == rule.test]
    if len(counted) < rule.fruits:
        return [Shortfall("fruits", len(counted), rule.fruits)]
    needed = [Shortfall("accuracy", share_right(counted).value, rule.accuracy)]
    needed += [
        Shortfall("recall", share.value, rule.recall, grade)
        for grade, share in recall_by_grade(counted, standard).items()
        if any(answer.truth == grade for answer in counted)
    ]
    if standard.ordered:
        kappa = kappa_against_standard(counted, standard, n_resamples=1).value
        needed.append(Shortfall("kappa", kappa, rule.kappa))
    return [one for one in needed if not one.reached >= one.needed]


def _numbers(answers: Sequence[Answer], standard: GradingStandard) -> tuple[list[int], list[int]]:
    number = {grade: at for at, grade in enumerate(standard.grades)}
    try:
        return (
            [number[answer.truth] for answer in answers],
            [number[answer.given] for answer in answers],
        )
    except KeyError as error:
        raise MezoroiError(
            f"unknown grade {error}: the standard has {', '.join(standard.grades)}"
        ) from error
