"""How long simulated learners practise, and when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

DAY = timedelta(days=1)
START = datetime(2026, 7, 1, 9, tzinfo=timezone.utc)


@dataclass(frozen=True)
class Course:
    """How long simulated learners practise, and on what.

    Attributes
    ----------
    rounds : fruits that a learner sees
    per_day : rounds of one day's session, a quarter of a minute each
    checked : rounds between two readings of the learning curve
    pool, test : fruits per grade to practise on, and of the unseen test
    """

    rounds: int = 240
    per_day: int = 20
    checked: int = 10
    pool: int = 60
    test: int = 25

    def time_of(self, number: int) -> datetime:
        """When round `number`, counted from 0, is shown."""
        day, within = divmod(number, self.per_day)
        return START + day * DAY + timedelta(seconds=15 * within)


def seconds_of(now: datetime) -> float:
    """Seconds since the start, the clock of `Learners`."""
    return (now - START).total_seconds()
