"""The administrator's pages: people, standard, house settings, audit log, backup."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Form, HTTPException, Query, Request
from fastapi.responses import FileResponse, RedirectResponse, Response
from starlette.background import BackgroundTask

from mezoroi.app.access import ACCOUNT_PATH, Admin
from mezoroi.app.background import BACKUP_PREFIX
from mezoroi.app.backup import write_backup
from mezoroi.app.i18n import LANGUAGES
from mezoroi.app.ids import FormId, Id
from mezoroi.app.pages import fit_page
from mezoroi.app.passwords import new_password
from mezoroi.app.practising import ARMS
from mezoroi.app.problems import N_
from mezoroi.app.roles import Role
from mezoroi.app.services import Here, Services
from mezoroi.app.store import audit, fruits, house, runs, users
from mezoroi.app.tables import User
from mezoroi.app.told_once import NewSecret
from mezoroi.errors import MezoroiError
from mezoroi.standard import GradingStandard

router = APIRouter(include_in_schema=False)
Text = Annotated[str, Form(max_length=200)]
PAGE = 50
ROLES = {"newcomer": N_("Newcomer"), "expert": N_("Expert"), "admin": N_("Administrator")}
_NOBODY = {"name": "", "full_name": "", "role": Role.NEWCOMER.value}
_TAKEN = N_("This name is taken or cannot be used. Please choose another.")
_LAST = N_("No administrator would be left. Please make another one first.")


@router.get("/admin")
def start(request: Request, user: Admin, here: Here) -> Response:
    """What there is to administrate."""
    return here.pages.render(request, "admin/start.html")


@router.get("/admin/users")
def people(
    request: Request,
    user: Admin,
    here: Here,
    told: Annotated[str, Query(max_length=64)] = "",
) -> Response:
    """Everyone who may log in; and, this once, the password that was just made."""
    secret = here.told_once.take(user.id, told)
    return _people(request, here, secret=secret, was_told=bool(told) and secret is None)


@router.post("/admin/users")
def add_person(
    request: Request,
    user: Admin,
    here: Here,
    name: Text,
    role: Annotated[Role, Form()] = Role.NEWCOMER,
    full_name: Text = "",
) -> Response:
    """Add a person; the page that follows shows their one-time password."""
    secret = new_password()
    try:
        with here.database.write() as session:
            made = users.add_user(
                session, name, role, secret, must_change=True, full_name=full_name
            )
            audit.record(session, user, "user added", made.name, role=role.value)
    except MezoroiError:
        given = {"name": name, "full_name": full_name, "role": role.value}
        return _people(request, here, 422, problem=_TAKEN, given=given)
    return _tell(here, user, NewSecret(secret, made.name, was_reset=False))


@router.post("/admin/users/{user_id}/role")
def set_role(
    request: Request, user_id: Id, user: Admin, here: Here, role: Annotated[Role, Form()]
) -> Response:
    """Give another role."""
    try:
        with here.database.write() as session:
            person = _person(users.get_user(session, user_id))
            users.set_role(session, person, role)
            audit.record(session, user, "role changed", person.name, role=role.value)
    except MezoroiError:
        return _people(request, here, 422, problem=_LAST)
    return RedirectResponse("/admin/users", 303)


@router.post("/admin/users/{user_id}/password")
def reset_password(user_id: Id, user: Admin, here: Here) -> Response:
    """Give a new one-time password, and end all logins and keys.

    Nobody does so for themselves: their login would end before they could read it.
    """
    if user_id == user.id:
        return RedirectResponse(ACCOUNT_PATH, 303)
    secret = new_password()
    with here.database.write() as session:
        person = _person(users.get_user(session, user_id))
        users.set_password(session, person, secret, must_change=True)
        users.revoke_tokens(session, person)
        audit.record(session, user, "password reset", person.name)
    return _tell(here, user, NewSecret(secret, person.name, was_reset=True))


@router.post("/admin/users/{user_id}/lock")
def lock(
    request: Request, user_id: Id, user: Admin, here: Here, active: Annotated[bool, Form()]
) -> Response:
    """Lock a login, or give it back."""
    try:
        with here.database.write() as session:
            person = _person(users.get_user(session, user_id))
            users.set_active(session, person, active)
            audit.record(session, user, "unlocked" if active else "locked", person.name)
    except MezoroiError:
        return _people(request, here, 422, problem=_LAST)
    return RedirectResponse("/admin/users", 303)


@router.get("/admin/standard")
def standard(request: Request, user: Admin, here: Here, saved: bool = False) -> Response:
    """The words and examples of the standard in use, and all versions."""
    with here.database.read() as session:
        run = runs.active_run(session)
        if run is None:
            raise HTTPException(404)
        versions = house.list_standards(session)
        names = {person.id: person.full_name or person.name for person in users.list_users(session)}
        pictures = house.example_pictures(session, run.standard_id)
    return here.pages.render(
        request,
        "admin/standard.html",
        run=run,
        standard=GradingStandard.from_dict(run.standard.content),
        versions=versions,
        names=names,
        pictures=pictures,
        saved=saved,
    )


@router.post("/admin/standard")
async def revise_standard(request: Request, user: Admin, here: Here) -> Response:
    """Save other words for the grades as a new version."""
    async with request.form(max_files=0, max_fields=200) as form:
        given = {name: str(value).strip() for name, value in form.items()}
    with here.database.write() as session:
        run = runs.lock_active(session)
        if run is None:
            raise HTTPException(404)
        content = GradingStandard.from_dict(run.standard.content).to_dict()
        for place, entry in enumerate(content["grades"].values()):
            for part in ("title", "description"):
                words = {code: given.get(f"{part}-{place}-{code}", "")[:2000] for code in LANGUAGES}
                entry[part] = {code: text for code, text in words.items() if text}
        if content != GradingStandard.from_dict(run.standard.content).to_dict():
            note = given.get("note", "")
            made = house.revise_standard(session, run, content, user.id, note)
            audit.record(session, user, "standard revised", str(made.version))
    return RedirectResponse("/admin/standard?saved=true", 303)


@router.post("/admin/standard/example")
def set_example(
    user: Admin,
    here: Here,
    fruit_id: FormId,
    grade: Annotated[str, Form(max_length=64)] = "",
) -> Response:
    """Make a fruit an example of a grade; an empty grade takes it back."""
    with here.database.write() as session:
        run = runs.lock_active(session)
        if run is None or fruits.get_fruit(session, fruit_id) is None:
            raise HTTPException(404)
        if grade and grade not in run.standard.content["grades"]:
            raise MezoroiError(f"unknown grade `{grade}`: choose one of the standard")
        house.set_example(session, run.standard_id, grade, fruit_id)
        audit.record(session, user, "example set", str(fruit_id), grade=grade)
    return RedirectResponse(f"/fruits/{fruit_id}", 303)


@router.get("/admin/house")
def settings(request: Request, user: Admin, here: Here, saved: bool = False) -> Response:
    """Language, and how long data about people stay."""
    with here.database.read() as session:
        days = house.days_kept(session)
    return here.pages.render(
        request,
        "admin/house.html",
        days=days,
        most_days=house.MOST_DAYS,
        house_language=request.app.state.house_language,
        saved=saved,
    )


@router.post("/admin/house")
def save_settings(
    request: Request,
    user: Admin,
    here: Here,
    performance: Annotated[int, Form(ge=1, le=house.MOST_DAYS)],
    audit_days: Annotated[int, Form(alias="audit", ge=30, le=house.MOST_DAYS)],
    language: Annotated[str, Form(max_length=8)] = "",
) -> Response:
    """Save them; what is too old now goes at once."""
    chosen = language if language in LANGUAGES else None
    with here.database.write() as session:
        house.set_setting(session, house.LANGUAGE, {"default": chosen})
        days = {"performance": performance, "audit": audit_days}
        house.set_setting(session, house.RETENTION, days)
        audit.record(session, user, "house settings", language=chosen, days=days)
    request.app.state.house_language = chosen
    here.background.clear_out()
    return RedirectResponse("/admin/house?saved=true", 303)


@router.get("/admin/audit")
def audit_log(
    request: Request, user: Admin, here: Here, page: Annotated[int, Query(ge=1, le=10**6)] = 1
) -> Response:
    """Who did what, newest first."""
    with here.database.read() as session:
        total = audit.count_entries(session)
        page, pages = fit_page(page, total, PAGE)
        entries = audit.list_entries(session, (page - 1) * PAGE, PAGE)
    return here.pages.render(
        request,
        "admin/audit.html",
        entries=entries,
        actions=audit.ACTIONS,
        details=audit.DETAILS,
        words={**ROLES, **ARMS, **LANGUAGES, audit.COMMAND_LINE: audit.COMMAND_LINE},
        total=total,
        page=page,
        pages=pages,
    )


@router.post("/admin/backup")
def backup(user: Admin, here: Here) -> Response:
    """Make a backup and send it."""
    with here.database.write() as session:
        audit.record(session, user, "backup downloaded")
    folder = tempfile.TemporaryDirectory(dir=here.settings.data, prefix=BACKUP_PREFIX)
    path = Path(folder.name) / "backup.zip"
    try:
        write_backup(here.settings, path)
    except BaseException:
        folder.cleanup()
        raise
    name = f"mezoroi-{datetime.now().astimezone():%Y%m%d-%H%M}.zip"
    return FileResponse(path, filename=name, background=BackgroundTask(folder.cleanup))


def _people(
    request: Request,
    here: Services,
    status: int = 200,
    *,
    problem: str | None = None,
    given: Mapping[str, str] = _NOBODY,
    secret: NewSecret | None = None,
    was_told: bool = False,
) -> Response:
    """The page of all people.

    Parameters
    ----------
    given : what stands in the form of a new person
    was_told : whether it was asked for a secret that it has shown before
    """
    with here.database.read() as session:
        found = users.list_users(session)
    return here.pages.render(
        request,
        "admin/users.html",
        status,
        people=found,
        role_names=ROLES,
        problem=problem,
        given=given,
        secret=secret,
        was_told=was_told,
    )


def _tell(here: Services, reader: User, secret: NewSecret) -> Response:
    """Go on to the page that shows a secret; loaded again it neither shows nor makes one."""
    key = here.told_once.keep(reader.id, secret)
    return RedirectResponse(f"/admin/users?told={key}", 303)


def _person(found: User | None) -> User:
    if found is None:
        raise HTTPException(404)
    return found
