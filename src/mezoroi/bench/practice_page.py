"""docs/results/practice.md, rendered from the ledger."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping
from datetime import date
from typing import Any

import numpy as np

from mezoroi.bench.ledger import code_version
from mezoroi.bench.practice_score import (
    BOUNDED,
    SEED,
    TARGETS,
    Cells,
    arms_of,
    gained,
    grader_agreement,
    reaches,
    rounds_saved,
    title_of,
)
from mezoroi.bench.tables import MISSING, table
from mezoroi.metrics.intervals import Interval
from mezoroi.practice.all_knowing import TRIALS
from mezoroi.practice.course import Course
from mezoroi.practice.learners import KINDS, LEARNER_VERSION, MAP_ERROR, VARIANTS
from mezoroi.practice.schedule import Pace
from mezoroi.practice.simulation import (
    ALL_KNOWING,
    DELAYS,
    GRADER_ERROR,
    RANDOM,
    RANDOM_WITH_MAP,
    WITH_MAP,
    WRONG_RIVALS,
)

AIM = 0.25


def practice_page(cells: Cells, learners: int, picture: str) -> str:
    """The whole page; cells that are not in the ledger are marked so."""
    parts = [
        "# Practice\n",
        "Written by `mezoroi bench practice` from its ledger; do not edit by hand.\n",
        f"Date {date.today().isoformat()}, code {code_version()}, learner version "
        f"{LEARNER_VERSION}, seed {SEED}, numpy {np.__version__}, Python "
        f"{platform.python_version()}.\n",
        "**These learners are simulated. A simulation is no trial with people:** it shows what "
        "follows from a model of learning, not that newcomers learn that way. "
        "[Practice](../practice.md) says how the schedule works and how to hold a trial.\n",
        "Two things flatter some of these figures. The adaptive orders are told each fruit's rival "
        "and how near it is to the border without error, which the app has from a trained grader: "
        "*adaptive, erring grader* says what errors leave. And *adaptive with map* differs from "
        "random order in two things: beside *random with map* it tells the order from the "
        "maps.\n",
        _verdict(cells),
        _aim_and_bound(cells),
        f"![Learning curves]({picture})\n" if cells else "",
        *(_section(cells, variant, kind) for variant in VARIANTS for kind in KINDS),
        _explanation(learners),
    ]
    return "\n".join(part for part in parts if part)


def _verdict(cells: Cells) -> str:
    rows = []
    for variant in VARIANTS:
        for kind in KINDS:
            random = cells.get((variant, kind, RANDOM))
            for arm in arms_of(kind)[2:]:
                cell = cells.get((variant, kind, arm))
                saved = [MISSING] * len(TARGETS)
                if random is not None and cell is not None:
                    bound = arm == ALL_KNOWING
                    saved = [_saved(cell, random, target, bound) for target in TARGETS]
                rows.append([f"{kind}, {variant}", title_of(arm), *saved])
            rows.append([f"{kind}, {variant}", *_order_alone(cells, variant, kind)])
    head = ["learners", "order", *(f"as random after {target}" for target in TARGETS)]
    return (
        "## Rounds saved\n\n"
        f"Aim: the accuracy of random order in at least {AIM:.0%} fewer rounds. **Bold**: the aim "
        "is reached; *met, uncertain*: the value reaches it, its interval does not.\n\n"
        + table(head, rows)
    )


def _order_alone(cells: Cells, variant: str, kind: str) -> list[str]:
    """What the order saves where maps are shown in both orders."""
    ours, theirs = (cells.get((variant, kind, arm)) for arm in (WITH_MAP, RANDOM_WITH_MAP))
    saved = [MISSING] * len(TARGETS)
    if ours is not None and theirs is not None:
        saved = [_saved(ours, theirs, target) for target in TARGETS]
    return [f"{WITH_MAP}, beside {RANDOM_WITH_MAP}", *saved]


def _aim_and_bound(cells: Cells) -> str:
    """Where the aim is more than the all-knowing teacher saves; empty if it was not run."""
    run, short = False, []
    for (variant, kind, arm), cell in cells.items():
        random = cells.get((variant, kind, RANDOM))
        if arm != ALL_KNOWING or random is None:
            continue
        saved = {goal: rounds_saved(cell, random, goal, Course()).value for goal in TARGETS}
        missed = [str(goal) for goal in TARGETS if saved[goal] < AIM]
        run = True
        if missed:
            short.append(f"{kind}, {variant} (after {', '.join(missed)})")
    if not run:
        return ""
    where = "; ".join(short) or "none of the learners for whom it was run"
    return (
        "*all-knowing* is no order that could be used: its teacher reads the learners' minds. It "
        "shows about how much the choice of fruits can save at all. The aim exceeds this bound for "
        f"{where}.\n"
    )


def _saved(
    cell: Mapping[str, Any], random: Mapping[str, Any], target: int, bound: bool = False
) -> str:
    if not reaches(cell, random, target, Course()):
        return "never reached"
    saved = rounds_saved(cell, random, target, Course())
    if math.isnan(saved.low):
        return f"{saved.value:+.0%}, too few learners for an interval"
    text = f"{saved.value:+.0%} ({saved.low:+.0%} to {saved.high:+.0%})"
    if bound:
        return text
    if saved.low >= AIM:
        return f"**{text}**"
    if saved.value >= AIM:
        return f"{text}, *met, uncertain*"
    return text if saved.excludes_zero else f"{text}, no difference shown"


def _section(cells: Cells, variant: str, kind: str) -> str:
    random = cells.get((variant, kind, RANDOM))
    rows = [_row(arm, cells.get((variant, kind, arm)), random) for arm in arms_of(kind)]
    head = ["order", "right in practice", *(f"after {name}" for name in DELAYS), "gain, 1 week"]
    return f"## {kind.capitalize()} learners, {variant}\n\n" + table(head, rows)


def _row(arm: str, cell: Mapping[str, Any] | None, random: Mapping[str, Any] | None) -> list[str]:
    if cell is None:
        return [title_of(arm), *[MISSING] * (2 + len(DELAYS))]
    kept = [f"{np.mean(cell['retention'][name]):.1%}" for name in DELAYS]
    gain = "" if arm == RANDOM or random is None else _points(gained(cell, random, "1 week"))
    return [title_of(arm), f"{np.mean(cell['right']):.1%}", *kept, gain]


def _points(difference: Interval) -> str:
    if math.isnan(difference.low):
        return f"{100 * difference.value:+.1f} points, too few learners for an interval"
    shown = "" if difference.excludes_zero else ", no difference shown"
    return (
        f"{100 * difference.value:+.1f} points "
        f"({100 * difference.low:+.1f} to {100 * difference.high:+.1f}{shown})"
    )


def _explanation(learners: int) -> str:
    course, pace = Course(), Pace()
    (few, kept), (more, _) = TRIALS
    agreement = ", ".join(f"{variant} {grader_agreement(variant):.2f}" for variant in VARIANTS)
    return (
        "## How it was measured\n\n"
        f"{learners} learners per row, the same in every order, in groups of 4 with fruits and a "
        f"test of their own; intervals are 95 % bootstrap intervals by group. {course.rounds} "
        f"rounds, {course.per_day} a day; {course.pool} fruits per grade to practise on, "
        f"{course.test} others per grade in the test, which is read without leaving a trace, a "
        "day after the round in question. Resamples in which an order never reaches the accuracy "
        f"of random order count as reaching it at round {course.rounds}, which flatters the "
        "order.\n\n"
        "*random*: as many of each grade, shuffled, none again before all were seen. *blocked*: "
        "the same, one grade after the other. *adaptive*: the schedule of the app, as it is "
        f"(settings: {pace}). *pairs only*: the same with fruits of any difficulty, to show what "
        "the choice of difficulty adds. *adaptive, erring grader*: as *adaptive*, but the distance "
        f"to the border that the order is told has a normal error of {GRADER_ERROR} (rank "
        f"correlation with the true one: {agreement}), and {WRONG_RIVALS:.0%} of the fruits have "
        "another rival. *adaptive with map*: as "
        "*adaptive*; also, after each wrong answer, when "
        "the app shows the maps of the right and of the chosen grade side by side, attention is "
        "drawn to the feature that tells these apart. That this helps is assumed, not found: "
        "how much it draws is a parameter of the learner, and one map in "
        f"{round(1 / MAP_ERROR)} points at any feature. *random with map*: "
        "these maps in random order. *all-knowing*: before each "
        "round, copies of the learner, with all it remembers and attends to, are told one fruit "
        f"each, of all not shown within {pace.apart} rounds, and a day later grade {few} fruits "
        "per grade that are neither to practise on nor in the test; the best "
        f"{kept} grade {more} more per grade, and the fruit of the best is shown. It plans one "
        "round ahead, so that a plan for the whole course could save more; so can maps, which draw "
        f"attention by themselves. It was run for {' and '.join(BOUNDED)} learners alone, as it "
        "takes several times longer for others.\n\n"
        "The learners (`mezoroi.practice.learners`, with sources) were fixed before any schedule "
        "was tried, from random order alone. The schedule's settings were then tuned on "
        "exemplar and prototype learners of other seeds (1001 to 1006); no result with this page's "
        "seed was seen before the schedule was settled. Held-out learners have other parameters "
        "and other fruits, and nothing was tuned on them. Fruits are points in a "
        "space of three features that decide and five that do not, no pictures; learners do not "
        "tire, are not bored, and have no spacing effect of their own.\n"
    )
