"""Practice for newcomers: the gallery, rounds, tests and one's own progress."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Form, HTTPException, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response

from mezoroi.app import gallery as showing
from mezoroi.app import hiding, practice_settings, practising, teaching
from mezoroi.app.access import Newcomer
from mezoroi.app.answers import wants_json
from mezoroi.app.ids import Id
from mezoroi.app.learning_charts import curve_svg, seconds_svg
from mezoroi.app.pages import language_of
from mezoroi.app.problems import N_, Refusal
from mezoroi.app.services import Here
from mezoroi.app.store import practice, runs, specimens
from mezoroi.app.tables_learning import Question
from mezoroi.app.views_learning import answer_view, fruit_view

router = APIRouter(include_in_schema=False)
TEST_NAMES = {
    practice_settings.PRE: N_("Pre-test"),
    practice_settings.POST: N_("Post-test"),
    practice_settings.DAY: N_("Test after a day"),
    practice_settings.WEEK: N_("Test after a week"),
}
Seconds = Annotated[float | None, Form(ge=0, le=1e6, allow_inf_nan=False)]
Waited = Annotated[float, Form(ge=0, le=1e9, allow_inf_nan=False)]
Key = Annotated[str, Form(max_length=64)]


@router.get("/practice")
def practice_page(request: Request, user: Newcomer, here: Here) -> Response:
    """Where one begins: consent, tests, rounds."""
    with here.database.read() as session:
        is_due = specimens.is_preparation_due(session)
        run = runs.active_run(session)
        left = 0 if run is None else specimens.count_unprepared(session, run.id)
        total = specimens.count_all(session)
        rounds = practice.list_rounds(session, user.id)
        states = practising.states_of(session, user.id)
        test = practising.test_under_way(session, user.id)
        settings = practice_settings.read_settings(session)
        tests = practice.list_tests(session)
        preparing = is_due or specimens.is_waiting(session) or not total
        is_held = specimens.is_half_prepared(session) and not tests
        agrees = practice.consent_of(session, user.id)
    is_pre_open = test is None and practising.TestState(practice_settings.PRE, "open") in states
    if is_due:
        with here.database.write() as session:
            specimens.order_preparation(session)
        here.supervisor.wake()
    return here.pages.render(
        request,
        "practice/home.html",
        states=states,
        test=test,
        names=TEST_NAMES,
        settings=settings,
        practised=any(item.phase == practice.PRACTICE for item in rounds),
        under_way=any(
            item.phase == practice.PRACTICE and item.finished_at is None for item in rounds
        ),
        preparing=preparing,
        is_held=is_held,
        prepared=total - left,
        total=total,
        agrees=agrees,
        pre=practice_settings.PRE,
        pre_fruits=len(tests.get(practice_settings.PRE, [])) if is_pre_open else 0,
    )


@router.get("/practice/preparing")
def preparing(request: Request, user: Newcomer, here: Here) -> Response:
    """How far the preparation is; reloads the page when it is over."""
    with here.database.read() as session:
        run = runs.active_run(session)
        left = 0 if run is None else specimens.count_unprepared(session, run.id)
        total = specimens.count_all(session)
        waiting = specimens.is_waiting(session)
    if not waiting and total:
        return Response(status_code=204, headers={"hx-refresh": "true"})
    return here.pages.render(
        request, "practice/_preparing.html", prepared=total - left, total=total
    )


@router.post("/practice/consent")
def consent(user: Newcomer, here: Here, agrees: Annotated[bool, Form()] = False) -> Response:
    """Allow that one's results are kept and seen by experts, or no longer."""
    with here.database.write() as session:
        practice.give_consent(session, user.id, agrees=agrees)
    return RedirectResponse("/practice", 303)


@router.get("/practice/gallery")
def gallery_page(request: Request, user: Newcomer, here: Here) -> Response:
    """Typical fruits of every grade, border pairs, and what the standard says."""
    with here.database.read() as session:
        is_tested = bool(practice.list_tests(session))
    if not is_tested:
        try:
            with here.database.write() as session:
                teaching.ensure_tests(session)
        except Refusal as refusal:
            return _told_at_home(refusal)
    with here.database.read() as session:
        view = showing.gallery(session, language_of(request), here.blobs)
    return here.pages.render(request, "practice/gallery.html", gallery=view)


@router.post("/practice/rounds")
def begin(
    user: Newcomer, here: Here, phase: Annotated[str, Form(max_length=32)] = practice.PRACTICE
) -> Response:
    """Begin a round or a test, or go on with it."""
    with here.database.write() as session:
        specimens.order_preparation(session)
    here.supervisor.wake()
    try:
        with here.database.write() as session:
            found = practising.begin(session, user, phase)
    except Refusal as refusal:
        return _told_at_home(refusal)
    return RedirectResponse(f"/practice/rounds/{found.id}", 303)


def _told_at_home(refusal: Refusal) -> Response:
    """Where fruits are still being prepared, the page that says how far, and goes on by itself."""
    if refusal.code != "preparing":
        raise refusal
    return RedirectResponse("/practice", 303)


