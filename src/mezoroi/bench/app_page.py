"""docs/results/app.md, rendered from the ledger."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np

from mezoroi.bench.ledger import code_version
from mezoroi.bench.tables import MISSING, table

if TYPE_CHECKING:
    from mezoroi.bench.app import Amounts

Cell = Mapping[str, Any]
PHOTO_SECONDS = 1.5
PAGE_SECONDS = 0.1


def app_page(cells: Mapping[str, Cell], amounts: Amounts, whole: Amounts) -> str:
    """The whole page; parts that are not in the ledger are marked so, and so are short trials."""
    sections = {
        "kill": ("Killed at random moments", _kill),
        "malformed": ("Malformed uploads", _malformed),
        "slow": ("A photo that takes minutes", _slow),
        "schema": ("The API asked at random", _schema),
        "photo": ("From photo to grade", _photo),
        "uploads": ("Many uploads at once", _uploads),
        "pages": ("Pages", _pages),
    }
    parts = [
        "# The app\n",
        "Written by `mezoroi bench app` from its ledger; do not edit by hand.\n",
        f"Date {date.today().isoformat()}, code {code_version()}, Python "
        f"{platform.python_version()}, {platform.machine()}. Every trial is held against a real "
        "`mezoroi serve` with SQLite on the same machine as its clients, which take their share of "
        "its cores. The grader has the default size and is trained for two epochs: its grades are "
        "poor, its speed is that of any other.\n",
        _shortened(amounts, whole),
        _summary(cells, amounts),
    ]
    for name, (title, render) in sections.items():
        cell = cells.get(name)
        body = f"{MISSING}\n" if cell is None else f"{render(cell, amounts)}\n{_machine(cell)}"
        parts.append(f"## {title}\n\n{body}")
    return "\n".join(part for part in parts if part)


def _machine(cell: Cell) -> str:
    return (
        f"Machine: {cell['cores']} cores; load before the trial, from work that has nothing to "
        f"do with it: {cell['load']:.1f}; niceness {cell['niceness']}, threads of the grader: "
        f"{cell['threads']}. Code of the app: {cell['app']}.\n"
    )


def _shortened(amounts: Amounts, whole: Amounts) -> str:
    """What was tried less often than it should be."""
    asked = asdict(whole)
    less = [
        f"{name.replace('_', ' ')} {value} of {asked[name]}"
        for name, value in asdict(amounts).items()
        if value != asked[name]
    ]
    return f"**Shortened trials** (`--share`): {', '.join(less)}.\n" if less else ""


def _summary(cells: Mapping[str, Cell], amounts: Amounts) -> str:
    aims = (
        (
            f"{amounts.kills} kills during {amounts.uploads} uploads: nothing acknowledged lost",
            cells.get("kill"),
            lambda cell: not cell["findings"],
        ),
        (
            f"{amounts.malformed} malformed uploads refused with a message, or graded by their "
            "pixels alone",
            cells.get("malformed"),
            lambda cell: not cell["findings"],
        ),
        ("the API: no 5xx", cells.get("schema"), lambda cell: not cell["findings"]),
        (
            f"photo to grade <= {PHOTO_SECONDS} s (median, in Chromium)",
            cells.get("photo"),
            lambda cell: float(np.median(cell["chromium"])) <= PHOTO_SECONDS,
        ),
        (
            f"{amounts.at_once} uploads at once: none lost",
            cells.get("uploads"),
            lambda cell: cell["lost"] == 0,
        ),
        (
            f"pages: p95 <= {1000 * PAGE_SECONDS:.0f} ms at {amounts.users} users who read",
            cells.get("pages"),
            lambda cell: _p95(_all(cell["clicking"])) <= PAGE_SECONDS,
        ),
        (
            "the same at as many who do not pause",
            cells.get("pages"),
            lambda cell: _p95(_all(cell["hammering"])) <= PAGE_SECONDS,
        ),
    )
    rows = [
        [aim, MISSING if cell is None else "reached" if reached(cell) else "**not reached**"]
        for aim, cell, reached in aims
    ]
    return table(["aim", ""], rows)


def _kill(cell: Cell, amounts: Amounts) -> str:
    killed, states = cell["killed"], cell["states"]
    return (
        f"kill -9 for the server {killed['server']} times and for its worker {killed['worker']} "
        f"times, at moments drawn from a fixed seed, while three clients sent "
        f"{cell['uploads']} photos and one gave verdicts without pause. After every start and in "
        "the end: `integrity_check`, `foreign_key_check`, every file that a row names is there and "
        "holds what its name says, and every acknowledged write is as it was sent.\n\n"
        f"{cell['uploads']} uploads and {cell['verdicts']} verdicts were acknowledged. What became "
        f"of the fruits: {_counts(states)} (`crashed`: its worker was killed twice while at it; "
        f"the page offers to try once more). Connections that broke: {cell['broken']}; what was on "
        "its way was sent again with its key, for its acknowledgement alone may have been lost. "
        f"Photos kept twice: {cell['extra']}. Unfinished files left in the folder: "
        f"{cell['leftovers']}.\n\n{_findings(cell)}"
    )


def _malformed(cell: Cell, amounts: Amounts) -> str:
    kinds = sorted({*cell["refused"], *cell["late"], *cell["taken"]})
    rows = [
        [kind, *(str(cell[what].get(kind, 0) or "") for what in ("refused", "late", "taken"))]
        for kind in kinds
    ]
    server, worker = cell["server_mb"], cell["worker_mb"]
    return (
        "Refused at once: a 4xx with a reason. Refused by the worker: taken, found unreadable, and "
        "said so on its page. Graded: a whole picture was there beside what is wrong with it, and "
        "what pages show of it holds its pixels alone.\n\n"
        + table(["what is wrong", "refused at once", "refused by the worker", "graded"], rows)
        + f"\nMemory at its peak: server {server[1]:.0f} MB ({server[0]:.0f} MB before), worker "
        f"{worker[1]:.0f} MB ({worker[0]:.0f} MB before; it may take 3,072 MB more). Workers that "
        f"it took: {cell['workers']}.\n\n{_findings(cell)}"
    )


def _slow(cell: Cell, amounts: Amounts) -> str:
    return (
        "A JPEG of 98 megapixels in thousands of empty scans has less than a megabyte and takes "
        "minutes to decode. The worker may spend 30 s on a photo and is ended then; it is tried "
        f"twice. Given up as `{cell['slow']}` after {cell['seconds']:.0f} s; the photos sent "
        f"behind it: {', '.join(cell['others'])}.\n"
    )


def _schema(cell: Cell, amounts: Amounts) -> str:
    rows = [[name, _counts(counts)] for name, counts in cell["answers"].items()]
    return (
        "schemathesis makes questions from the API's own description; every second one is about "
        "things that are there. Answers by status, asked as an expert and, where experts may not, "
        "as an administrator:\n\n" + table(["operation", "answers"], rows) + "\n" + _findings(cell)
    )


def _photo(cell: Cell, amounts: Amounts) -> str:
    rows = [
        ["over HTTP, asking as the page does", *_times(cell["http"])],
        ["headless Chromium, until the grade is on the screen", *_times(cell["chromium"])],
    ]
    return (
        f"{amounts.photos} photos of made-up melons, 12 megapixels, one after the other; each is "
        "unrolled and graded.\n\n" + table(["", "median", "p95", "longest"], rows)
    )


def _uploads(cell: Cell, amounts: Amounts) -> str:
    return (
        f"{amounts.at_once} photos of 0.8 megapixels sent at the same moment, each on a "
        "connection of its own; who is told to retry does so after the seconds that Retry-After "
        "says. Answers: "
        f"{_counts(cell['answers'])}. In the end: {_counts(cell['states'])}; lost: "
        f"{cell['lost']}. All were taken after {cell['taken_s']:.0f} s and graded after "
        f"{cell['graded_s']:.0f} s.\n"
    )


def _pages(cell: Cell, amounts: Amounts) -> str:
    clicking, hammering = cell["clicking"], cell["hammering"]
    rows = [
        [f"`{page}`", *_times(times)[:2], *_times(hammering["seconds"][page])[:2]]
        for page, times in clicking["seconds"].items()
    ]
    rows.append(["all", *_times(_all(clicking))[:2], *_times(_all(hammering))[:2]])
    failed = {**clicking["failed"], **hammering["failed"]}
    return (
        f"{amounts.users} users open these pages in turn; rounds: {amounts.rounds}. *Reading*: "
        "half a second to one and a half between two pages. *Without pause*: the next page as soon "
        f"as one has come, so that {amounts.users} requests are always under way; then an answer "
        f"waits for {amounts.users - 1} others.\n\n"
        + table(
            ["page", "reading, median", "p95", "without pause, median", "p95"],
            rows,
        )
        + f"\nPages that were not shown: {_counts(failed) or 'none'}.\n"
    )


def _findings(cell: Cell) -> str:
    if not cell["findings"]:
        return "Findings: none.\n"
    return "Findings:\n\n" + "".join(f"- {line}\n" for line in cell["findings"])


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _all(trial: Cell) -> list[float]:
    return [value for times in trial["seconds"].values() for value in times]


def _times(seconds: Sequence[float]) -> list[str]:
    values = (float(np.median(seconds)), _p95(seconds), max(seconds))
    return [f"{v:.2f} s" if v >= 1 else f"{1000 * v:.0f} ms" for v in values]


def _p95(seconds: Sequence[float]) -> float:
    return float(np.quantile(seconds, 0.95))
