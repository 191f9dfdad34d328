"""A calibration session from its fruits to what it shows in the end."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from mezoroi.app.drifting import history_of
from mezoroi.app.practice_settings import read_settings
from mezoroi.app.problems import Refusal
from mezoroi.app.store import calibration, consensus, opinions, references, runs, specimens
from mezoroi.app.store.specimens import Known
from mezoroi.app.tables import User, now
from mezoroi.app.tables_learning import CalibrationFruit, CalibrationSession
from mezoroi.app.teaching import active_standard, names_in_tests
from mezoroi.calibrating import FEW_IN_COMMON as FEW_IN_COMMON
from mezoroi.errors import MezoroiError
from mezoroi.standard import GradingStandard

BY_HAND = "hand"
MOST_FRUITS = 100


@dataclass(frozen=True)
class Standing:
    """What counts of a fruit now, also from elsewhere than the session.

    Attributes
    ----------
    reference : its grade as a reference, None where it is none
    agreed : the grade that it teaches, None while experts dispute it or nobody graded it
    is_disputed : whether experts gave it grades, and no one grade counts
    """

    reference: str | None
    agreed: str | None
    is_disputed: bool


def open_session(
    session: Session,
    leader: User,
    title: str,
    way: str,
    count: int,
    chosen: Sequence[int],
) -> CalibrationSession:
    """Open a session with fruits chosen by hand, or proposed, and hidden repeats among them.

    Parameters
    ----------
    way : `BY_HAND`, or one of `mezoroi.calibrating.proposals.WAYS`
    count : fruits to propose; those of tests are not proposed
    chosen : ids of specimens chosen by hand

    Raises
    ------
    MezoroiError
        If there are no fruits of that kind, or too many are asked for.
    """
    run = runs.active_run(session)
    if run is None:
        raise MezoroiError("no run is active: activate one")
    known = {item.id: item for item in specimens.known_specimens(session)}
    if way == BY_HAND:
        ids = [number for number in dict.fromkeys(chosen) if number in known]
    else:
        ids = _propose(session, list(known.values()), way, count)
    if not ids:
        raise Refusal("fruits of session" if way == BY_HAND else "no proposal")
    if len(ids) > MOST_FRUITS:
        raise Refusal("fruits of session", f"{len(ids)} are chosen")
    return calibration.open_session(
        session, title, way, leader.id, run.standard_id, ids, _repeats(session, known, ids)
    )


def count_proposable(session: Session, known: Sequence[Known], way: str) -> int:
    """How many fruits can be proposed that way."""
    return len(_proposals(session, known, way, len(known))) if known else 0


def first_proposable(session: Session, known: Sequence[Known]) -> tuple[str, int]:
    """The first way that fruits can be proposed, else the first of all; and how many."""
    from mezoroi.calibrating.proposals import WAYS

    for way in WAYS:
        count = count_proposable(session, known, way)
        if count:
            return way, count
    return WAYS[0], 0


def _propose(session: Session, known: Sequence[Known], way: str, count: int) -> list[int]:
    if not 1 <= count <= MOST_FRUITS:
        raise Refusal("fruits of session", f"{count} are asked for")
    return _proposals(session, known, way, count)


def _proposals(session: Session, known: Sequence[Known], way: str, count: int) -> list[int]:
    from mezoroi.calibrating.proposals import GradedFruit, propose

    standard = active_standard(session)
    # A finished test would lose the fruit that graders come to dispute: it is no fair question.
    tested = names_in_tests(session)
    known = [item for item in known if item.name not in tested]
    found = specimens.get_specimens(session, [item.id for item in known])
    fruits = [
        GradedFruit(
            str(item.id),
            item.name,
            found[item.id].result["grade"],
            {name: grade for name, grade in item.labels.items() if grade in standard.grades},
            {name: math.nan if v is None else v for name, v in item.similarity.items()},
            found[item.id].result["reliability"],
        )
        for item in known
    ]
    rng = np.random.default_rng([int(now().timestamp())])
    return [int(fruit.id) for fruit in propose(fruits, way, count, standard, rng)]


def _repeats(session: Session, known: Mapping[int, Known], ids: Sequence[int]) -> list[int]:
    """Pictures of earlier sessions, of fruits that the graders hardly remember, one of a fruit.

    First those on which nobody was told another grade than the own: who learned from that would
    seem inconsistent, and is not compared. None is in a test, as with the fruits proposed.
    """
    from mezoroi.calibrating.drift import hidden_repeats

    history = history_of(session)
    rng = np.random.default_rng([len(history), *ids])
    names = {known[number].name for number in ids} | names_in_tests(session)
    corrected = {item.observation for item in history if item.told not in (None, item.grade)}
    old = hidden_repeats(history, now(), len(history), rng)
    old.sort(key=lambda one: one in corrected)
    fit: dict[str, int] = {}
    for item in (known[int(one)] for one in old if int(one) in known):
        if item.name not in names:
            fit.setdefault(item.name, item.id)
    return list(fit.values())[: read_settings(session).repeats]


def waiting_fruits(
    session: Session, found: CalibrationSession, user: User
) -> list[CalibrationFruit]:
    """What a grader has yet to grade, in an order of the grader's own."""
    fruits = calibration.fruits_of(session, found.id)
    order = np.random.default_rng([found.id, user.id]).permutation(len(fruits))
    done = calibration.graded_by(session, found.id, user.id)
    return [fruits[place] for place in order if fruits[place].id not in done]