@router.get("/practice/rounds/{round_id}")
def round_page(request: Request, round_id: Id, user: Newcomer, here: Here) -> Response:
    """The fruit that is to be graded, all fruits of a test, or how the round went."""
    with here.database.write() as session:
        found = practice.get_round(session, round_id, user.id)
        if found is None:
            raise HTTPException(404)
        test = practising.test_under_way(session, user.id)
        if test is not None and found.phase == practice.PRACTICE and found.finished_at is None:
            return RedirectResponse(f"/practice/rounds/{test.id}", 303)
        question = practising.current_question(session, user, found)
        asked = practice.questions_of(session, found.id)
        standard = teaching.active_standard(session)
        turns = teaching.pictures_turn(session)
        told = hiding.told_questions(session, user, asked) if question is None else set()
        tested = teaching.test_ids(session)
    is_test = found.phase != practice.PRACTICE
    if question is None:
        return here.pages.render(
            request,
            "practice/over.html",
            round=found,
            is_test=is_test,
            names=TEST_NAMES,
            questions=asked,
            right=sum(item.given == item.truth for item in asked if item.id in told),
            told=told,
            tested=tested,
            grades=standard.grades,
        )
    waiting = [item for item in asked if item.given is None] if is_test else [question]
    return here.pages.render(
        request,
        "practice/round.html",
        round=found,
        is_test=is_test,
        names=TEST_NAMES,
        shown=[(item, showing_of(item), fruit_view(item.specimen, turns)) for item in waiting],
        standard=standard,
        grades=standard.grades,
    )


@router.post("/practice/questions/{question_id}")
def give_answer(
    request: Request,
    question_id: Id,
    user: Newcomer,
    here: Here,
    grade: Annotated[str, Form(max_length=64)],
    certainty: Annotated[str, Form(max_length=16)] = "",
    seconds: Seconds = None,
    waited: Waited = 0.0,
    key: Key = "",
    showing: Annotated[str, Form(max_length=32)] = "",
) -> Response:
    """Keep an answer; one that is sent again gets the same reply.

    Parameters
    ----------
    showing : `showing_of` the question that it answers; SQLite gives the number of one that has
        gone to the next one, which asks for another fruit
    """
    with here.database.write() as session:
        practice.lock(session, user.id)
        question = practice.get_question(session, question_id, user.id)
        if question is None or showing not in ("", showing_of(question)):
            raise Refusal("asked no more")
        practising.answer(session, user, question, grade, certainty, seconds, waited, key)
        is_test = question.round.phase != practice.PRACTICE
        is_told = not is_test and bool(hiding.told_questions(session, user, [question]))
    goal = f"/practice/rounds/{question.round_id}"
    if is_told:
        goal = f"/practice/questions/{question.id}"
    if wants_json(request):
        return JSONResponse({"location": goal}, 200)
    return RedirectResponse(goal, 303)


def showing_of(question: Question) -> str:
    """What tells a question from one that had its number before: microseconds of its showing."""
    return str(round(question.shown_at.timestamp() * 1e6))


@router.get("/practice/questions/{question_id}")
def answer_page(request: Request, question_id: Id, user: Newcomer, here: Here) -> Response:
    """What was right, and why; of answered questions of practice alone."""
    with here.database.read() as session:
        question = practice.get_question(session, question_id, user.id)
        if question is None or question.given is None or not question.grades:
            raise HTTPException(404)
        run = runs.active_run(session)
        if run is None or not question.specimen.result:
            raise HTTPException(404)
        if not hiding.told_questions(session, user, [question]):
            raise HTTPException(404)
        view = answer_view(
            question,
            run.standard,
            language_of(request),
            turns=run.input_kind == "surface",
            blobs=here.blobs,
            hidden=hiding.hidden_names(session),
        )
    return here.pages.render(request, "practice/answer.html", question=question, view=view)


@router.get("/practice/progress")
def progress_page(request: Request, user: Newcomer, here: Here) -> Response:
    """One's own progress."""
    return show_progress(request, here, user.id, None)


def show_progress(request: Request, here: Here, user_id: int, name: str | None) -> Response:
    """The progress of a user; with a name, as experts see it."""
    from mezoroi.app.i18n import catalogue
    from mezoroi.app.progressing import keep_certificate, progress_of

    with here.database.read() as session:
        view = progress_of(session, user_id)
    if view.shortfalls == [] and view.certified_at is None:
        with here.database.write() as session:
            view = replace(view, certified_at=keep_certificate(session, user_id))
    gettext = catalogue(language_of(request)).gettext
    share, seconds = N_("Share of right answers in practice"), N_("Seconds that an answer took")
    return here.pages.render(
        request,
        "practice/progress.html",
        view=view,
        names=TEST_NAMES,
        name=name,
        curve=curve_svg(view.curve, gettext(share)) if view.curve else None,
        seconds=seconds_svg(view.curve, gettext(seconds)) if len(view.curve) > 1 else None,
    )
