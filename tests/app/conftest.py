"""An app with a tiny grader, and clients of every role."""

from __future__ import annotations

import io
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from mezoroi.app import practice_settings
from mezoroi.app.database import Database, migrate
from mezoroi.app.roles import Role
from mezoroi.app.server import create_app
from mezoroi.app.services import Services
from mezoroi.app.settings import Settings
from mezoroi.app.store import specimens, users
from tests.made_once import made_once

PASSWORD = "melon-melon-melon"
SAME_SITE = {"sec-fetch-site": "same-origin"}
NAMES = {role: role.value for role in Role}


@dataclass(frozen=True)
class App:
    """An application and what its routes share; its worker does not run."""

    app: FastAPI
    services: Services

    def client(self, role: Role | None = None) -> TestClient:
        """A browser of a user of a role, or of nobody."""
        client = TestClient(self.app, headers=SAME_SITE, follow_redirects=False)
        if role is not None:
            with self.services.database.write() as session:
                user = users.find_user(session, NAMES[role])
                assert user is not None
                client.cookies.set("mezoroi_session", users.start_login(session, user))
        return client


@pytest.fixture(scope="session")
def empty_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of SQLite as migrations leave it, which take longer than a copy."""

    def make(folder: Path) -> None:
        folder.mkdir()
        _make_tables(f"sqlite:///{folder / 'mezoroi.sqlite'}")

    return made_once(tmp_path_factory, "tables", make) / "mezoroi.sqlite"


def _make_tables(url: str) -> None:
    database = Database(url)
    migrate(database)
    database.close()


@pytest.fixture
def make_app(run_dir: Path, tmp_path: Path, empty_tables: Path) -> Iterator[Callable[..., App]]:
    """Makes apps whose worker does not run; one user of every role, named after it."""
    made: list[App] = []

    def make(run: Path = run_dir, **changes: object) -> App:
        settings = Settings(run, tmp_path / f"data-{len(made)}", **changes)  # type: ignore[arg-type]
        if settings.database_url is None and not settings.data.exists():
            settings.data.mkdir()
            shutil.copy(empty_tables, settings.data)
        app = create_app(settings)
        services: Services = app.state.services
        with services.database.write() as session:
            for role, name in NAMES.items():
                users.add_user(session, name, role, PASSWORD)
        made.append(App(app, services))
        return made[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mezoroi.app.passwords._hasher", _fast_hasher)
        yield make
    for item in made:
        item.services.database.close()


@pytest.fixture
def app(make_app: Callable[..., App]) -> App:
    return make_app()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """URL of a PostgreSQL server of our own, on a socket in a folder of its own; no port."""
    programs = _postgresql_programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    # Not below pytest's folder, which the server's own user may not enter.
    folder = Path(tempfile.mkdtemp(prefix="mezoroi-pg-"))
    as_user: list[str] = []
    if os.geteuid() == 0:  # the server refuses to run as root
        shutil.chown(folder, "postgres", "postgres")
        as_user = ["runuser", "-u", "postgres", "--"]
    cluster = folder / "cluster"

    def call(name: str, *options: str) -> None:
        command = [*as_user, str(programs / name), "-D", str(cluster), *options]
        subprocess.run(command, check=True, capture_output=True, cwd=folder, timeout=120)

    call("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
    served = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
    call("pg_ctl", "start", "-w", "-o", served, "-l", str(folder / "log"))
    yield f"postgresql://postgres@/postgres?host={folder}"
    call("pg_ctl", "stop", "-m", "immediate")
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def new_postgresql(postgresql: str) -> Iterator[Callable[..., str]]:
    """Makes databases, empty or as a template is; returns their URLs."""
    import psycopg

    made: list[str] = []

    def make(template: str = "template1") -> str:
        name = f"test_{secrets.token_hex(6)}"
        made.append(name)
        return _new_database(postgresql, name, template)

    yield make
    with psycopg.connect(postgresql, autocommit=True) as connection:
        for name in made:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@pytest.fixture(scope="session")
def postgresql_tables(postgresql: str) -> str:
    """Name of a database of PostgreSQL as migrations leave it, a template for `new_postgresql`."""
    _make_tables(_new_database(postgresql, "tables", "template1"))
    return "tables"


def _new_database(postgresql: str, name: str, template: str) -> str:
    import psycopg

    with psycopg.connect(postgresql, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    return postgresql.replace("/postgres?", f"/{name}?")


@pytest.fixture(params=["sqlite", "postgresql"])
def either(request: pytest.FixtureRequest, make_app: Callable[..., App]) -> App:
    """An app with either database."""
    if request.param == "sqlite":
        return make_app()
    tables = request.getfixturevalue("postgresql_tables")
    return make_app(database_url=request.getfixturevalue("new_postgresql")(tables))


def _postgresql_programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


@pytest.fixture(scope="session")
def prepared_data(run_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder whose reference fruits are prepared for practice. Not to be changed."""

    def prepare(folder: Path) -> None:
        app = create_app(Settings(run_dir, folder))
        services: Services = app.state.services
        with services.database.write() as session:
            specimens.order_preparation(session)
        work(services)
        services.database.close()

    return made_once(tmp_path_factory, "prepared", prepare)


@pytest.fixture
def prepared(prepared_data: Path, tmp_path: Path, make_app: Callable[..., App]) -> App:
    """An app whose reference fruits are prepared for practice."""
    shutil.copytree(prepared_data, tmp_path / "data-0")
    return make_app()


def _fast_hasher() -> object:
    """Argon2 as in the app, but with next to no work: a second per user adds up."""
    from pwdlib import PasswordHash
    from pwdlib.hashers.argon2 import Argon2Hasher

    return PasswordHash((Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1),))


@pytest.fixture
def own_run_app(make_app: Callable[..., App], run_dir: Path, tmp_path: Path) -> App:
    """An app whose run folder may be changed."""
    shutil.copytree(run_dir, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints"))
    return make_app(tmp_path / "run")


@pytest.fixture(scope="session")
def photo() -> bytes:
    """A JPEG of noise, 160 x 120."""
    return jpeg(0)


def jpeg(seed: int, width: int = 160, height: int = 120, **options: object) -> bytes:
    """A JPEG of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", **options)
    return stream.getvalue()


def work(services: Services) -> None:
    """Grade everything that waits, in this process, as the worker would."""
    from mezoroi.app.worker import Worker

    worker = Worker(services.settings, "worker-test", lambda said: None)
    while worker.work_once():
        pass


@pytest.fixture
def ready(prepared: App) -> App:
    """Rounds have four fruits, tests one of each grade."""
    with prepared.services.database.write() as session:
        settings = practice_settings.PracticeSettings(questions=4, test_fruits=1)
        practice_settings.keep_settings(session, settings)
    return prepared
