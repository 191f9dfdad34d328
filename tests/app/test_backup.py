"""Backups: everything there and back, on both databases, and no damage unnoticed."""

from __future__ import annotations

import json
import shutil
import sqlite3
import threading
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from mezoroi.app.backup import active_folder, restore_backup, write_backup
from mezoroi.app.database import Database
from mezoroi.app.roles import Role
from mezoroi.app.server import create_app
from mezoroi.app.settings import Settings
from mezoroi.app.store import audit, house, jobs, runs, users
from mezoroi.app.tables import Base, Fruit
from mezoroi.cli import main
from mezoroi.errors import MezoroiError
from mezoroi.grader import Grader
from tests.app.conftest import App, work
from tests.app.helpers import send_all

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
    [
        ("sqlite", "sqlite"),
        ("postgresql", "postgresql"),
        ("sqlite", "postgresql"),
        ("postgresql", "sqlite"),
    ],
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


def test_a_text_that_postgresql_refuses_is_brought_back_without_what_it_refuses(
    app: App, tmp_path: Path, new_postgresql: Callable[[], str]
) -> None:
    with app.services.database.write() as session:
        audit.record(session, None, "lot added", "a\0b")
    write_backup(app.services.settings, tmp_path / "backup.zip")
    target = Settings(tmp_path / "none", tmp_path / "restored", new_postgresql())
    restore_backup(tmp_path / "backup.zip", target)
    database = Database(target.url)
    with database.read() as session:
        (entry, _), *_ = audit.list_entries(session, 0, 1)
        assert entry.subject == "ab"
    database.close()


