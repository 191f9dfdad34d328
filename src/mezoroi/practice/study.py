"""The study kit: a trial with people, since simulated learners prove nothing about them.

Participants are assigned to arms at random, in permuted blocks within strata; answers are exported
under pseudonyms; the effect is a difference between arms in a test, adjusted for the pre-test.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from mezoroi.errors import MezoroiError
from mezoroi.files import nan_to_none
from mezoroi.practice.progress import PRACTICE
from mezoroi.practice.study_times import Times

TRIAL_COLUMNS = (
    "participant", "arm", "phase", "day", "number", "specimen", "truth", "given", "right",
    "certainty", "seconds",
)  # fmt: skip
ANSWER_COLUMNS = (
    "participant", "arm", "phase", "at", "specimen", "truth", "given", "certainty", "seconds",
)  # fmt: skip
_MIN_PER_ARM = 3
_NOTHING = 1e-9  # a share, or what is left of a leverage of 1, that is rounding alone


def assign(
    participants: Sequence[str],
    arms: Sequence[str],
    seed: int,
    strata: Sequence[str] | None = None,
) -> dict[str, str]:
    """Assign participants to arms at random, equally many to each.

    Permuted blocks of two per arm, within each stratum (such as years of experience). What is left
    for a stratum's last block is dealt so that arms differ by at most one in each stratum, and by
    at most one over all: many short strata would else add up to a lopsided trial. So the list must
    be complete: with more names some of the earlier ones would get another arm. Write down the seed
    before anybody is enrolled.

    Returns
    -------
    arm by participant

    Raises
    ------
    MezoroiError
        If there are fewer than two arms, or a participant is named twice.
    """
    if len(set(arms)) < 2 or len(set(arms)) != len(arms):
        raise MezoroiError("a trial compares at least two different arms: name them")
    if len(set(participants)) != len(participants):
        raise MezoroiError("a participant is named twice: give each one row")
    if strata is not None and len(strata) != len(participants):
        raise MezoroiError("give one stratum per participant")
    groups = list(strata) if strata is not None else [""] * len(participants)
    block = list(arms) * 2
    assigned: dict[str, str] = {}
    had: Counter[str] = Counter()
    for number, stratum in enumerate(sorted(set(groups))):
        rng = np.random.default_rng([seed, number])
        own = [name for name, group in zip(participants, groups, strict=True) if group == stratum]
        whole = len(own) - len(own) % len(block)
        drawn = [
            block[place]
            for _ in range(whole // len(block))
            for place in rng.permutation(len(block))
        ]
        drawn += _last_block(arms, len(own) - whole, had, rng)
        assigned |= zip(own, drawn, strict=True)
    return {name: assigned[name] for name in participants}


def _last_block(
    arms: Sequence[str], size: int, had: Counter[str], rng: np.random.Generator
) -> list[str]:
    """Arms of a block that is not full: each as often, then once those that other strata need.

    Parameters
    ----------
    had : how often an arm was such a one in other strata; is counted on
    """
    each, left = divmod(size, len(arms))
    order = [arms[place] for place in rng.permutation(len(arms))]
    once = sorted(order, key=lambda arm: had[arm])[:left]
    had.update(once)
    drawn = [*arms] * each + once
    return [drawn[place] for place in rng.permutation(len(drawn))]


def anonymise(answers: Sequence[Mapping[str, Any]], key: bytes) -> list[dict[str, Any]]:
    """Rows of a trial that name nobody.

    A participant becomes a pseudonym (HMAC-SHA256 under `key`, which stays secret, or is thrown
    away for good), a date becomes days since that participant's first answer, by the zone that its
    row is written in, a time of day is dropped. Only `TRIAL_COLUMNS` are kept.

    Parameters
    ----------
    answers : rows with `ANSWER_COLUMNS`; `at` is an ISO 8601 date and time with
        its zone
    key : at least 16 secret bytes

    Raises
    ------
    MezoroiError
        If a column is missing, a time cannot be read, an answer is there twice, or the key is
        short.
    """
    if len(key) < 16:
        raise MezoroiError("the key has fewer than 16 bytes: use a longer secret")
    rows = [(_time_of(answer, number), answer) for number, answer in enumerate(answers, 1)]
    row_of: dict[tuple[Any, ...], int] = {}
    for number, (time, answer) in enumerate(rows, 1):
        one = (*(str(answer[name]) for name in ("participant", "phase", "specimen", "truth")), time)
        if row_of.setdefault(one, number) != number:
            raise MezoroiError(
                f"rows {row_of[one]} and {number} are the same answer: give each answer once"
            )
    by_person: dict[str, list[tuple[datetime, Mapping[str, Any]]]] = {}
    for time, answer in rows:
        by_person.setdefault(str(answer["participant"]), []).append((time, answer))
    trial: list[dict[str, Any]] = []
    for person, own in by_person.items():
        code = hmac.new(key, person.encode(), hashlib.sha256).hexdigest()[:12]
        own.sort(key=lambda pair: pair[0])
        first = own[0][0].date()
        for number, (time, answer) in enumerate(own, 1):
            kept = {name: answer[name] for name in TRIAL_COLUMNS if name in ANSWER_COLUMNS}
            kept |= {
                "participant": code,
                "day": (time.date() - first).days,
                "number": number,
                "right": int(answer["given"] == answer["truth"]),
            }
            trial.append({name: kept[name] for name in TRIAL_COLUMNS})
    return sorted(trial, key=lambda row: (row["participant"], row["number"]))


@dataclass(frozen=True)
class Effect:
    """One test's difference between two arms.

    Attributes
    ----------
    test : post-test or a delayed test
    arm, control : what is compared
    adjusted : difference in share right, adjusted for the pre-test, with its 95 % interval
    p_value : of no difference, two-sided
    means : share right by arm, not adjusted
    counted : participants by arm with both tests, finished
    missing : participants by arm without one of them; many, or many more in one arm, is bias
    delay : median days by arm since the post-test, of the post-test since the pre-test, of those
        counted
    practised : median fruits practised on before the test, by arm, of those counted
    """

    test: str
    arm: str
    control: str
    adjusted: tuple[float, float, float]
    p_value: float
    means: Mapping[str, float]
    counted: Mapping[str, int]
    missing: Mapping[str, int]
    delay: Mapping[str, float]
    practised: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; NaN becomes None."""
        value, low, high = self.adjusted
        return nan_to_none(
            {
                "test": self.test,
                "arm": self.arm,
                "control": self.control,
                "difference": {"value": value, "low": low, "high": high},
                "p_value": self.p_value,
                "means": dict(self.means),
                "counted": dict(self.counted),
                "missing": dict(self.missing),
                "delay": dict(self.delay),
                "practised": dict(self.practised),
            }
        )


