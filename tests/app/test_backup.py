"""Backups: everything there and back, on both databases, and no damage unnoticed."""

from __future__ import annotations

import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from mezoroi.app.backup import active_folder, restore_backup, write_backup
from mezoroi.app.database import Database
from mezoroi.app.roles import Role
from mezoroi.app.server import create_app
from mezoroi.app.settings import Settings
from mezoroi.app.store import house, jobs, runs, users
from mezoroi.app.tables import Base, Fruit
from mezoroi.errors import MezoroiError
from mezoroi.grader import Grader
from tests.app.conftest import App
from tests.app.helpers import send, send_all

NewUrl = Callable[[], str]


def rows_of(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """Everything in a database, but the runs' folders."""
    database = Database(url)
    content = {}
    with database.read() as session:
        for table in Base.metadata.sorted_tables:
            columns = [column for column in table.columns if column.name != "folder"]
            found = session.execute(select(*columns).order_by(*table.primary_key))
            content[table.name] = [tuple(row) for row in found]
    database.close()
    return content


def url_of(kind: str, request: pytest.FixtureRequest) -> str | None:
    return None if kind == "sqlite" else request.getfixturevalue("new_postgresql")()


@pytest.mark.parametrize(
    ("first", "second"),
    [("sqlite", "sqlite"), ("postgresql", "postgresql"), ("sqlite", "postgresql")],
)
def test_a_backup_brings_everything_back(
    make_app: Callable[..., App],
    melons: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    first: str,
    second: str,
) -> None:
    app = make_app(database_url=url_of(first, request))
    surfaces = sorted(melons.glob("captures/*/surface.png"))[:2]
    send_all(app, surfaces)
    with app.services.database.write() as session:
        house.set_setting(session, house.RETENTION, {"audit": 99, "note": "山田"})
    before = rows_of(app.services.settings.url)
    written = write_backup(app.services.settings, tmp_path / "backup.zip")

    target = Settings(tmp_path / "none", tmp_path / "restored", url_of(second, request))
    read = restore_backup(tmp_path / "backup.zip", target)
    assert read == written
    assert rows_of(target.url) == before
    old = app.services.settings.data / "blobs"
    for path in old.rglob("*"):
        if path.is_file():
            copy = target.data / "blobs" / path.relative_to(old)
            assert copy.read_bytes() == path.read_bytes()
    assert written.blobs == sum(path.is_file() for path in old.rglob("*")) > 4

    # It serves from there: the grader is whole, and new rows get numbers of their own.
    folder = Path(active_folder(target))
    assert folder.parent.parent == target.data
    assert Grader.load(folder).grade(surfaces[0]).grade in "ABCD"
    again = create_app(Settings(folder, target.data, target.database_url))
    services = again.state.services
    with services.database.write() as session:
        assert len(runs.list_runs(session)) == 1
        number = jobs.add_job(session, jobs.GRADE).id
        users.add_user(session, "new", Role.ADMIN, "melon-melon-melon")
    assert number == 1 + max(row[0] for row in before["jobs"])
    services.database.close()


def test_a_backup_while_fruits_come_in_is_of_one_moment(
    app: App, tmp_path: Path, photo: bytes
) -> None:
    over = threading.Event()

    def keep_sending() -> None:
        number = 0
        while not over.is_set():
            send(app, photo + bytes([number % 256, number // 256]))
            number += 1

    sender = threading.Thread(target=keep_sending)
    sender.start()
    try:
        for number in range(3):
            path = tmp_path / f"{number}.zip"
            write_backup(app.services.settings, path)
            target = Settings(tmp_path, tmp_path / f"restored-{number}")
            restore_backup(path, target)
            database = Database(target.url)
            with database.read() as session:
                fruits = session.scalars(select(Fruit)).all()
                assert len(fruits) == jobs.count_open(session, jobs.GRADE)
            database.close()
            for fruit in fruits:
                assert (
                    target.data / "blobs/originals" / fruit.content[:2] / fruit.content
                ).is_file()
    finally:
        over.set()
        sender.join()


@pytest.mark.parametrize("part", ["blobs/pictures", "blobs/originals", "runs/1", "tables/fruits"])
def test_damage_is_noticed_and_leaves_nothing(
    app: App, melons: Path, tmp_path: Path, part: str
) -> None:
    send_all(app, sorted(melons.glob("captures/*/surface.png"))[:1])
    write_backup(app.services.settings, tmp_path / "backup.zip")
    with (
        zipfile.ZipFile(tmp_path / "backup.zip") as whole,
        zipfile.ZipFile(tmp_path / "damaged.zip", "w") as damaged,
    ):
        names = whole.namelist()
        chosen = next(name for name in names if name.startswith(part))
        for name in names:
            content = whole.read(name)
            changed = content.replace(b"1", b"2", 1) if part.startswith("tables") else b"x"
            damaged.writestr(name, changed if name == chosen else content)
    target = Settings(tmp_path, tmp_path / "restored")
    with pytest.raises(MezoroiError, match="is damaged: take another backup"):
        restore_backup(tmp_path / "damaged.zip", target)
    assert not target.data.exists()


def test_nothing_is_overwritten_and_what_is_no_backup_is_refused(app: App, tmp_path: Path) -> None:
    settings = app.services.settings
    path = tmp_path / "backup.zip"
    write_backup(settings, path)
    with pytest.raises(MezoroiError, match="exists: give another name"):
        write_backup(settings, path)
    with pytest.raises(MezoroiError, match="nothing is overwritten"):
        restore_backup(path, settings)
    with pytest.raises(MezoroiError, match="cannot be read"):
        restore_backup(tmp_path / "missing.zip", Settings(tmp_path, tmp_path / "new"))
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as other:
        other.writestr("../../evil", "x")
    with pytest.raises(MezoroiError, match="is no backup"):
        restore_backup(tmp_path / "other.zip", Settings(tmp_path, tmp_path / "new"))


def test_the_administrator_downloads_one(app: App, tmp_path: Path) -> None:
    answer = app.client(Role.ADMIN).post("/admin/backup")
    assert answer.status_code == 200
    path = tmp_path / "sent.zip"
    path.write_bytes(answer.content)
    restore_backup(path, Settings(tmp_path, tmp_path / "restored"))
    assert not list(app.services.settings.data.glob(".backup-*"))
