"""The verbs of the app: `serve` and `users`."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mezoroi.cli_options import AsJson, Run
from mezoroi.console import Console, leave_with
from mezoroi.errors import MezoroiError

if TYPE_CHECKING:
    from mezoroi.app.database import Database
    from mezoroi.app.settings import Settings

SERVE_EXAMPLE = "Example: mezoroi serve runs/melon --port 8000"
USERS_EXAMPLE = "Example: mezoroi users runs/app-data add sato --role expert"
_HOME = ("127.0.0.1", "localhost", "::1")


class RoleName(str, Enum):
    """What a user may do."""

    admin = "admin"
    expert = "expert"
    newcomer = "newcomer"


class UserAction(str, Enum):
    """What is done with the users."""

    add = "add"
    list = "list"
    password = "password"
    token = "token"
    lock = "lock"
    unlock = "unlock"


DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--database", help="postgresql+psycopg://USER:PASSWORD@HOST/NAME; default SQLite."
    ),
]


def serve(
    run: Run,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 for any free one.")] = 8000,
    data: Annotated[
        Path | None, typer.Option(help="Folder of database and pictures; default app-data by RUN.")
    ] = None,
    database: DatabaseUrl = None,
    demo_logins: Annotated[
        bool,
        typer.Option(
            "--demo-logins",
            help="A login for each role, with a new password at every start, for a trial.",
        ),
    ] = False,
    watch: Annotated[
        Path | None,
        typer.Option(help="Folder whose photos and videos are graded by themselves."),
    ] = None,
    watch_user: Annotated[
        str, typer.Option(help="Login name of the user that these count for.")
    ] = "admin",
    training: Annotated[
        Path | None,
        typer.Option(help="Dataset that RUN learned from: new graders learn from it as well."),
    ] = None,
) -> None:
    """Start the web app that grades with RUN. The first start makes a login and prints it."""
    from mezoroi.app.serving import serve_forever
    from mezoroi.app.settings import Settings, default_data

    settings = Settings(
        run.absolute(),
        (data or default_data(run)).absolute(),
        database,
        watch=watch.absolute() if watch is not None else None,
        watch_user=watch_user,
        training=training.absolute() if training is not None else None,
    )
    if host not in _HOME:
        typer.echo(
            "note: passwords cross the network in the clear: put an HTTPS server in front "
            "(docs/app.md)",
            err=True,
        )
    serve_forever(settings, host, port, lambda: _first_logins(settings, demo_logins))


def users(
    data: Annotated[Path, typer.Argument(help="Data folder of the app.")],
    action: Annotated[UserAction, typer.Argument(help="What to do.")],
    name: Annotated[str, typer.Argument(help="Login name.")] = "",
    role: Annotated[RoleName, typer.Option(help="Role of an added user.")] = RoleName.newcomer,
    full_name: Annotated[str, typer.Option(help="Name that is shown.")] = "",
    database: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """List users, add one, give one a new password or an API token, lock or unlock one."""
    from mezoroi.app.database import Database, migrate
    from mezoroi.app.settings import Settings

    console = Console(as_json)
    settings = Settings(data, data.absolute(), database)
    if database is None and not (data / "mezoroi.sqlite").is_file():
        raise MezoroiError(f"{data} holds no database of the app: start `mezoroi serve` first")
    opened = Database(settings.url)
    migrate(opened)
    if action is UserAction.list:
        _list_users(opened, console)
        return
    if not name:
        raise MezoroiError(f"whose? name the user: mezoroi users DATA {action.value} NAME")
    secret = _change_user(opened, action, name, role, full_name, console)
    shown = f"{action.value} {name}: {secret}" if secret else f"{action.value} {name}: done"
    console.result({"user": name, "action": action.value, "secret": secret}, shown)


def grade_on_server(
    server: str, token: str, sources: list[Path], out: Path, console: Console
) -> None:
    """Grade files through an app's API, and write the gradings with their pictures."""
    from mezoroi.app import client as api
    from mezoroi.files import folder_names

    if not token:
        raise MezoroiError("--server needs a key: give --token, or set MEZOROI_TOKEN")
    files = api.files_of(sources)
    results: list[dict[str, object]] = []
    with api.connect(server, token) as client, console.progress() as report:
        answers = api.grade_files(client, files, report)
        for (path, fruit), name in zip(answers, folder_names(files), strict=True):
            if fruit.get("error"):
                results.append({"source": str(path), "error": fruit["error"]})
                continue
            api.save(client, path, fruit["grading"], out / name)
            results.append({**fruit["grading"], "source": str(path), "fruit": fruit["id"]})
    failures = [f"{item['source']}: {item['error']}" for item in results if "error" in item]
    lines = [f"{item['source']}: {item.get('error') or item['grade']}" for item in results]
    lines.append(f"{len(results) - len(failures)} graded, {len(failures)} failed; folder: {out}")
    console.result({"folder": str(out), "results": results}, "\n".join(lines))
    leave_with(failures, len(results), "graded")


