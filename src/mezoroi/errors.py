"""The one exception a user of Mezoroi has to know."""

from __future__ import annotations


class MezoroiError(ValueError):
    """Bad input or usage, as one line: ``what is wrong: what to do``.

    The command line prints the message after ``error:`` and exits with status 2; it never shows a
    traceback for it.
    """
