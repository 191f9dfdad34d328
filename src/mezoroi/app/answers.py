"""What errors look like: a page for people, JSON for programs."""

from __future__ import annotations

import logging
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from sqlalchemy.exc import DataError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from mezoroi.app.access import ACCOUNT_PATH, Forbidden, NotLoggedIn, PasswordDue, identify
from mezoroi.app.i18n import catalogue
from mezoroi.app.intake import RETRY_SECONDS
from mezoroi.app.pages import language_of
from mezoroi.app.problems import N_, PROBLEMS, BadNumber, Refusal, UploadProblem
from mezoroi.app.services import services_of
from mezoroi.errors import MezoroiError

log = logging.getLogger("mezoroi.app.answers")
LONGEST_PATH = 8000
"""Of an address to go on to: servers and proxies take no longer ones."""
_TEXTS = {
    403: N_("You may not see this page. Please ask the administrator."),
    404: N_("There is no such page."),
    405: N_("There is no such page."),
    422: N_("Something in the form is not right. Please go back and correct it."),
    500: N_("Something went wrong here. What was saved is kept; please try again."),
}


def add_error_answers(app: FastAPI) -> None:
    """Register the handlers."""
    app.add_exception_handler(NotLoggedIn, _not_logged_in)
    app.add_exception_handler(PasswordDue, _password_due)
    app.add_exception_handler(Forbidden, lambda request, error: answer(request, 403))
    app.add_exception_handler(UploadProblem, _upload_problem)
    app.add_exception_handler(BadNumber, _bad_number)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(MezoroiError, _refused)
    app.add_exception_handler(DataError, _not_storable)
    # A tablet that left in the middle of an upload: nobody reads this, and nothing is wrong here.
    app.add_exception_handler(ClientDisconnect, lambda request, error: Response(status_code=400))
    app.add_exception_handler(Exception, lambda request, error: answer(request, 500))


def answer(request: Request, status: int, detail: str = "", text: str | None = None) -> Response:
    """An error as JSON for programs and scripts, as a page for people.

    Parameters
    ----------
    detail : a technical line, in English
    text : English text for people, translated here; default by status
    """
    if text is None:
        text = _TEXTS.get(status, _TEXTS[500 if status >= 500 else 422])
    if wants_json(request):
        shown = catalogue(language_of(request)).gettext(text)
        return JSONResponse({"error": shown, "detail": detail}, status)
    identify(request)
    shown = catalogue(language_of(request)).gettext(text)
    return services_of(request).pages.render(
        request, "error.html", status, text=shown, detail=detail
    )


def wants_json(request: Request) -> bool:
    """Whether a program asks."""
    is_api = request.url.path.startswith("/api/")
    return is_api or "application/json" in request.headers.get("accept", "")


def is_fragment(request: Request) -> bool:
    """Whether htmx asks for a part of a page."""
    return request.headers.get("hx-request") == "true"


def safe_path(path: str) -> str:
    """A path of this site to go on to; the start page for anything else."""
    is_own = path.startswith("/") and not path.startswith(("//", "/\\"))
    return path if is_own and path.isprintable() and len(path) <= LONGEST_PATH else "/"


def _not_logged_in(request: Request, error: Exception) -> Response:
    if wants_json(request):
        headers = {"www-authenticate": "Bearer"}
        return JSONResponse({"error": "log in, or send a token", "detail": ""}, 401, headers)
    is_page = request.method == "GET" and not is_fragment(request)
    wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    goal = "/login" + (f"?next={quote(wanted)}" if is_page else "")
    return _redirect(request, goal)


def _password_due(request: Request, error: Exception) -> Response:
    if wants_json(request):
        return JSONResponse({"error": "change the one-time password first", "detail": ""}, 403)
    return _redirect(request, ACCOUNT_PATH)


def _redirect(request: Request, goal: str) -> Response:
    if is_fragment(request):
        return Response(status_code=401, headers={"hx-redirect": goal})
    return RedirectResponse(goal, 303)


def _upload_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, UploadProblem)
    response = answer(request, error.status, error.detail, PROBLEMS[error.code])
    if error.status == 503:
        response.headers["retry-after"] = str(RETRY_SECONDS)
    services_of(request).metrics.uploads.labels(error.code).inc()
    return response


def _bad_number(request: Request, error: Exception) -> Response:
    assert isinstance(error, BadNumber)
    services_of(request).metrics.uploads.labels(error.code).inc()
    text = error.told(catalogue(language_of(request)))
    if wants_json(request):
        content = {"error": text, "detail": error.detail, "field": error.field}
        return JSONResponse(content, error.status)
    return answer(request, error.status, text=text)


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    response = answer(request, error.status_code)
    for name, value in (error.headers or {}).items():
        response.headers[name] = value
    return response


def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return answer(request, 422, f"{where}: {first['msg']}")


def _refused(request: Request, error: Exception) -> Response:
    text = PROBLEMS[error.code] if isinstance(error, Refusal) else None
    return answer(request, 422, str(error), text)


def _not_storable(request: Request, error: Exception) -> Response:
    """What no column can hold, such as a text with a NUL on PostgreSQL."""
    assert isinstance(error, DataError)
    reason = str(error.orig).splitlines()[0]
    log.warning("not storable", extra={"path": request.url.path, "reason": reason})
    return answer(request, 422, reason)
