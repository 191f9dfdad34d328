"""What a learner has reached, and who confuses what; the figures are `practice.progress`'s."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy.orm import Session

from mezoroi.app.practice_settings import TESTS, read_settings
from mezoroi.app.roles import Role
from mezoroi.app.store import opinions, practice, specimens, users
from mezoroi.app.tables import now
from mezoroi.app.tables_learning import Question, TestFruit
from mezoroi.app.teaching import active_standard
from mezoroi.standard import GradingStandard

if TYPE_CHECKING:
    from mezoroi.metrics.intervals import Interval
    from mezoroi.practice.progress import Answer, CertificateRule, CurvePoint, Share, Shortfall


@dataclass(frozen=True)
class ProgressView:
    """A learner's progress.

    Attributes
    ----------
    answers : in practice
    curve : of practice
    measured : the latest test that was finished, of which the following figures are; where there is
        none practice, whose difficulty is steered
    recall, certainty : shares right
    confusion : (G, G) counts, rows agreed grades, columns grades answered
    kappa : quadratic-weighted, with the agreed grades
    tests : share right by test that was finished, in order
    left_out : by such a test with questions that no longer count, their number and that of all
    streak : days in a row
    shortfalls : what a certificate still takes, None before its test
    certified_at : when the certificate was reached, also where its answers have gone
    rule : what a certificate takes; kappa of ordered grades alone
    """

    grades: Sequence[str]
    answers: int
    curve: Sequence[CurvePoint]
    measured: str
    recall: Mapping[str, Share]
    certainty: Mapping[str, Share]
    confusion: Any
    kappa: Interval
    seconds: float | None
    tests: Mapping[str, Share]
    left_out: Mapping[str, tuple[int, int]]
    streak: int
    shortfalls: Sequence[Shortfall] | None
    certified_at: datetime | None
    rule: CertificateRule
    is_ordered: bool


def progress_of(session: Session, user_id: int) -> ProgressView:
    """The progress of a user, by the active standard's grades."""
    from mezoroi.practice import progress

    standard, settings = active_standard(session), read_settings(session)
    every = practice.answers(session, user_id)
    own = [item for item in every if _is_of(item, standard)]
    agreed = _still_agreed(session, own)
    found = [_answer(item) for item in agreed]
    finished = {item.phase for item in practice.list_rounds(session, user_id) if item.finished_at}
    # The answers of a test are no news to its taker before it is over.
    shown = [one for one in found if one.phase == practice.PRACTICE or one.phase in finished]
    exercise = [one for one in shown if one.phase == practice.PRACTICE]
    by_test = {test: [one for one in shown if one.phase == test] for test in TESTS}
    measured = next((test for test in reversed(TESTS) if by_test[test]), practice.PRACTICE)
    counted = by_test.get(measured, exercise)
    rule = settings.rule
    # A house with few fruits has short tests, which are taken once: all of theirs are enough.
    size = len(_places(session, rule.test)) or rule.fruits
    rule = replace(rule, fruits=min(rule.fruits, size))
    learner = practice.get_learner(session, user_id)
    return ProgressView(
        standard.grades,
        len(exercise),
        progress.learning_curve(exercise),
        measured,
        progress.recall_by_grade(counted, standard),
        progress.certainty_table(counted),
        progress.confusion(counted, standard),
        progress.kappa_against_standard(counted, standard),
        float(np.median([one.seconds for one in exercise])) if exercise else None,
        {test: progress.share_right(answers) for test, answers in by_test.items() if answers},
        _left_out(own, agreed, finished),
        progress.streak([_answer(item) for item in every], now().astimezone().date()),
        progress.certificate_shortfalls(shown, standard, rule) if by_test[rule.test] else None,
        learner.certified_at if learner is not None else None,
        rule,
        standard.ordered,
    )


def keep_certificate(session: Session, user_id: int) -> datetime:
    """Keep that a certificate is reached, as of the first day on which it was told; that day.

    Most are kept as their test ends (`mezoroi.app.practising`). These are reached later: the house
    asks for less now, or experts came to dispute a fruit that was answered otherwise.
    """
    learner = practice.learner(session, user_id)
    learner.certified_at = learner.certified_at or now()
    return learner.certified_at


@dataclass(frozen=True)
class LearnerLine:
    """A learner in the experts' overview; without consent only the number of answers.

    Attributes
    ----------
    tests : shares right of the tests that were finished
    recent : share right of the last answers in practice, None without any
    mistakes : the most frequent confusions: agreed grade, grade given, how often
    certified_at : when the certificate was reached, None without consent
    has_begun : whether there was an answer, which may have gone
    """

    user_id: int
    name: str
    arm: str | None
    agrees: bool
    answers: int
    tests: Mapping[str, Share]
    recent: Share | None
    mistakes: Sequence[tuple[str, str, int]]
    certified_at: datetime | None
    has_begun: bool