def outcome_of(session: Session, found: CalibrationSession) -> dict[str, Any]:
    """What a session shows: `Reveal.to_dict`; Mezoroi's grades count where it did not learn.

    Raises
    ------
    MezoroiError
        If nobody has graded a fruit.
    """
    from mezoroi.calibrating.reveal import MODEL, reveal

    names = _names(session, found, MODEL)
    fruits = calibration.fruits_of(session, found.id)
    labels: dict[str, dict[str, str]] = {str(fruit.id): {} for fruit in fruits}
    for given in calibration.grades_of(session, found.id):
        labels[str(given.fruit_id)][names[given.user_id]] = given.grade
    run = runs.active_run(session)
    learned = {} if run is None else references.of_fruits(session, run.id)
    model = {
        str(fruit.id): str(fruit.specimen.result["grade"])
        for fruit in fruits
        if fruit.specimen.fruit_id not in {None, *learned} and fruit.specimen.result
    }
    standard = GradingStandard.from_dict(found.standard.content)
    return reveal(labels, standard, model or None).to_dict()


def _names(session: Session, found: CalibrationSession, taken: str) -> dict[int, str]:
    """Names of the graders as they are shown, all different."""
    names: dict[int, str] = {}
    for given in calibration.grades_of(session, found.id):
        user = given.user
        shown = user.full_name or user.name
        others = {name for number, name in names.items() if number != user.id}
        names[user.id] = f"{shown} ({user.name})" if shown in others | {taken} else shown
    return names


def settled(session: Session, found: CalibrationSession) -> dict[str, Any]:
    """How many fruits have a consensus, and how many of them can become references."""
    fruits = calibration.fruits_of(session, found.id)
    return {
        "fruits": len(fruits),
        "settled": sum(fruit.consensus is not None for fruit in fruits),
        "ready": sum(consensus.can_be_reference(fruit) for fruit in fruits),
    }


def standing(session: Session, fruits: Sequence[CalibrationFruit]) -> dict[str, Standing]:
    """By fruit, its grade among the references and the one that it teaches now."""
    run = runs.active_run(session)
    made = {} if run is None else references.of_fruits(session, run.id)
    agreed = opinions.agreed_grades(session, [fruit.specimen_id for fruit in fruits])
    said = opinions.labels(session)
    found = {}
    for fruit in fruits:
        own = made.get(fruit.specimen.fruit_id or 0, [])
        added = next((one.grade for one in own if one.grade is not None), None)
        kept = None if fruit.specimen.retired else fruit.specimen.grade
        counts = agreed[fruit.specimen_id]
        is_disputed = counts is None and bool(said.get(fruit.specimen_id) or fruit.specimen.grade)
        found[str(fruit.id)] = Standing(kept or added, counts, is_disputed)
    return found


def graded_by_all(outcome: Mapping[str, Any]) -> int:
    """Fruits that everyone graded who graded any: Fleiss' kappa is of these alone."""
    people = {name for fruit in outcome["fruits"] for name in fruit["labels"]}
    return sum(len(fruit["labels"]) == len(people) for fruit in outcome["fruits"])


def in_common(outcome: Mapping[str, Any]) -> list[list[int]]:
    """(R, R) fruits that both of two of ``outcome["graders"]`` graded."""
    from mezoroi.calibrating.reveal import MODEL

    graded: dict[str, set[str]] = {name: set() for name in outcome["graders"]}
    for fruit in outcome["fruits"]:
        for name in [*fruit["labels"], *([MODEL] if fruit["model"] is not None else [])]:
            graded[name].add(fruit["id"])
    return [[len(one & other) for other in graded.values()] for one in graded.values()]
