"""Practice as experts and the administrator see it: who confuses what, settings, the study."""

from __future__ import annotations

import csv
import io
from typing import Annotated

from fastapi import APIRouter, Form, HTTPException, Request
from fastapi.responses import RedirectResponse, Response

from mezoroi.app import practice_settings, practising, teaching
from mezoroi.app.access import Admin, Expert
from mezoroi.app.ids import Id
from mezoroi.app.practice_settings import PracticeSettings
from mezoroi.app.problems import Refusal
from mezoroi.app.roles import Role
from mezoroi.app.routes.practice import TEST_NAMES, show_progress
from mezoroi.app.services import Here
from mezoroi.app.store import audit, practice, specimens, users
from mezoroi.errors import MezoroiError

router = APIRouter(include_in_schema=False)


@router.get("/practice/learners")
def learners_page(request: Request, user: Expert, here: Here) -> Response:
    """All who practise, and who confuses what."""
    from mezoroi.app.progressing import overview

    with here.database.read() as session:
        lines = overview(session)
        standard = teaching.active_standard(session)
    return here.pages.render(
        request,
        "practice/learners.html",
        lines=lines,
        grades=standard.grades,
        names=TEST_NAMES,
        arms=practising.ARMS,
        is_admin=Role(user.role).covers(Role.ADMIN),
    )


@router.get("/practice/learners/{user_id}")
def learner_page(request: Request, user_id: Id, user: Expert, here: Here) -> Response:
    """The progress of a learner who agreed that experts see it."""
    with here.database.read() as session:
        found = practice.get_learner(session, user_id)
    if found is None or found.user.consent_at is None:
        raise HTTPException(404)
    return show_progress(request, here, user_id, found.user.full_name or found.user.name)


@router.post("/practice/learners/{user_id}/arm")
def assign_arm(
    user_id: Id, user: Admin, here: Here, arm: Annotated[str, Form(max_length=32)] = ""
) -> Response:
    """Assign a participant of a study, before the pre-test; without an arm it is taken back."""
    if arm and arm not in practising.ARMS:
        raise MezoroiError(f"unknown arm `{arm}`: use {', '.join(practising.ARMS)}")
    with here.database.write() as session:
        found = users.get_user(session, user_id)
        if found is None:
            raise HTTPException(404)
        if practice.has_begun(session, user_id):
            raise Refusal("arm fixed")
        practice.learner(session, user_id).arm = arm or None
        audit.record(session, user, "study arm", found.name, arm=arm)
    return RedirectResponse("/practice/settings", 303)


@router.get("/practice/settings")
def settings_page(request: Request, user: Admin, here: Here, saved: bool = False) -> Response:
    """How long rounds and tests are, what a certificate takes, the study."""
    with here.database.read() as session:
        settings = practice_settings.read_settings(session)
        tests = practice.list_tests(session)
        short = teaching.short_tests(session, settings)
        begun = practice.are_tests_begun(session)
        preparing = specimens.is_half_prepared(session)
        people = users.list_users(session)
        learners = {item.user_id: item for item in practice.list_learners(session)}
        started = {person.id for person in people if practice.has_begun(session, person.id)}
    return here.pages.render(
        request,
        "practice/settings.html",
        settings=settings,
        names=TEST_NAMES,
        tests=tests,
        short=short,
        begun=begun,
        preparing=preparing,
        people=[person for person in people if person.active],
        learners=learners,
        started=started,
        arms=practising.ARMS,
        saved=saved,
    )


@router.post("/practice/settings")
def save_settings(
    user: Admin,
    here: Here,
    questions: Annotated[int, Form()],
    test_fruits: Annotated[int, Form()],
    repeats: Annotated[int, Form()],
    accuracy: Annotated[float, Form(ge=0, le=100)],
    recall: Annotated[float, Form(ge=0, le=100)],
    kappa: Annotated[float, Form(ge=0, le=1)],
    fruits: Annotated[int, Form()],
    test: Annotated[str, Form(max_length=32)],
) -> Response:
    """Change the settings; shares are given in percent."""
    settings = PracticeSettings(
        questions, test_fruits, repeats, accuracy / 100, recall / 100, kappa, fruits, test
    )
    with here.database.write() as session:
        practice_settings.keep_settings(session, settings)
        audit.record(session, user, "practice settings")
    return RedirectResponse("/practice/settings?saved=true", 303)


@router.post("/practice/tests")
def make_tests(user: Admin, here: Here) -> Response:
    """Make the tests anew by the settings, as long as nobody has begun one."""
    with here.database.write() as session:
        teaching.make_tests(session, practice_settings.read_settings(session), anew=True)
        audit.record(session, user, "practice tests")
    return RedirectResponse("/practice/settings?saved=true", 303)


@router.get("/practice/answers.csv")
def export_answers(user: Admin, here: Here) -> Response:
    """The answers of participants who agreed, for `mezoroi study export`."""
    from mezoroi.app.progressing import export_rows
    from mezoroi.practice.study import ANSWER_COLUMNS

    with here.database.write() as session:
        rows = export_rows(session)
        audit.record(session, user, "answers exported", rows=len(rows))
    stream = io.StringIO()
    table = csv.DictWriter(stream, ANSWER_COLUMNS)
    table.writeheader()
    table.writerows(rows)
    headers = {"content-disposition": 'attachment; filename="answers.csv"'}
    return Response(stream.getvalue(), media_type="text/csv", headers=headers)