def analyse(
    trial: Sequence[Mapping[str, Any]],
    control: str,
    *,
    before: str = "pre-test",
    tests: Sequence[str] = ("post-test", "1 day", "1 week"),
    assigned: Mapping[str, int] | None = None,
) -> list[Effect]:
    """The effect of every arm against the control, in every test that was held.

    A test is the same for all and asks each fruit once; whoever answered fewer of its fruits than
    others has not taken it.

    Analysis of covariance: share right in the test on arm and share right in the pre-test, by least
    squares with standard errors that allow unequal spread (HC3, MacKinnon and White 1985) and a t
    interval. A participant counts in the arm assigned, whatever they practised. Name one test and
    one arm as the main comparison before the trial; the others are for exploration, and no p value
    is corrected for their number.

    Parameters
    ----------
    trial : rows as `anonymise` gives them
    control : the arm that others are compared with
    assigned : participants by arm when it was drawn, so that who never answered counts as missing,
        also where nobody of an arm did

    Returns
    -------
    effects; NaN where an arm has fewer than 3 participants with both tests, or where theirs tell
    nothing of the spread between people, as when all had everything right

    Raises
    ------
    MezoroiError
        If a column is missing, the control does not occur, or no other arm does, fewer were
        assigned to an arm than answered, or a fruit of a test was answered twice by somebody.
    """
    scores, arm_of = _scores(trial)
    answered = Counter(arm_of.values())
    enrolled = answered if assigned is None else assigned
    for arm, count in answered.items():
        if count > enrolled.get(arm, 0):
            raise MezoroiError(
                f"{count} answered in the arm `{arm}`, {enrolled.get(arm, 0)} were assigned to it: "
                "give the assignment of this trial"
            )
    arms = sorted(set(enrolled) - {control})
    if control not in enrolled or not arms:
        raise MezoroiError(
            f"arms are {', '.join(sorted(enrolled)) or 'none'}: "
            f"the control `{control}` and another are needed"
        )
    held = [test for test in tests if any(test in own for own in scores.values())]
    times = Times(trial)
    since = dict.fromkeys(tests, tests[0]) | {tests[0]: before}
    return [
        _effect(scores, arm_of, enrolled, before, test, arm, control, times, since[test])
        for test in held
        for arm in arms
    ]


