"""What the house decided about practice, and the tests there are."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from mezoroi.app.store import house
from mezoroi.errors import MezoroiError

if TYPE_CHECKING:
    from mezoroi.practice.progress import CertificateRule

SETTING = "practice"
PRE, POST, DAY, WEEK = "pre-test", "post-test", "1 day", "1 week"
TESTS = (PRE, POST, DAY, WEEK)


@dataclass(frozen=True)
class PracticeSettings:
    """What the house decided about practice.

    Attributes
    ----------
    questions : fruits of a round
    test_fruits : fruits of each grade in a test, fewer where there are too few
    repeats : hidden repeats in a calibration session, and at most in an expert's round
    accuracy, recall, kappa, fruits, test : what a certificate takes, see `CertificateRule`
    """

    questions: int = 20
    test_fruits: int = 5
    repeats: int = 2
    accuracy: float = 0.85
    recall: float = 0.7
    kappa: float = 0.8
    fruits: int = 20
    test: str = WEEK

    def __post_init__(self) -> None:
        whole = 1 <= self.questions <= 200 and 1 <= self.test_fruits <= 100
        if not whole or not (0 <= self.repeats <= 20 and 1 <= self.fruits <= 1000):
            raise MezoroiError("a number of practice is out of range: go back and correct it")
        if not all(0 <= value <= 1 for value in (self.accuracy, self.recall, self.kappa)):
            raise MezoroiError("accuracy, recall and kappa lie between 0 and 1: correct them")
        if self.test not in TESTS:
            raise MezoroiError(f"unknown test `{self.test}`: use {', '.join(TESTS)}")

    @property
    def rule(self) -> CertificateRule:
        """What a certificate takes."""
        from mezoroi.practice.progress import CertificateRule

        return CertificateRule(self.accuracy, self.recall, self.kappa, self.fruits, self.test)


def read_settings(session: Session) -> PracticeSettings:
    """The house's settings of practice."""
    return PracticeSettings(**house.get_setting(session, SETTING))


def keep_settings(session: Session, settings: PracticeSettings) -> None:
    """Change the house's settings of practice."""
    house.set_setting(session, SETTING, asdict(settings))