def overview(session: Session) -> list[LearnerLine]:
    """Everyone who has practised, then the newcomers who have not begun."""
    from mezoroi.practice.progress import share_right

    by_user: dict[int, list[Question]] = {}
    every = practice.answers(session)
    agreed = {item.id for item in _still_agreed(session, every)}
    for item in every:
        by_user.setdefault(item.user_id, []).append(item)
    lines = []
    for learner in practice.list_learners(session):
        own = by_user.get(learner.user_id, [])
        agrees = learner.user.consent_at is not None
        # A test that is not over has no share right: the rest of its fruits may be the hard ones.
        over = [item for item in own if _is_over(item)]
        answers = [_answer(item) for item in over if agrees and item.id in agreed]
        exercise = [one for one in answers if one.phase == practice.PRACTICE]
        wrong = Counter((one.truth, one.given) for one in answers if not one.right)
        lines.append(
            LearnerLine(
                learner.user_id,
                learner.user.full_name or learner.user.name,
                learner.arm,
                agrees,
                len(own),
                {
                    test: share_right([one for one in answers if one.phase == test])
                    for test in TESTS
                    if any(one.phase == test for one in answers)
                },
                share_right(exercise[-40:]) if exercise else None,
                [(truth, given, count) for (truth, given), count in wrong.most_common(3)],
                learner.certified_at if agrees else None,
                bool(own or learner.state or learner.taken or learner.certified_at),
            )
        )
    return [*lines, *_not_begun(session, {line.user_id for line in lines})]


def _not_begun(session: Session, begun: set[int]) -> list[LearnerLine]:
    return [
        LearnerLine(
            user.id,
            user.full_name or user.name,
            None,
            user.consent_at is not None,
            0,
            {},
            None,
            [],
            None,
            False,
        )
        for user in users.list_users(session)
        if user.active and user.role == Role.NEWCOMER.value and user.id not in begun
    ]


def export_rows(session: Session) -> list[dict[str, Any]]:
    """Answers of a study's participants who agreed; columns as `mezoroi study export` reads.

    Moments are those of the computer's zone, in which the participants' days begin.
    """
    taking_part = {
        item.user_id: item
        for item in practice.list_learners(session)
        if item.arm is not None and item.user.consent_at is not None
    }
    return [
        {
            "participant": taking_part[item.user_id].user.name,
            "arm": taking_part[item.user_id].arm,
            "phase": item.round.phase,
            "at": item.answered_at.astimezone().isoformat() if item.answered_at else "",
            "specimen": item.specimen.name,
            "truth": item.truth,
            "given": item.given,
            "certainty": item.certainty,
            "seconds": item.seconds,
        }
        for item in practice.answers(session)
        if item.user_id in taking_part
    ]


def _still_agreed(session: Session, answers: Sequence[Question]) -> list[Question]:
    """Answers to fruits on whose grade the experts still agree: another was no fair question.

    Those of practice to fruits of an open session wait until it is over: a sum that grows by one
    would tell whether the last was right.
    """
    agreed = opinions.agreed_grades(session, {item.specimen_id for item in answers})
    waiting = specimens.names_of(session, specimens.in_open_sessions(session))
    return [
        item
        for item in answers
        if agreed.get(item.specimen_id) == item.truth
        and (item.specimen.name not in waiting or item.round.phase != practice.PRACTICE)
    ]


def _left_out(
    every: Sequence[Question], agreed: Sequence[Question], finished: set[str]
) -> dict[str, tuple[int, int]]:
    """By finished test, how many of how many questions experts no longer agree on, if any."""
    asked = Counter(item.round.phase for item in every)
    counted = Counter(item.round.phase for item in agreed)
    tests = [test for test in TESTS if test in finished and counted[test] < asked[test]]
    return {test: (asked[test] - counted[test], asked[test]) for test in tests}


def _places(session: Session, test: str) -> list[TestFruit]:
    """The fruits of a test that still count."""
    places = practice.list_tests(session).get(test, [])
    agreed = opinions.agreed_grades(session, [item.specimen_id for item in places])
    return [item for item in places if agreed.get(item.specimen_id) == item.grade]


def _is_over(item: Question) -> bool:
    """Whether an answer is of practice or of a test that was finished."""
    return item.round.phase == practice.PRACTICE or item.round.finished_at is not None


def _is_of(item: Question, standard: GradingStandard) -> bool:
    return item.truth in standard.grades and item.given in standard.grades


def _answer(item: Question) -> Answer:
    from mezoroi.practice.progress import Answer

    return Answer(
        item.specimen.name,
        item.truth,
        item.given or "",
        item.certainty or "",
        item.seconds or 0.0,
        item.answered_at or item.shown_at,
        item.round.phase,
    )
