"""Nothing is undocumented, and nothing that is documented is out of date."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import unicodedata
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

import mezoroi
from mezoroi.cli import app
from mezoroi.config import settings_by_name
from mezoroi.presets import PRESETS
from mezoroi.standard import GradingStandard

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def _load_script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


generate = _load_script("generate")


def _commands() -> list[tuple[str, Any]]:
    """Every verb by its whole name, such as ``bench grading``, with its command."""
    found: list[tuple[str, Any]] = []

    def visit(command: Any, name: str) -> None:
        for inner_name, inner in getattr(command, "commands", {}).items():
            found.append((f"{name}{inner_name}", inner))
            visit(inner, f"{name}{inner_name} ")

    visit(typer.main.get_command(app), "")
    return found


def _section(page: str, title: str) -> str:
    """The text below the heading `title` up to the next heading of its level or above."""
    level = len(title) - len(title.lstrip("#"))
    pattern = rf"^{re.escape(title)}\n(.*?)(?=^#{{1,{level}}} |\Z)"
    match = re.search(pattern, page, re.MULTILINE | re.DOTALL)
    assert match is not None, f"no heading `{title}`"
    return match[1]


@pytest.mark.parametrize("name", generate.PAGES)
def test_generated_page_is_up_to_date(name: str) -> None:
    written = (DOCS / name).read_text(encoding="utf-8")
    assert written == generate.PAGES[name](), f"docs/{name} is out of date: run `make docs`"


@pytest.mark.parametrize(("name", "command"), _commands(), ids=[name for name, _ in _commands()])
def test_verb_and_its_options_are_documented(name: str, command: Any) -> None:
    section = _section((DOCS / "cli.md").read_text(encoding="utf-8"), f"## mezoroi {name}")
    options = {option for item in command.params for option in item.opts if option.startswith("-")}
    missing = {option for option in options if not re.search(rf"{option}\b", section)}
    assert not missing
    assert command.help


@pytest.mark.parametrize(
    "name", [name for name, command in _commands() if not hasattr(command, "commands")]
)
def test_verb_has_an_example_that_parses(name: str) -> None:
    command = dict(_commands())[name]
    words = str(command.epilog).removeprefix("Example: ").split()
    assert " ".join(words).startswith(f"mezoroi {name}")
    arguments = words[1 + len(name.split()) :]
    if ">" in arguments:
        arguments = arguments[: arguments.index(">")]
    command.make_context(name, arguments, resilient_parsing=False)


def test_every_setting_is_documented() -> None:
    page = (DOCS / "config.md").read_text(encoding="utf-8")
    for name, setting in settings_by_name().items():
        assert setting.description, f"{name} has no description"
        assert f"| `{name}` |" in page
    for preset in PRESETS:
        assert f"`--preset {preset}`" in page


def test_every_public_name_is_documented() -> None:
    page = (DOCS / "python.md").read_text(encoding="utf-8")
    missing = [name for name in mezoroi.__all__ if not re.search(rf"`{name}\b", page)]
    assert not missing


def test_rooms_that_are_documented_are_there_at_once() -> None:
    page = (DOCS / "python.md").read_text(encoding="utf-8")
    rooms = set(re.findall(r"`mezoroi\.(\w+)", _section(page, "## Rooms")))
    code = f"import mezoroi; [getattr(mezoroi, room) for room in {sorted(rooms)}]"
    assert len(rooms) >= 8
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_attribute_of_a_grading_is_documented() -> None:
    section = _section((DOCS / "python.md").read_text(encoding="utf-8"), "## Grading")
    grading = mezoroi.Grading
    names = set(grading.__dataclass_fields__) | {
        name for name in vars(grading) if not name.startswith("_")
    }
    assert not {name for name in names if not re.search(rf"`{name}\b", section)}


def test_melon_standard_is_documented_as_it_is() -> None:
    section = _section((DOCS / "standard.md").read_text(encoding="utf-8"), "## The melon standard")
    standard = GradingStandard.melon()
    for grade in standard.grades:
        described = standard.descriptions[grade].description
        row = f"| {grade} | {standard.view_of(grade)} | {described['ja']} | {described['en']} |"
        assert row in section
    assert f"Precedence {' > '.join(standard.precedence)}:" in section


def test_example_standard_can_be_read(tmp_path: Path) -> None:
    page = (DOCS / "standard.md").read_text(encoding="utf-8")
    example = re.search(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert example is not None
    (tmp_path / "standard.yaml").write_text(example[1], encoding="utf-8")
    standard = GradingStandard.from_yaml(tmp_path / "standard.yaml")
    assert standard.outline_grades == ("C",)


def test_python_examples_of_the_standard_are_true() -> None:
    page = (DOCS / "standard.md").read_text(encoding="utf-8")
    example = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert example is not None
    names: dict[str, Any] = {}
    claims = 0
    for line in example[1].splitlines():
        statement, mark, expected = line.partition("  # ")
        if mark:
            assert eval(statement, names) == eval(expected)
            claims += 1
        else:
            exec(statement, names)
    assert claims >= 3


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_relative_links_resolve(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in LINK.findall(text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), f"{target} leads nowhere"
        if anchor:
            assert anchor in _anchors(path), f"{target} names no heading"


def _anchors(path: Path) -> set[str]:
    """Anchors of a page's headings, as forges make them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {
        "".join(
            "-" if character == " " else character
            for character in heading.lower()
            if character in " -_" or unicodedata.category(character)[0] in "LN"
        )
        for heading in headings
    }
