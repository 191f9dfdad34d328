"""The grading standard: the grades, what each looks like, and which one wins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import yaml

from mezoroi.errors import MezoroiError
from mezoroi.files import parsed_yaml, write_text
from mezoroi.standard_features import Feature, is_text_by_language, read_features

View = Literal["surface", "outline"]
VIEWS: tuple[View, ...] = ("surface", "outline")
MAX_GRADES = 20


@dataclass(frozen=True)
class GradeDescription:
    """How one grade is called and recognised, by language (``ja``, ``en``).

    `features` explain it, one by one; what is graded does not depend on them.
    """

    title: Mapping[str, str]
    description: Mapping[str, str]
    view: View = "surface"
    features: tuple[Feature, ...] = ()


@dataclass(frozen=True)
class GradingStandard:
    """Grades in order of quality, best first.

    Attributes
    ----------
    grades : names of the grades, best first (2 to 20, unique)
    precedence : the same names, strongest first: of several features present, the first decides
    ordered : False for kinds or defects, whose order means nothing
    descriptions : one `GradeDescription` per grade
    title : name of the standard by language
    """

    grades: tuple[str, ...]
    precedence: tuple[str, ...]
    descriptions: Mapping[str, GradeDescription]
    ordered: bool = True
    title: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        if not 2 <= len(self.grades) <= MAX_GRADES:
            raise MezoroiError(
                f"a grading standard has 2 to {MAX_GRADES} grades, not {len(self.grades)}: "
                "add graded fruits or merge grades"
            )
        if len(set(self.grades)) != len(self.grades):
            raise MezoroiError("a grade is named twice in the standard: give each its own name")
        if sorted(self.precedence) != sorted(self.grades):
            raise MezoroiError(
                "`precedence` must name every grade exactly once: "
                f"grades are {', '.join(self.grades)}"
            )
        if set(self.descriptions) != set(self.grades):
            raise MezoroiError("the standard must describe exactly its own grades")
        keys = Counter(feature.key for _, feature in self.features)
        if keys and max(keys.values()) > 1:
            raise MezoroiError(
                f"two features have the key `{keys.most_common(1)[0][0]}`: give each its own"
            )
        if not self.surface_grades:
            raise MezoroiError("at least one grade must be judged on the surface: set its view")

    @classmethod
    def from_grades(cls, grades: Iterable[str], ordered: bool = True) -> GradingStandard:
        """A standard derived from bare names: every grade on the surface, the worst one wins."""
        names = tuple(grades)
        return cls(
            grades=names,
            precedence=tuple(reversed(names)),
            descriptions={name: GradeDescription({}, {}) for name in names},
            ordered=ordered,
        )

    @classmethod
    def melon(cls) -> GradingStandard:
        """The standard of the melon paper, section 3.1."""
        return cls.from_yaml(Path(__file__).with_name("melon_standard.yaml"))

    @classmethod
    def from_yaml(cls, path: str | Path) -> GradingStandard:
        """Read a standard; every problem is one line naming the file."""
        try:
            content = parsed_yaml(Path(path).read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise MezoroiError(f"{path} does not exist: give the path of a standard") from error
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            reason = " ".join(str(error).split())
            raise MezoroiError(f"{path} is not readable YAML ({reason}): correct it") from error
        try:
            standard = cls.from_dict(content)
            _check_names(standard.grades)
            return standard
        except MezoroiError as error:
            raise MezoroiError(f"{path}: {error}") from error

    @classmethod
    def from_dict(cls, content: Any) -> GradingStandard:
        """The inverse of `to_dict`."""
        if not isinstance(content, dict) or not isinstance(content.get("grades"), dict):
            raise MezoroiError("a standard is a mapping with `grades`: see docs/standard.md")
        unknown = set(content) - {"grades", "precedence", "ordered", "title"}
        if unknown:
            raise MezoroiError(f"unknown key `{min(map(str, unknown))}` in the standard: remove it")
        if not isinstance(content.get("ordered", True), bool):
            raise MezoroiError("`ordered` must be true or false")
        title, precedence = content.get("title"), content.get("precedence")
        if not is_text_by_language(title or {}):
            raise MezoroiError("`title` of the standard must map languages to text (ja, en)")
        if precedence is not None and not isinstance(precedence, list):
            raise MezoroiError("`precedence` must be a list of the grades, strongest first")
        descriptions = {
            _name(name): _description(_name(name), entry or {})
            for name, entry in content["grades"].items()
        }
        names = tuple(descriptions)
        return cls(
            grades=names,
            precedence=tuple(_name(name) for name in precedence or reversed(names)),
            descriptions=descriptions,
            ordered=content.get("ordered", True),
            title=title or None,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as in the YAML file."""
        return {
            "title": dict(self.title or {}),
            "ordered": self.ordered,
            "grades": {name: _entry(self.descriptions[name]) for name in self.grades},
            "precedence": list(self.precedence),
        }

    def to_yaml(self, path: str | Path) -> None:
        """Write the standard where `from_yaml` can read it."""
        write_text(path, yaml.safe_dump(self.to_dict(), allow_unicode=True, sort_keys=False))

    def view_of(self, grade: str) -> View:
        """The view a grade is judged on: ``surface`` or ``outline``."""
        if grade not in self.descriptions:
            raise MezoroiError(
                f"unknown grade `{grade}`: the standard has {', '.join(self.grades)}"
            )
        return self.descriptions[grade].view

    @property
    def surface_grades(self) -> tuple[str, ...]:
        """Grades judged on the surface, in order of quality; these have class channels."""
        return tuple(name for name in self.grades if self.descriptions[name].view == "surface")

    @property
    def outline_grades(self) -> tuple[str, ...]:
        """Grades judged on the outline, in order of quality."""
        return tuple(name for name in self.grades if self.descriptions[name].view == "outline")

    @property
    def features(self) -> tuple[tuple[str, Feature], ...]:
        """Grade and feature, in order of quality, as each grade lists them."""
        return tuple(
            (name, feature) for name in self.grades for feature in self.descriptions[name].features
        )

    def without_features(self) -> GradingStandard:
        """The same standard with what defines it alone."""
        return replace(
            self,
            descriptions={
                name: replace(entry, features=()) for name, entry in self.descriptions.items()
            },
        )

    def decide(self, present: Iterable[str]) -> str:
        """The grade of a fruit that shows the features of several grades, by precedence."""
        found = set(present)
        for name in self.precedence:
            if name in found:
                return name
        raise MezoroiError(f"none of {sorted(found)} is a grade: {', '.join(self.grades)}")

    def title_of(self, grade: str, language: str) -> str:
        """What to call a grade in `language`; its bare name where no title is given."""
        return self.descriptions[grade].title.get(language, grade)

    def judged_on_surface(self) -> GradingStandard:
        """The same standard with every grade judged on the surface, for photos without outlines."""
        return replace(
            self,
            descriptions={
                name: replace(entry, view="surface") for name, entry in self.descriptions.items()
            },
        )


