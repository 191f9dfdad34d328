"""Migrations and transactions."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from mezoroi.app.database import Database, migrate, migrations
from mezoroi.app.server import create_app
from mezoroi.app.serving import _other_grader
from mezoroi.app.store import audit, jobs, runs
from mezoroi.app.tables import Base
from mezoroi.app.tables_learning import CalibrationFruit, Learner
from mezoroi.errors import MezoroiError
from mezoroi.files import content_hash
from tests.app.conftest import App


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database without tables."""
    url = f"sqlite:///{tmp_path / 'app.sqlite'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("new_postgresql")()
    opened = Database(url)
    yield opened
    opened.close()


@pytest.fixture
def database(empty: Database) -> Database:
    migrate(empty)
    return empty


def test_migrations_make_the_tables_as_the_code_has_them(database: Database) -> None:
    migrate(database)  # again, with nothing left to do
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_fruits_of_before_have_no_upload_key_and_later_ones_one_of_their_own(
    empty: Database,
) -> None:
    migrate(empty, "0004")
    names = "id, content, media, size, name, uploader_id, orchard, note, created_at"
    with empty.write() as session:
        people = "id, name, full_name, role, password_hash, must_change_password, blind, active"
        for number in (1, 2):
            values = f"{number}, 'n{number}', '', 'expert', 'x', false, false, true, '2026-01-01'"
            session.execute(text(f"INSERT INTO users ({people}, created_at) VALUES ({values})"))
        for number in (1, 2):
            values = f"{number}, 'c', 'image/png', 1, '', 1, '', '', '2026-01-01'"
            session.execute(text(f"INSERT INTO fruits ({names}) VALUES ({values})"))
    migrate(empty)
    add = f"INSERT INTO fruits ({names}, upload_key) VALUES "
    with empty.write() as session:
        assert session.execute(text("SELECT id, upload_key FROM fruits")).all() == [
            (1, None),
            (2, None),
        ]
        for number, user in ((3, 1), (4, 2)):
            values = f"({number}, 'c', 'image/png', 1, '', {user}, '', '', '2026-01-01', 'k')"
            session.execute(text(add + values))
    with pytest.raises(IntegrityError), empty.write() as session:
        session.execute(text(add + "(5, 'c', 'image/png', 1, '', 1, '', '', '2026-01-01', 'k')"))


def test_what_was_given_in_sessions_before_is_known_after_its_time(empty: Database) -> None:
    migrate(empty, "0006")
    rows = {
        "users (id, name, full_name, role, password_hash, must_change_password, blind, active, "
        "created_at)": "1, 'n', '', 'expert', 'x', false, false, true, '2026-01-01'",
        "standards (id, version, content, note, created_at)": "1, 1, '{}', '', '2026-01-01'",
        "specimens (id, name, similarity, result, alike, trouble, retired, created_at)": (
            "1, 'm', '{}', '{}', '{}', '', false, '2026-01-01'"
        ),
        "calibration_sessions (id, title, way, leader_id, standard_id, opened_at, outcome)": (
            "1, '', 'hand', 1, 1, '2026-01-01', '{}'"
        ),
        "calibration_fruits (id, session_id, specimen_id, is_repeat, note)": "1, 1, 1, false, ''",
        "calibration_grades (id, fruit_id, user_id, grade, given_at)": (
            "1, 1, 1, 'B', '2026-01-02 03:04:05.000000'"
        ),
        "learners (user_id, state, seen_at)": "1, '{}', '2026-01-01'",
    }
    with empty.write() as session:
        for table, values in rows.items():
            session.connection().exec_driver_sql(f"INSERT INTO {table} VALUES ({values})")
    migrate(empty)
    with empty.read() as session:
        (fruit,) = session.scalars(select(CalibrationFruit))
        (learner,) = session.scalars(select(Learner))
    grade, at = fruit.given["1"]
    assert grade == "B" and datetime.fromisoformat(at).minute == 4
    assert (learner.taken, learner.certified_at) == ({}, None)


def test_a_database_of_a_later_version_is_refused(database: Database) -> None:
    with database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(MezoroiError, match="another version of Mezoroi"):
        migrate(database)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("no url", "is no database"),
        ("mysql://localhost/x", "use SQLite or PostgreSQL"),
        ("sqlite:////nowhere/at/all.sqlite", "cannot be used"),
    ],
)
def test_a_database_that_cannot_be_used_says_so(url: str, reason: str) -> None:
    with pytest.raises(MezoroiError, match=reason):
        migrate(Database(url))


def test_postgresql_is_known_by_its_short_name() -> None:
    engine = Database("postgres://sato@db/house").engine
    assert (engine.dialect.name, engine.dialect.driver) == ("postgresql", "psycopg")


