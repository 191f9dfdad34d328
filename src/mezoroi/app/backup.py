"""Backups: everything the app keeps in one file, made while it runs, and brought back elsewhere.

A backup is a ZIP file: ``tables/NAME.jsonl``, one state of the whole database; ``blobs/``, named by
their content; ``runs/ID/``, the graders; and ``backup.json`` with a hash of everything that is not
named by its own, and the number of blobs. The tables are plain text, so that a backup of SQLite can
be restored into PostgreSQL, and the other way round.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from sqlalchemy import DateTime, MetaData, Table, func, insert, inspect, select, text, update
from sqlalchemy.engine import Connection

import mezoroi
from mezoroi.app.backup_files import (
    check_entry,
    damaged,
    named_blobs,
    restore_files,
    write_blobs,
    write_run,
)
from mezoroi.app.database import ONE_STATE, Database, migrate, migrations, plain_errors
from mezoroi.app.settings import Settings
from mezoroi.app.store.runs import active_run
from mezoroi.errors import MezoroiError
from mezoroi.files import atomic_path

FORMAT = 1
_SUMMARY = "backup.json"
_TABLES = "tables/"
_REVISION = "alembic_version"
_ROWS = 500


@dataclass(frozen=True)
class Contents:
    """What a backup holds: rows of the tables, files of blobs, and runs.

    Attributes
    ----------
    gone : ids of runs whose folder was deleted; their gradings are there, they cannot grade again
    lost : originals and pictures that the tables name, which are not there
    """

    rows: int
    blobs: int
    runs: int
    gone: tuple[int, ...] = ()
    lost: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Tables:
    """What the tables of one moment say: their migration, the runs' folders, entries of blobs."""

    revision: str
    folders: dict[int, Path]
    rows: int
    blobs: set[str]


def write_backup(settings: Settings, target: Path) -> Contents:
    """Write a backup; the app may go on working meanwhile.

    Raises
    ------
    MezoroiError
        If `target` exists, something cannot be read or written, or the grader in use is gone.
    """
    if target.exists():
        raise MezoroiError(f"{target} exists: give another name")
    database = Database(settings.url)
    try:
        with (
            plain_errors(database),
            atomic_path(target) as temporary,
            zipfile.ZipFile(temporary, "w", allowZip64=True) as archive,
        ):
            hashes: dict[str, str] = {}
            with database.engine.connect() as connection:
                if connection.dialect.name == "postgresql":
                    connection.execution_options(isolation_level=ONE_STATE)
                tables = _write_tables(connection, archive, hashes)
            # After the tables: every picture they name was on disk before they named it.
            blobs = write_blobs(settings.data / "blobs", archive)
            lost = tuple(sorted(tables.blobs - blobs))
            folders = tables.folders
            gone = tuple(run_id for run_id, folder in folders.items() if not folder.is_dir())
            for run_id in sorted(folders.keys() - set(gone)):
                write_run(run_id, folders[run_id], archive, hashes)
            summary = {
                "format": FORMAT,
                "mezoroi": mezoroi.__version__,
                "made": datetime.now(timezone.utc).isoformat(),
                "revision": tables.revision,
                "blobs": len(blobs),
                "gone": gone,
                "lost": lost,
                "hashes": hashes,
            }
            archive.writestr(_SUMMARY, json.dumps(summary, indent=2))
    finally:
        database.close()
    return Contents(tables.rows, len(blobs), len(folders) - len(gone), gone, lost)


def restore_backup(source: Path, settings: Settings) -> Contents:
    """Bring a backup back into an empty data folder, and an empty database.

    Everything is compared with its hash. The runs are put below the data folder.

    Raises
    ------
    MezoroiError
        If the folder or the database is not empty or cannot be used, or the backup is damaged.
    """
    data = settings.data
    if data.exists() and (not data.is_dir() or any(data.iterdir())):
        raise MezoroiError(f"{data} is not empty: give a new folder, nothing is overwritten")
    try:
        with zipfile.ZipFile(source) as archive:
            summary = _read_summary(archive, source)
            # Before they are filled: a database may refuse what is damaged, for another reason.
            for name in summary["hashes"]:
                if name.startswith(_TABLES):
                    check_entry(archive, name, summary["hashes"])
            try:
                with _open_empty(settings) as database:
                    blobs, runs = restore_files(archive, summary, data)
                    rows, named = _restore_tables(archive, summary, database, data)
            except BaseException:
                shutil.rmtree(data, ignore_errors=True)
                raise
    except (OSError, zipfile.BadZipFile, zlib.error) as error:
        raise MezoroiError(f"{source} cannot be read ({error}): take another backup") from error
    lost = tuple(sorted(named - blobs))
    return Contents(rows, len(blobs), runs, tuple(summary.get("gone", ())), lost)


def active_folder(settings: Settings) -> str:
    """The folder of the run that grades."""
    database = Database(settings.url)
    try:
        with database.read() as session:
            run = active_run(session)
    finally:
        database.close()
    return "RUN" if run is None else run.folder


@contextmanager
def _open_empty(settings: Settings) -> Iterator[Database]:
    settings.data.mkdir(parents=True, exist_ok=True)
    database = Database(settings.url)
    try:
        with plain_errors(database):
            with database.engine.connect() as connection:
                if inspect(connection).get_table_names():
                    raise MezoroiError("the database is not empty: give a new one")
            yield database
    finally:
        database.close()


