"""Features of a grade: the words by which graders know it, and what shows them.

They explain a grade to newcomers. What a grader learns, and how a fruit is graded, does not depend
on them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mezoroi.errors import MezoroiError

End = Literal["low", "high"]
ENDS: tuple[End, ...] = ("low", "high")
_KEY = re.compile(r"[a-z0-9][a-z0-9-]{0,47}")
_MEASURE = re.compile(r"[A-Za-z0-9_]{1,64}")


@dataclass(frozen=True)
class ShownBy:
    """The statistic of the outline that a feature is seen by.

    Attributes
    ----------
    measure : its name, as in `mezoroi.capture.outline.outline_features`
    end : whether low or high values show the feature
    """

    measure: str
    end: End


@dataclass(frozen=True)
class Feature:
    """A feature of a grade.

    Attributes
    ----------
    key : short name in lower-case letters, digits and hyphens, one of a kind in its standard
    word : what graders call it, by language (``ja``, ``en``)
    line : how to recognise it, by language
    shown_by : None for what is seen on the surface
    """

    key: str
    word: Mapping[str, str]
    line: Mapping[str, str]
    shown_by: ShownBy | None = None

    def word_in(self, language: str) -> str:
        """The word in a language, else in the first one that has it."""
        return self.word.get(language) or next(iter(self.word.values()))

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as in the YAML file."""
        content = {"key": self.key, "word": dict(self.word), "line": dict(self.line)}
        if self.shown_by is None:
            return content
        return {**content, "shown_by": vars(self.shown_by).copy()}


def is_text_by_language(value: Any) -> bool:
    """Whether a value maps languages to text."""
    return isinstance(value, dict) and all(
        isinstance(part, str) for pair in value.items() for part in pair
    )


def read_features(grade: str, content: Any) -> tuple[Feature, ...]:
    """The features of a grade from plain data.

    Raises
    ------
    MezoroiError
        If they are not as `Feature.to_dict` gives them.
    """
    if not isinstance(content, list):
        raise MezoroiError(f"`features` of grade `{grade}` must be a list: see docs/standard.md")
    return tuple(_feature(grade, entry) for entry in content)


def _feature(grade: str, entry: Any) -> Feature:
    if not isinstance(entry, dict):
        raise MezoroiError(f"a feature of grade `{grade}` must be a mapping with key and word")
    key = str(entry.get("key", ""))
    if not _KEY.fullmatch(key):
        raise MezoroiError(
            f"a feature of grade `{grade}` has the key `{key}`: "
            "use up to 48 lower-case letters, digits and hyphens"
        )
    unknown = set(entry) - {"key", "word", "line", "shown_by"}
    if unknown:
        raise MezoroiError(f"unknown key `{min(map(str, unknown))}` in feature `{key}`: remove it")
    word, line = entry.get("word") or {}, entry.get("line") or {}
    if not word or not is_text_by_language(word) or not all(word.values()):
        raise MezoroiError(f"`word` of feature `{key}` must map languages to text (ja, en)")
    if not is_text_by_language(line):
        raise MezoroiError(f"`line` of feature `{key}` must map languages to text (ja, en)")
    return Feature(key, word, line, _shown_by(key, entry.get("shown_by")))


def _shown_by(key: str, content: Any) -> ShownBy | None:
    if content is None:
        return None
    if not isinstance(content, dict) or set(content) != {"measure", "end"}:
        raise MezoroiError(f"`shown_by` of feature `{key}` must name measure and end, nothing else")
    measure, end = content["measure"], content["end"]
    if not isinstance(measure, str) or not _MEASURE.fullmatch(measure):
        raise MezoroiError(
            f"measure of feature `{key}` is `{measure}`: name a statistic of the outline"
        )
    if end not in ENDS:
        raise MezoroiError(f"end of feature `{key}` is `{end}`: use low or high")
    return ShownBy(measure, end)