def test_a_grader_whose_grade_no_column_holds_is_not_served(own_run_app: App) -> None:
    file = own_run_app.services.settings.run / "grader.json"
    file.write_text(file.read_text().replace('"A"', f'"{"あ" * 65}"'))
    with pytest.raises(MezoroiError, match="65 characters, and the app takes 64"):
        create_app(own_run_app.services.settings)


def test_there_is_one_newest_migration() -> None:
    assert len(migrations().get_heads()) == 1


def test_sqlite_is_safe_and_checks_its_keys(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'app.sqlite'}")
    with database.read() as session:
        values = [
            session.scalar(text(f"PRAGMA {name}"))
            for name in ("journal_mode", "foreign_keys", "synchronous")
        ]
    assert values == ["wal", 1, 2]


def test_an_error_leaves_nothing_behind(database: Database) -> None:
    def break_off() -> None:
        with database.write() as session:
            jobs.add_job(session, jobs.GRADE)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        break_off()
    with database.read() as session:
        assert jobs.count_open(session, jobs.GRADE) == 0


def test_what_is_read_together_is_of_one_moment(database: Database) -> None:
    with database.read() as session:
        assert jobs.count_open(session, jobs.GRADE) == 0
        with database.write() as other:
            jobs.add_job(other, jobs.GRADE)
        assert jobs.count_open(session, jobs.GRADE) == 0, "as when the reading began"
    with database.read() as session:
        assert jobs.count_open(session, jobs.GRADE) == 1


def test_every_job_is_claimed_once_by_workers_at_the_same_time(database: Database) -> None:
    with database.write() as session:
        for _ in range(60):
            jobs.add_job(session, jobs.GRADE)
    claimed: list[int] = []

    def take(name: str) -> None:
        while True:
            with database.write() as session:
                found = [job.id for job in jobs.claim(session, jobs.GRADE, name, 3, 10.0)]
            if not found:
                return
            claimed.extend(found)

    threads = [threading.Thread(target=take, args=(f"w{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == list(range(1, 61))


def test_what_a_worker_left_is_tried_alone_then_given_up(database: Database) -> None:
    with database.write() as session:
        for _ in range(3):
            jobs.add_job(session, jobs.GRADE)

    def claim() -> list[int]:
        with database.write() as session:
            return [job.id for job in jobs.claim(session, jobs.GRADE, "w", 8, 10.0)]

    def begin(number: int) -> None:
        with database.write() as session:
            assert jobs.begin(session, number, "w", "grading", 10.0)

    def die() -> None:
        with database.write() as session:
            jobs.release(session, "w", attempts=2)

    assert claim() == [1, 2, 3]
    begin(1)
    with database.write() as session:
        jobs.finish(session, 1)
    begin(2)
    die()
    assert claim() == [2], "it was at hand when the worker ended: it is tried alone"
    begin(2)
    die()
    assert claim() == [3]
    with database.write() as session:
        jobs.finish(session, 3)
    with database.read() as session:
        found = {number: jobs.get_job(session, number) for number in (1, 2, 3)}
    states = {number: (job.state, job.error) for number, job in found.items() if job}
    assert states == {1: ("done", None), 2: ("failed", "crashed"), 3: ("done", None)}


def test_the_server_tells_which_run_grades_where_it_is_another(
    make_app: Callable[..., App], run_dir: Path, tmp_path: Path
) -> None:
    settings = make_app(run_dir).services.settings
    assert _other_grader(settings) == []
    other = tmp_path / "other"
    shutil.copytree(run_dir, other, ignore=shutil.ignore_patterns("checkpoints"))
    (other / "grader.json").write_text((other / "grader.json").read_text() + "\n")
    again = replace(settings, run=other)
    create_app(again).state.services.database.close()
    (line,) = _other_grader(again)
    assert f"grading with {run_dir.absolute()}, not with {other}" in line


def test_a_grader_that_takes_the_place_of_the_one_in_use_grades_as_itself(own_run_app: App) -> None:
    settings = own_run_app.services.settings
    file = settings.run / "grader.json"
    first = file.read_text()
    found = []
    for content in (first, first + "\n", first):
        file.write_text(content)
        app = create_app(settings)
        with app.state.services.database.read() as session:
            active = runs.active_run(session)
            switches = [entry.subject for entry, _ in audit.list_entries(session, 0, 9)]
        app.state.services.database.close()
        assert active is not None and active.digest == content_hash(file)
        assert _other_grader(settings) == []
        found.append((active.id, app.state.is_grader_changed, switches))
    assert found == [(1, False, []), (2, True, ["2"]), (1, True, ["1", "2"])]
