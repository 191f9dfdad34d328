"""A real server process with a tiny grader, and real browsers that complain about what they see.

With the environment variable ``SCREENSHOTS`` set to a folder, `Visit.look` saves pictures there.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, sync_playwright

AXE = Path(__file__).with_name("vendor") / "axe-core" / "axe.min.js"
# The shell does without the browser's own windows, which cost more than many of the pages.
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser")
CHROMIUM = next((found for name in NAMES if (found := shutil.which(name))), None)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PORTRAIT, LANDSCAPE, TABLET = (768, 1024), (1280, 800), (1024, 768)
START_SECONDS = 90
LEAST_TOUCH = 48
_SMALL = """least => {
  // A box or a dot is hit by its label, a file by its button.
  const boxes = ["checkbox", "radio"].map((kind) => `label:has(input[type=${kind}])`);
  const fields = "input:not([type=hidden], [type=checkbox], [type=radio], [type=file])";
  const all = ["a[href]", "button", "summary", "select", "textarea", fields, ...boxes];
  return [...document.querySelectorAll(all.join(","))].filter((it) => {
    const isSeen = it.checkVisibility({ visibilityProperty: true }) && !it.closest(".unseen");
    const { width, height, right } = it.getBoundingClientRect();
    const isText = (node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim();
    const isInline = getComputedStyle(it).display === "inline" && it.matches("a");
    const isInText = isInline && [...it.parentNode.childNodes].some(isText);
    const isSmall = Math.min(width, height) < least - 0.5;  // layouts round
    return isSeen && right > 0 && !isInText && isSmall && !it.closest("#swagger-ui");
  }).map((it) => it.outerHTML.slice(0, 160));
}"""


@dataclass(frozen=True)
class Server:
    """A running `mezoroi serve`.

    Attributes
    ----------
    logins : password by user; a user is named after their role
    """

    url: str
    logins: dict[str, str]
    process: subprocess.Popen[str]
    data: Path


@dataclass
class Visit:
    """A page in a browser of its own; what goes wrong in it is collected."""

    page: Page
    server: Server
    name: str
    troubles: list[str] = field(default_factory=list)
    forgiven: list[str] = field(default_factory=list)

    def forgive(self, *parts: str) -> None:
        """What the browser tells of requests that the test lets fail is no trouble.

        Also what it tells later: a request may end after its page was left.
        """
        self.forgiven.extend(parts)

    def unforgiven(self) -> list[str]:
        """What went wrong and was not meant to."""
        return [line for line in self.troubles if not any(part in line for part in self.forgiven)]

    def go(self, path: str) -> None:
        """Open a path of the server."""
        self.page.goto(self.server.url + path)

    def log_in(self, user: str) -> None:
        """Log in through the form."""
        self.go("/login")
        self.page.fill("[name=name]", user)
        self.page.fill("[name=password]", self.server.logins[user])
        self.page.click("main button")
        self.page.wait_for_url(self.server.url + "/")

    def look(self, name: str) -> None:
        """Check the page with axe, and that gloves hit what can be tapped; keep a picture."""
        self.page.wait_for_load_state()
        self.page.evaluate("document.fonts.ready.then(() => true)")
        folder = os.environ.get("SCREENSHOTS")
        if folder:
            self.page.screenshot(path=Path(folder) / f"{self.name}-{name}.png")
        # The page's policy forbids foreign scripts; a debugger's evaluation is not one.
        self.page.evaluate(AXE.read_text(encoding="utf-8"))
        # The API's description is drawn by Swagger UI, whose faults cannot be mended here.
        ours = "{exclude: [['#swagger-ui']]}"
        found = self.page.evaluate(f"axe.run({ours}, {{resultTypes: ['violations']}})")
        serious = [
            f"{item['id']}: {item['help']}: {item['nodes'][0]['html'][:200]}"
            for item in found["violations"]
            if item["impact"] in ("serious", "critical")
        ]
        assert not serious, f"{name}: {serious}"
        too_wide = self.page.evaluate(
            "document.documentElement.scrollWidth > document.documentElement.clientWidth"
        )
        assert not too_wide, f"{name}: the page scrolls sideways"
        small = self.page.evaluate(_SMALL, LEAST_TOUCH)
        assert not small, f"{name}: too small for gloves: {small}"


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed: apt-get install chromium-headless-shell")
    if not AXE.is_file():
        pytest.skip("axe-core is not there: run `python tools/vendor.py`")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Path], Server]]:
    """Starts servers on free ports, each with a data folder of its own; ends them afterwards."""
    running: list[tuple[Server, IO[str]]] = []

    def start(run: Path) -> Server:
        data = tmp_path_factory.mktemp("app") / "data"
        log = (data.parent / "log.txt").open("w", encoding="utf-8")
        options = ["--port", "0", "--data", str(data), "--demo-logins"]
        process = subprocess.Popen(
            [sys.executable, "-m", "mezoroi", "serve", str(run), *options],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        assert process.stdout is not None
        url, logins = "", {}
        for line in process.stdout:
            if found := re.search(r"http://[\d.]+:\d+", line):
                url = found[0]
            if found := re.search(r"log in as `(\w+)` with the password `([^`]+)`", line):
                logins[found[1]] = found[2]
            if len(logins) == 3:
                break
        server = Server(url, logins, process, data)
        running.append((server, log))
        _wait_until_ready(server)
        return server

    yield start
    for server, log in running:
        server.process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            server.process.wait(30)
        server.process.kill()
        server.process.wait()
        assert server.process.stdout is not None
        server.process.stdout.close()
        log.close()


@pytest.fixture(scope="module")
def server(run_dir: Path, start_server: Callable[[Path], Server]) -> Server:
    """A server for a file of tests: what one does to its fruits must not change another's."""
    return start_server(run_dir)


@pytest.fixture
def visit(
    server: Server, chromium: Browser, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Visit]]:
    """Opens browsers; afterwards none may have seen an error or asked another host."""
    opened: list[tuple[Visit, BrowserContext]] = []

    def open_browser(
        size: tuple[int, int] = LANDSCAPE, language: str = "ja", user: str | None = None
    ) -> Visit:
        """A browser of its own, on no page yet; a `user` is logged in already."""
        width, height = size
        context = chromium.new_context(
            viewport={"width": width, "height": height}, has_touch=True, locale=language
        )
        page = context.new_page()
        made = Visit(page, server, f"{request.node.originalname}-{language}-{width}")
        page.on("pageerror", lambda error: made.troubles.append(f"script: {error}"))
        page.on(
            "console",
            lambda said: made.troubles.append(said.text) if said.type == "error" else None,
        )
        page.on("request", lambda asked: _note_foreign(made, asked))
        opened.append((made, context))
        if user is not None:
            given = {"name": user, "password": server.logins[user]}
            answer = context.request.post(f"{server.url}/login", form=given)
            assert answer.ok and answer.url == f"{server.url}/"
        return made

    yield open_browser
    for made, context in opened:
        context.close()
        assert not made.unforgiven()


def _note_foreign(visit: Visit, asked: Request) -> None:
    if not asked.url.startswith((visit.server.url, "data:", "blob:")):
        visit.troubles.append(f"asked another host: {asked.url}")


def _wait_until_ready(server: Server) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        with suppress(OSError), urllib.request.urlopen(f"{server.url}/readyz", timeout=5):
            return
        time.sleep(0.25)
    raise RuntimeError("the server did not become ready")
