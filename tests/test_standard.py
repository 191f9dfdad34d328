"""The grading standard: the melons' own, files, precedence, and wrong ones."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mezoroi.errors import MezoroiError
from mezoroi.standard import GradingStandard

MELON = GradingStandard.melon()


def test_the_melon_standard_is_the_papers() -> None:
    assert MELON.grades == ("A", "B", "C", "D")
    assert MELON.precedence == ("D", "C", "B", "A")
    assert MELON.surface_grades == ("A", "B", "D") and MELON.outline_grades == ("C",)
    assert MELON.ordered
    assert [MELON.view_of(grade) for grade in "ABCD"] == [
        "surface",
        "surface",
        "outline",
        "surface",
    ]
    for grade in MELON.grades:
        for language in ("ja", "en"):
            assert grade in MELON.title_of(grade, language)
            assert MELON.descriptions[grade].description[language]
    assert "網目" in MELON.descriptions["A"].description["ja"]
    assert MELON.title_of("A", "fr") == "A"


def test_the_strongest_feature_decides() -> None:
    order = "DCBA"
    for count in range(1, 5):
        for present in combinations("ABCD", count):
            assert MELON.decide(present) == min(present, key=order.index)
    with pytest.raises(MezoroiError, match=r"none of .* is a grade"):
        MELON.decide([])


names = st.lists(st.text(min_size=1, max_size=8), min_size=2, max_size=20, unique=True)


@given(names, st.booleans())
def test_a_derived_standard_survives_its_file_form(grades: list[str], ordered: bool) -> None:
    standard = GradingStandard.from_grades(grades, ordered)
    assert standard.grades == tuple(grades)
    assert standard.precedence == tuple(reversed(grades))
    assert standard.surface_grades == standard.grades
    assert GradingStandard.from_dict(standard.to_dict()) == standard


def test_the_melon_standard_survives_its_file(tmp_path: Path) -> None:
    MELON.to_yaml(tmp_path / "標準.yaml")
    assert GradingStandard.from_yaml(tmp_path / "標準.yaml") == MELON


def test_all_on_the_surface_keeps_the_rest() -> None:
    flat = MELON.judged_on_surface()
    assert flat.outline_grades == () and flat.grades == MELON.grades
    assert flat.precedence == MELON.precedence and flat.title == MELON.title
    assert flat.title_of("C", "ja") == MELON.title_of("C", "ja")


def test_numbers_and_bare_grades_are_read(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("grades:\n  1:\n  2: {title: }\n  3: {view: surface}\n", encoding="utf-8")
    standard = GradingStandard.from_yaml(path)
    assert standard.grades == ("1", "2", "3") and standard.precedence == ("3", "2", "1")


def test_quoted_words_are_names(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("grades: {'yes': , 'no': }\n", encoding="utf-8")
    assert GradingStandard.from_yaml(path).grades == ("yes", "no")
    GradingStandard.from_grades(("yes", "null")).to_yaml(path)
    assert GradingStandard.from_yaml(path).grades == ("yes", "null")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "a standard is a mapping with `grades`"),
        ("grades: [A, B]", "a standard is a mapping with `grades`"),
        ("grades: {A: }", "has 2 to 20 grades, not 1"),
        ("grades: {" + ", ".join(f"g{i}: " for i in range(21)) + "}", "not 21"),
        ("grades: {1: , '1': }", "grades, not 1"),
        ("grades: {A: , B: }\nprecedence: [A]", "`precedence` must name every grade"),
        ("grades: {A: , B: }\nprecedence: 5", "`precedence` must be a list"),
        ("grades: {A: , B: }\nordered: maybe", "`ordered` must be true or false"),
        ("grades: {A: , B: }\ncolour: red", "unknown key `colour` in the standard"),
        ("grades: {A: {colour: red}, B: }", "unknown key `colour` in grade `A`"),
        ("grades: {A: red, B: }", "grade `A` must be a mapping"),
        ("grades: {A: {view: inside}, B: }", "view of grade `A` is `inside`"),
        ("grades: {A: {title: red}, B: }", "`title` of grade `A` must map languages"),
        ("grades: {A: {title: {ja: 5}}, B: }", "`title` of grade `A` must map languages"),
        ("grades: {A: , B: }\ntitle: red", "`title` of the standard must map languages"),
        ("grades: {A: {view: outline}, B: {view: outline}}", "at least one grade must be judged"),
        ("grades: {yes: , A: }", "YAML reads a grade's name as true: quote it"),
        ("grades: {A: , no: }", "YAML reads a grade's name as false: quote it"),
        ("grades: {A: , null: }", "YAML reads a grade's name as nothing: quote it"),
        ("grades: {A: , 'no': }\nprecedence: [no, A]", "a grade's name as false: quote it"),
        ("grades: {A: , 'B ': }", "a grade is named `B `: give it a name without spaces"),
        ("grades: {A: , '': }", "a grade is named ``: give it a name"),
        ("grades: {", "is not readable YAML"),
        ("grades: {A: , B: }\n1: red\ncolour: red", "unknown key `1` in the standard"),
        ("grades: {A: {1: red, colour: red}, B: }", "unknown key `1` in grade `A`"),
        ("grades: {A: , B: }\ntitle: 2026-13-45", "is not readable YAML (month must be"),
        ("grades: {A: , B: }\ntitle: 0x_", "is not readable YAML"),
        ("grades: " + "[" * 3000, "is not readable YAML"),
        ("grades:\n  A:\n  B:\n  A:\n", "`A` stands twice, lines 2, 4"),
    ],
)
def test_a_wrong_standard_is_one_line_naming_the_file(
    tmp_path: Path, content: str, message: str
) -> None:
    path = tmp_path / "standard.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(MezoroiError) as caught:
        GradingStandard.from_yaml(path)
    assert message in str(caught.value) and str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_and_unknown_are_named(tmp_path: Path) -> None:
    with pytest.raises(MezoroiError, match="does not exist"):
        GradingStandard.from_yaml(tmp_path / "none.yaml")
    with pytest.raises(MezoroiError, match="unknown grade `E`: the standard has A, B, C, D"):
        MELON.view_of("E")


def test_a_dataset_takes_the_standard_beside_it(tmp_path: Path) -> None:
    import numpy as np
    from PIL import Image

    import mezoroi as mz

    for grade in ("x", "y"):
        for number in range(2):
            path = tmp_path / grade / f"{number}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(np.full((16, 16, 3), number, np.uint8)).save(path)
    assert mz.load_dataset(tmp_path).standard == GradingStandard.from_grades(("x", "y"))
    content = {"grades": {"y": None, "x": None}, "ordered": False}
    (tmp_path / "standard.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    assert mz.load_dataset(tmp_path).standard == GradingStandard.from_grades(("y", "x"), False)
