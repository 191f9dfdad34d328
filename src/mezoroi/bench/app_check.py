"""Whether a data folder of the app is consistent, looked at from outside."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from sqlalchemy import MetaData, select, text
from sqlalchemy.engine import Connection

from mezoroi.app.blobs import Blobs
from mezoroi.app.database import Database
from mezoroi.app.settings import Settings
from mezoroi.app.store import fruits
from mezoroi.files import content_hash

_PICTURE = re.compile(r"[0-9a-f]{64}\.(?:png|jpg)")
_BLOB = re.compile(r"^[0-9a-f]{64}(\.png|\.jpg)?$")


def inconsistencies(settings: Settings) -> list[str]:
    """What is wrong with an app's data, a line each; none where all is well.

    The database is whole and its rows name rows that are there; every file that a row names is
    there; every file holds what its name says.
    """
    database = Database(settings.url)
    try:
        with database.engine.connect() as connection:
            found = [*_broken_tables(connection), *_missing_pictures(connection, settings)]
        with database.read() as session:
            listed = fruits.list_fruits(session, 0, fruits.count_fruits(session))
    finally:
        database.close()
    blobs = Blobs(settings.data / "blobs")
    for item in listed:
        if not blobs.original(item.fruit.content).is_file():
            found.append(f"the original of fruit {item.fruit.id} is missing")
    return found + [
        f"{path.name} does not hold what its name says"
        for path in _blob_files(settings)
        if not _is_whole(path)
    ]


def leftovers(settings: Settings) -> int:
    """Files among the pictures that are none: what a killed process was writing."""
    return sum(
        path.is_file() and not _BLOB.match(path.name)
        for path in (settings.data / "blobs").rglob("*")
    )


def digest(content: bytes) -> str:
    """What an original with this content is called."""
    return hashlib.sha256(content).hexdigest()


def _broken_tables(connection: Connection) -> Iterator[str]:
    if connection.dialect.name != "sqlite":
        return
    for line in connection.scalars(text("PRAGMA integrity_check")):
        if line != "ok":
            yield f"integrity: {line}"
    for row in connection.execute(text("PRAGMA foreign_key_check")):
        yield f"row {row[1]} of {row[0]} names a row of {row[2]} that is not there"


def _missing_pictures(connection: Connection, settings: Settings) -> Iterator[str]:
    """Pictures that any text in any table names, whatever the table is called."""
    blobs = Blobs(settings.data / "blobs")
    tables = MetaData()
    tables.reflect(connection, resolve_fks=False)
    for table in tables.tables.values():
        named: set[str] = set()
        for row in connection.execute(select(table)):
            named.update(_PICTURE.findall(" ".join(map(str, row))))
        for name in sorted(named):
            if not blobs.picture(name).is_file():
                yield f"{name}, named in {table.name}, is missing"


def _blob_files(settings: Settings) -> Iterator[Path]:
    for path in sorted((settings.data / "blobs").rglob("*")):
        if path.is_file() and _BLOB.match(path.name):
            yield path


def _is_whole(path: Path) -> bool:
    with suppress(OSError):
        return content_hash(path) == path.name[:64]
    return False
