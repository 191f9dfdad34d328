"""When the participants of a trial took their tests, and how much they had practised by then."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from mezoroi.errors import MezoroiError
from mezoroi.practice.progress import PRACTICE


@dataclass
class _Course:
    """One participant: the first day of each phase, and answers in practice before it."""

    days: dict[str, int] = field(default_factory=dict)
    practised: dict[str, int] = field(default_factory=dict)
    answers: int = 0


class Times:
    """What `Effect` tells of times; a test that half of an arm took late is no fair comparison.

    Parameters
    ----------
    trial : rows as `mezoroi.practice.study.anonymise` gives them; without days all is unknown

    Raises
    ------
    MezoroiError
        If a row is damaged.
    """

    def __init__(self, trial: Sequence[Mapping[str, Any]]) -> None:
        self._courses: dict[str, _Course] = {}
        if not all("day" in row and "number" in row for row in trial):
            return
        try:
            rows = sorted(trial, key=lambda row: int(row["number"]))
            for row in rows:
                self._note(str(row["participant"]), row["phase"], int(row["day"]))
        except (KeyError, ValueError) as error:
            raise MezoroiError(f"the trial is damaged ({error}): export it again") from error

    def _note(self, person: str, phase: str, day: int) -> None:
        course = self._courses.setdefault(person, _Course())
        if phase == PRACTICE:
            course.answers += 1
            return
        course.days.setdefault(phase, day)
        course.practised.setdefault(phase, course.answers)

    def delay(self, people: Iterable[str], test: str, since: str) -> float:
        """Median days from one test to another, of those who began both; NaN without any."""
        both = [one for one in self._of(people) if test in one.days and since in one.days]
        return _median(one.days[test] - one.days[since] for one in both)

    def practised(self, people: Iterable[str], test: str) -> float:
        """Median of the fruits practised on before a test, of those who began it."""
        return _median(one.practised[test] for one in self._of(people) if test in one.practised)

    def _of(self, people: Iterable[str]) -> list[_Course]:
        return [self._courses[person] for person in people if person in self._courses]


def _median(values: Iterable[float]) -> float:
    found = list(values)
    return float(median(found)) if found else math.nan
