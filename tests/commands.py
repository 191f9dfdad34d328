"""What tests of the command line share."""

from __future__ import annotations

from collections.abc import Callable

Run = Callable[..., tuple[int, str, str]]
"""Runs the command line in this process: exit status, standard output, standard error."""
TINY = ("--preset", "tiny", "--set", "train.epochs=1")


def assert_refused(outcome: tuple[int, str, str], *messages: str) -> None:
    """One clear line, no traceback, and exit status 2."""
    status, out, err = outcome
    assert (status, out) == (2, "")
    lines = err.splitlines()
    assert lines[-1].startswith("error: ") and ": " in lines[-1].removeprefix("error: ")
    assert all(line.startswith(("error: ", "  ", "note: ")) for line in lines)
    for message in messages:
        assert message in err
