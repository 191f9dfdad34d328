"""Arguments and options that verbs of several files share."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer


class Language(str, Enum):
    """Language of charts and reports."""

    ja = "ja"
    en = "en"


Run = Annotated[Path, typer.Argument(help="Run folder that `mezoroi train` wrote.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything random.")]
