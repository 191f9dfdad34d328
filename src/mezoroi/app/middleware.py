"""What holds for every request: size, origin, headers, log and metrics."""

from __future__ import annotations

import logging
import time
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mezoroi.app.access import identify
from mezoroi.app.answers import answer
from mezoroi.app.metrics import Metrics
from mezoroi.app.problems import PROBLEMS

log = logging.getLogger("mezoroi.app.requests")
SMALL_BODY = 1 << 20
"""Bytes of a request that uploads no picture."""
UPLOAD_PATHS = frozenset({"/fruits", "/api/v1/fruits"})
_SAFE = ("GET", "HEAD", "OPTIONS")
_HEADERS = {
    "content-security-policy": (
        "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "geolocation=(), microphone=(), camera=(self)",
}


class TooLarge(Exception):  # noqa: N818
    """The body is larger than the route takes."""


class Guard:
    """Refuses bodies that are too large and writes that come from other sites.

    Parameters
    ----------
    upload_bytes : the largest body of `UPLOAD_PATHS`
    """

    def __init__(self, app: ASGIApp, upload_bytes: int) -> None:
        self._app = app
        self._upload_bytes = upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if scope["method"] not in _SAFE and not _is_own(headers):
            await _refuse(403, "this request came from another site")(scope, receive, send)
            return
        most = self._upload_bytes if scope["path"] in UPLOAD_PATHS else SMALL_BODY
        stated = headers.get("content-length", "")
        if stated.isdecimal() and int(stated) > most:
            await (await run_in_threadpool(_too_large, scope, most))(scope, receive, send)
            return
        seen, started = 0, False

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > most:
                raise TooLarge
            return message

        async def noted(message: Message) -> None:
            nonlocal started
            if seen > most and not started:
                return  # whatever the app makes of it, the answer is the one below
            started = True
            await send(message)

        try:
            await self._app(scope, counted, noted)
        except TooLarge:
            if started:
                raise
        if seen > most and not started:
            await (await run_in_threadpool(_too_large, scope, most))(scope, receive, send)


class Envelope:
    """Adds the security headers, and notes every request in the log and the metrics.

    A HEAD, as programs that watch the server send, is answered as the GET without its body, which
    the server leaves out.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500
        asked = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope

        async def with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        try:
            await self._app(asked, receive, with_headers)
        finally:
            seconds = time.perf_counter() - began
            route = getattr(asked.get("route"), "path", "other")
            method = scope["method"] if scope["method"] in (*_SAFE, "POST") else "other"
            self._metrics.requests.labels(method, route, str(status)).observe(seconds)
            if route not in ("/healthz", "/readyz"):
                fields = {
                    "method": scope["method"],
                    "path": scope["path"],
                    "status": status,
                    "milliseconds": round(1000 * seconds, 1),
                    "user": getattr(asked.get("state", {}).get("user"), "id", None),
                }
                log.info("request", extra=fields)


def _is_own(headers: Headers) -> bool:
    """Whether a write comes from our own pages, or from a program with a token.

    Browsers say where a request comes from; a page cannot change these headers.
    """
    if headers.get("authorization", "").lower().startswith("bearer ") and "cookie" not in headers:
        return True
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = headers.get("origin")
    if origin is None:
        return "cookie" not in headers
    return urlsplit(origin).netloc == headers.get("host")


def _too_large(scope: Scope, most: int) -> Response:
    """That a body is too large, in the user's language."""
    request = Request(scope)
    identify(request)
    text = PROBLEMS["too large"] if scope["path"] in UPLOAD_PATHS else None
    return answer(request, 413, f"more than {most} bytes", text)


def _refuse(status: int, reason: str) -> PlainTextResponse:
    return PlainTextResponse(f"refused: {reason}\n", status, headers=dict(_HEADERS))
