"""What a verb prints: progress on a terminal, the result as text or JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer

from mezoroi.errors import MezoroiError
from mezoroi.files import nan_to_none

Report = Callable[[str, int, int], None]


def leave_with(errors: Sequence[str], given: int, done: str) -> None:
    """End a verb: with status 0, with 1 if some things failed, and as an error if all did.

    Parameters
    ----------
    errors : what was wrong with each that failed
    given : how many things there were
    done : what was to be done with them: graded, added, …
    """
    if not errors:
        return
    if len(errors) < given:
        raise typer.Exit(1)
    first = errors[0]
    raise MezoroiError(
        first if given == 1 else f"none of {given} fruits could be {done}, the first: {first}"
    )


class Console:
    """Prints a verb's outcome; progress goes to standard error, and only to a terminal."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json

    def result(self, content: Any, text: str) -> None:
        """Print `content` as JSON where that was asked for, else `text`."""
        if self.as_json:
            print(json.dumps(nan_to_none(content), ensure_ascii=False, indent=2))
        else:
            print(text)

    def notes(self, notes: Iterable[str]) -> None:
        """Oddities that were settled, to standard error."""
        for note in notes:
            print(f"note: {note}", file=sys.stderr)

    def notes_on(self, source: object, notes: Iterable[str]) -> None:
        """What is to be known about one item of a batch, which every line names."""
        known = str(source)
        self.notes(note if note.startswith(known) else f"{known}: {note}" for note in notes)

    @contextmanager
    def progress(self) -> Iterator[Report]:
        """A progress bar per kind of work; silent where standard error is no terminal."""
        if not sys.stderr.isatty():
            yield lambda what, done, total: None
            return
        from rich.console import Console as RichConsole
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(
            *columns, TimeRemainingColumn(), console=RichConsole(stderr=True), transient=True
        ) as bar:
            tasks: dict[str, Any] = {}

            def report(what: str, done: int, total: int) -> None:
                if what not in tasks:
                    tasks[what] = bar.add_task(what, total=total)
                bar.update(tasks[what], completed=done, total=total)

            yield report
