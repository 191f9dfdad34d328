"""How fast the app answers: many uploads at once, many readers, one photo from end to end."""

from __future__ import annotations

import asyncio
import io
import shutil
import time
import uuid
from collections import Counter
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

from mezoroi.app.access import SESSION_COOKIE
from mezoroi.app.roles import Role
from mezoroi.app.store.jobs import OPEN
from mezoroi.bench.app_uploads import PATH
from mezoroi.datasets.melons.collection import indexed_melon
from mezoroi.datasets.melons.render import Conditions
from mezoroi.datasets.melons.styles import style_of
from mezoroi.datasets.melons.turn import Turn
from mezoroi.datasets.melons.video import render_views
from mezoroi.errors import MezoroiError

if TYPE_CHECKING:
    import httpx

    from mezoroi.bench.app_server import TriedApp

Result = TypeVar("Result")

PAGES = (
    "/",
    "/fruits",
    "/fruits/1",
    "/lots",
    "/summary",
    "/validity",
    "/references",
    "/practice",
    "/calibration",
    "/admin",
)
"""What the readers open in turn."""
THINK_SECONDS = 1.0
TABLET = (3000, 4000)
"""Height and width of a tablet's photo."""
_RENDERED = (768, 1024)
_GIVE_UP_SECONDS = 900.0
_GRADE = ".badge.huge"
_BROWSERS = ("chromium", "chromium-browser", "chromium-headless-shell")
_FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]


def tablet_photos(count: int, seed: int, size: tuple[int, int] = TABLET) -> Iterator[bytes]:
    """Photos of made-up melons as a tablet takes them: JPEGs of 12 megapixels."""
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        melon, _ = indexed_melon(index, seed)
        light = Conditions.draw(rng, style_of("standard"))
        turn = Turn(frames=2, size=_RENDERED)
        frames, _ = render_views(melon.body, melon.texture, light, turn, rng)
        stream = io.BytesIO()
        Image.fromarray(next(frames)).resize(size[::-1]).save(stream, "JPEG", quality=88)
        yield stream.getvalue()


def send_at_once(app: TriedApp, photo: bytes, count: int) -> dict[str, Any]:
    """Send so many photos at the same moment; those told to retry do so, as the page would.

    Returns
    -------
    answers by status, states in the end, photos lost, seconds until all were taken and graded
    """
    return _run(_send_at_once(app, photo, count))


def _run(work: Coroutine[Any, Any, Result]) -> Result:
    """`asyncio.run` in a thread of its own: this one may have a loop already, as Playwright's."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


async def _send_at_once(app: TriedApp, photo: bytes, count: int) -> dict[str, Any]:
    import httpx

    answers: Counter[str] = Counter()
    began = time.monotonic()
    until = began + _GIVE_UP_SECONDS
    limits = httpx.Limits(max_connections=count, max_keepalive_connections=count)
    headers = {"authorization": f"Bearer {app.people[Role.EXPERT].token}"}
    async with httpx.AsyncClient(
        base_url=app.url, headers=headers, limits=limits, timeout=300.0, trust_env=False
    ) as client:
        each = [photo + number.to_bytes(4, "big") for number in range(count)]  # no two the same
        ids = await asyncio.gather(*(_send(client, item, answers, until) for item in each))
        taken = time.monotonic() - began
        states: dict[int, str] = {}
        waiting = [fruit_id for fruit_id in ids if fruit_id is not None]
        while waiting and time.monotonic() < until:
            for fruit_id in waiting:
                states[fruit_id] = (await client.get(f"{PATH}/{fruit_id}")).json()["state"]
            waiting = [fruit_id for fruit_id in waiting if states[fruit_id] in OPEN]
            await asyncio.sleep(0.5)
    return {
        "answers": dict(answers),
        "states": dict(Counter(states.values())),
        "lost": count - sum(state == "done" for state in states.values()),
        "taken_s": taken,
        "graded_s": time.monotonic() - began,
    }


async def _send(
    client: httpx.AsyncClient, photo: bytes, answers: Counter[str], until: float
) -> int | None:
    """Send a photo until it is taken; its fruit's id, or None where it is not in time."""
    import httpx

    key = {"idempotency-key": str(uuid.uuid4())}
    while time.monotonic() < until:
        try:
            answer = await client.post(PATH, files={"file": ("melon.jpg", photo)}, headers=key)
        except httpx.TransportError as error:
            answers[type(error).__name__] += 1
            await asyncio.sleep(1.0)
            continue
        hint = answer.headers.get("retry-after", "")
        answers[f"{answer.status_code} {'with Retry-After' if hint else ''}".strip()] += 1
        if answer.status_code in (200, 201):
            return int(answer.json()["id"])
        await asyncio.sleep(float(hint) if hint.isdecimal() else 5.0)
    return None