def _entry(description: GradeDescription) -> dict[str, Any]:
    """A grade's plain data; nothing of features where it has none, as before there were any."""
    content = {
        "title": dict(description.title),
        "description": dict(description.description),
        "view": description.view,
    }
    if not description.features:
        return content
    return {**content, "features": [feature.to_dict() for feature in description.features]}


def _name(written: Any) -> str:
    """A grade's name as text; of a word such as yes YAML does not keep how it was written."""
    if written is None or isinstance(written, bool):
        meaning = {True: "true", False: "false", None: "nothing"}[written]
        raise MezoroiError(f'YAML reads a grade\'s name as {meaning}: quote it, such as "no"')
    return str(written)


def _check_names(grades: Iterable[str]) -> None:
    """Refuse names that no cell of a manifest can have: these are trimmed."""
    for name in grades:
        if not name or name != name.strip():
            raise MezoroiError(f"a grade is named `{name}`: give it a name without spaces around")


def _description(name: str, entry: Any) -> GradeDescription:
    if not isinstance(entry, dict):
        raise MezoroiError(f"grade `{name}` must be a mapping with title, description and view")
    unknown = set(entry) - {"title", "description", "view", "features"}
    if unknown:
        raise MezoroiError(f"unknown key `{min(map(str, unknown))}` in grade `{name}`: remove it")
    view = entry.get("view", "surface")
    if view not in VIEWS:
        raise MezoroiError(f"view of grade `{name}` is `{view}`: use surface or outline")
    for key in ("title", "description"):
        if not is_text_by_language(entry.get(key) or {}):
            raise MezoroiError(f"`{key}` of grade `{name}` must map languages to text (ja, en)")
    return GradeDescription(
        entry.get("title") or {},
        entry.get("description") or {},
        view,
        read_features(name, entry.get("features") or []),
    )