def _scores(
    trial: Sequence[Mapping[str, Any]],
) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    answers: dict[str, dict[str, list[int]]] = {}
    arm_of: dict[str, str] = {}
    asked: set[tuple[str, str, str, str]] = set()
    for number, row in enumerate(trial, 1):
        try:
            person, arm = str(row["participant"]), str(row["arm"])
            right, phase = int(row["right"]), str(row["phase"])
        except (KeyError, ValueError) as error:
            raise MezoroiError(
                f"row {number} of the trial is damaged ({error}): export it again"
            ) from error
        if right not in (0, 1):
            raise MezoroiError(f"row {number} of the trial: right is {right}: use 0 or 1")
        if arm_of.setdefault(person, arm) != arm:
            raise MezoroiError(f"participant {person} is in two arms: correct the data")
        if phase != PRACTICE and "specimen" in row:
            # Two exports in one file would make a test seem twice as long, which nobody else took.
            fruit = (person, phase, str(row["specimen"]), str(row.get("truth")))
            if fruit in asked:
                raise MezoroiError(
                    f"row {number} of the trial: {person} answered `{fruit[2]}` twice in the "
                    f"{phase}: give each answer once"
                )
            asked.add(fruit)
        answers.setdefault(person, {}).setdefault(phase, []).append(right)
    length = Counter[str]()
    for phases in answers.values():
        for phase, own in phases.items():
            length[phase] = max(length[phase], len(own))
    return (
        {
            person: {
                phase: float(np.mean(own))
                for phase, own in phases.items()
                if len(own) == length[phase]
            }
            for person, phases in answers.items()
        },
        arm_of,
    )


def _effect(
    scores: Mapping[str, Mapping[str, float]],
    arm_of: Mapping[str, str],
    enrolled: Mapping[str, int],
    before: str,
    test: str,
    arm: str,
    control: str,
    times: Times,
    since: str,
) -> Effect:
    both = [person for person in scores if arm_of[person] in (arm, control)]
    complete = [p for p in both if before in scores[p] and test in scores[p]]
    own = {name: [p for p in complete if arm_of[p] == name] for name in (arm, control)}
    counted = {name: len(people) for name, people in own.items()}
    missing = {name: enrolled[name] - counted[name] for name in (arm, control)}
    means = {
        name: float(np.mean([scores[p][test] for p in people])) if people else math.nan
        for name, people in own.items()
    }
    adjusted, p_value = (math.nan, math.nan, math.nan), math.nan
    if min(counted.values()) >= _MIN_PER_ARM:
        adjusted, p_value = _covariance(
            np.array([scores[p][test] for p in complete]),
            np.array([scores[p][before] for p in complete]),
            np.array([float(arm_of[p] == arm) for p in complete]),
        )
    delay = {name: times.delay(people, test, since) for name, people in own.items()}
    practised = {name: times.practised(people, test) for name, people in own.items()}
    return Effect(test, arm, control, adjusted, p_value, means, counted, missing, delay, practised)


def _covariance(
    after: np.ndarray, before: np.ndarray, treated: np.ndarray
) -> tuple[tuple[float, float, float], float]:
    """The arm's effect with its interval, and its p value.

    NaN where the data do not tell: the pre-test is the same as the arm, one participant alone
    decides what the pre-test is worth (whose HC3 error is then 0 / 0), or nobody of an arm differs
    from the others, so that the spread between people is unknown.
    """
    from statsmodels.api import OLS, add_constant

    columns = [treated]
    if np.ptp(before) > 0:
        columns.append(before)
    design = add_constant(np.column_stack(columns), has_constant="add")
    unknown = (math.nan, math.nan, math.nan), math.nan
    if np.linalg.matrix_rank(design) < design.shape[1]:
        return unknown
    leverage = (np.linalg.qr(design)[0] ** 2).sum(axis=1)
    fitted = OLS(after, design).fit()
    if leverage.max() > 1 - _NOTHING or np.abs(fitted.resid).max() < _NOTHING:
        return unknown
    fit = fitted.get_robustcov_results(cov_type="HC3", use_t=True)
    low, high = fit.conf_int()[1]
    return (float(fit.params[1]), float(low), float(high)), float(fit.pvalues[1])


def _time_of(answer: Mapping[str, Any], number: int) -> datetime:
    absent = [name for name in ANSWER_COLUMNS if name not in answer]
    if absent:
        raise MezoroiError(f"row {number} has no column `{absent[0]}`: export the answers again")
    try:
        time = datetime.fromisoformat(str(answer["at"]).replace("Z", "+00:00"))
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise MezoroiError(
            f"row {number}: `{answer['at']}` is no time with its zone: "
            "write it as 2026-07-01T09:30:00+09:00"
        )
    return time