def read_pages(app: TriedApp, users: int, rounds: int, think: float, seed: int) -> dict[str, Any]:
    """Let users open `PAGES` in turn, each with so many seconds between two pages.

    Each has a thread and a connection, as with a browser, and nothing that takes the server's
    cores: a client of many features would be as busy with an answer as the server is.

    Returns
    -------
    seconds of every answer by page, and pages that were not shown
    """
    seconds: dict[str, list[float]] = {page: [] for page in PAGES}
    failed: Counter[str] = Counter()
    with ThreadPoolExecutor(users) as threads:
        readers = [
            threads.submit(_read, app, user, rounds, think, np.random.default_rng([seed, user]))
            for user in range(users)
        ]
        for reader in readers:
            for page, status, taken in reader.result():
                seconds[page].append(taken)
                if status != 200:
                    failed[f"{page}: {status}"] += 1
    return {"seconds": seconds, "failed": dict(failed)}


def _read(
    app: TriedApp, user: int, rounds: int, think: float, rng: np.random.Generator
) -> list[tuple[str, int, float]]:
    """One user's pages: each with the status of its answer and the seconds that it took."""
    address = urlsplit(app.url)
    assert address.hostname is not None
    headers = {"cookie": f"{SESSION_COOKIE}={app.people[Role.ADMIN].session}"}
    found = []
    with closing(HTTPConnection(address.hostname, address.port, timeout=60.0)) as connection:
        time.sleep(rng.uniform(0, max(think, 0.1)))
        for step in range(rounds * len(PAGES)):
            page = PAGES[(user + step) % len(PAGES)]
            began = time.perf_counter()
            connection.request("GET", page, headers=headers)
            answer = connection.getresponse()
            answer.read()
            found.append((page, answer.status, time.perf_counter() - began))
            time.sleep(think * rng.uniform(0.5, 1.5))
    return found


def grade_over_http(app: TriedApp, photos: list[bytes]) -> list[float]:
    """Seconds from sending each photo to having its result page, asking as the page does.

    Raises
    ------
    MezoroiError
        If a photo is not graded.
    """
    found = []
    with _browser_like(app) as client:
        for photo in photos:
            began = time.perf_counter()
            sent = client.post("/fruits", files={"file": ("melon.jpg", photo)})
            place = sent.json()["location"]
            while client.get(f"{place}/progress").status_code != 204:
                pass  # each answer is held until there is news
            page = client.get(place, headers={"accept": "text/html"})
            found.append(time.perf_counter() - began)
            if 'class="badge huge' not in page.text:
                raise MezoroiError(f"{place} shows no grade: see {app.log}")
    return found


def grade_in_chromium(app: TriedApp, photos: list[bytes], folder: Path) -> list[float]:
    """Seconds from a photo being chosen to its grade on the screen, in headless Chromium.

    Raises
    ------
    MezoroiError
        If Chromium or playwright is not installed.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise MezoroiError("playwright is not installed: pip install 'mezoroi[dev]'") from error
    program = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if program is None:
        raise MezoroiError("Chromium is not installed: apt-get install chromium")
    found = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=_FLAGS)
        context = browser.new_context(viewport={"width": 1280, "height": 800}, locale="en")
        key = app.people[Role.NEWCOMER].session
        context.add_cookies([{"name": SESSION_COOKIE, "value": key, "url": app.url}])
        page = context.new_page()
        for number, photo in enumerate(photos):
            path = folder / f"photo-{number}.jpg"
            path.write_bytes(photo)
            page.goto(app.url + "/")
            chooser = page.locator("input[data-file]").last
            began = time.perf_counter()
            chooser.set_input_files(path)
            page.wait_for_selector(_GRADE, timeout=120_000)
            found.append(time.perf_counter() - began)
        browser.close()
    return found


def _browser_like(app: TriedApp) -> httpx.Client:
    import httpx

    return httpx.Client(
        base_url=app.url,
        cookies={SESSION_COOKIE: app.people[Role.NEWCOMER].session},
        headers={"accept": "application/json", "sec-fetch-site": "same-origin"},
        timeout=120.0,
        trust_env=False,
    )
