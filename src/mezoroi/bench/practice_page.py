"""docs/results/practice.md, rendered from the ledger."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from datetime import date
from typing import Any

import numpy as np

from mezoroi.bench.ledger import code_version
from mezoroi.bench.practice_score import SEED, TARGETS, Cells, gained, reaches, rounds_saved
from mezoroi.bench.tables import MISSING, table
from mezoroi.metrics.intervals import Interval
from mezoroi.practice.learners import KINDS, LEARNER_VERSION, MAP_ERROR, VARIANTS
from mezoroi.practice.schedule import Pace
from mezoroi.practice.simulation import ARMS, DELAYS, RANDOM, Course

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
        _verdict(cells),
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
            for arm in ARMS[2:]:
                cell = cells.get((variant, kind, arm))
                if random is None or cell is None:
                    rows.append([f"{kind}, {variant}", arm, *[MISSING] * len(TARGETS)])
                    continue
                saved = [_saved(cell, random, target) for target in TARGETS]
                rows.append([f"{kind}, {variant}", arm, *saved])
    head = ["learners", "order", *(f"as random after {target}" for target in TARGETS)]
    return (
        "## Rounds saved\n\n"
        f"Aim: the accuracy of random order in at least {AIM:.0%} fewer rounds. **Bold**: the aim "
        "is reached; *met, uncertain*: the value reaches it, its interval does not.\n\n"
        + table(head, rows)
    )


def _saved(cell: Mapping[str, Any], random: Mapping[str, Any], target: int) -> str:
    if not reaches(cell, random, target, Course()):
        return "never reached"
    saved = rounds_saved(cell, random, target, Course())
    text = f"{saved.value:+.0%} ({saved.low:+.0%} to {saved.high:+.0%})"
    if saved.low >= AIM:
        return f"**{text}**"
    if saved.value >= AIM:
        return f"{text}, *met, uncertain*"
    return text if saved.excludes_zero else f"{text}, no difference shown"


def _section(cells: Cells, variant: str, kind: str) -> str:
    random = cells.get((variant, kind, RANDOM))
    rows = [_row(arm, cells.get((variant, kind, arm)), random) for arm in ARMS]
    head = ["order", "right in practice", *(f"after {name}" for name in DELAYS), "gain, 1 week"]
    return f"## {kind.capitalize()} learners, {variant}\n\n" + table(head, rows)


def _row(arm: str, cell: Mapping[str, Any] | None, random: Mapping[str, Any] | None) -> list[str]:
    if cell is None:
        return [arm, *[MISSING] * (2 + len(DELAYS))]
    kept = [f"{np.mean(cell['retention'][name]):.1%}" for name in DELAYS]
    gain = "" if arm == RANDOM or random is None else _points(gained(cell, random, "1 week"))
    return [arm, f"{np.mean(cell['right']):.1%}", *kept, gain]


def _points(difference: Interval) -> str:
    shown = "" if difference.excludes_zero else ", no difference shown"
    return (
        f"{100 * difference.value:+.1f} points "
        f"({100 * difference.low:+.1f} to {100 * difference.high:+.1f}{shown})"
    )


def _explanation(learners: int) -> str:
    course, pace = Course(), Pace()
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
        "the choice of difficulty adds. *adaptive with map*: also, after each wrong answer, when "
        "the app shows the maps of the right and of the chosen grade side by side, attention is "
        "drawn to the feature that tells these apart. That this helps is assumed, not found: "
        "how much it draws is a parameter of the learner, and one map in "
        f"{round(1 / MAP_ERROR)} points at another feature.\n\n"
        "The learners (`mezoroi.practice.learners`, with sources) were fixed before any schedule "
        "was tried, from random order alone. The schedule's settings were then tuned on "
        "exemplar and prototype learners of other seeds (1001 to 1006); no result with this page's "
        "seed was seen before the schedule was settled. Held-out learners have other parameters "
        "and other fruits, and nothing was tuned on them. Fruits are points in a "
        "space of three features that decide and five that do not, no pictures; learners do not "
        "tire, are not bored, and have no spacing effect of their own.\n"
    )