def _write_tables(
    connection: Connection, archive: zipfile.ZipFile, hashes: dict[str, str]
) -> _Tables:
    """Add the tables of one moment, with their hashes."""
    tables = _tables(connection)
    revision = _revision(connection)
    count, blobs = 0, set[str]()
    for table in tables.sorted_tables:
        name = _entry(table)
        digest = hashlib.sha256()
        with archive.open(name, "w", force_zip64=True) as entry:
            query = select(table).order_by(*table.primary_key)
            found = connection.execute(query, execution_options={"yield_per": _ROWS})
            for row in found.mappings():
                line = (json.dumps(_plain(row), ensure_ascii=False) + "\n").encode()
                digest.update(line)
                entry.write(line)
                blobs |= named_blobs(table.name, dict(row))
                count += 1
        hashes[name] = digest.hexdigest()
    runs = tables.tables["runs"]
    found_runs = connection.execute(select(runs.c.id, runs.c.folder, runs.c.active)).all()
    for run in found_runs:
        if run.active and not Path(run.folder).is_dir():
            raise MezoroiError(
                f"{run.folder} is gone: bring the run folder back, then make the backup"
            )
    return _Tables(revision, {run.id: Path(run.folder) for run in found_runs}, count, blobs)


def _revision(connection: Connection) -> str:
    """The migration that the tables are of."""
    revision = None
    if inspect(connection).has_table(_REVISION):
        revision = connection.scalar(text(f"SELECT version_num FROM {_REVISION}"))
    if revision is None:
        raise MezoroiError("the database holds no tables of the app: start `mezoroi serve` first")
    return str(revision)


def _restore_tables(
    archive: zipfile.ZipFile, summary: dict[str, Any], database: Database, data: Path
) -> tuple[int, set[str]]:
    """Fill an empty database of the backup's version, then bring it to this one.

    Returns
    -------
    how many rows, and the entries of the blobs that they name
    """
    count, blobs = 0, set[str]()
    migrate(database, summary["revision"])
    with database.write() as session:
        connection = session.connection()
        tables = _tables(connection)
        for table in tables.sorted_tables:
            name = _entry(table)
            if name not in summary["hashes"]:
                raise MezoroiError(f"{name} is missing in the backup: take another backup")
            for lines in _batches(archive, name):
                rows = [_typed(json.loads(line), table) for line in lines]
                connection.execute(insert(table), rows)
                blobs.update(*(named_blobs(table.name, row) for row in rows))
                count += len(rows)
            _set_counter(connection, table)
        runs = tables.tables["runs"]
        for run_id in list(connection.scalars(select(runs.c.id))):
            folder = str(data.absolute() / "runs" / str(run_id))
            connection.execute(update(runs).where(runs.c.id == run_id).values(folder=folder))
    migrate(database)
    return count, blobs


def _tables(connection: Connection) -> MetaData:
    """The tables as the database has them, which an older backup's are not as the code's."""
    found = MetaData()
    found.reflect(connection, resolve_fks=False)
    if _REVISION in found.tables:
        found.remove(found.tables[_REVISION])
    return found


def _entry(table: Table) -> str:
    """A table's name in the archive."""
    return f"{_TABLES}{table.name}.jsonl"


def _set_counter(connection: Connection, table: Table) -> None:
    """Let PostgreSQL number new rows after the restored ones; SQLite does by itself."""
    keys = list(table.primary_key)
    if connection.dialect.name != "postgresql" or len(keys) != 1 or keys[0].name != "id":
        return
    last = connection.scalar(select(func.max(keys[0])))
    if last is not None:
        counter = func.pg_get_serial_sequence(table.name, "id")
        connection.execute(select(func.setval(counter, last)))


def _read_summary(archive: zipfile.ZipFile, source: Path) -> dict[str, Any]:
    try:
        summary: dict[str, Any] = json.loads(archive.read(_SUMMARY))
        version, revision = summary["format"], summary["revision"]
    except (KeyError, TypeError, ValueError) as error:
        raise MezoroiError(f"{source} is no backup of Mezoroi: give another file") from error
    known = [script.revision for script in migrations().walk_revisions()]
    if version != FORMAT or revision not in known:
        raise MezoroiError(f"{source} is of a later version of Mezoroi: install that version")
    if not isinstance(summary.get("hashes"), dict):
        raise damaged(_SUMMARY)
    return summary


def _batches(archive: zipfile.ZipFile, name: str) -> Iterator[list[bytes]]:
    with archive.open(name) as entry:
        while lines := [line for _, line in zip(range(_ROWS), entry, strict=False)]:
            yield lines


def _plain(row: Any) -> dict[str, Any]:
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in row.items()
    }


def _typed(row: dict[str, Any], table: Table) -> dict[str, Any]:
    for column in table.columns:
        value = row.get(column.name)
        if isinstance(column.type, DateTime) and isinstance(value, str):
            moment = datetime.fromisoformat(value)
            # SQLite keeps no time zone; all moments are UTC.
            aware = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
            row[column.name] = aware
        elif isinstance(value, str):  # SQLite takes a NUL, which PostgreSQL refuses
            row[column.name] = value.replace("\0", "")
    return row
