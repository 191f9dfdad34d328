"""The database's connection, its transactions and its migrations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import alembic.command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Engine, create_engine, event, make_url, text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.orm import Session

from mezoroi.errors import MezoroiError

BUSY_SECONDS = 15
ONE_STATE = "REPEATABLE READ"
"""Of PostgreSQL: all that a transaction reads is of one moment. SQLite does so by itself."""
_WRITES = "mezoroi_writes"
_SERVES = 0x4D657A6F
"""The advisory lock of PostgreSQL that a server holds; "Mezo"."""
_SOON_MISSED = {
    "tcp_keepalives_idle": 20,
    "tcp_keepalives_interval": 10,
    "tcp_keepalives_count": 3,
}
"""By default PostgreSQL notices after two hours that the machine of its client is gone."""


class Database:
    """Opens transactions; `write` ones are committed when the block ends without an error.

    Parameters
    ----------
    url : as SQLAlchemy takes it, of SQLite or PostgreSQL
    """

    def __init__(self, url: str) -> None:
        self.engine = _make_engine(url)
        self._writer = self.engine.execution_options(**{_WRITES: True})
        self._reader: Engine = self.engine
        if self.engine.dialect.name == "postgresql":  # each query would see a state of its own
            self._reader = self.engine.execution_options(isolation_level=ONE_STATE)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A transaction that sees one state of the database; nothing in it is kept."""
        with Session(self._reader, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A transaction that is on disk when the block ends, or leaves nothing after an error."""
        with Session(self._writer, expire_on_commit=False) as session, session.begin():
            yield session

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def migrate(database: Database, revision: str = "head") -> None:
    """Bring the tables to this version, or to an earlier one's revision.

    Raises
    ------
    MezoroiError
        If the database cannot be reached, or a later version of Mezoroi has changed it.
    """
    config = _config()
    try:
        with plain_errors(database), database._writer.begin() as connection:
            config.attributes["connection"] = connection
            alembic.command.upgrade(config, revision)
    except CommandError as error:
        raise MezoroiError(
            f"{database.engine.url} was written by another version of Mezoroi ({error}): "
            "install that version, or restore a backup"
        ) from error


@contextmanager
def plain_errors(database: Database) -> Iterator[None]:
    """Errors of the database as one line, which tells nothing of its rows.

    Raises
    ------
    MezoroiError
        For every error of SQLAlchemy's inside the block.
    """
    try:
        yield
    except SQLAlchemyError as error:
        reason = str(error).splitlines()[0]
        raise MezoroiError(
            f"{database.engine.url} cannot be used ({reason}): "
            "check that it is the app's, runs and can be written"
        ) from error


@contextmanager
def served_by_one(url: str) -> Iterator[None]:
    """Hold the database against other servers; one in SQLite is that of its data folder.

    Raises
    ------
    MezoroiError
        If another server, maybe with another data folder or on another machine, works with it, or
        it cannot be reached.
    """
    database = Database(url)
    if database.engine.dialect.name != "postgresql":
        yield
        return
    with plain_errors(database):
        connection = database.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    try:
        with plain_errors(database):
            for setting, value in _SOON_MISSED.items():
                connection.execute(text(f"set {setting} = {value}"))
            is_free = connection.scalar(text("select pg_try_advisory_lock(:key)"), {"key": _SERVES})
        if not is_free:
            raise MezoroiError(
                f"another server works with {database.engine.url}: stop it, or wait a minute "
                "where its machine failed, or give another --database"
            )
        yield
    finally:
        connection.close()
        database.close()  # what closes a session gives its lock back


def migrations() -> ScriptDirectory:
    """All migrations that this version knows."""
    return ScriptDirectory.from_config(_config())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    return config


def _make_engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
    except ArgumentError as error:
        raise MezoroiError(
            f"`{url}` is no database: write postgresql://USER:PASSWORD@HOST/NAME"
        ) from error
    if backend in ("postgresql", "postgres"):  # the short form is PostgreSQL's own, too
        return create_engine(parsed.set(drivername="postgresql+psycopg"), pool_pre_ping=True)
    if backend != "sqlite":
        raise MezoroiError(f"{backend} is not supported: use SQLite or PostgreSQL")
    engine = create_engine(parsed, connect_args={"timeout": BUSY_SECONDS}, pool_size=20)
    event.listen(engine, "connect", _on_sqlite_connect)
    event.listen(engine, "begin", _on_sqlite_begin)
    return engine


def _on_sqlite_connect(connection: Any, record: Any) -> None:
    # Python's sqlite3 must not open transactions by itself: `_on_sqlite_begin` does.
    connection.isolation_level = None
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        f"busy_timeout={BUSY_SECONDS * 1000}",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _on_sqlite_begin(connection: Connection) -> None:
    # A reader that becomes a writer later would fail at once instead of waiting its turn.
    if connection.get_execution_options().get(_WRITES, False):
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:  # takes no lock and cannot fail, so that it need not go through SQLAlchemy
        connection.connection.cursor().execute("BEGIN")