def test_a_backup_while_fruits_come_in_is_of_one_moment(
    app: App, tmp_path: Path, photo: bytes
) -> None:
    over, held = threading.Event(), list[int]()

    def keep_sending() -> None:
        number = 0
        client = app.client(Role.NEWCOMER)
        while not over.is_set():
            content = photo + bytes([number % 256, number // 256])
            status = client.post("/api/v1/fruits", files={"file": ("a.png", content)}).status_code
            if status == 503:  # nothing grades here, so that a fast machine fills the queue
                break
            assert status == 201
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
            held.append(len(fruits))
            for fruit in fruits:
                assert (
                    target.data / "blobs/originals" / fruit.content[:2] / fruit.content
                ).is_file()
    finally:
        over.set()
        sender.join()
    assert held == sorted(held) and held[-1] > 0


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


def rewrite(source: Path, target: Path, change: Callable[[str, bytes], bytes | None]) -> None:
    """Copy a backup with other entries, or without those that become None."""
    with zipfile.ZipFile(source) as whole, zipfile.ZipFile(target, "w") as other:
        for name in whole.namelist():
            content = change(name, whole.read(name))
            if content is not None:
                other.writestr(name, content)


def test_a_backup_that_has_lost_a_picture_is_refused(
    app: App, melons: Path, tmp_path: Path
) -> None:
    send_all(app, sorted(melons.glob("captures/*/surface.png"))[:1])
    written = write_backup(app.services.settings, tmp_path / "backup.zip")
    lost: list[str] = []

    def lose(name: str, content: bytes) -> bytes | None:
        if name.startswith("blobs/") and len(lost) < 2:
            lost.append(name)
            return None
        return content

    rewrite(tmp_path / "backup.zip", tmp_path / "lost.zip", lose)
    target = Settings(tmp_path, tmp_path / "restored")
    with pytest.raises(MezoroiError, match=f"^2 of {written.blobs} pictures and originals are"):
        restore_backup(tmp_path / "lost.zip", target)
    assert not target.data.exists()

    def as_earlier(name: str, content: bytes) -> bytes | None:
        if name != "backup.json":
            return content if name not in lost else None
        summary = json.loads(content)
        del summary["blobs"], summary["lost"]
        return json.dumps(summary).encode()

    rewrite(tmp_path / "backup.zip", tmp_path / "earlier.zip", as_earlier)
    restored = restore_backup(tmp_path / "earlier.zip", target)
    assert (restored.blobs, restored.lost) == (written.blobs - 2, tuple(sorted(lost)))


def test_what_the_disk_has_lost_is_named_and_hinders_no_backup(
    app: App, melons: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = app.services.settings
    surface = next(melons.glob("captures/*/surface.png"))
    with surface.open("rb") as stream:  # called as a picture of the app's is
        called = {"file": ("a" * 64 + ".png", stream)}
        assert app.client(Role.NEWCOMER).post("/api/v1/fruits", files=called).status_code == 201
    work(app.services)
    assert write_backup(settings, tmp_path / "whole.zip").lost == ()
    pictures = sorted((settings.data / "blobs").glob("*/??/*"))
    for path in pictures:
        path.unlink()
    names = [path.relative_to(settings.data).as_posix() for path in pictures]
    assert write_backup(settings, tmp_path / "without.zip").lost == tuple(names)
    with pytest.raises(SystemExit) as ended:
        main(["restore", str(tmp_path / "without.zip"), str(tmp_path / "restored")])
    assert not ended.value.code
    told = f"without {len(names)} pictures and originals that its tables name"
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("summary", "reason"),
    [
        (lambda whole: [1], "is no backup of Mezoroi"),
        (lambda whole: {**whole, "revision": ["0001"]}, "is of a later version"),
        (lambda whole: {**whole, "hashes": None}, "backup.json in the backup is damaged"),
        (lambda whole: {**whole, "hashes": {}}, "users.jsonl is missing in the backup|is damaged"),
    ],
)
def test_a_summary_that_is_not_as_written_is_refused(
    app: App, tmp_path: Path, summary: Callable[[dict[str, Any]], Any], reason: str
) -> None:
    write_backup(app.services.settings, tmp_path / "backup.zip")

    def change(name: str, content: bytes) -> bytes:
        return (
            json.dumps(summary(json.loads(content))).encode() if name == "backup.json" else content
        )

    rewrite(tmp_path / "backup.zip", tmp_path / "other.zip", change)
    target = Settings(tmp_path, tmp_path / "restored")
    with pytest.raises(MezoroiError, match=reason):
        restore_backup(tmp_path / "other.zip", target)
    assert not target.data.exists()


def test_a_row_that_the_database_would_refuse_is_damage(app: App, tmp_path: Path) -> None:
    write_backup(app.services.settings, tmp_path / "backup.zip")

    def repeat(name: str, content: bytes) -> bytes:
        return content * 2 if name == "tables/users.jsonl" else content

    rewrite(tmp_path / "backup.zip", tmp_path / "twice.zip", repeat)
    with pytest.raises(MezoroiError, match=r"tables/users\.jsonl in the backup is damaged"):
        restore_backup(tmp_path / "twice.zip", Settings(tmp_path, tmp_path / "restored"))


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("postgresql://a:secret@127.0.0.1:1/x", "cannot be used"),
        ("oracle://a:secret@b/x", "is not supported"),
    ],
)
def test_a_database_that_does_not_answer_is_one_line(
    app: App, tmp_path: Path, url: str, reason: str
) -> None:
    write_backup(app.services.settings, tmp_path / "backup.zip")
    target = Settings(tmp_path, tmp_path / "restored", url)
    with pytest.raises(MezoroiError, match=reason) as restoring:
        restore_backup(tmp_path / "backup.zip", target)
    assert not target.data.exists()
    with pytest.raises(MezoroiError, match=reason) as making:
        write_backup(target, tmp_path / "second.zip")
    for error in (restoring.value, making.value):
        assert "\n" not in str(error) and "secret" not in str(error)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "holds no tables of the app"), (b"a letter" * 999, "cannot be used .*not a database")],
)
def test_a_file_that_is_no_database_is_said_to_be_so(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    (tmp_path / "mezoroi.sqlite").write_bytes(content)
    with pytest.raises(MezoroiError, match=reason):
        write_backup(Settings(tmp_path, tmp_path), tmp_path / "backup.zip")
    assert not (tmp_path / "backup.zip").exists()


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


def test_references_that_are_written_meanwhile_are_whole(own_run_app: App, tmp_path: Path) -> None:
    settings = own_run_app.services.settings
    references = settings.run / "references.sqlite"
    with closing(sqlite3.connect(references, isolation_level=None)) as writer:
        writer.execute("CREATE TABLE pairs (number INTEGER)")
        writer.execute("PRAGMA cache_size = 10")
        writer.execute("BEGIN")
        writer.executemany("INSERT INTO pairs VALUES (?)", [(n,) for n in range(300_000)])
        writer.execute("COMMIT")
        writer.execute("BEGIN")  # with so small a cache, half of this stands in the file already
        writer.execute("UPDATE pairs SET number = number + 1")
        assert (settings.run / "references.sqlite-journal").stat().st_size > 100_000
        backup = threading.Thread(target=write_backup, args=(settings, tmp_path / "backup.zip"))
        backup.start()
        backup.join(1.0)
        writer.execute("ROLLBACK")
        backup.join(60)
    target = Settings(tmp_path / "none", tmp_path / "restored")
    restore_backup(tmp_path / "backup.zip", target)
    folder = Path(active_folder(target))
    assert not list(folder.glob("*-journal"))
    with closing(sqlite3.connect(folder / "references.sqlite")) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert copy.execute("SELECT min(number), max(number) FROM pairs").fetchone() == (0, 299_999)


def test_a_deleted_run_hinders_no_backup_unless_it_grades(
    own_run_app: App, run_dir: Path, tmp_path: Path
) -> None:
    services, other = own_run_app.services, tmp_path / "other"
    shutil.copytree(run_dir, other, ignore=shutil.ignore_patterns("checkpoints"))
    (other / "note.txt").write_text("another content, another run")
    (other / "grader.json").write_text((other / "grader.json").read_text() + "\n")
    with services.database.write() as session:
        runs.register_run(session, other)
        assert len(runs.list_runs(session)) == 2
    shutil.rmtree(other)
    written = write_backup(services.settings, tmp_path / "backup.zip")
    assert (written.runs, written.gone) == (1, (2,))
    target = Settings(tmp_path / "none", tmp_path / "restored")
    assert restore_backup(tmp_path / "backup.zip", target) == written
    shutil.rmtree(services.settings.run)
    with pytest.raises(MezoroiError, match="is gone: bring the run folder back"):
        write_backup(services.settings, tmp_path / "second.zip")
    assert not (tmp_path / "second.zip").exists()


def test_files_of_a_run_come_back_whatever_their_name(own_run_app: App, tmp_path: Path) -> None:
    settings = own_run_app.services.settings
    names = ["melon's [1] & 50% #2!.txt", "a..b.txt", "メロン～.txt", "..txt.d/in it"]
    for name in names:
        path = settings.run / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    write_backup(settings, tmp_path / "backup.zip")
    target = Settings(tmp_path / "none", tmp_path / "restored")
    restore_backup(tmp_path / "backup.zip", target)
    assert [(Path(active_folder(target)) / name).read_text() for name in names] == names


@pytest.mark.parametrize("change", ["left out", "led astray"])
def test_a_run_that_is_not_whole_is_noticed(app: App, tmp_path: Path, change: str) -> None:
    write_backup(app.services.settings, tmp_path / "backup.zip")
    with (
        zipfile.ZipFile(tmp_path / "backup.zip") as whole,
        zipfile.ZipFile(tmp_path / "damaged.zip", "w") as damaged,
    ):
        chosen = next(name for name in whole.namelist() if name.startswith("runs/1/"))
        for name in whole.namelist():
            if name != chosen or change == "led astray":
                damaged.writestr(name, whole.read(name))
        if change == "led astray":
            damaged.writestr("runs/1/../../../evil", "x")
    with pytest.raises(MezoroiError, match="is damaged: take another backup"):
        restore_backup(tmp_path / "damaged.zip", Settings(tmp_path, tmp_path / "a" / "restored"))
    assert not list(tmp_path.rglob("evil"))


def test_what_a_killed_server_left_of_a_backup_goes_at_the_next_start(app: App) -> None:
    data = app.services.settings.data
    (data / ".backup-abc").mkdir()
    (data / ".backup-abc" / "backup.zip").write_bytes(b"half")
    (data / ".backup-2026.zip").write_bytes(b"somebody's own")
    app.services.background.start()
    app.services.background.stop()
    assert [path.name for path in data.glob(".backup-*")] == [".backup-2026.zip"]
