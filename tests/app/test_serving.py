"""One server per data folder and database."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text

from mezoroi.app.database import Database, served_by_one
from mezoroi.app.serving import serve_forever
from mezoroi.app.settings import Settings
from mezoroi.errors import MezoroiError


class BeganError(Exception):
    """What a server does once it may."""


def begin(settings: Settings, then: Callable[[], None] | None = None) -> None:
    """Serve up to the first logins, and there do `then`."""

    def first_logins() -> list[str]:
        if then is not None:
            then()
        raise BeganError

    with pytest.raises(BeganError):
        serve_forever(settings, "127.0.0.1", 0, first_logins)


def test_a_second_server_of_a_folder_is_refused(run_dir: Path, tmp_path: Path) -> None:
    settings = Settings(run_dir, tmp_path / "data")

    def again() -> None:
        with pytest.raises(MezoroiError, match=r"another server works in .*data: stop it, or give"):
            begin(settings)

    begin(settings, again)
    begin(settings)


def test_a_second_server_of_a_database_is_refused_whatever_its_folder(
    run_dir: Path, tmp_path: Path, new_postgresql: Callable[[], str]
) -> None:
    url = new_postgresql()
    one, other = (Settings(run_dir, tmp_path / name, url) for name in ("one", "other"))

    def again() -> None:
        with pytest.raises(MezoroiError, match=r"^another server works with .* give another --"):
            begin(other)

    begin(one, again)
    begin(other)


def test_who_only_uses_the_database_is_no_server(new_postgresql: Callable[[], str]) -> None:
    url = new_postgresql()
    with served_by_one(url):
        database = Database(url)
        with database.write() as session:
            assert session.scalar(text("select 1")) == 1
        database.close()


def test_a_database_that_is_not_there_is_one_line(tmp_path: Path, run_dir: Path) -> None:
    url = "postgresql+psycopg://nobody:secret@127.0.0.1:1/none"
    with pytest.raises(MezoroiError) as error:
        begin(Settings(run_dir, tmp_path / "data", url))
    assert "secret" not in str(error.value) and "\n" not in str(error.value)
    assert str(error.value).endswith("check that it is the app's, runs and can be written")