def _change_user(
    database: Database,
    action: UserAction,
    name: str,
    role: RoleName,
    full_name: str,
    console: Console,
) -> str | None:
    """Carry out an action; returns the password or key that was made, or None."""
    from mezoroi.app.passwords import new_password
    from mezoroi.app.roles import Role
    from mezoroi.app.store import audit
    from mezoroi.app.store import users as store

    password, here = new_password(), audit.COMMAND_LINE
    with database.write() as session:
        if action is UserAction.add:
            added = store.add_user(
                session, name, Role(role.value), password, must_change=True, full_name=full_name
            )
            audit.record(session, None, "user added", added.name, role=added.role, by=here)
            return password
        user = store.find_user(session, name)
        if user is None:
            raise MezoroiError(f"there is no user `{name}`: see `mezoroi users DATA list`")
        if action is UserAction.password:
            store.set_password(session, user, password, must_change=True)
            store.revoke_tokens(session, user)
            audit.record(session, None, "password reset", user.name, by=here)
            return password
        if action is UserAction.token:
            audit.record(session, None, "token made", user.name, by=here)
            if user.must_change_password:
                console.notes([f"the key works once {name} has changed the one-time password"])
            return store.add_token(session, user, here)
        store.set_active(session, user, action is UserAction.unlock)
        audit.record(session, None, "unlocked" if user.active else "locked", user.name, by=here)
    return None


def _list_users(database: Database, console: Console) -> None:
    from mezoroi.app.store import users as store

    with database.read() as session:
        found = store.list_users(session)
    console.result(
        [{"name": user.name, "role": user.role, "active": user.active} for user in found],
        "\n".join(f"{user.name}  {user.role}{'' if user.active else '  locked'}" for user in found),
    )


def _first_logins(settings: Settings, demo: bool) -> list[str]:
    """Make logins where there is no user yet, or new passwords for a trial; a line on each."""
    from mezoroi.app.database import Database
    from mezoroi.app.passwords import new_password
    from mezoroi.app.roles import Role
    from mezoroi.app.store import audit
    from mezoroi.app.store import users as store

    database, here = Database(settings.url), audit.COMMAND_LINE
    lines = []
    with database.write() as session:
        first = [] if store.count_users(session) else [Role.ADMIN]
        for role in reversed(Role) if demo else first:
            name, password = role.value, new_password()
            user = store.find_user(session, name)
            if user is None:
                store.add_user(session, name, role, password, must_change=not demo)
                audit.record(session, None, "user added", name, role=name, by=here)
            else:
                store.set_password(session, user, password)
                store.revoke_tokens(session, user)
                store.set_active(session, user, True)
                store.set_role(session, user, role)
                audit.record(session, None, "password reset", name, role=name, by=here)
            lines.append(f"log in as `{name}` with the password `{password}`")
    database.close()
    return lines
