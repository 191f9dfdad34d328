"""Write the reference pages from the code: ``python docs/generate.py`` (or ``make docs``).

``cli.md`` is what ``--help`` prints; ``config.md`` comes from `mezoroi.config` and
`mezoroi.presets`. With ``--check`` nothing is written, and the exit status is 1 if a page is out of
date.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import annotated_types
import typer
import yaml
from pydantic.fields import FieldInfo
from typer.testing import CliRunner

from mezoroi.cli import app
from mezoroi.config import Config, example_yaml, section_of
from mezoroi.presets import PRESETS

DOCS = Path(__file__).parent
MARK = "<!-- Written by docs/generate.py: edit the code, then run `make docs`. -->"
WIDTH = 96

CLI_INTRO = """\
# Command line

{mark}

What `mezoroi VERB --help` prints, for every verb. On all of them:

- The exit status is 0 on success, 1 when some items of a batch failed (each is listed), 2 when all
  did and on bad usage or input, with one line `error: what is wrong: what to do` on standard error.
  A list of problems, such as those of a dataset, stands above that line.
- Ctrl-C ends with 130; what was finished is kept, and the same command (`train` with `--resume`)
  continues it.
- Progress bars go to standard error, and only to a terminal. `--json` prints the result on
  standard output as JSON.
"""

CONFIG_INTRO = """\
# Settings

{mark}

`mezoroi train` and `mezoroi cross-validate` take their settings from, in this order: the defaults,
`--preset`, the file given by `--config`, and each `--set section.name=value`. A misspelt name or a
value out of its range is an error that names it. The settings used are written to `config.yaml` in
the run folder, all of them: where that file is given by `--config`, a preset does nothing, which a
`note:` line says. The sections and what the terms mean: [method](method.md).

```bash
mezoroi settings > my.yaml      # every setting with its default; take the # off those you change
mezoroi train melons/ -o runs/melon --config my.yaml --set train.epochs=40
```
"""


def cli_page() -> str:
    """The help of the program and of every verb, in the order of the program's own list."""
    pages = [CLI_INTRO.format(mark=MARK), _help_section(())]
    pages += [_help_section(names) for names in verbs()]
    return "\n".join(pages)


def verbs() -> list[tuple[str, ...]]:
    """Names of every verb, and of every verb below one, such as ``("bench", "grading")``."""
    found: list[tuple[str, ...]] = []

    def visit(command: Any, names: tuple[str, ...]) -> None:
        for name, inner in getattr(command, "commands", {}).items():
            found.append((*names, name))
            visit(inner, (*names, name))

    visit(typer.main.get_command(app), ())
    return found


def _help_section(names: tuple[str, ...]) -> str:
    result = CliRunner().invoke(
        app,
        [*names, "--help"],
        prog_name="mezoroi",
        env={"COLUMNS": str(WIDTH), "TERMINAL_WIDTH": str(WIDTH), "NO_COLOR": "1"},
    )
    if result.exit_code != 0:
        raise SystemExit(f"mezoroi {' '.join(names)} --help failed: {result.output}")
    title = f"## {' '.join(('mezoroi', *names))}"
    lines = [line.rstrip() for line in result.output.strip().splitlines()]
    return "\n".join([title, "", "```text", *lines, "```", ""])


def config_page() -> str:
    """Every setting with its default, range and meaning; the presets; the YAML file."""
    parts = [CONFIG_INTRO.format(mark=MARK)]
    head = ["| setting | default | values | meaning |", "|---|---|---|---|"]
    for name, field in Config.model_fields.items():
        section = section_of(field)
        if section is None:
            parts += [f"## {name}", "", *head, _row(name, field), ""]
            continue
        parts += [f"## {name}", "", " ".join((section.__doc__ or "").split()), "", *head]
        parts += [_row(f"{name}.{key}", setting) for key, setting in section.model_fields.items()]
        parts.append("")
    parts += ["## Presets", ""]
    for name, content in PRESETS.items():
        parts += [f"`--preset {name}`" + (":" if content else ": the defaults."), ""]
        if content:
            parts += ["```yaml", _yaml(content), "```", ""]
    parts += ["## All settings as a file", "", "```yaml", example_yaml().strip(), "```", ""]
    return "\n".join(parts)


def _row(name: str, setting: FieldInfo) -> str:
    default = _yaml(setting.default)
    meaning = (setting.description or "").replace("|", "\\|")
    return f"| `{name}` | `{default}` | {_values(setting)} | {meaning} |"


def _values(setting: FieldInfo) -> str:
    """The values a setting may take, in words."""
    chosen = [setting.annotation, *get_args(setting.annotation)]
    for kind in chosen:
        if get_origin(kind) is Literal:
            return ", ".join(f"`{value}`" for value in get_args(kind))
    words = []
    for limit in setting.metadata:
        if isinstance(limit, annotated_types.Ge):
            words.append(f"from {limit.ge}")
        elif isinstance(limit, annotated_types.Gt):
            words.append(f"above {limit.gt}")
        elif isinstance(limit, annotated_types.Le):
            words.append(f"to {limit.le}")
        elif isinstance(limit, annotated_types.Lt):
            words.append(f"to below {limit.lt}")
    if bool in chosen:
        words.append("`true`, `false`")
    if type(None) in chosen:
        words.append("or `null`")
    return " ".join(words) or "text"


def _yaml(value: Any) -> str:
    text: str = yaml.safe_dump(value, sort_keys=False)
    return text.removesuffix("...\n").strip()


PAGES = {"cli.md": cli_page, "config.md": config_page}


def main(arguments: list[str]) -> int:
    """Write the pages, or with ``--check`` name those that are out of date."""
    outdated = []
    for name, page in PAGES.items():
        path, text = DOCS / name, page()
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        outdated.append(name)
        if "--check" not in arguments:
            path.write_text(text, encoding="utf-8")
    if "--check" in arguments and outdated:
        print(f"docs/{', docs/'.join(outdated)} out of date: run `make docs`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
