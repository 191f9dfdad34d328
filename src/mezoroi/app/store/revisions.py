"""Since when what somebody says of a grading stands."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any, TypeVar

Key = TypeVar("Key", bound=Hashable)


def said_last(revisions: Iterable[Any], key: Callable[[Any], Key]) -> dict[Key, Any]:
    """Of each key the revision that its newest answer and grade stand since, oldest first.

    Another mask or note alone says nothing new of the grade; the same that is said again does.

    Parameters
    ----------
    revisions : verdicts, or rows with their columns, oldest first
    key : whose they are, and of what
    """
    said: dict[Key, Any] = {}
    newest: dict[Key, Any] = {}
    for each in revisions:
        one = key(each)
        last = newest.get(one)
        if last is None or _said(last) != _said(each) or _beside(last) == _beside(each):
            said.pop(one, None)  # the order is that of the newest
            said[one] = each
        newest[one] = each
    return said


def _said(revision: Any) -> tuple[str, str]:
    return revision.answer or "", revision.own_grade or ""


def _beside(revision: Any) -> tuple[str, str]:
    return revision.mask or "", revision.note
