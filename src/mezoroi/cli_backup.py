"""The verbs that keep the app's data safe: `backup` and `restore`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from mezoroi.cli_app import DatabaseUrl
from mezoroi.cli_options import AsJson
from mezoroi.console import Console
from mezoroi.errors import MezoroiError

BACKUP_EXAMPLE = "Example: mezoroi backup runs/app-data melon-2026-07-31.zip"
RESTORE_EXAMPLE = "Example: mezoroi restore melon-2026-07-31.zip new-data/"


def backup(
    data: Annotated[Path, typer.Argument(help="Data folder of the app.")],
    file: Annotated[Path, typer.Argument(help="ZIP file to write; must not exist.")],
    database: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Write everything the app keeps into one file, while it runs."""
    from mezoroi.app.backup import write_backup
    from mezoroi.app.settings import Settings

    console = Console(as_json)
    if database is None and not (data / "mezoroi.sqlite").is_file():
        raise MezoroiError(f"{data} holds no database of the app: start `mezoroi serve` first")
    settings = Settings(data, data.absolute(), database)
    contents = write_backup(settings, file)
    console.notes(_notes_on_lost(contents.lost))
    size = file.stat().st_size
    console.result(
        {"file": str(file), "bytes": size, **vars(contents)},
        f"{file}: {contents.rows} rows, {contents.blobs} pictures and originals, "
        f"{contents.runs} runs, {size / 1e6:.1f} MB{_without(contents.gone)}",
    )


def restore(
    file: Annotated[Path, typer.Argument(help="What `backup` wrote.")],
    data: Annotated[Path, typer.Argument(help="Data folder to make; nothing is overwritten.")],
    database: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Bring a backup back, checking everything, into a new data folder."""
    from mezoroi.app.backup import active_folder, restore_backup
    from mezoroi.app.settings import Settings

    console = Console(as_json)
    settings = Settings(data, data.absolute(), database)
    contents = restore_backup(file, settings)
    console.notes(_notes_on_lost(contents.lost))
    active = active_folder(settings)
    option = " --database URL" if database is not None else ""
    console.result(
        {"data": str(data), "run": active, **vars(contents)},
        f"{data}: {contents.rows} rows, {contents.blobs} pictures and originals, "
        f"{contents.runs} runs{_without(contents.gone)}\n"
        f"start it: mezoroi serve {active} --data {data}{option}",
    )


def _without(gone: Sequence[int]) -> str:
    """What to tell of runs whose folders were deleted."""
    names = ", ".join(map(str, gone))
    return f"; without the deleted folders of graders {names}" if gone else ""


def _notes_on_lost(lost: Sequence[str]) -> list[str]:
    """What to tell of originals and pictures that are not there."""
    if not lost:
        return []
    return [
        f"the backup is without {len(lost)} pictures and originals that its tables name, "
        f"the first {lost[0]}: look for them in an earlier backup"
    ]
